//! Installing what captures changes, and undoing it, in the databases themselves.
//!
//! What is there already is left alone. A database that refuses is asked again ever more seldom; one that is gone for good keeps no
//! resource from being deleted.

use super::build::{Capture, Undone};
use super::handing::Handing;
use super::validate::is_leaving;
use crate::catalog::Catalog;
use crate::database::Database;
use crate::event::capture::setup;
use crate::manifest::{self, DataSource};
use futures_util::future::join_all;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// For all statements of one source.
const LONGEST: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(2);
/// How often it is looked at whether everything is there still.
const AGAIN: Duration = Duration::from_mins(1);

/// What was done to each source's database.
pub(super) struct Captures {
    done: HashMap<String, Done>,
    /// How long a deletion waits for a database that is away.
    give_up: Duration,
}

struct Done {
    fingerprint: u128,
    again_at: Instant,
    pause: Duration,
    /// What there is to know, or why it can't be done.
    outcome: Result<Vec<String>, String>,
}

/// What becomes of changes that wait to be told when capture is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untold {
    /// They are waited for: a replica may tell them.
    Kept,
    /// They go: no replica tells them any more, or it was waited long enough.
    Discarded,
}

/// How far undoing has come.
pub(super) enum Undoing {
    /// Nothing is captured any more.
    Over,
    /// It can't be done, and is not waited for any longer; why.
    GivenUp(String),
    /// It is tried again.
    Waiting(String),
}

impl Captures {
    pub(super) fn new(give_up: Duration) -> Self {
        Self { done: HashMap::new(), give_up }
    }

    /// Why a source's changes can't be captured.
    pub(super) fn fault(&self, key: &str) -> Option<&str> {
        self.done.get(key)?.outcome.as_ref().err().map(String::as_str)
    }

    /// Whether there is something to do now.
    pub(super) fn is_due(&self, capture: &Capture) -> bool {
        let done = self.done.get(&capture.key);
        done.is_none_or(|done| done.fingerprint != capture.fingerprint || Instant::now() >= done.again_at)
    }

    /// When something is to be looked at again.
    pub(super) fn again_at(&self) -> Option<Instant> {
        self.done.values().map(|done| done.again_at).min()
    }

    /// Installs what is missing, in all databases at once: one that hangs keeps no other waiting. What there is to know of it
    /// and was not told at the last time.
    pub(super) async fn install(&mut self, due: &[&Capture], catalog: &Catalog) -> Vec<(Arc<DataSource>, String)> {
        let outcomes = join_all(due.iter().map(|capture| installed(capture, catalog))).await;
        let mut news = Vec::new();
        for (capture, outcome) in due.iter().zip(outcomes) {
            let before = self.done.get(&capture.key).and_then(|done| done.outcome.as_ref().ok());
            let is_news = |warning: &&String| !before.is_some_and(|before| before.contains(warning));
            let warnings = outcome.iter().flatten().filter(is_news);
            news.extend(warnings.map(|warning| (Arc::clone(&capture.resource), warning.clone())));
            self.note(capture, outcome);
        }
        news
    }

    /// Takes note that nothing may be made, since nobody would undo it.
    pub(super) fn refuse(&mut self, capture: &Capture) {
        let reason =
            "the API server does not let the operator keep this resource until capture is undone; see the operator's log";
        self.note(capture, Err(reason.to_owned()));
    }

    fn note(&mut self, capture: &Capture, outcome: Result<Vec<String>, String>) {
        let before = self.done.get(&capture.key).filter(|before| before.outcome.is_err()).map(|before| before.pause);
        let pause = before.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE));
        let again_at = Instant::now() + if outcome.is_ok() { AGAIN } else { pause };
        self.done.insert(capture.key.clone(), Done { fingerprint: capture.fingerprint, again_at, pause, outcome });
    }

    /// Whether a deletion has waited for as long as it may.
    pub(super) fn is_late(&self, undone: &Undone) -> bool {
        undone.resource.metadata.deletion_timestamp.as_ref().is_some_and(|since| {
            let waited = Timestamp::now().duration_since(since.0);
            waited.unsigned_abs() >= self.give_up
        })
    }

    /// Undoes everything, if it is time to try.
    pub(super) async fn undo(&mut self, undone: &Undone, handing: &Handing, untold: Untold) -> Undoing {
        if undone.is_shared {
            self.done.remove(&undone.key);
            return Undoing::Over;
        }
        let is_rest = |done: &&Done| done.fingerprint == UNDOING && Instant::now() < done.again_at;
        if let Some(Done { outcome: Err(reason), .. }) = self.done.get(&undone.key).filter(is_rest) {
            return Undoing::Waiting(reason.clone());
        }
        let is_late = self.is_late(undone);
        let untold = if is_late { Untold::Discarded } else { untold };
        let outcome = match timeout(LONGEST, undo(undone, handing, untold)).await {
            Ok(outcome) => outcome,
            Err(_) => Err("the database did not finish in time".to_owned()),
        };
        match outcome {
            Ok(()) => {
                self.done.remove(&undone.key);
                Undoing::Over
            }
            Err(reason) if is_late => {
                self.done.remove(&undone.key);
                Undoing::GivenUp(reason)
            }
            Err(reason) => {
                let before = self.done.get(&undone.key).filter(|before| before.fingerprint == UNDOING).map(|before| before.pause);
                let longest = if is_leaving(&*undone.resource) { self.give_up / 4 } else { LONGEST_PAUSE };
                let pause = before.map_or(FIRST_PAUSE, |pause| pause * 2).min(longest.max(FIRST_PAUSE));
                let again_at = Instant::now() + pause;
                let outcome = Err(reason.clone());
                self.done.insert(undone.key.clone(), Done { fingerprint: UNDOING, again_at, pause, outcome });
                Undoing::Waiting(reason)
            }
        }
    }

    /// Forgets sources that nothing is to be done for now.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.done.retain(|key, _| is_there(key));
    }
}

/// What stands in the place of a fingerprint while something is undone.
const UNDOING: u128 = 0;

async fn installed(capture: &Capture, catalog: &Catalog) -> Result<Vec<String>, String> {
    if let Some(rival) = &capture.rival {
        return Err(format!(
            "the DataSource '{rival}' captures the same database, which only one can; set `capture.mode` to none here"
        ));
    }
    match timeout(LONGEST, install(&capture.database, catalog, &capture.key)).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err("the database did not finish in time".to_owned()),
    }
}

async fn install(database: &Database, catalog: &Catalog, source: &str) -> Result<Vec<String>, setup::Error> {
    let survey = setup::survey(database, catalog, source).await?;
    survey.run(database).await?;
    survey.fit()?;
    Ok(survey.warnings)
}

async fn undo(undone: &Undone, handing: &Handing, untold: Untold) -> Result<(), String> {
    let opened;
    let database = if let Some(database) = &undone.database {
        database
    } else {
        opened = open(undone, handing).await?;
        &opened
    };
    let removal = setup::removal(database).await.map_err(|error| error.to_string())?;
    if removal.untold > 0 && untold == Untold::Kept {
        return Err(format!("{} changes wait to be told", removal.untold));
    }
    database.run_all(&removal.statements).await.map_err(|error| error.to_string())
}

/// The database at the URL that replicas were handed last: the Secret may have been deleted together with its source.
async fn open(undone: &Undone, handing: &Handing) -> Result<Database, String> {
    let resource = &undone.resource;
    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    let handed = handing.latest(&namespace, &name);
    let handed = handed.as_ref().and_then(|url| url.text());
    let url = resource.spec.connection.url.as_deref().or(handed).ok_or("nothing tells where the database is")?;
    let declared = super::validate::declared_source(resource);
    let settings =
        manifest::connection::settings_at(&declared, url).map_err(|_| "the URL of the database can't be used".to_owned())?;
    Database::connect(&settings).await.map_err(|_| "the database can't be reached".to_owned())
}
