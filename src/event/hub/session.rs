//! A connection's side of the hub: what it has subscribed to, and what there is to tell it.
//!
//! What it has heard is known by its answers to pings: whatever was taken before a ping has arrived when the answer comes.

use super::Hub;
use super::begin::{Begun, Heard};
use super::hooked::Hooked;
use super::joined::{Joined, unknown_subscription};
use super::keeping::Keeping;
use super::mailbox::{Limits, Mailbox, Notification, Overflow};
use crate::auth::Principal;
use crate::protocol::{Error, Position, Subscribe};
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long a goodbye waits for the session to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// One connection. Its subscriptions end when it is dropped.
pub struct Session {
    joined: Arc<Joined>,
    resumed: Vec<usize>,
    /// What was taken before the last ping, by subscriptions.
    sampled: Vec<(Arc<str>, Heard)>,
}

/// What a session had and has again.
#[derive(Debug)]
pub struct Restored {
    /// Its id.
    pub session: Arc<str>,
    /// The subscriptions that go on; some of them are told to read again.
    pub begun: Vec<Begun>,
    /// Those that can't, by their ids.
    pub failed: Vec<(String, Error)>,
}

impl Session {
    pub(super) fn new(hub: Hub, principal: Arc<Principal>, count: Arc<AtomicUsize>) -> Self {
        let settings = hub.0.parts.settings;
        let limits = Limits { notifications: settings.max_waiting, bytes: settings.max_waiting_bytes };
        let mailbox = Arc::new(Mailbox::new(limits, hub.0.couriers.here()));
        let joined =
            Joined { hub, principal, mailbox, count, held: Mutex::default(), session: OnceLock::new(), keeping: Arc::default() };
        Self { joined: Arc::new(joined), resumed: Vec::new(), sampled: Vec::new() }
    }

    /// Waits until there is something to tell, and appends all that there is by then, up to a bound.
    pub async fn next(&mut self, batch: &mut Vec<Notification>) -> Result<(), Overflow> {
        poll_fn(|context| self.poll_next(context, batch)).await
    }

    /// The same, asked by a task that waits for other things as well.
    pub fn poll_next(&mut self, context: &mut Context<'_>, batch: &mut Vec<Notification>) -> Poll<Result<(), Overflow>> {
        let Self { joined, resumed, .. } = self;
        loop {
            ready!(joined.mailbox.poll_take(context, batch, resumed))?;
            if !resumed.is_empty() {
                joined.replay(resumed);
            }
            if !batch.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Waits until more waits than may, for who takes nothing now.
    pub fn poll_overflow(&self, context: &mut Context<'_>) -> Poll<Overflow> {
        self.joined.mailbox.poll_overflow(context)
    }

    /// Begins a subscription, unless the rows of its snapshot have more bytes than the answer may. Answers the session's id beside it
    /// if the session is kept.
    pub fn subscribe(
        &self,
        asked: Subscribe,
        most: usize,
    ) -> impl Future<Output = Result<(Begun, Option<Arc<str>>), Error>> + Send + 'static {
        let joined = Arc::clone(&self.joined);
        async move {
            joined.make_room(&asked)?;
            let (begun, part) = joined.begin(asked, most).await?;
            let session = joined.write(part).await.then(|| Arc::clone(joined.session()));
            Ok((begun, session))
        }
    }

    /// Ends a subscription.
    pub fn unsubscribe(&self, id: String) -> impl Future<Output = Result<(), Error>> + Send + 'static {
        let joined = Arc::clone(&self.joined);
        async move {
            let unknown = || unknown_subscription(&id);
            let found = joined.held().get(id.as_str()).map(|held| Arc::clone(&held.subscription));
            let subscription = found.filter(|found| !found.has_ended()).ok_or_else(unknown)?;
            let (generation, shape) = subscription.place().ok_or_else(unknown)?;
            let engine = &joined.hub.0.parts.engine;
            let entity = generation.catalog().entity(shape.entity());
            engine.unsubscribing(&generation.current, &joined.principal, entity, &id).await?;
            let removed = joined.held().remove(id.as_str());
            if removed.is_some() {
                joined.count.fetch_sub(1, Ordering::Relaxed);
            }
            // The hooks may have taken so long that it has ended by itself, which they were told.
            if joined.hub.0.end(&subscription) && engine.has_hooks() {
                let (hub, principal) = (joined.hub.clone(), Arc::clone(&joined.principal));
                _ = Hooked { hub, generation, shape, principal, id: id.into() }.end().await;
            }
            if let Some(held) = removed {
                joined.write(held.part).await;
            }
            Ok(())
        }
    }

    /// Gets back what a session had subscribed to, each from where it was heard last.
    pub fn restore(&self, session: String) -> impl Future<Output = Result<Restored, Error>> + Send + 'static {
        let joined = Arc::clone(&self.joined);
        async move {
            let hub = &joined.hub.0;
            let taken = hub.kept.take(&session, &joined.principal).await?;
            let keeping = Keeping::of(&taken);
            // Once for all of them, and after the last that was heard could be written.
            let extent = hub.extent().await?;
            let mut restored = Restored { session: Arc::from(session), begun: Vec::new(), failed: Vec::new() };
            let parts = taken.parts.into_iter().map(|(subscriptions, _)| subscriptions);
            for (part, one) in parts.enumerate().flat_map(|(part, all)| all.into_iter().map(move |one| (part, one))) {
                match joined.restore(&one, part, &extent).await {
                    Ok(begun) => restored.begun.push(begun),
                    // What may succeed later must not be forgotten now: the session stays as it was.
                    Err(error) if error.code.retryable() => {
                        joined.end_all();
                        return Err(error);
                    }
                    Err(error) => restored.failed.push((one.id, error)),
                }
            }
            // Nothing was subscribed to before this, so that there is no other id.
            restored.session = Arc::clone(joined.session.get_or_init(|| restored.session));
            *joined.keeping.lock().await = keeping;
            joined.write_whole().await;
            Ok(restored)
        }
    }

    /// A ping is about to be sent: what was taken by now comes before it.
    pub fn pinged(&mut self) {
        self.sampled = self.joined.sample();
    }

    /// The last ping was answered: the client has what came before it.
    pub fn answered(&mut self) {
        if self.sampled.is_empty() {
            return;
        }
        self.joined.heard(std::mem::take(&mut self.sampled));
        self.joined.write_now_and_then();
    }

    /// The client says how far it has heard a subscription. It is written as rarely as answers to pings are.
    pub fn acknowledge(&self, id: &str, position: &Position) -> Result<(), Error> {
        self.joined.acknowledge(id, position)?;
        if self.joined.session.get().is_some() {
            self.joined.write_now_and_then();
        }
        Ok(())
    }

    /// Has the session written, for what may not live to its end.
    pub fn leaving(&self) {
        if self.joined.session.get().is_some() {
            let joined = Arc::clone(&self.joined);
            self.joined.hub.0.tasks.spawn(async move { joined.write_whole().await });
        }
    }

    /// Ends every subscription and waits, though not for long, until what was heard is written: whoever is told to connect again
    /// finds it. The write goes on if the time was too short. Answers the session's id, unless it is not kept.
    pub async fn end(mut self) -> Option<Arc<str>> {
        let writing = self.last_words()?;
        let session = self.joined.session.get().cloned();
        if let Ok(kept) = tokio::time::timeout(LAST_WORDS, writing).await {
            return session.filter(|_| kept.unwrap_or_default());
        }
        tracing::debug!("a client is sent away before its session is written");
        session
    }

    fn last_words(&mut self) -> Option<JoinHandle<bool>> {
        let stored = self.joined.stored();
        self.joined.end_all();
        self.joined.session.get().filter(|_| stored.iter().any(|part| !part.is_empty()))?;
        let joined = Arc::clone(&self.joined);
        Some(self.joined.hub.0.tasks.spawn(async move { joined.write_last(stored).await }))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // After `end` nothing is left to be written.
        _ = self.last_words();
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_hub::hub;
    use crate::auth::Principal;
    use crate::store::{Bucket, Entry, Error, Watch};
    use bytes::Bytes;
    use std::future::pending;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// A bucket that fails once, and answers nothing after that.
    #[derive(Default)]
    struct Away(AtomicUsize);

    #[async_trait::async_trait]
    impl Bucket for Away {
        async fn put(&self, _: &str, _: Bytes, _: Option<Duration>) -> Result<u64, Error> {
            pending().await
        }

        async fn replace(&self, _: &str, _: Bytes, _: Option<u64>, _: Option<Duration>) -> Result<Option<u64>, Error> {
            if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
                return Err(Error::Unavailable("it is away".to_owned()));
            }
            pending().await
        }

        async fn get(&self, _: &str) -> Result<Option<Entry>, Error> {
            pending().await
        }

        async fn delete(&self, _: &str) -> Result<(), Error> {
            pending().await
        }

        async fn remove(&self, _: &str, _: u64) -> Result<bool, Error> {
            pending().await
        }

        async fn watch(&self) -> Result<Watch, Error> {
            pending().await
        }
    }

    #[tokio::test]
    async fn however_often_something_is_heard_one_task_writes_it() {
        let bucket = Arc::new(Away::default());
        let hub = hub(Arc::<Away>::clone(&bucket));
        let session = hub.join(Arc::new(Principal::anonymous()), Arc::default());
        session.joined.write_whole().await;
        for _ in 0..100 {
            session.joined.write_now_and_then();
            tokio::task::yield_now().await;
        }
        assert_eq!((hub.0.tasks.len(), bucket.0.load(Ordering::Relaxed)), (1, 2));
    }
}
