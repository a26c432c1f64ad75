//! Live changes end to end: a plain SQL connection writes, a WebSocket client is told, on all three databases.

mod away;
mod beginning;
mod counting;
mod differing;
mod filtering;
mod heard;
mod hooks;
mod idle;
mod keeping;
mod lagging;
mod losing;
mod owning;
mod panicking;
mod sessions;
mod switching;
mod typescript;
mod uncaptured;

use crate::support::client::{Call, Client};
use crate::support::database::{Fresh, Kind};
use crate::support::server::load_captured;
use crate::support::session::{Session, handshake};
use axum::http::Method;
use resolvespec::config::{Config, DevArgs, MqttArgs};
use resolvespec::database::{Database, Settings};
use resolvespec::engine::{Engine, Hook, Served};
use resolvespec::event::bus::Bus;
use resolvespec::event::capture::setup;
use resolvespec::live::Handles;
use resolvespec::serve::bind_with;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// The source that support's manifests declare.
const SOURCE: &str = "conformance";

const SCHEMA: &str = "create table items (id integer primary key, name varchar(100), kind varchar(20), stock integer);
create table boxes (id integer primary key, size integer);";

const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: items}
spec: {source: conformance}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: boxes}
spec: {source: conformance, limits: {maxRows: 5000}}
";

/// Replicas over a database that is captured, with another program that writes to it.
pub(crate) struct Stage {
    kind: Kind,
    mode: &'static str,
    fresh: Fresh,
    handles: Handles,
    /// Another program: connections of its own, of which the replicas know nothing.
    writer: Database,
    /// The first replica.
    pub(crate) first: Replica,
}

/// How long its end may take.
const DEADLINE: Duration = Duration::from_mins(2);

/// A replica that serves.
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    engine: Engine,
    end: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Replica {
    async fn start(config: &Config, served: Served, hooks: Vec<Arc<dyn Hook>>, handles: Handles) -> Self {
        let replica = bind_with(config, served, hooks, handles).await.expect("a port is free");
        let (address, engine) = (replica.address(), replica.engine().clone());
        let (end, ended) = oneshot::channel::<()>();
        let task = TaskTracker::new().spawn(async move {
            let until = async {
                _ = ended.await;
                Ok(())
            };
            replica.run(until).await.expect("the replica serves to its end");
        });
        Self { address, engine, end: Some(end), task }
    }

    /// Begins the end.
    pub(crate) fn end(&mut self) {
        drop(self.end.take());
    }

    pub(crate) async fn stop(mut self) {
        self.end();
        self.ended().await;
    }

    /// Waits for the end.
    async fn ended(self) {
        timeout(DEADLINE, self.task).await.expect("it ends in time").expect("the replica did not panic");
    }
}

/// The settings of a replica for tests.
pub(crate) fn config() -> Config {
    let dev = Config::dev(&DevArgs { paths: Vec::new(), port: 0, log: "warn".to_owned(), mqtt: MqttArgs::default() });
    // Clients that nobody listens to any more do not say goodbye.
    Config { drain_time: Duration::from_millis(200), ..dev }
}

impl Stage {
    pub(crate) async fn open(kind: Kind) -> Self {
        Self::with(kind, |config| config, Vec::new()).await
    }

    pub(crate) async fn with(kind: Kind, change: impl FnOnce(Config) -> Config, hooks: Vec<Arc<dyn Hook>>) -> Self {
        Self::on(kind, Handles::memory(), change(config()), hooks).await
    }

    /// Over a bus of the test's own.
    async fn over(kind: Kind, bus: impl Bus) -> Self {
        Self::on(kind, Handles { bus: Arc::new(bus), ..Handles::memory() }, config(), Vec::new()).await
    }

    /// Whose changes PostgreSQL's log tells.
    async fn by_the_log() -> Self {
        Self::captured(Kind::Postgres, "wal", Handles::memory(), config(), Vec::new()).await
    }

    pub(crate) async fn on(kind: Kind, handles: Handles, config: Config, hooks: Vec<Arc<dyn Hook>>) -> Self {
        Self::captured(kind, "trigger", handles, config, hooks).await
    }

    async fn captured(kind: Kind, mode: &'static str, handles: Handles, config: Config, hooks: Vec<Arc<dyn Hook>>) -> Self {
        let fresh = Fresh::create(kind).await;
        let served = load_captured(kind, &fresh, SCHEMA, ENTITIES, mode).await;
        install(&served).await;
        let writer = Database::connect(&Settings::new("writer", &fresh.url)).await.expect("the database answers");
        let first = Replica::start(&config, served, hooks, handles.clone()).await;
        Self { kind, mode, fresh, handles, writer, first }
    }

    /// Another replica over the same database and the same handles.
    pub(crate) async fn another(&self, config: Config) -> Replica {
        self.another_with(config, ENTITIES).await
    }

    /// The same with a catalog of its own.
    async fn another_with(&self, config: Config, entities: &str) -> Replica {
        let served = load_captured(self.kind, &self.fresh, "", entities, self.mode).await;
        Replica::start(&config, served, Vec::new(), self.handles.clone()).await
    }

    /// Runs plain SQL as another program.
    pub(crate) async fn run(&self, sql: &str) {
        self.writer.run_script(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    pub(crate) async fn session(&self) -> Session {
        Session::connect(self.first.address).await
    }

    /// A page of the replica.
    pub(crate) async fn page(&self, path: &str) -> Value {
        Client::new(self.first.address).send(&Call::new(Method::GET, path)).await.expect("an answer").body
    }

    /// Waits until a metric has this value.
    pub(crate) async fn counts(&self, metric: &str, value: u64) {
        let line = format!("{metric} {value}");
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let page = self.page("/metrics").await;
            let text = page.as_str().expect("metrics are a text");
            if text.lines().any(|one| one == line) {
                return;
            }
            let now: Vec<&str> = text.lines().filter(|one| one.starts_with(metric)).collect();
            assert!(Instant::now() < deadline, "{line} does not come about: {now:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn close(self) {
        self.first.stop().await;
        self.writer.close().await;
        self.fresh.remove().await;
    }
}

/// Installs capture for everything that is served.
async fn install(served: &Served) {
    let database = &served.databases[SOURCE];
    let survey = setup::survey(database, &served.catalog, SOURCE).await.expect("the database can be surveyed");
    survey.run(database).await.expect("capture can be installed");
}

/// Subscribes and answers the `data`, or the error.
async fn subscribe(session: &mut Session, entity: &str, options: Value) -> Result<Value, Value> {
    let asked = json!({"id": "s", "type": "subscription", "operation": "subscribe", "entity": entity, "options": options});
    let answer = session.ask(&asked).await;
    assert_eq!((&answer["id"], &answer["type"]), (&json!("s"), &json!("response")), "the answer comes first: {answer}");
    if answer["success"] == true { Ok(answer["data"].clone()) } else { Err(answer["error"].clone()) }
}

async fn subscribed(session: &mut Session, entity: &str, options: Value) -> Value {
    subscribe(session, entity, options).await.unwrap_or_else(|error| panic!("{error}"))
}

/// The next notification.
async fn told(session: &mut Session) -> Value {
    let message = session.hear().await;
    assert_eq!(message["type"], "notification", "{message}");
    message
}

/// What happened, to what, and why, of the next notification.
async fn brief(session: &mut Session) -> (String, Value, Value) {
    let message = told(session).await;
    (message["operation"].as_str().expect("a word").to_owned(), message["data"].clone(), message["reason"].clone())
}

/// Connects with a session, and answers what is said of it.
async fn come_back(replica: &Replica, session: &Value) -> (Session, Value) {
    let query = format!("?session={}", session.as_str().expect("a session is a text"));
    let mut client = Session::enter(handshake(replica.address, &query, &[])).await.expect("it is let in");
    let first = client.hear().await;
    assert_eq!(first["type"], "session", "{first}");
    (client, first)
}

pub(crate) fn eq(column: &str, value: impl Into<Value>) -> Value {
    json!({"column": column, "operator": "eq", "value": value.into()})
}

/// One test on each database.
macro_rules! on_all {
    ($($name:ident)*) => {$(
        mod $name {
            use crate::support::database::Kind;

            #[tokio::test(flavor = "multi_thread")]
            async fn on_postgres() {
                super::$name(Kind::Postgres).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_mariadb() {
                super::$name(Kind::Mariadb).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_sqlite() {
                super::$name(Kind::Sqlite).await;
            }
        }
    )*};
}
pub(crate) use on_all;
