//! WebSocket sessions against a replica in this process: who gets in, what is said, and how it ends.

mod entering;
mod leaving;
mod talking;
mod typescript;

use crate::support::client::{Call, Client};
use crate::support::replica::Running;
use crate::support::session::Session;
use axum::http::Method;
use resolvespec::config::{Config, DevArgs, MqttArgs};
use resolvespec::engine::Hook;
use resolvespec::load;
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MANIFEST: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {name: shop}
spec: {engine: sqlite, connection: {url: 'sqlite:shop.db'}, seed: [seed.sql]}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: items}
spec: {source: shop, limits: {maxRows: 10000}}
";

const SEED: &str = "create table items (id integer primary key, name text); insert into items values (1, 'pen'), (2, 'ink');";

/// A replica over a shop of its own.
struct Shop {
    address: SocketAddr,
    folder: PathBuf,
    running: Running,
}

impl Shop {
    /// `dev` with other settings.
    async fn open(change: impl FnOnce(Config) -> Config, hooks: Vec<Arc<dyn Hook>>) -> Self {
        let folder = crate::support::folder("ws");
        std::fs::write(folder.join("shop.yaml"), MANIFEST).expect("a manifest can be written");
        std::fs::write(folder.join("seed.sql"), SEED).expect("a seed can be written");
        let served = load::load(std::slice::from_ref(&folder), &HashMap::new(), true).await.expect("the manifests are good");
        let config =
            change(Config::dev(&DevArgs { paths: Vec::new(), port: 0, log: "warn".to_owned(), mqtt: MqttArgs::default() }));
        let running = Running::start(&config, served, hooks).await;
        Self { address: running.address, folder, running }
    }

    async fn usual() -> Self {
        Self::open(|config| config, Vec::new()).await
    }

    async fn session(&self) -> Session {
        Session::connect(self.address).await
    }

    /// A page of the replica.
    async fn page(&self, path: &str) -> Value {
        Client::new(self.address).send(&Call::new(Method::GET, path)).await.expect("an answer").body
    }

    /// Waits until a metric has this line.
    async fn counts(&self, line: &str) {
        until(line, async || self.page("/metrics").await.as_str().is_some_and(|text| text.lines().any(|one| one == line))).await;
    }

    /// Begins the end.
    fn end(&mut self) {
        self.running.end();
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
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what} does not come about");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
