//! Requests over MQTT against a real Mosquitto: what is answered and where, who may ask, and what happens when a replica or
//! the broker dies.

mod admission;
mod brokers;
mod coming;
mod entering;
mod hivemq;
mod hooks;
mod killed;
mod late;
mod other_brokers;
mod talking;
mod versions;

use crate::support::client::{Call, Client};
use crate::support::mqtt::{self, OwnMosquitto};
use crate::support::replica::Running;
use axum::http::Method;
use resolvespec::auth::{Authentication, JwtSettings, KeySource, Secret};
use resolvespec::config::{Config, DevArgs, MqttArgs};
use resolvespec::engine::Hook;
use resolvespec::live::Handles;
use resolvespec::load;
use resolvespec::transport::mqtt::Settings;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SECRET: &str = "a secret of the tests that is long enough";

const MANIFEST: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {name: shop}
spec: {engine: sqlite, connection: {url: 'sqlite:shop.db'}, seed: [seed.sql]}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: items}
spec: {source: shop, limits: {maxRows: 100000}}
";

const SEED: &str = "create table items (id integer primary key, name text); insert into items values (1, 'pen'), (2, 'ink');";

/// A replica that takes requests from a broker.
struct Shop {
    prefix: String,
    address: SocketAddr,
    folder: PathBuf,
    running: Running,
}

impl Shop {
    async fn open(url: &str, change: impl FnOnce(Settings) -> Settings) -> Self {
        Self::with(url, Authentication::Anonymous, change).await
    }

    /// One that wants to know who asks.
    async fn guarded(url: &str, change: impl FnOnce(Settings) -> Settings) -> Self {
        let key = KeySource::Secret(Secret::new(SECRET));
        Self::with(url, Authentication::Jwt(JwtSettings::new(key)), change).await
    }

    async fn with(url: &str, authentication: Authentication, change: impl FnOnce(Settings) -> Settings) -> Self {
        Self::hooked(url, authentication, Vec::new(), change).await
    }

    async fn hooked(
        url: &str,
        authentication: Authentication,
        hooks: Vec<Arc<dyn Hook>>,
        change: impl FnOnce(Settings) -> Settings,
    ) -> Self {
        Self::shared(url, (authentication, Handles::memory()), hooks, change).await
    }

    /// One that shares what replicas share.
    async fn shared(
        url: &str,
        (authentication, handles): (Authentication, Handles),
        hooks: Vec<Arc<dyn Hook>>,
        change: impl FnOnce(Settings) -> Settings,
    ) -> Self {
        let prefix = mqtt::prefix();
        let folder = std::env::temp_dir().join(format!("resolvespec-mqtt-{prefix}"));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        std::fs::write(folder.join("shop.yaml"), MANIFEST).expect("a manifest can be written");
        std::fs::write(folder.join("seed.sql"), SEED).expect("a seed can be written");
        let served = load::load(std::slice::from_ref(&folder), &HashMap::new(), true).await.expect("the manifests are good");
        let dev = Config::dev(&DevArgs { paths: Vec::new(), port: 0, log: "warn".to_owned(), mqtt: MqttArgs::default() });
        let settings = change(mqtt::settings(url, &prefix));
        let config = Config { mqtt: Some(settings.clone()), authentication, ..dev };
        let running = Running::sharing(&config, served, hooks, handles).await;
        Self { prefix: settings.prefix, address: running.address, folder, running }
    }

    async fn page(&self, path: &str) -> Value {
        Client::new(self.address).send(&Call::new(Method::GET, path)).await.expect("an answer").body
    }

    /// Whether it says that a broker is lost, though it is ready.
    async fn is_degraded(&self) -> bool {
        let told = self.page("/ready").await;
        assert_eq!(told["ready"], true, "{told}");
        told["degraded"] == json!(["mqtt"])
    }

    async fn close(mut self) {
        self.running.ended().await;
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Asks again until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what} does not come about");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn read(id: &str) -> Value {
    json!({"id": id, "type": "request", "operation": "read", "entity": "items"})
}

fn create(id: &str, name: &str) -> Value {
    json!({"id": id, "type": "request", "operation": "create", "entity": "items", "data": {"name": name}})
}

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or_default()
}

/// How many items have this name.
async fn named(client: &Client, name: &str) -> u64 {
    let filters = json!([{"column": "name", "operator": "eq", "value": name}]);
    let body = json!({"operation": "read", "options": {"filters": filters}});
    let call = Call::post("/api/main/items", &body);
    client.send(&call).await.expect("an answer").body["metadata"]["filtered"].as_u64().expect("a count")
}

fn own_broker(name: &str) -> OwnMosquitto {
    OwnMosquitto::start(&format!("mqtt-{name}"))
}
