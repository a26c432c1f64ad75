//! One turn over everything: dereference → validate → build → apply → status.
//!
//! The first and the last two steps ask and write; what is between is pure. A turn begins with what is there now and not with
//! what has changed, so that one that was missed or has failed is made up for by the next.

use super::build::{self, Prepared, Undone};
use super::capture::{Captures, Untold};
use super::database::{Look, Looks, Question};
use super::dereference::{Dereferenced, EntityFound, Place, SourceFound};
use super::finalizer::{self, Removal};
use super::handing::Handing;
use super::illegible;
use super::replicas::Replicas;
use super::status::{Applied, serves, statuses};
use super::tell::Teller;
use super::trial::Trials;
use super::validate::{self, JudgedSource, Validated};
use super::verdict::Finding;
use super::watch::{Snapshot, World};
use crate::catalog::scope;
use crate::generation::{self, Generation, Published, Publisher};
use crate::manifest::data_source::CaptureMode;
use crate::manifest::values::Carried;
use crate::manifest::{DataSource, Declared, Manifests};
use crate::store::{self, Bucket};
use kube::{Client, Resource, ResourceExt};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

/// Why a turn has failed; the next one tries again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A fault of the operator itself.
    #[error("{0}")]
    Fault(String),
    /// The API server refuses or can't be reached.
    #[error("the API server: {0}")]
    Cluster(#[from] kube::Error),
    /// The catalog can't be published.
    #[error("the catalog can't be published: {0}")]
    Publishing(#[from] generation::Error),
    /// Some statuses could not be written.
    #[error("{0} statuses could not be written")]
    Statuses(usize),
}

impl Error {
    /// What it is for people who have only their resource: always the same words for the same fault, so that nothing is written
    /// again, and none that could be a secret.
    fn told(&self) -> String {
        match self {
            Error::Publishing(generation::Error::Store(store::Error::Unavailable(_))) => {
                "NATS can't be reached, or does not take it now".to_owned()
            }
            Error::Publishing(error) => error.to_string(),
            Error::Cluster(_) => {
                "the API server refuses what comes before that, or can't be reached; see the operator's log".to_owned()
            }
            Error::Fault(_) | Error::Statuses(_) => "see the operator's log".to_owned(),
        }
    }
}

/// What turns need, and what they know of each other.
pub(super) struct Turns {
    pub(super) client: Client,
    pub(super) world: World,
    pub(super) looks: Looks,
    pub(super) replicas: watch::Receiver<Replicas>,
    pub(super) catalog: Arc<dyn Bucket>,
    pub(super) handing: Handing,
    pub(super) captures: Captures,
    pub(super) trials: Trials,
    pub(super) teller: Teller,
    pub(super) memory: Memory,
}

/// What turns know of each other.
#[derive(Default)]
pub(super) struct Memory {
    /// Whether what stands in NATS was looked at. Nothing is published over it and nothing is told before.
    is_known: bool,
    /// The generation that stands in NATS.
    there: Option<Arc<Generation>>,
    /// The latest that stood there. NATS may have lost it; replicas serve it all the same.
    last: Option<Arc<Generation>>,
    /// How often each source's database was asked for.
    asked: HashMap<String, u64>,
    /// Which question each entity waits for, by its uid and generation.
    waits_for: HashMap<(String, i64), u64>,
}

impl Turns {
    /// Looks at what is published, for the first time or again: somebody else may have published.
    pub(super) async fn recall(&mut self) -> Result<(), Error> {
        let publisher = Publisher::begin(Arc::clone(&self.catalog)).await?;
        self.memory.note(publisher.before().cloned().map(Arc::new));
        self.memory.is_known = true;
        Ok(())
    }

    /// Looks again at what replicas were handed.
    pub(super) async fn look_at_handed(&mut self) -> Result<(), Error> {
        Ok(self.handing.look().await?)
    }

    /// Takes one turn.
    pub(super) async fn take(&mut self) -> Result<(), Error> {
        let recalled = if self.memory.is_known { Ok(()) } else { self.recall().await };
        let replicas = self.replicas.borrow().clone();
        if let Err(error) = self.handing.look_if_lacked(&replicas).await {
            warn!(%error, "the Secret of the databases can't be looked at");
        }
        // dereference
        let snapshot = self.world.snapshot();
        self.trials.catch_up(&snapshot.entities);
        self.ask(&snapshot);
        let mut validated = self.judge(&snapshot, &HashSet::new())?;
        // The databases read the SQL that entities declare, which only a compiled entity can be asked about.
        if self.trials.run(&validated).await {
            validated = self.judge(&snapshot, &HashSet::new())?;
        }
        // build
        let mut prepared = build::build(&validated).map_err(Error::Fault)?;
        // apply: what captures comes before what is captured is served, and who is slow to take it goes out as before
        let (slow, kept) = self.capture(&prepared, &validated).await;
        if !slow.is_empty() {
            validated = self.judge(&snapshot, &slow)?;
            prepared = build::build(&validated).map_err(Error::Fault)?;
        }
        let applied = self.apply(&prepared, &validated, recalled).await.and(kept);
        // status: what is wrong with a resource is told, whatever else has failed
        let told = self.tell(&validated, &prepared, applied.as_ref().err()).await;
        applied.and(told)
    }

    /// When there is something to do though nothing has changed.
    pub(super) fn again_at(&self) -> Option<Instant> {
        self.captures.again_at().into_iter().chain(self.trials.again_at()).min()
    }

    /// Asks about every source's database, and anew where an entity has come or changed.
    fn ask(&mut self, snapshot: &Snapshot) {
        let sources: Vec<Declared<DataSource>> =
            snapshot.sources.iter().map(|source| validate::declared_source(source)).collect();
        let entities: Vec<_> = snapshot.entities.iter().map(|entity| validate::declared_entity(entity)).collect();
        let there: HashSet<(String, i64)> = snapshot.entities.iter().map(|entity| version(&**entity)).collect();
        self.memory.waits_for.retain(|version, _| there.contains(version));
        let mut newly_asked = HashSet::new();
        for (resource, declared) in snapshot.entities.iter().zip(&entities) {
            let (version, source) = (version(&**resource), declared.source_key());
            if self.memory.waits_for.contains_key(&version) {
                continue;
            }
            // One question for all that came together.
            let asked = self.memory.asked.entry(source.clone()).or_default();
            if newly_asked.insert(source) {
                *asked += 1;
            }
            self.memory.waits_for.insert(version, *asked);
        }
        let manifests = Manifests { sources: Vec::new(), entities, policies: Vec::new() };
        let mut looked_at = HashSet::new();
        for (resource, declared) in snapshot.sources.iter().zip(sources) {
            let key = declared.key();
            // Whose consent was taken back is read no more, and what it told is known no more.
            let Ok(secret) = validate::secret(resource, &snapshot.grants, self.handing.own()) else { continue };
            looked_at.insert(key.clone());
            if validate::unsupported(resource).is_some() {
                continue;
            }
            let number = self.memory.asked.get(&key).copied().unwrap_or_default();
            self.looks.ask(&key, Question { scope: scope(&manifests, &key), source: declared, secret, number });
        }
        self.looks.retain(|key| looked_at.contains(key));
    }

    /// Judges everything; sources whose databases are slow to take what captures are held as they are.
    fn judge(&self, snapshot: &Snapshot, slow: &HashSet<String>) -> Result<Validated, Error> {
        let replicas = self.replicas.borrow().clone();
        let sources = snapshot.sources.iter().map(|resource| {
            let key = validate::declared_source(resource).key();
            let look = self.looks.latest(&key);
            let place = self.place(resource, &look, &replicas);
            let handed = || self.handing.latest(&resource.namespace()?, &resource.name_any());
            let handed = if look.url.is_none() { handed() } else { None };
            SourceFound { resource: Arc::clone(resource), look, place, handed, is_held: slow.contains(&key) }
        });
        let entities = snapshot.entities.iter().map(|resource| {
            let source = validate::declared_entity(resource).source_key();
            let waits_for = self.memory.waits_for.get(&version(&**resource)).copied().unwrap_or_default();
            let is_looked_at = self.looks.latest(&source).answered >= waits_for;
            EntityFound { resource: Arc::clone(resource), is_looked_at }
        });
        let found = Dereferenced {
            sources: sources.collect(),
            entities: entities.collect(),
            policies: snapshot.policies.clone(),
            grants: snapshot.grants.clone(),
            own: self.handing.own().clone(),
            illegible: illegible::illegible(&snapshot.unreadable, &self.handing),
            unreadable: snapshot.unreadable.clone(),
            published: self.memory.last.clone(),
            trials: self.trials.known(),
        };
        // validate
        validate::validate(found).map_err(Error::Fault)
    }

    /// Where replicas have a source's URL, or will have it.
    fn place(&self, resource: &DataSource, look: &Look, replicas: &Replicas) -> Option<Place> {
        resource.spec.connection.secret_key_ref.as_ref()?;
        let key = self.handing.key(&resource.namespace()?, &resource.name_any(), look.url.as_ref()?);
        let is_handed = replicas.values().all(|told| told.databases.contains(&key));
        Some(Place { file: self.handing.file(&key), key, is_handed })
    }

    /// Begins to install what captures changes. The sources whose databases have not taken it by now, and what else keeps it back.
    async fn capture(&mut self, prepared: &Prepared, validated: &Validated) -> (HashSet<String>, Result<(), Error>) {
        let captures = prepared.captures.iter().map(|one| one.key.as_str());
        let known: HashSet<&str> = captures.chain(prepared.undone.iter().map(|one| one.key.as_str())).collect();
        self.captures.retain(|key| known.contains(key));
        // What has come to an end makes room for what is to be done next in its database.
        self.gather().await;
        // Before it is known what is published, what would be captured lacks what is kept as it was.
        if !self.memory.is_known {
            return (HashSet::new(), Ok(()));
        }
        let due: Vec<&build::Capture> = prepared.captures.iter().filter(|capture| self.captures.is_due(capture)).collect();
        let mut kept = Ok(());
        for capture in due {
            // Nothing is made for a rival, and nothing of it has to be undone.
            if capture.rival.is_some() {
                self.captures.install(capture, &validated.catalog);
                continue;
            }
            // Before anything is made that has to be undone.
            match finalizer::add(&self.client, &capture.resource).await {
                Ok(()) => self.captures.install(capture, &validated.catalog),
                Err(error) => {
                    // An API server that is away or busy says nothing about the resource.
                    if finalizer::is_refusal(&error) {
                        self.captures.refuse(capture);
                    }
                    kept = kept.and(Err(Error::from(error)));
                }
            }
        }
        self.gather().await;
        let slow = prepared.captures.iter().filter(|capture| !self.captures.is_settled(capture));
        (slow.map(|capture| capture.key.clone()).collect(), kept)
    }

    /// Takes note of what has come of installing and undoing.
    async fn gather(&mut self) {
        for (resource, warning) in self.captures.gather().await {
            self.teller.warn(&resource.object_ref(&()), "CaptureWarning", &warning).await;
        }
    }

    /// Makes it so: hands over URLs, publishes if what is there could be recalled, and undoes capture where it is over. Whatever of
    /// it fails is told in the end, and holds up neither other sources nor their deletion.
    async fn apply(&mut self, prepared: &Prepared, validated: &Validated, recalled: Result<(), Error>) -> Result<(), Error> {
        let mut needed = self.needed();
        // The URL may be in no other place by the time that capture can be undone.
        let undone = prepared.undone.iter().map(|undone| &undone.resource);
        for resource in undone.chain(validated.illegible.iter().map(|one| &one.resource)) {
            needed.extend(self.handing.keys_of(&resource.namespace().unwrap_or_default(), &resource.name_any()));
        }
        // Nor may one be taken back that is only about to be looked at.
        let is_unseen = |source: &&JudgedSource| !source.is_seen() && !source.is_shut();
        for source in validated.sources.iter().filter(is_unseen) {
            needed.extend(self.handing.keys_of(&source.resource.namespace().unwrap_or_default(), &source.resource.name_any()));
        }
        let handed = self.handing.hand(&prepared.urls, &needed).await.map(|_| ()).map_err(Error::from);
        let outcome = match recalled.and(handed) {
            Ok(()) => self.publish(prepared.carried.clone(), validated.declares_nothing()).await,
            Err(error) => Err(error),
        };
        let undone = self.undo(&prepared.undone, outcome.is_ok()).await;
        outcome.and(undone)
    }

    /// Begins to undo capture, and lets go whom it is undone for.
    async fn undo(&mut self, all: &[Undone], is_published: bool) -> Result<(), Error> {
        for undone in all {
            // Replicas that were not told otherwise serve it as captured, until it has waited for long enough.
            if is_published || self.captures.is_late(undone) {
                let untold = self.untold(&undone.key);
                self.captures.undo(undone, &self.handing, untold);
            }
        }
        self.gather().await;
        let mut outcome = Ok(());
        for undone in all {
            if let Some(ended) = self.captures.ended(undone) {
                outcome = outcome.and(self.let_go(undone, ended.left).await);
            }
        }
        self.captures.forget_ended();
        outcome
    }

    /// The URLs that replicas need besides those that are wanted: until all of them serve what is published, every one that
    /// they were handed.
    fn needed(&self) -> BTreeSet<String> {
        if !self.is_served() {
            return self.handing.keys();
        }
        let manifests = self.memory.there.as_ref().and_then(|wanted| wanted.unpack().ok()).unwrap_or_default();
        let files = manifests.sources.iter().filter_map(|source| source.resource.spec.connection.file.as_deref());
        files.filter_map(|file| self.handing.key_of(file)).map(ToOwned::to_owned).collect()
    }

    /// Whether every replica that lives serves what is published.
    fn is_served(&self) -> bool {
        let wanted = self.memory.there.as_ref();
        wanted.is_some_and(|wanted| self.replicas.borrow().values().all(|told| serves(told, wanted.number, wanted)))
    }

    /// Whether changes of a source can still be told: by no replica that serves a catalog which does not capture them. Its relays
    /// have stopped, and whoever writes to the tables meanwhile would add to what waits for ever.
    fn untold(&self, key: &str) -> Untold {
        let manifests = self.memory.there.as_ref().and_then(|wanted| wanted.unpack().ok());
        let is_captured = |source: &Declared<DataSource>| source.resource.spec.capture.mode != CaptureMode::None;
        let is_over = manifests.is_some_and(|manifests| {
            manifests.sources.iter().filter(|source| source.key() == key).all(|source| !is_captured(source))
        });
        if is_over && self.is_served() { Untold::Discarded } else { Untold::Kept }
    }

    /// Publishes what differs from what is there. A catalog without entities is published first only by a cluster without entities, whose
    /// replicas are ready by it: a NATS that has lost the catalog looks the same, and replicas serve on what it had.
    async fn publish(&mut self, carried: Vec<Carried>, declares_nothing: bool) -> Result<(), Error> {
        let wanted = Generation::after(None, carried.clone()).digest;
        let is_bare = carried.iter().all(|one| one.resource["kind"] != "Entity");
        let is_too_early = is_bare && self.memory.there.is_none() && !declares_nothing;
        if is_too_early || self.memory.there.as_ref().is_some_and(|there| there.digest == wanted) {
            return Ok(());
        }
        let publisher = Publisher::begin(Arc::clone(&self.catalog)).await?;
        self.memory.note(publisher.before().cloned().map(Arc::new));
        match publisher.publish(carried).await? {
            Published::Unchanged(_) => {}
            Published::New(generation) => {
                info!(generation = generation.number, resources = generation.manifests.len(), "published");
                self.memory.note(Some(Arc::new(generation)));
            }
        }
        Ok(())
    }

    /// Lets a source go; what is left behind in its database is told.
    async fn let_go(&self, undone: &Undone, left: Option<String>) -> Result<(), Error> {
        let removal = finalizer::remove(&self.client, undone.resource.meta()).await?;
        // One that has changed meanwhile is held still: the change brings another turn, which tries again.
        if let Some(reason) = left
            && removal == Removal::Removed
        {
            let message = format!("what captured changes is left behind in the database: {reason}");
            self.teller.warn(&undone.resource.object_ref(&()), "CaptureLeftBehind", &message).await;
        }
        Ok(())
    }

    async fn tell(&self, validated: &Validated, prepared: &Prepared, failed: Option<&Error>) -> Result<(), Error> {
        if !self.memory.is_known {
            return Ok(());
        }
        let faults = validated
            .sources
            .iter()
            .filter_map(|source| Some((source.key.clone(), self.captures.fault(&source.key)?.to_owned())));
        // Nothing is tried of one that is not to be used at all.
        let is_captured = |source: &JudgedSource| source.resource.spec.capture.mode != CaptureMode::None && !source.is_shut();
        let untried = validated.sources.iter().filter(|source| is_captured(source) && !self.captures.is_tried(&source.key));
        let applied = Applied {
            wanted: self.memory.last.clone(),
            since: self.memory.since(),
            unpublished: failed.map(|error| self.memory.unpublished(&prepared.carried, error)).unwrap_or_default(),
            capture_faults: faults.collect(),
            capture_untried: untried.map(|source| source.key.clone()).collect(),
        };
        let replicas = self.replicas.borrow().clone();
        let now = jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default().to_string();
        match self.teller.tell(statuses(validated, &applied, &replicas, &now)).await {
            0 => Ok(()),
            failed => Err(Error::Statuses(failed)),
        }
    }
}

impl Memory {
    /// Takes note of what stands in NATS. Where that is nothing, what stood there before is known still: it is what replicas serve,
    /// and what resources that are not judged now go out as again.
    fn note(&mut self, there: Option<Arc<Generation>>) {
        self.last = there.clone().or_else(|| self.last.take());
        self.there = there;
    }

    /// Since which generation each resource is what it is, by its origin.
    fn since(&self) -> HashMap<String, u64> {
        let since = |last: &Arc<Generation>| -> Vec<(String, u64)> {
            last.manifests.iter().map(|one| (one.identity(), one.since.unwrap_or(last.number))).collect()
        };
        self.last.iter().flat_map(since).collect()
    }

    /// What of these resources could not be published as it is, by origin, and why.
    fn unpublished(&self, carried: &[Carried], error: &Error) -> HashMap<String, Finding> {
        let there: HashMap<String, &Carried> =
            self.last.iter().flat_map(|last| &last.manifests).map(|one| (one.identity(), one)).collect();
        let is_there = |one: &&Carried| there.get(&one.identity()).is_some_and(|there| there.says_the_same(one));
        let finding = Finding::no("PublishFailed", format!("it could not be published, and is tried again: {}", error.told()));
        carried.iter().filter(|one| !is_there(one)).map(|one| (one.identity(), finding.clone())).collect()
    }
}

fn version(resource: &impl ResourceExt) -> (String, i64) {
    (resource.uid().unwrap_or_default(), resource.meta().generation.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn carried(name: &str) -> Carried {
        let resource = json!({"kind": "Entity", "metadata": {"namespace": "apps", "name": name}});
        Carried { origin: String::new(), resource, table: None, since: None }
    }

    #[test]
    fn what_nats_has_lost_is_known_still() {
        let first = Generation::after(None, vec![carried("items")]);
        let second = Generation::after(Some(&first), vec![carried("items"), carried("tags")]);
        // A leader that has just begun has seen no other one.
        let mut memory = Memory::default();
        memory.note(Some(Arc::new(second)));
        let since = HashMap::from([("Entity apps/items".to_owned(), 1), ("Entity apps/tags".to_owned(), 2)]);
        assert_eq!(memory.since(), since);
        memory.note(None);
        assert!(memory.there.is_none() && memory.last.is_some());
        assert_eq!(memory.since(), since);
        memory.note(Some(Arc::new(first)));
        assert_eq!(memory.since().len(), 1, "what stands there counts");
    }

    #[test]
    fn only_what_is_not_published_as_it_is_is_told_why() {
        let mut memory = Memory::default();
        let changed = Carried { table: Some("another".to_owned()), ..carried("tags") };
        memory.note(Some(Arc::new(Generation::after(None, vec![carried("items"), carried("tags")]))));
        let told = |text: &str| {
            let error = Error::from(generation::Error::from(store::Error::Unavailable(text.to_owned())));
            let mut all: Vec<(String, Finding)> =
                memory.unpublished(&[carried("items"), changed.clone(), carried("orders")], &error).into_iter().collect();
            all.sort_by(|one, other| one.0.cmp(&other.0));
            all
        };
        let first = told("timed out");
        assert_eq!(first.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["Entity apps/orders", "Entity apps/tags"]);
        assert_eq!(first[0].1.reason, "PublishFailed");
        assert_eq!(first, told("no responders"), "whatever the words of the driver are");
    }
}
