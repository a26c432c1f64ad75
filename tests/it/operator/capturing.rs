//! Capture is installed where it is asked for and undone with its source, and a database that is gone holds nothing up.

use super::stage::{Operator, Stage, source};
use crate::cluster::deployment::Replica;
use crate::cluster::until;
use crate::support::database::Kind;
use crate::support::own::Own;
use resolvespec::database::{Database, Settings, Statement};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::task::TaskTracker;

const TRIGGERS: &str = "select to_json(count(*)) from pg_trigger where tgname like '0_resolvespec_%'";

const OUTBOX: &str = "select to_json(count(*)) from resolvespec_outbox";

/// What one statement says.
pub(super) async fn said(url: &str, statement: &str) -> String {
    let database = Database::connect(&Settings::new("test", url)).await.expect("the database answers");
    let said = database.fetch_texts(Statement::new(statement.to_owned())).await.expect("the database answers").concat();
    database.close().await;
    said
}

pub(super) async fn triggers(url: &str) -> String {
    said(url, TRIGGERS).await
}

pub(super) fn captured() -> Value {
    let mut spec = source();
    spec["capture"] = json!({"mode": "trigger"});
    spec
}

/// A shop whose changes are captured and whose items are served: by whom, and where its database is.
pub(super) async fn captured_shop() -> (Stage, Operator, Replica, String) {
    let stage = Stage::new().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    let url = stage.deployment.database_url().to_owned();
    stage.apply("DataSource", "shop", captured()).await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    until("the triggers", async || triggers(&url).await != "0").await;
    (stage, operator, one, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn capture_comes_and_goes_with_its_source() {
    let (stage, operator, one, url) = captured_shop().await;
    let all = triggers(&url).await;
    assert_eq!(stage.finalizers("shop").await, ["resolvespec.dev/capture"]);

    // A new table is captured too.
    stage.deployment.run_script("create table tags (id int primary key)").await;
    stage.apply_entity("tags").await;
    stage.ready("Entity", "tags").await;
    until("more triggers", async || triggers(&url).await > all).await;

    stage.delete("DataSource", "shop").await;
    until("the end of the source", async || stage.api("DataSource").get_opt("shop").await.expect("an answer").is_none()).await;
    assert_eq!(triggers(&url).await, "0");
    let said = stage.told("Entity", "items", "ResolvedRefs", "False", "DataSourceNotFound").await;
    assert!(said.contains("'shop'"), "{said}");
    until("not being served", async || one.status_of("items").await == 404).await;
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_that_is_taken_away_takes_its_triggers_along() {
    let (stage, operator, one, url) = captured_shop().await;
    let mut spec = source();
    spec["capture"] = json!({"mode": "none"});
    stage.apply("DataSource", "shop", spec).await;
    until("no triggers", async || triggers(&url).await == "0").await;
    until("no finalizer", async || stage.finalizers("shop").await.is_empty()).await;
    stage.ready("Entity", "items").await;
    assert_eq!(one.status_of("items").await, 200);
    drop((operator, one));
    stage.remove().await;
}

/// Somebody has to relay what is written down, or it fills the database's disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_entities_is_relayed_until_it_is_undone() {
    let (stage, operator, one, url) = captured_shop().await;
    stage.delete("Entity", "items").await;
    until("not being served", async || one.status_of("items").await == 404).await;
    stage.deployment.run_script("insert into items select n, 'pen' from generate_series(2, 500) n").await;
    until("an empty outbox", async || said(&url, OUTBOX).await == "0").await;
    stage.ready("DataSource", "shop").await;
    assert_ne!(triggers(&url).await, "0", "or this tries nothing");

    // Nor is it left by replicas that come later.
    let two = stage.replica("two");
    until("another replica", async || two.is_ready().await).await;
    drop(one);
    stage.deployment.run_script("delete from items where id > 1").await;
    until("an empty outbox", async || said(&url, OUTBOX).await == "0").await;

    stage.delete("DataSource", "shop").await;
    until("the end of the source", async || stage.is_gone("DataSource", "shop").await).await;
    assert_eq!(triggers(&url).await, "0");
    assert_eq!(stage.times("shop", "CaptureLeftBehind").await, 0);
    drop((operator, two));
    stage.remove().await;
}

/// Nobody relays for one that is not to be used at all.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_that_nobody_consents_to_has_captured_is_undone() {
    let (stage, operator, one, url) = captured_shop().await;
    let mut spec = captured();
    spec["connection"]["secretKeyRef"]["namespace"] = json!("elsewhere");
    stage.apply("DataSource", "shop", spec).await;
    stage.told("DataSource", "shop", "ResolvedRefs", "False", "RefNotPermitted").await;
    until("not being served", async || one.status_of("items").await == 404).await;
    until("no triggers", async || triggers(&url).await == "0").await;
    until("no finalizer", async || stage.finalizers("shop").await.is_empty()).await;
    until("no trace of undoing", async || stage.condition("DataSource", "shop", "Degraded").await.1 != "CaptureFailed").await;
    // One that is mended captures again.
    stage.apply("DataSource", "shop", captured()).await;
    stage.ready("Entity", "items").await;
    until("the triggers", async || triggers(&url).await != "0").await;
    stage.delete("DataSource", "shop").await;
    until("the end of the source", async || stage.is_gone("DataSource", "shop").await).await;
    drop((operator, one));
    stage.remove().await;
}

/// No relay tells what writers go on to add, and nobody can be told: it keeps nothing from being undone.
#[tokio::test(flavor = "multi_thread")]
async fn a_mode_that_is_taken_away_from_a_busy_table_takes_its_triggers_along() {
    let (stage, operator, one, url) = captured_shop().await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = TaskTracker::new().spawn({
        let (stop, url) = (Arc::clone(&stop), url.clone());
        async move {
            let database = Database::connect(&Settings::new("writer", &url)).await.expect("the database answers");
            while !stop.load(Ordering::Relaxed) {
                database.run_script("update items set name = 'again' where id = 1").await.expect("it is written");
            }
            database.close().await;
        }
    });
    let mut spec = source();
    spec["capture"] = json!({"mode": "none"});
    stage.apply("DataSource", "shop", spec).await;
    until("no triggers", async || triggers(&url).await == "0").await;
    until("no finalizer", async || stage.finalizers("shop").await.is_empty()).await;
    stop.store(true, Ordering::Relaxed);
    writer.await.expect("the writer does not panic");
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_gone_does_not_keep_its_source() {
    let stage = Stage::new().await;
    let own = Own::start(Kind::Postgres, "gone");
    let url = own.database().await;
    let database = Database::connect(&Settings::new("test", &url)).await.expect("the database answers");
    database.run_script("create table items (id int primary key)").await.expect("the script runs");
    database.close().await;
    stage.secret("shop-database", &url).await;
    let operator = stage.operator_with("one", &["--give-up-seconds", "3"]);
    stage.apply("DataSource", "shop", captured()).await;
    stage.apply_entity("items").await;
    until("the triggers", async || triggers(&url).await != "0").await;
    own.kill();
    stage.delete("DataSource", "shop").await;
    until("the end of the source", async || stage.api("DataSource").get_opt("shop").await.expect("an answer").is_none()).await;
    until("an event", async || stage.times("shop", "CaptureLeftBehind").await == 1).await;
    drop(operator);
    stage.remove().await;
}
