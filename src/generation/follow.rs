//! Following the bucket: the wanted generation becomes what is served, or is refused and the last good one stays.
//!
//! A generation that can't be served is tried again from time to time, since the reason can be a database that is away or a
//! table that comes later; what was made while a database was away is looked at again. Where nothing is served yet, the latest good one is taken in the place of one that is refused.

use super::bulletin::{Bulletin, Said};
use super::document::Generation;
use crate::database::Database;
use crate::engine::{Engine, Served};
use crate::load::{self, Looked};
use crate::manifest::Problem;
use crate::readiness::{CatalogState, Readiness};
use crate::store::{self, Bucket};
use crate::telemetry::Metrics;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Before databases that were away are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Follows one bucket for one replica.
pub struct Follower {
    bulletin: Bulletin,
    readiness: Readiness,
    metrics: Metrics,
    served: watch::Sender<Option<Arc<Generation>>>,
    refusal: watch::Sender<Option<Refusal>>,
    refused: Option<Refused>,
    waiting_was_told: bool,
    /// What the databases of what is served had.
    looked: Looked,
    /// When those that were away are looked at again.
    look_at: Option<Instant>,
}

/// What can be served of a generation.
type Made = (Arc<Generation>, Served);

/// What is refused, for others to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The generation's number; none of what is no generation at all.
    pub generation: Option<u64>,
    /// Why.
    pub reason: String,
}

/// What could not be served, and when it is tried again.
struct Refused {
    /// The generation; a text that was none has only the number of its put.
    what: Result<Arc<Generation>, u64>,
    reason: String,
    databases: Vec<String>,
    again_at: Instant,
    pause: Duration,
}

impl Follower {
    /// Begins to watch.
    pub async fn begin(bucket: &dyn Bucket, readiness: Readiness, metrics: Metrics) -> Result<Self, store::Error> {
        let watch = loop {
            match bucket.watch().await {
                Ok(watch) => break watch,
                Err(error @ store::Error::Unusable(_)) => return Err(error),
                Err(error) => warn!(%error, "the catalog can't be watched yet"),
            }
            tokio::time::sleep(FIRST_PAUSE).await;
        };
        let bulletin = Bulletin::new(watch);
        let (served, refusal) = (watch::Sender::new(None), watch::Sender::new(None));
        Ok(Self {
            bulletin,
            readiness,
            metrics,
            served,
            refusal,
            refused: None,
            waiting_was_told: false,
            looked: Looked::default(),
            look_at: None,
        })
    }

    /// Tells which generation is served, as it changes.
    #[must_use]
    pub fn served(&self) -> watch::Receiver<Option<Arc<Generation>>> {
        self.served.subscribe()
    }

    /// Tells what is refused, as it changes.
    #[must_use]
    pub fn refusal(&self) -> watch::Receiver<Option<Refusal>> {
        self.refusal.subscribe()
    }

    /// Waits for the first generation that can be served.
    pub async fn first(&mut self) -> Served {
        loop {
            self.wait().await;
            if let Some((generation, served)) = self.turn(&HashMap::new()).await {
                let entities = served.catalog.entities().len();
                self.accept(generation, entities);
                return served;
            }
            self.tell_state();
        }
    }

    /// Switches the engine to each generation that can be served, until it is dropped.
    pub async fn follow(mut self, engine: &Engine) {
        loop {
            self.wait().await;
            if let Some((generation, served)) = self.turn(&engine.served().databases).await {
                let entities = served.catalog.entities().len();
                engine.switch(served);
                self.metrics.catalog(Some(entities));
                self.accept(generation, entities);
            } else {
                self.tell_state();
            }
        }
    }

    /// Waits until there is something new, or time to try again.
    async fn wait(&mut self) {
        let again = self.refused.as_ref().map(|refused| refused.again_at).into_iter().chain(self.look_at).min();
        let time_to_try = async {
            match again {
                Some(again_at) => sleep_until(again_at).await,
                None => std::future::pending().await,
            }
        };
        let watcher_ended = tokio::select! {
            told = self.bulletin.changed() => !told,
            () = time_to_try => false,
        };
        if watcher_ended {
            // The buckets make lost connections again within the watch, which therefore has no end.
            warn!("watching the catalog has ended; what is served stays until this replica is started again");
            std::future::pending::<()>().await;
        }
    }

    /// What has to be served from now on, if it is something else than before.
    async fn turn(&mut self, known: &HashMap<String, Database>) -> Option<Made> {
        // Whatever becomes of it: what is due is not waited for again.
        let looks_again = self.look_at.take_if(|at| *at <= Instant::now()).is_some();
        let outcome = match self.bulletin.wanted.clone() {
            Said::Nothing => {
                self.refused = None;
                self.tell_waiting();
                None
            }
            Said::Unreadable { reason, revision } => {
                let failure = load::Failure::from(vec![Problem::new(format!("it is no generation: {reason}"))]);
                self.refuse(Err(revision), &failure);
                None
            }
            Said::Generation(wanted) => self.take(wanted, known, looks_again).await,
        };
        match outcome {
            None if self.served.borrow().is_none() => self.fall_back(known).await,
            outcome => outcome,
        }
    }

    async fn take(&mut self, wanted: Arc<Generation>, known: &HashMap<String, Database>, looks_again: bool) -> Option<Made> {
        let now = self.served.borrow().clone();
        if now.as_ref().is_some_and(|now| now.digest == wanted.digest) {
            self.refused = None;
            if now.is_some_and(|now| !now.is(&wanted)) {
                self.served.send_replace(Some(Arc::clone(&wanted)));
            }
            return if looks_again { self.look_again(wanted, known).await } else { None };
        }
        if self.refused.as_ref().is_some_and(|refused| refused.is(&wanted) && Instant::now() < refused.again_at) {
            return None;
        }
        match self.make(&wanted, known).await {
            Ok(served) => {
                self.refused = None;
                Some((wanted, served))
            }
            Err(failure) => {
                self.refuse(Ok(wanted), &failure);
                None
            }
        }
    }

    /// What is served as it has to be by now, if it was made while databases were away that have something else.
    async fn look_again(&mut self, served: Arc<Generation>, known: &HashMap<String, Database>) -> Option<Made> {
        let before = self.looked.clone();
        match self.make(&served, known).await {
            Ok(made) => (!self.looked.has_same(&before)).then_some((served, made)),
            Err(failure) => {
                warn!(generation = served.number, reason = failure.to_string(), "what a database has by now can't be served");
                self.look_at = Some(Instant::now() + LONGEST_PAUSE);
                None
            }
        }
    }

    /// Takes the latest good generation, where nothing is served and the wanted one is refused.
    async fn fall_back(&mut self, known: &HashMap<String, Database>) -> Option<Made> {
        let Said::Generation(good) = self.bulletin.good.clone() else { return None };
        match self.make(&good, known).await {
            Ok(served) => Some((good, served)),
            Err(failure) => {
                warn!(generation = good.number, reason = failure.to_string(), "the last good generation can't be served either");
                None
            }
        }
    }

    async fn make(&mut self, generation: &Generation, known: &HashMap<String, Database>) -> Result<Served, load::Failure> {
        let manifests = generation.unpack()?;
        let made = load::resolve_again(&manifests, known, &mut self.looked, false).await?;
        self.look_at = (!self.looked.is_whole()).then(|| Instant::now() + LOOK_AGAIN);
        Ok(made)
    }

    /// Takes note that a generation is served from now on.
    fn accept(&mut self, generation: Arc<Generation>, entities: usize) {
        info!(generation = generation.number, entities, "a generation of the catalog is served");
        self.served.send_replace(Some(generation));
        self.tell_state();
    }

    fn refuse(&mut self, what: Result<Arc<Generation>, u64>, failure: &load::Failure) {
        let reason = failure.to_string();
        let before = self.refused.take().filter(|before| before.is_same(&what));
        // One that is tried again and again is told once for each reason.
        if before.as_ref().is_none_or(|before| before.reason != reason) {
            let stays = self.served.borrow().as_ref().map(|served| served.number);
            let generation = what.as_ref().ok().map(|generation| generation.number);
            warn!(generation, stays, reason, "a generation of the catalog is refused; it is tried again from time to time");
        }
        self.metrics.catalog(None);
        let pause = before.map_or(FIRST_PAUSE, |before| (before.pause * 2).min(LONGEST_PAUSE));
        let databases = failure.databases.clone();
        self.refused = Some(Refused { what, reason, databases, again_at: Instant::now() + pause, pause });
    }

    fn tell_waiting(&mut self) {
        if !std::mem::replace(&mut self.waiting_was_told, true) {
            match self.served.borrow().as_ref() {
                None => info!("waiting for a catalog: nothing is published yet; `resolvespec publish` does it"),
                Some(served) => warn!(generation = served.number, "the catalog was removed; what is served stays"),
            }
        }
    }

    fn tell_state(&mut self) {
        let wanted = match &self.bulletin.wanted {
            Said::Generation(wanted) => Some(wanted.number),
            Said::Nothing | Said::Unreadable { .. } => None,
        };
        if wanted.is_some() {
            self.waiting_was_told = false;
        }
        let served = self.served.borrow().as_ref().map(|served| served.number);
        let (refused, databases) = self.refused.as_ref().map_or((false, Vec::new()), |refused| (true, refused.databases.clone()));
        self.metrics.generation(wanted, served);
        let refusal = self.refused.as_ref().map(Refused::told);
        self.refusal.send_if_modified(|told| std::mem::replace(told, refusal.clone()) != refusal);
        self.readiness.catalog(CatalogState { wanted, served, refused, databases });
    }
}

impl Refused {
    fn told(&self) -> Refusal {
        Refusal { generation: self.what.as_ref().ok().map(|generation| generation.number), reason: self.reason.clone() }
    }

    fn is(&self, generation: &Generation) -> bool {
        self.what.as_ref().is_ok_and(|what| what.is(generation))
    }

    fn is_same(&self, other: &Result<Arc<Generation>, u64>) -> bool {
        match (&self.what, other) {
            (_, Ok(generation)) => self.is(generation),
            (Err(this), Err(other)) => this == other,
            (Ok(_), Err(_)) => false,
        }
    }
}
