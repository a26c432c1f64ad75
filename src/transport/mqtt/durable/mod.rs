//! Subscriptions over MQTT. A client of a broker is not connected to us, so that what it subscribed to is kept in a bucket and
//! outlives every replica; what happens is told by whoever holds the lease of the record's part.
//!
//! In reading order: `kept` is a subscription in the bucket, `entering` one whose client is being answered, `ending` how it ends, `roll` what one watcher knows of all, `lease` who tells of a part,
//! `keeper` takes and hands over leases, a `tenure` is the time between, `serve` tells, by `delivery`, `waiting` has what is still to begin,
//! `owed` is what a broker did not take of that, and `complete` where a client can go on that has lost it.

mod admin;
mod complete;
mod delivery;
mod ending;
mod entering;
mod keeper;
mod kept;
mod lease;
mod owed;
mod roll;
mod serve;
mod tenure;
mod text;
mod waiting;

pub use admin::router as admin_router;

use super::topic;
use super::{Answer, Broker, Speaker, Subscriptions};
use crate::auth::Principal;
use crate::engine::Engine;
use crate::event::hub::{self, Hub};
use crate::protocol::{Code, Error, Position, Subscribe};
use crate::store::{self, Bucket, Entry};
use crate::telemetry::DurableMetrics;
use crate::transport::message::{self, Subscription};
use bytes::Bytes;
use complete::Complete;
use entering::{Entering, TOLD_AGAIN};
use futures_util::future::{self, BoxFuture};
use keeper::Keeper;
use kept::Kept;
use roll::{Entered, Roll};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// Before it is told again that this replica is there, if that could not be.
const RETRY: Duration = Duration::from_millis(200);

/// Limits and times of durable subscriptions.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a part's lease holds after its last renewal.
    pub lease: Duration,
    /// How long a subscription is kept after its client was heard last.
    pub lifetime: Duration,
    /// Subscriptions of all clients.
    pub max_subscriptions: usize,
    /// Notifications of a part that may wait for the broker.
    pub max_waiting: usize,
    /// Bytes of them.
    pub max_waiting_bytes: usize,
}

impl Settings {
    /// How long the bucket keeps a subscription: long enough for its client to be told of the end before.
    fn kept_for(&self) -> Duration {
        self.lifetime + Duration::from_mins(1)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(3),
            lifetime: Duration::from_hours(7 * 24),
            max_subscriptions: 100_000,
            max_waiting: 100_000,
            max_waiting_bytes: 32 << 20,
        }
    }
}

/// What durable subscriptions are made of.
pub struct Parts {
    /// Who is asked about hooks.
    pub engine: Engine,
    /// What tells.
    pub hub: Hub,
    /// Limits of a connection, which a client has as well.
    pub of_client: hub::Settings,
    /// Where subscriptions are.
    pub bucket: Arc<dyn Bucket>,
    /// Where leases are, and what replicas tell of themselves.
    pub leases: Arc<dyn Bucket>,
    /// The replica's name, for people.
    pub replica: String,
    /// What topics begin with.
    pub prefix: String,
    /// What is counted.
    pub metrics: DurableMetrics,
    /// Limits and times.
    pub settings: Settings,
}

struct Shared {
    parts: Parts,
    /// This process.
    holder: String,
    roll: Roll,
    leaving: CancellationToken,
    tasks: TaskTracker,
    /// Requests are answered while parts are handed over, so the roll is followed for longer.
    over: CancellationToken,
    following: TaskTracker,
}

impl std::ops::Deref for Shared {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

/// Durable subscriptions. Cheap to clone.
#[derive(Clone)]
pub struct Durable(Arc<Shared>);

impl From<Parts> for Durable {
    fn from(parts: Parts) -> Self {
        let (leaving, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (over, following) = (CancellationToken::new(), TaskTracker::new());
        let (holder, roll) = (Uuid::new_v4().to_string(), Roll::new());
        Self(Arc::new(Shared { parts, holder, roll, leaving, tasks, over, following }))
    }
}

impl Durable {
    /// Follows the bucket, and tells of this replica's share of every broker's parts.
    pub fn start(&self, brokers: &[Broker]) {
        let tasks = &self.0.tasks;
        let shared = Arc::clone(&self.0);
        self.0.following.spawn(async move {
            shared.over.run_until_cancelled(shared.roll.follow(&*shared.bucket, &*shared.leases)).await;
        });
        let (shared, all) = (Arc::clone(&self.0), brokers.to_vec());
        tasks.spawn(async move {
            shared.leaving.run_until_cancelled(shared.tell_life(&all)).await;
            // So that nobody waits for this replica; without an answer it is taken for gone a moment later.
            _ = tokio::time::timeout(Duration::from_secs(1), shared.leases.delete(&lease::replica_key(&shared.holder))).await;
        });
        for broker in brokers {
            tasks.spawn(Keeper::new(Arc::clone(&self.0), broker.clone()).run());
        }
    }

    /// Hands every part over, and waits until that is done.
    pub async fn leave(&self) {
        self.0.leaving.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Knows of nothing any more. For when no more requests come.
    pub async fn close(&self) {
        self.0.over.cancel();
        self.0.following.close();
        self.0.following.wait().await;
    }
}

impl Subscriptions for Durable {
    fn subscription(&self, speaker: Speaker, asked: Subscription, message: Bytes) -> BoxFuture<'static, Result<Answer, Error>> {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            match asked {
                Subscription::Subscribe(asked) => shared.subscribe(&speaker, *asked, &message).await,
                Subscription::Unsubscribe { subscription_id } => {
                    shared.unsubscribe(&speaker, &subscription_id).await.map(Answer::from)
                }
                Subscription::UnsubscribeAll => shared.unsubscribe_all(&speaker).await.map(Answer::from),
                Subscription::Acknowledge { .. } => Err(Error::new(
                    Code::InvalidSubscriptionOperation,
                    "there is nothing to acknowledge over MQTT: a notification is told when the broker has it, and the broker keeps it",
                )),
            }
        })
    }

    fn are_of_another(&self, broker: &str, client: &str, principal: &Principal) -> Option<bool> {
        let roll = &self.0.roll;
        roll.is_current().then(|| roll.of_client(broker, client).iter().any(|(_, entered)| !entered.kept.is_of(principal)))
    }

    fn given_up(&self, broker: &str, client: &str, at: Option<u64>) -> BoxFuture<'static, Result<usize, Error>> {
        let (shared, broker, client) = (Arc::clone(&self.0), broker.to_owned(), client.to_owned());
        Box::pin(async move { shared.given_up(&broker, &client, at).await })
    }

    fn heard(&self, broker: &Broker, client: &str, principal: &Principal) {
        let rarely = self.0.settings.lifetime.as_secs() / 8;
        for (id, entered) in self.0.roll.of_client(broker.name(), client) {
            let kept = &entered.kept;
            let is_late = kept::now().saturating_sub(kept.heard) > rarely;
            if kept.is_of(principal) && (is_late || kept.roles != principal.roles) {
                let (shared, principal) = (Arc::clone(&self.0), principal.clone());
                self.0.tasks.spawn(async move { shared.renew(&id, &entered, principal).await });
            }
        }
    }
}

impl Shared {
    async fn subscribe(self: &Arc<Self>, speaker: &Speaker, asked: Subscribe, message: &[u8]) -> Result<Answer, Error> {
        let (broker, client, principal) = (speaker.broker.name(), &*speaker.client, &speaker.principal);
        let id = kept::id(broker, client, principal, message);
        self.make_room(speaker, &id, &asked)?;
        let said = asked.said.clone();
        let says_where = asked.snapshot || asked.resume.is_some();
        let most = speaker.broker.max_payload_bytes().saturating_sub(1024);
        let (mut begun, seen) = self.hub.begin_durable(principal, asked, &id, most).await?;
        let topic = topic::notify(&self.prefix, client, &id);
        let now = kept::now();
        let mut kept = Kept {
            broker: broker.to_owned(),
            client: client.to_owned(),
            subject: principal.subject.clone(),
            roles: principal.roles.clone(),
            claims: principal.claims.clone(),
            schema: begun.schema.clone(),
            entity: begun.entity.clone(),
            said,
            began: begun.position.clone(),
            seen,
            since: None,
            begun: None,
            answering: Some(self.holder.clone()),
            attempt: Some(Uuid::new_v4().as_u64_pair().0),
            created: now,
            heard: now,
        };
        let (key, here) = (kept::key(&id), begun.position.clone());
        // As far as is known before the bucket has said it.
        let mut was_there = self.roll.subscription(&id).is_some();
        loop {
            let there = match self.bucket.get(&key).await {
                Ok(there) => there,
                Err(error) => return Err(self.not_kept(id, kept, was_there, &error)),
            };
            was_there = there.is_some();
            if !says_where {
                begun.position = self.after_told(there.as_ref(), &here);
                kept.began = begun.position.clone();
            }
            let data = message::begun(&begun, Some(("notify_topic", &topic)));
            let (revision, lifetime) = (there.map(|there| there.revision), Some(self.settings.kept_for()));
            let revision = match self.bucket.replace(&key, written(&kept)?, revision, lifetime).await {
                Ok(Some(revision)) => revision,
                // Somebody else may have heard the same message, or may note at this moment that its answer has arrived.
                Ok(None) => continue,
                Err(error) => return Err(self.not_kept(id, kept, was_there, &error)),
            };
            let (bucket, leaving) = (Arc::clone(&self.bucket), self.leaving.clone());
            let kept_for = self.settings.kept_for();
            let entering = Entering { bucket, leaving, kept_for, id, kept, revision, told_again: TOLD_AGAIN };
            return Ok(Answer { data, then: Some(Box::new(move |fate| Box::pin(entering.ends(fate)))) });
        }
    }

    /// Where a subscription begins that does not say where: here, or if it is there already after all that it was told, since
    /// the message by which a client asks can come twice, and what happened in between must not be lost for that.
    fn after_told(&self, there: Option<&Entry>, here: &Position) -> Position {
        let before = there.and_then(|there| {
            let kept: Kept = serde_json::from_slice(&there.value).ok()?;
            Some((kept.since.unwrap_or(there.revision), kept))
        });
        let Some((since, kept)) = before else { return here.clone() };
        Complete::of(&self.roll.leases(&kept.broker)).anew(here, &kept.began, since)
    }

    fn make_room(&self, speaker: &Speaker, id: &str, asked: &Subscribe) -> Result<(), Error> {
        let refuse = |message: String| Err(Error::new(Code::LimitExceeded, message));
        let (bytes, limits) = (asked.said.len(), &self.of_client);
        if bytes > limits.max_subscription_bytes {
            let most = limits.max_subscription_bytes;
            return refuse(format!("the subscription is said in {bytes} bytes, and {most} are allowed; filter by less"));
        }
        let own = self.roll.of_client(speaker.broker.name(), &speaker.client);
        let others = own.iter().filter(|(other, _)| **other != *id);
        // Who the client is, is kept with each of them.
        let needed = bytes + kept::claims_bytes(&speaker.principal.claims);
        let (count, all) = others.fold((0, needed), |(count, all), (_, one)| (count + 1, all + one.said_bytes()));
        if count >= limits.max_subscriptions {
            return refuse(format!("a client may have {} subscriptions; end one", limits.max_subscriptions));
        }
        if all > limits.max_session_bytes {
            let most = limits.max_session_bytes;
            return refuse(format!(
                "the client's subscriptions take {all} bytes with the claims of its token, and {most} are allowed; end one"
            ));
        }
        if count < own.len() {
            return Ok(());
        }
        if self.roll.count() >= self.settings.max_subscriptions {
            return refuse("there are as many subscriptions of all clients as there may be; try again later".to_owned());
        }
        // Some room is left for what others begin at this moment, and for what is written when one ends.
        let most = self.bucket.max_bytes().map_or(usize::MAX, |bytes| usize::try_from(bytes / 4 * 3).unwrap_or(usize::MAX));
        if self.roll.bytes() + needed > most {
            return Err(no_room());
        }
        Ok(())
    }

    /// Keeps a subscription for another lifetime, under what its client may do now.
    async fn renew(&self, id: &str, entered: &Entered, principal: Principal) {
        let (since, heard) = (Some(entered.since()), kept::now());
        let kept = Kept::clone(&entered.kept);
        // What need not be known any more is not kept for another lifetime.
        let seen = kept.shown(&kept.began);
        let kept = Kept { since, heard, seen, roles: principal.roles, claims: principal.claims, ..kept };
        let Ok(text) = written(&kept) else { return };
        let renewed = self.bucket.replace(&kept::key(id), text, Some(entered.revision), Some(self.settings.kept_for())).await;
        if let Err(error) = renewed {
            tracing::warn!(%error, "a subscription can't be kept for longer yet");
        }
    }

    /// Tells again and again that this replica is there, and which brokers it can reach: at once when that changes.
    async fn tell_life(&self, brokers: &[Broker]) {
        let often = self.settings.lease / 3;
        let key = lease::replica_key(&self.holder);
        while !brokers.is_empty() {
            let reach = |broker: &Broker| (broker.clone(), broker.is_connected());
            let reach: Vec<(Broker, bool)> = brokers.iter().map(reach).collect();
            let reached: Vec<&str> = reach.iter().filter(|(_, is)| *is).map(|(broker, _)| broker.name()).collect();
            let value = Bytes::from(json!(reached).to_string());
            let put = self.leases.put(&key, value, Some(self.settings.lease * 4)).await;
            if let Err(error) = put {
                tracing::debug!(%error, "that this replica is there can't be told for now");
                tokio::time::sleep(RETRY).await;
            }
            let changes = reach.iter().map(|(broker, is)| Box::pin(broker.changes(*is)));
            _ = tokio::time::timeout(often, future::select_all(changes)).await;
        }
    }
}

fn written(kept: &Kept) -> Result<Bytes, Error> {
    serde_json::to_vec(kept).map(Bytes::from).map_err(|error| {
        tracing::error!(%error, "a subscription can't be written");
        Error::internal()
    })
}

fn no_room() -> Error {
    Error::new(Code::LimitExceeded, "the subscriptions of all clients take as much room as there is; try again later")
}

fn unreachable(error: &store::Error) -> Error {
    tracing::warn!(%error, "subscriptions can't be reached");
    Error::new(Code::Unavailable, "subscriptions can't be reached now; try again")
}
