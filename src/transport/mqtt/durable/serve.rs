//! Tells of one part for as long as its lease is held: from the hub's session to the broker, in order.
//!
//! What is taken from the session goes out by `delivery`; the progress follows the broker's acknowledgements and passes nothing
//! that has none. When the connection is lost everything after the progress is told again from the bus, so that nothing has to
//! be kept here for a broker that is away.

use super::complete::Complete;
use super::delivery::{Delivery, Message, Says, Step};
use super::kept::Kept;
use super::lease::{Progress, Unit};
use super::roll::Entered;
use super::waiting::{Queue, Waiting};
use super::{Shared, text};
use crate::event::bus::Extent;
use crate::event::hub::{Ending, GoesOn, Notification, PartSession};
use crate::protocol::{Code, Error, Position};
use crate::transport::mqtt::{Broker, topic};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// How often it is asked how far everything is.
const SAMPLE: Duration = Duration::from_millis(250);
/// How often it is asked whose client was not heard for too long.
const UNHEARD: Duration = Duration::from_secs(1);
/// How often it is asked whether whoever answers a new subscription is still there.
const ANSWERING: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Subscriptions that are decided at once.
const AT_ONCE: usize = 16;
/// For what is out when the part is handed over.
pub(super) const LAST_ACKNOWLEDGEMENTS: Duration = Duration::from_secs(1);

/// Why one session of a part is over.
enum Over {
    Released,
    Again,
}

/// What is to be told, for how long, and how far it is.
#[derive(Clone, Copy)]
pub(super) struct Duty<'d> {
    pub shared: &'d Arc<Shared>,
    pub broker: &'d Broker,
    pub unit: &'d Unit,
    pub reached: &'d watch::Sender<Progress>,
    /// Until when the lease holds.
    pub usable: &'d watch::Receiver<Instant>,
}

/// Tells of a part until it is released. Whoever gives it up drops this.
pub(super) async fn serve(duty: Duty<'_>, release: &CancellationToken) {
    while !release.is_cancelled() {
        let Some(there) = release.run_until_cancelled(duty.broker.connected()).await else { return };
        if !there {
            return;
        }
        match Serving::new(duty).run(release).await {
            Over::Released => return,
            Over::Again => _ = release.run_until_cancelled(sleep(FIRST_PAUSE)).await,
        }
    }
}

/// A subscription that is told here.
struct Told {
    since: u64,
    kept: Arc<Kept>,
    topic: Arc<str>,
}

/// A subscription that has ended, until its client was told.
struct Ended {
    since: u64,
    /// What it was, if its hooks do not know yet.
    untold: Option<Arc<Kept>>,
}

type Begun = (Arc<str>, Entered, Duration, Result<(), Error>);

struct Serving<'s> {
    duty: Duty<'s>,
    delivery: Delivery<'s>,
    session: PartSession,
    changes: broadcast::Receiver<Arc<str>>,
    told: HashMap<Arc<str>, Told>,
    waiting: Queue,
    beginning: FuturesUnordered<BoxFuture<'static, Begun>>,
    begins: HashMap<Arc<str>, u64>,
    /// Those whose end is being told: their clients may begin them anew meanwhile.
    ending: HashMap<Arc<str>, Ended>,
    extent: Option<Arc<Extent>>,
    /// The highest revision of the subscriptions that are known here.
    known: u64,
    sampled: Progress,
    /// How far all parts were when it was asked last.
    complete: Complete,
}

impl<'s> std::ops::Deref for Serving<'s> {
    type Target = Duty<'s>;

    fn deref(&self) -> &Duty<'s> {
        &self.duty
    }
}

impl<'s> Serving<'s> {
    fn new(duty: Duty<'s>) -> Self {
        let settings = &duty.shared.settings;
        let mut serving = Self {
            session: duty.shared.hub.join_part(duty.unit.part, settings.max_waiting, settings.max_waiting_bytes),
            // Before all are looked at, so that none is missed.
            changes: duty.shared.roll.changes(),
            delivery: Delivery::new(duty),
            duty,
            told: HashMap::new(),
            waiting: Queue::default(),
            beginning: FuturesUnordered::new(),
            begins: HashMap::new(),
            ending: HashMap::new(),
            extent: None,
            known: 0,
            sampled: duty.reached.borrow().clone(),
            complete: Complete::default(),
        };
        serving.look_at_all();
        serving
    }

    async fn run(mut self, release: &CancellationToken) -> Over {
        let mut batch = Vec::new();
        let mut sample = tokio::time::interval(SAMPLE);
        let mut unheard = tokio::time::interval(UNHEARD);
        loop {
            if let Err(error) = self.begin_next().await {
                debug!(%error, "a part can't be told for now");
                return Over::Again;
            }
            let next = self.waiting.next(|id| !self.begins.contains_key(id));
            let may_begin = self.begins.len() < AT_ONCE;
            let may_take = self.delivery.is_idle();
            tokio::select! {
                biased;
                () = release.cancelled() => return self.finish().await,
                step = self.delivery.step() => match step {
                    Ok(step) => self.stepped(step),
                    Err(_) => return Over::Again,
                },
                changed = self.changes.recv() => match changed {
                    Ok(id) => self.look_at(&id),
                    Err(_) => self.look_at_all(),
                },
                Some(begun) = self.beginning.next() => {
                    self.begun(begun);
                    // Each takes a moment, nothing may be waited for in it, and there can be very many: the lease of this part and
                    // of others has to be renewed meanwhile.
                    yield_now().await;
                }
                taken = self.session.next(&mut batch), if may_take => {
                    if taken.is_err() {
                        debug!(part = self.unit.part.number(), "too much waits for the broker; it is told again from the progress");
                        return Over::Again;
                    }
                    self.take(&mut batch);
                }
                () = wait_until(next), if may_begin => {}
                _ = unheard.tick(), if self.unit.part.is_first() => self.end_unheard(),
                _ = sample.tick() => {
                    self.complete = Complete::of(&self.shared.roll.leases(&self.unit.broker));
                    self.sample();
                }
            }
        }
    }

    /// Ends subscriptions whose clients were not heard for a lifetime, and tells them so.
    fn end_unheard(&mut self) {
        let lifetime = self.shared.settings.lifetime;
        let over = self.told.iter().filter(|(_, told)| told.kept.is_over(lifetime)).map(|(id, _)| Arc::clone(id));
        for id in over.collect::<Vec<_>>() {
            let entered = self.shared.roll.subscription(&id);
            let (Some(told), Some(entered)) = (self.told.get_mut(&id), entered) else { continue };
            // It may have been renewed since.
            told.kept = entered.kept;
            if told.kept.is_over(lifetime) {
                let payload = text::ended(&id, &told.kept, &self.duty.reached.borrow(), Ending::ClientUnheard, None);
                let (topic, since, kept) = (Arc::clone(&told.topic), told.since, Arc::clone(&told.kept));
                self.told.remove(&id);
                self.session.end(&id);
                self.ending.insert(Arc::clone(&id), Ended { since, untold: Some(kept) });
                self.delivery.push(Message { id, topic, payload, says: Says::Ended });
            }
        }
    }

    /// Hands the broker what was taken, waits until it has that, and says how far that is: whoever goes on tells nothing of it again.
    async fn finish(&mut self) -> Over {
        let all = async {
            while let Some(step) = self.delivery.last_step().await {
                match step {
                    Ok(step) => self.stepped(step),
                    Err(_) => return,
                }
            }
            self.sample();
            self.delivery.reach_last();
        };
        _ = timeout(LAST_ACKNOWLEDGEMENTS, all).await;
        Over::Released
    }

    fn stepped(&mut self, step: Step) {
        match step {
            Step::On => {}
            // What was not believed before can be again.
            Step::Paid => self.sampled = self.reached.borrow().clone(),
            Step::Ended(id) => {
                let ended = self.ending.remove(&id);
                let there = self.shared.roll.subscription(&id).map(|there| there.since());
                let since = ended.as_ref().map(|ended| ended.since).or(there);
                if let Some(kept) = ended.and_then(|ended| ended.untold) {
                    self.shared.tell_hooks_of_end(Arc::clone(&id), kept);
                }
                // Its client may have begun it anew.
                if there.is_none() || there == since {
                    self.forget(&id);
                    if let Some(since) = since {
                        self.shared.remove(id, since);
                    }
                }
            }
        }
    }

    fn look_at_all(&mut self) {
        let all = self.shared.roll.of_broker(&self.unit.broker);
        let there: std::collections::HashSet<Arc<str>> = all.iter().map(|(id, _)| Arc::clone(id)).collect();
        let gone: Vec<Arc<str>> =
            self.told.keys().chain(self.waiting.ids()).filter(|id| !there.contains(*id)).map(Arc::clone).collect();
        for id in gone {
            self.forget(&id);
        }
        for (id, entered) in all {
            self.want(&id, &entered);
        }
    }

    fn look_at(&mut self, id: &Arc<str>) {
        match self.shared.roll.subscription(id).filter(|entered| *entered.kept.broker == *self.unit.broker) {
            Some(entered) => self.want(id, &entered),
            None => self.forget(id),
        }
    }

    fn want(&mut self, id: &Arc<str>, entered: &Entered) {
        let since = entered.since();
        self.known = self.known.max(since);
        if let Some(told) = self.told.get(id) {
            if told.since == since && told.kept.roles == entered.kept.roles {
                return;
            }
            self.forget(id);
        }
        if self.begins.get(id) == Some(&since) {
            return;
        }
        let at = Instant::now() + if self.is_answered(entered) { Duration::ZERO } else { ANSWERING };
        self.waiting.insert(Arc::clone(id), Waiting { since, at, pause: FIRST_PAUSE });
    }

    /// Whether its client has been answered, or will not be by whoever was to.
    fn is_answered(&self, entered: &Entered) -> bool {
        let lives =
            |holder: &String| *holder == self.shared.holder || self.shared.roll.lives(holder, self.shared.settings.lease * 2);
        !entered.kept.answering.as_ref().is_some_and(lives)
    }

    fn forget(&mut self, id: &Arc<str>) {
        self.waiting.remove(id);
        if self.told.remove(id).is_some() {
            self.session.end(id);
        }
        if self.delivery.owes_no_more(id) {
            self.sampled = self.reached.borrow().clone();
        }
    }

    /// Begins what can begin now. The bus is asked once for all of it.
    async fn begin_next(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        let room = AT_ONCE.saturating_sub(self.begins.len());
        if self.waiting.is_empty() {
            self.extent = None;
            return Ok(());
        }
        let due = self.waiting.take_due(now, room, |id| !self.begins.contains_key(id));
        if due.is_empty() {
            return Ok(());
        }
        // One that has begun since would be taken for one of which nothing is left.
        let shared = self.duty.shared;
        let begins_later = |extent: &Extent| {
            let mut began = due.iter().filter_map(|(id, _)| Some(shared.roll.subscription(id)?.kept.began.clone()));
            began.any(|began| began.epoch != extent.epoch || began.offset > extent.latest)
        };
        let extent = match self.extent.take().filter(|extent| !begins_later(extent)) {
            Some(extent) => extent,
            None => Arc::new(self.shared.hub.extent().await?),
        };
        self.extent = Some(Arc::clone(&extent));
        for (id, pause) in due {
            let Some(entered) = self.shared.roll.subscription(&id) else { continue };
            if !self.is_answered(&entered) {
                self.want(&id, &entered);
                continue;
            }
            let after = after(&self.reached.borrow(), &entered);
            let (session, extent) = (self.session.clone(), Arc::clone(&extent));
            self.begins.insert(Arc::clone(&id), entered.since());
            self.beginning.push(Box::pin(async move {
                let begun = go_on(&session, &id, &entered.kept, after, &extent).await;
                (id, entered, pause, begun)
            }));
        }
        Ok(())
    }

    fn begun(&mut self, (id, entered, pause, outcome): Begun) {
        self.begins.remove(&id);
        let there = self.shared.roll.subscription(&id);
        let Some(there) = there.filter(|there| there.since() == entered.since()) else {
            // It has ended meanwhile, or was begun anew, which is told apart.
            self.session.end(&id);
            return self.look_at(&id);
        };
        let topic = topic::notify(&self.shared.prefix, &entered.kept.client, &id).into();
        match outcome {
            Ok(()) => {
                let told = Told { since: entered.since(), kept: Arc::clone(&entered.kept), topic };
                self.told.insert(Arc::clone(&id), told);
                self.want(&id, &there);
            }
            Err(error) if !error.code.retryable() && error.code != Code::InternalError && self.unit.part.is_first() => {
                let payload = text::ended(&id, &entered.kept, &self.reached.borrow(), Ending::CatalogChanged, Some(&error));
                self.ending.insert(Arc::clone(&id), Ended { since: entered.since(), untold: None });
                self.delivery.push(Message { id, topic, payload, says: Says::Ended });
            }
            Err(error) => {
                // The extent may be old by then.
                self.extent = None;
                debug!(%error, subscription = &*id, "a subscription can't go on for now");
                let next = (pause * 2).min(LONGEST_PAUSE);
                self.waiting.insert(id, Waiting { since: entered.since(), at: Instant::now() + pause, pause: next });
            }
        }
    }

    fn take(&mut self, batch: &mut Vec<Notification>) {
        for Notification { subscription_id: id, tail } in batch.drain(..) {
            let ends = tail.starts_with(b"\"operation\":\"ended\"");
            let told = self.told.get(&id).map(|told| (Arc::clone(&told.topic), Arc::clone(&told.kept), told.since));
            // What begins at this moment may have something before it is known to have begun.
            let told = told.or_else(|| {
                let entered = self.shared.roll.subscription(&id)?;
                let topic = topic::notify(&self.shared.prefix, &entered.kept.client, &id).into();
                Some((topic, Arc::clone(&entered.kept), entered.since()))
            });
            let Some((topic, kept, since)) = told else { continue };
            if ends {
                self.told.remove(&id);
                self.session.end(&id);
                if !self.unit.part.is_first() {
                    // The first part says so for all. If it does not come to that, it goes on.
                    let at = Instant::now() + LONGEST_PAUSE;
                    self.waiting.insert(id, Waiting { since, at, pause: LONGEST_PAUSE });
                    continue;
                }
            }
            let payload = text::notification(&id, &tail, |told| self.complete.before(told, &kept.began, since));
            let says = if ends { Says::Ended } else { Says::Change };
            if ends {
                self.ending.insert(Arc::clone(&id), Ended { since, untold: None });
            }
            self.delivery.push(Message { id, topic, payload, says });
        }
    }

    /// Notes how far everything is, to be believed when all that was taken before is acknowledged.
    fn sample(&mut self) {
        if !self.delivery.may_reach() {
            return;
        }
        let waiting = self.waiting.first_kept().into_iter().chain(self.begins.values().copied()).min();
        // One that was told before and is not yet again must not be passed.
        if waiting.is_some_and(|since| since <= self.sampled.covers) {
            return;
        }
        let Some(position) = self.session.taken() else { return };
        let known = waiting.map_or(self.known, |since| self.known.min(since.saturating_sub(1)));
        let behind =
            self.sampled.position.as_ref().is_some_and(|last| last.epoch == position.epoch && last.offset > position.offset);
        if behind {
            return;
        }
        let progress = Progress { position: Some(position), covers: known.max(self.sampled.covers) };
        if progress != self.sampled {
            self.sampled = progress.clone();
            self.delivery.push_reached(progress);
        }
    }
}

/// Where a subscription goes on: at the progress if that is of it as well, or where it began.
fn after(progress: &Progress, entered: &Entered) -> Position {
    let began = &entered.kept.began;
    match &progress.position {
        Some(position) if entered.since() <= progress.covers => {
            let is_later = position.epoch != began.epoch || position.offset > began.offset;
            if is_later { position.clone() } else { began.clone() }
        }
        _ => began.clone(),
    }
}

async fn go_on(session: &PartSession, id: &Arc<str>, kept: &Kept, after: Position, extent: &Extent) -> Result<(), Error> {
    let seen = kept.shown(&after);
    let one = GoesOn { id: Arc::clone(id), principal: kept.principal(), asked: kept.asked()?, after, seen };
    session.go_on(one, extent).await
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
