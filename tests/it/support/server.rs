//! The real replica in this process, over a database and manifests.

use super::client::Client;
use super::database::{Fresh, Kind};
use super::replica::Running;
use resolvespec::catalog::{compile, introspect, scope};
use resolvespec::config::{Config, DevArgs, MqttArgs};
use resolvespec::database::Database;
use resolvespec::engine::{Engine, Hook, Observe, Served};
use resolvespec::manifest::{Problem, read, settings};
use resolvespec::observed::Observed;
use resolvespec::telemetry::Metrics;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// The largest body that test replicas take.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;

/// A replica that serves until it is stopped.
pub(crate) struct Server {
    pub client: Client,
    database: Fresh,
    running: Running,
}

impl Server {
    /// Makes a database, fills it, and serves the entities over it; they name the source `conformance`.
    pub(crate) async fn start(kind: Kind, script: &str, entities: &str) -> Self {
        let fresh = Fresh::create(kind).await;
        Self::over(kind, fresh, script, entities, Vec::new()).await
    }

    /// The same with other settings.
    pub(crate) async fn configured(kind: Kind, script: &str, entities: &str, change: impl FnOnce(Config) -> Config) -> Self {
        let fresh = Fresh::create(kind).await;
        let served = load(kind, &fresh, script, entities).await;
        Self::run(fresh, served, Vec::new(), change(settings_of_tests())).await
    }

    /// Serves a database that may have rows already, with hooks.
    pub(crate) async fn over(kind: Kind, fresh: Fresh, script: &str, entities: &str, hooks: Vec<Arc<dyn Hook>>) -> Self {
        let served = load(kind, &fresh, script, entities).await;
        Self::run(fresh, served, hooks, settings_of_tests()).await
    }

    async fn run(fresh: Fresh, served: Served, hooks: Vec<Arc<dyn Hook>>, config: Config) -> Self {
        let running = Running::start(&config, served, hooks).await;
        Self { client: Client::new(running.address), database: fresh, running }
    }

    /// Where the database is.
    pub(crate) fn url(&self) -> &str {
        &self.database.url
    }

    /// What answers.
    pub(crate) fn engine(&self) -> &Engine {
        &self.running.engine
    }

    /// Stops the replica and removes its database.
    pub(crate) async fn stop(mut self) {
        drop(self.client);
        self.running.ended().await;
        self.database.remove().await;
    }
}

fn settings_of_tests() -> Config {
    let args = DevArgs { paths: Vec::new(), port: 0, log: "warn".to_owned(), mqtt: MqttArgs::default() };
    // A body beyond this still fits into the socket's buffers, so the refusal can be read.
    Config { max_body_bytes: MAX_BODY_BYTES, ..Config::dev(&args) }
}

/// Fills a database and compiles the entities over it; they name the source `conformance`.
pub(crate) async fn load(kind: Kind, fresh: &Fresh, script: &str, entities: &str) -> Served {
    load_captured(kind, fresh, script, entities, "trigger").await
}

/// The same with a capture mode.
pub(crate) async fn load_captured(kind: Kind, fresh: &Fresh, script: &str, entities: &str, mode: &str) -> Served {
    let source = format!(
        "apiVersion: resolvespec.dev/v1alpha1\nkind: DataSource\nmetadata: {{name: conformance}}\n\
         spec: {{engine: {}, connection: {{env: DATABASE}}, pool: {{maxConnections: 4}},\n  \
         capture: {{mode: {mode}}}}}\n---\n",
        kind.engine()
    );
    let manifests = told(read::text(Path::new("manifests.yaml"), &format!("{source}{entities}")));
    let source = manifests.sources.first().expect("the source is declared above");
    let connection = told(settings(source, |_| Some(fresh.url.clone())));
    let database = Database::connect(&connection).await.expect("the test's database answers");
    if !script.is_empty() {
        database.run_script(script).await.unwrap_or_else(|error| panic!("{} refuses the schema: {error}", kind.name()));
    }
    let facts = introspect(&database, &scope(&manifests, &source.key())).await.expect("the test's database can be read");
    let facts = HashMap::from([(source.key(), facts)]);
    let catalog = told(compile::compile(&manifests, &facts, &compile::Settings::default()));
    Served { catalog, databases: HashMap::from([(source.key(), database)]) }
}

fn told<T>(outcome: Result<T, Vec<Problem>>) -> T {
    outcome.unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    })
}

/// For engines whose metrics nobody asks for.
pub(crate) fn unobserved() -> Arc<dyn Observe> {
    Arc::new(Observed(Metrics::new().expect("metrics have names of their own")))
}
