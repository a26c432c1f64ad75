//! Installing what captures changes, and undoing it, in the databases themselves, beside the turns.
//!
//! What is there already is left alone. A database that refuses is asked again ever more seldom; one that is gone for good keeps no
//! resource from being deleted. In one database one thing is done at a time.

use super::beside::Beside;
use super::build::{Capture, Undone};
use super::handing::Handing;
use super::validate::is_leaving;
use crate::auth::Secret;
use crate::catalog::Catalog;
use crate::database::{Database, place_of};
use crate::event::capture::setup;
use crate::manifest::{self, DataSource};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use tracing::info;

/// For all statements of one source.
const LONGEST: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(2);
/// How often it is looked at whether everything is there still.
const AGAIN: Duration = Duration::from_mins(1);

/// What was done to each source's database.
pub(super) struct Captures {
    done: HashMap<String, Done>,
    /// What has come to an end of undoing, by the sources' keys, until the turn that has read it is over.
    undone: HashMap<String, Ended>,
    work: Beside<Outcome>,
    /// How long a deletion waits for a database that is away.
    give_up: Duration,
}

/// What came of a piece of work.
enum Outcome {
    Installed(Capture, Result<Vec<String>, String>),
    Undone { undone: Undone, is_late: bool, outcome: Result<(), String> },
}

/// The end of undoing.
pub(super) struct Ended {
    /// Of which resource, since another one can have its name by now.
    uid: Option<String>,
    /// Why something is left behind, if it is.
    pub(super) left: Option<String>,
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

impl Captures {
    pub(super) fn new(give_up: Duration, changed: Arc<Notify>, tasks: TaskTracker) -> Self {
        Self { done: HashMap::new(), undone: HashMap::new(), work: Beside::new(changed, tasks), give_up }
    }

    /// Why a source's changes can't be captured.
    pub(super) fn fault(&self, key: &str) -> Option<&str> {
        self.done.get(key)?.outcome.as_ref().err().map(String::as_str)
    }

    /// Whether there is something to do now, and nothing else is being done in that database.
    pub(super) fn is_due(&self, capture: &Capture) -> bool {
        let done = self.done.get(&capture.key);
        let is_wanted = done.is_none_or(|done| done.fingerprint != capture.fingerprint || Instant::now() >= done.again_at);
        // Of a rival nothing is asked.
        is_wanted && (capture.rival.is_some() || !self.work.is_running(&capture.place()))
    }

    /// Whether it is known what came of it, as it is wanted now.
    pub(super) fn is_settled(&self, capture: &Capture) -> bool {
        self.done.get(&capture.key).is_some_and(|done| done.fingerprint == capture.fingerprint)
    }

    /// Whether it is known how far a source's changes can be captured.
    pub(super) fn is_tried(&self, key: &str) -> bool {
        self.done.contains_key(key)
    }

    /// When something is to be looked at again.
    pub(super) fn again_at(&self) -> Option<Instant> {
        self.done.values().map(|done| done.again_at).min()
    }

    /// Begins to install what is missing.
    pub(super) fn install(&mut self, capture: &Capture, catalog: &Arc<Catalog>) {
        if let Some(rival) = &capture.rival {
            let reason = format!(
                "the DataSource '{rival}' captures the same database, which only one can; set `capture.mode` to none here"
            );
            self.note(capture, Err(reason));
            return;
        }
        self.rest(&capture.key);
        let (place, capture, catalog) = (capture.place(), capture.clone(), Arc::clone(catalog));
        self.work.begin(&place, async move {
            let outcome = match timeout(LONGEST, install(&capture.database, &catalog, &capture.key)).await {
                Ok(outcome) => outcome.map_err(|error| error.to_string()),
                Err(_) => Err(TOO_SLOW.to_owned()),
            };
            Outcome::Installed(capture, outcome)
        });
    }

    /// While something is done, there is nothing to look at: what comes of it begins a turn.
    fn rest(&mut self, key: &str) {
        if let Some(done) = self.done.get_mut(key) {
            done.again_at = Instant::now() + LONGEST;
        }
    }

    /// Takes note of what has come to an end. What there is to know of it and was not told at the last time.
    pub(super) async fn gather(&mut self) -> Vec<(Arc<DataSource>, String)> {
        let mut news = Vec::new();
        for outcome in self.work.gather().await {
            match outcome {
                Outcome::Installed(capture, outcome) => {
                    let before = self.done.get(&capture.key).and_then(|done| done.outcome.as_ref().ok());
                    let is_news = |warning: &&String| !before.is_some_and(|before| before.contains(warning));
                    let warnings = outcome.iter().flatten().filter(is_news);
                    news.extend(warnings.map(|warning| (Arc::clone(&capture.resource), warning.clone())));
                    self.note(&capture, outcome);
                }
                Outcome::Undone { undone, is_late, outcome } => self.note_undone(&undone, is_late, outcome),
            }
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

    /// Begins to undo everything, if it is time to try and nothing else is being done in that database.
    pub(super) fn undo(&mut self, undone: &Undone, handing: &Handing, untold: Untold) {
        if self.undone.contains_key(&undone.key) {
            return;
        }
        if undone.is_shared {
            self.end(undone, None);
            return;
        }
        let is_rest = |done: &Done| done.fingerprint == UNDOING && Instant::now() < done.again_at;
        if self.done.get(&undone.key).is_some_and(is_rest) {
            return;
        }
        let url = undone.url(handing);
        let place = url.as_ref().and_then(Secret::text).map_or_else(|| undone.key.clone(), place_of);
        if self.work.is_running(&place) {
            return;
        }
        let is_late = self.is_late(undone);
        let untold = if is_late { Untold::Discarded } else { untold };
        // From now on it is not known to be installed.
        self.done.retain(|key, done| *key != undone.key || done.fingerprint == UNDOING);
        self.rest(&undone.key);
        let undone = undone.clone();
        self.work.begin(&place, async move {
            let outcome = match timeout(LONGEST, undo(&undone, url, untold)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(TOO_SLOW.to_owned()),
            };
            Outcome::Undone { undone, is_late, outcome }
        });
    }

    fn note_undone(&mut self, undone: &Undone, is_late: bool, outcome: Result<(), String>) {
        let reason = match outcome {
            Ok(()) => {
                info!(source = undone.key, "nothing is captured any more");
                return self.end(undone, None);
            }
            Err(reason) if is_late => return self.end(undone, Some(reason)),
            Err(reason) => reason,
        };
        info!(source = undone.key, reason, "capture can't be undone yet");
        let before = self.done.get(&undone.key).filter(|before| before.fingerprint == UNDOING).map(|before| before.pause);
        let longest = if is_leaving(&*undone.resource) { self.give_up / 4 } else { LONGEST_PAUSE };
        let pause = before.map_or(FIRST_PAUSE, |pause| pause * 2).min(longest.max(FIRST_PAUSE));
        let again_at = Instant::now() + pause;
        self.done.insert(undone.key.clone(), Done { fingerprint: UNDOING, again_at, pause, outcome: Err(reason) });
    }

    /// Takes note that a source need not be held any more; what is left behind.
    fn end(&mut self, undone: &Undone, left: Option<String>) {
        self.done.remove(&undone.key);
        self.undone.insert(undone.key.clone(), Ended { uid: undone.resource.uid(), left });
    }

    /// Whether undoing has come to an end, be it good or bad.
    pub(super) fn ended(&mut self, undone: &Undone) -> Option<Ended> {
        self.undone.remove(&undone.key).filter(|ended| ended.uid == undone.resource.uid())
    }

    /// Forgets what has come to an end: what was not acted upon is undone once more, since its source may be changed by then.
    pub(super) fn forget_ended(&mut self) {
        self.undone.clear();
    }

    /// Forgets sources that nothing is to be done for now.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.done.retain(|key, _| is_there(key));
    }
}

/// What stands in the place of a fingerprint while something is undone.
const UNDOING: u128 = 0;

const TOO_SLOW: &str = "the database did not finish in time";

impl Capture {
    fn place(&self) -> String {
        place_of(&self.database.settings().url)
    }
}

impl Undone {
    /// Where the database is: what its source says, or else what replicas were handed last, since the Secret may have been deleted
    /// together with its source.
    fn url(&self, handing: &Handing) -> Option<Secret> {
        if let Some(database) = &self.database {
            return Some(Secret::new(database.settings().url.clone()));
        }
        let (namespace, name) = (self.resource.namespace().unwrap_or_default(), self.resource.name_any());
        let written = self.resource.spec.connection.url.clone().map(Secret::new);
        written.or_else(|| handing.latest(&namespace, &name))
    }
}

async fn install(database: &Database, catalog: &Catalog, source: &str) -> Result<Vec<String>, setup::Error> {
    let survey = setup::survey(database, catalog, source).await?;
    survey.run(database).await?;
    survey.fit()?;
    Ok(survey.warnings)
}

async fn undo(undone: &Undone, url: Option<Secret>, untold: Untold) -> Result<(), String> {
    let opened;
    let database = if let Some(database) = &undone.database {
        database
    } else {
        opened = open(&undone.resource, url).await?;
        &opened
    };
    let removal = setup::removal(database).await.map_err(|error| error.to_string())?;
    if removal.untold > 0 && untold == Untold::Kept {
        return Err(format!("{} changes wait to be told", removal.untold));
    }
    database.run_all(&removal.statements).await.map_err(|error| error.to_string())
}

async fn open(resource: &DataSource, url: Option<Secret>) -> Result<Database, String> {
    let url = url.as_ref().and_then(Secret::text).ok_or("nothing tells where the database is")?;
    let declared = super::validate::declared_source(resource);
    let settings =
        manifest::connection::settings_at(&declared, url).map_err(|_| "the URL of the database can't be used".to_owned())?;
    Database::connect(&settings).await.map_err(|_| "the database can't be reached".to_owned())
}
