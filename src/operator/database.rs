//! What databases have: each source's is looked at by a task of its own, so that one that hangs delays no other.
//!
//! A look resolves the URL, connects and introspects. It is taken when somebody asks for a newer one and from time to time,
//! so that drift is found; one that fails is tried again ever more seldom. What a database had stays known while it is
//! away. A URL never gets into what is told.

use crate::auth::Secret;
use crate::catalog::{Facts, Scope, introspect};
use crate::database::Database;
use crate::manifest::{self, DataSource, Declared};
use k8s_openapi::api::core::v1;
use kube::{Api, Client};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::TaskTracker;

/// For one look, from the Secret to the facts.
const LONGEST_LOOK: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// The operator asks little, and nobody waits for it.
const CONNECTIONS: usize = 2;
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);

/// What is asked of one source's database.
#[derive(Clone)]
pub(super) struct Question {
    pub(super) source: Declared<DataSource>,
    pub(super) secret: Option<SecretPlace>,
    pub(super) scope: Scope,
    /// Something newer than every look before is wanted when it grows.
    pub(super) number: u64,
}

/// A key of a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SecretPlace {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) key: String,
}

/// What was found.
#[derive(Clone, Default)]
pub(super) struct Look {
    /// The number of the latest question that this answers.
    pub(super) answered: u64,
    /// Where the database is, with the password; to be handed over, and nowhere else.
    pub(super) url: Option<Secret>,
    pub(super) database: Option<Database>,
    /// What it had when it was last seen.
    pub(super) facts: Option<Arc<Facts>>,
    /// Why it can't be seen now.
    pub(super) fault: Option<Fault>,
}

/// Why a database can't be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The Secret is not there, or lacks the key.
    NoSecret(String),
    /// Whether the Secret is there can't be told, since the API server does not show it now.
    UnreadableSecret(String),
    /// What the Secret holds is no URL of such a database, or the manifest contradicts itself.
    Invalid(String),
    /// The database can't be entered or read.
    Unreachable(String),
}

impl Fault {
    /// What is wrong, for people.
    pub(super) fn message(&self) -> &str {
        match self {
            Fault::NoSecret(message)
            | Fault::UnreadableSecret(message)
            | Fault::Invalid(message)
            | Fault::Unreachable(message) => message,
        }
    }

    /// Whether it is the database itself that can't be used. What is wrong with a Secret is no news to replicas, which were
    /// handed a URL before.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Fault::Unreachable(_))
    }
}

/// The looks at all sources.
pub(super) struct Looks {
    client: Client,
    lookers: HashMap<String, Looker>,
    every: Duration,
    changed: Arc<Notify>,
    tasks: TaskTracker,
}

struct Looker {
    question: watch::Sender<Question>,
    latest: Arc<Mutex<Look>>,
    task: AbortHandle,
}

impl Looks {
    pub(super) fn new(client: Client, every: Duration, changed: Arc<Notify>, tasks: TaskTracker) -> Self {
        Self { client, lookers: HashMap::new(), every, changed, tasks }
    }

    /// Asks about one source; a look is begun if something else is asked than before.
    pub(super) fn ask(&mut self, key: &str, question: Question) {
        if let Some(looker) = self.lookers.get(key) {
            looker.question.send_if_modified(|before| {
                let differs = before.number != question.number || question.is_of_another(before);
                *before = question;
                differs
            });
            return;
        }
        let (sender, receiver) = watch::channel(question);
        let latest = Arc::default();
        let looking = Looking {
            client: self.client.clone(),
            question: receiver,
            latest: Arc::clone(&latest),
            every: self.every,
            changed: Arc::clone(&self.changed),
        };
        let task = self.tasks.spawn(looking.run()).abort_handle();
        self.lookers.insert(key.to_owned(), Looker { question: sender, latest, task });
    }

    /// What is known of a source.
    pub(super) fn latest(&self, key: &str) -> Look {
        let looker = self.lookers.get(key);
        looker.map(|looker| looker.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
    }

    /// Ends the looks at sources that are gone.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.lookers.retain(|key, _| is_there(key));
    }
}

impl Drop for Looker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Question {
    /// Whether it is about another connection or other schemas, so that an answer to the one before says nothing.
    fn is_of_another(&self, before: &Question) -> bool {
        self.source.resource.spec != before.source.resource.spec || self.secret != before.secret || self.scope != before.scope
    }
}

/// One source's task.
struct Looking {
    client: Client,
    question: watch::Receiver<Question>,
    latest: Arc<Mutex<Look>>,
    every: Duration,
    changed: Arc<Notify>,
}

impl Looking {
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let question = self.question.borrow_and_update().clone();
            let failed = self.look(&question).await;
            pause = if failed { pause } else { FIRST_PAUSE };
            let again = Instant::now() + if failed { pause } else { self.every };
            pause = if failed { (pause * 2).min(LONGEST_PAUSE) } else { pause };
            if self.rest(&question, again, failed).await {
                pause = FIRST_PAUSE;
            }
        }
    }

    /// Rests until it is time to look again; whether that is so since something else is asked. A database that is away is not
    /// asked more often because more is asked of it.
    async fn rest(&mut self, asked: &Question, again: Instant, failed: bool) -> bool {
        loop {
            tokio::select! {
                () = sleep_until(again) => return false,
                changed = self.question.changed() => {
                    if changed.is_err() {
                        // Nobody asks any more; the task is about to be ended.
                        return std::future::pending().await;
                    }
                    let question = self.question.borrow_and_update().clone();
                    if !failed || question.is_of_another(asked) {
                        self.question.mark_changed();
                        return true;
                    }
                    self.update(|look| look.answered = question.number);
                }
            }
        }
    }

    /// Looks once; whether that has failed.
    async fn look(&self, question: &Question) -> bool {
        let known = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (database, outcome) = match self.enter(question, &known).await {
            Err(fault) => (None, Err(fault)),
            Ok((url, database)) => {
                let found = timeout(LONGEST_LOOK, introspect(&database, &question.scope)).await;
                let outcome = match found {
                    Ok(Ok(facts)) => Ok(facts),
                    Ok(Err(error)) => Err(Fault::Unreachable(without(&url, &format!("it can't be read: {error}")))),
                    Err(_) => Err(Fault::Unreachable("it does not answer".to_owned())),
                };
                (Some((url, database)), outcome)
            }
        };
        let failed = outcome.is_err();
        self.update(|look| {
            look.answered = question.number;
            if let Some((url, database)) = database {
                look.url = Some(Secret::new(url));
                look.database = Some(database);
            }
            match outcome {
                Ok(facts) => {
                    if look.facts.as_deref() != Some(&facts) {
                        look.facts = Some(Arc::new(facts));
                    }
                    look.fault = None;
                }
                Err(fault) => look.fault = Some(fault),
            }
        });
        failed
    }

    /// The connections, those that are there if they are to the same place.
    async fn enter(&self, question: &Question, known: &Look) -> Result<(String, Database), Fault> {
        let url = self.url(question).await?;
        let problems = |problems: Vec<manifest::Problem>| {
            let reasons: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Fault::Invalid(without(&url, &reasons.join("; ")))
        };
        let mut settings = manifest::connection::settings_at(&question.source, &url).map_err(problems)?;
        settings.max_connections = CONNECTIONS;
        settings.statement_timeout = settings.statement_timeout.min(STATEMENT_TIMEOUT);
        if let Some(database) = known.database.as_ref().filter(|database| *database.settings() == settings) {
            return Ok((url, database.clone()));
        }
        match timeout(LONGEST_LOOK, Database::connect(&settings)).await {
            Ok(Ok(database)) => Ok((url, database)),
            Ok(Err(error)) => Err(Fault::Unreachable(without(&url, &error.to_string()))),
            Err(_) => Err(Fault::Unreachable("it does not answer".to_owned())),
        }
    }

    async fn url(&self, question: &Question) -> Result<String, Fault> {
        let Some(place) = &question.secret else {
            let url = question.source.resource.spec.connection.url.clone();
            return url.ok_or_else(|| Fault::Invalid("the connection names no URL".to_owned()));
        };
        let SecretPlace { namespace, name, key } = place;
        let secrets: Api<v1::Secret> = Api::namespaced(self.client.clone(), namespace);
        let unreadable =
            |error: kube::Error| Fault::UnreadableSecret(format!("the Secret '{namespace}/{name}' can't be read: {error}"));
        let Some(secret) = secrets.get_opt(name).await.map_err(unreadable)? else {
            return Err(Fault::NoSecret(format!("there is no Secret '{namespace}/{name}'")));
        };
        let value = secret.data.as_ref().and_then(|data| data.get(key));
        let Some(value) = value else {
            return Err(Fault::NoSecret(format!("the Secret '{namespace}/{name}' has no key '{key}'")));
        };
        let text = std::str::from_utf8(&value.0).map(str::trim).unwrap_or_default();
        if manifest::connection::is_url_of(question.source.resource.spec.engine, text) {
            return Ok(text.to_owned());
        }
        let engine = question.source.resource.spec.engine.as_str();
        // What it holds is not shown: it can well be a password alone.
        Err(Fault::Invalid(format!("the key '{key}' of the Secret '{namespace}/{name}' holds no URL of {engine}")))
    }

    /// Changes what is known, and tells it if it is news.
    fn update(&self, change: impl FnOnce(&mut Look)) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let before = latest.clone();
        change(&mut latest);
        let same_facts = match (&before.facts, &latest.facts) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (None, None) => true,
            _ => false,
        };
        let same_url = before.url.as_ref().map(Secret::bytes) == latest.url.as_ref().map(Secret::bytes);
        if !same_facts || !same_url || before.fault != latest.fault || before.answered != latest.answered {
            self.changed.notify_one();
        }
    }
}

/// A text without what must not be in it, should a driver tell it.
fn without(url: &str, text: &str) -> String {
    let mut text = text.replace(url, "(the URL)");
    let password = url::Url::parse(url).ok().and_then(|url| url.password().map(ToOwned::to_owned));
    for secret in password.into_iter().filter(|password| !password.is_empty()) {
        let decoded = percent_encoding::percent_decode_str(&secret).decode_utf8_lossy().into_owned();
        text = text.replace(&secret, "(the password)").replace(&decoded, "(the password)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::without;

    #[test]
    fn neither_url_nor_password_is_told() {
        let url = "postgres://me:h%40sh@host/db";
        assert_eq!(without(url, "can't reach postgres://me:h%40sh@host/db"), "can't reach (the URL)");
        assert_eq!(without(url, "wrong password h@sh, or h%40sh"), "wrong password (the password), or (the password)");
    }
}
