//! Every mode of capture, and both kinds of server: what the operator makes in a database, takes away again, and what it says of a
//! database that can't have it.

use super::capturing::{captured, captured_shop, said, triggers};
use super::stage::{Stage, source};
use crate::cluster::until;
use crate::support::database::{Fresh, Kind};
use kube::Api;
use kube::api::DeleteParams;
use resolvespec::database::{Database, Settings};
use serde_json::{Value, json};

async fn run(url: &str, script: &str) {
    let database = Database::connect(&Settings::new("test", url)).await.expect("the database answers");
    database.run_script(script).await.expect("the script runs");
    database.close().await;
}

fn over(secret: &str, engine: &str, mode: &str) -> Value {
    json!({"engine": engine, "connection": {"secretKeyRef": {"name": secret, "key": "url"}}, "capture": {"mode": mode}})
}

/// Applies a source in a mode, sees what the statement counts come, and go with the source.
async fn comes_and_goes(kind: Kind, mode: &str, counted: &'static str, installed: &str) {
    let stage = Stage::new().await;
    let database = Fresh::create(kind).await;
    run(&database.url, "create table coins (id int primary key, name varchar(20))").await;
    stage.secret("bank-database", &database.url).await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.apply("DataSource", "bank", over("bank-database", kind.engine(), mode)).await;
    stage.apply("Entity", "coins", json!({"source": "bank"})).await;
    stage.ready("Entity", "coins").await;
    stage.ready("DataSource", "bank").await;
    until("what captures", async || said(&database.url, counted).await == installed).await;
    assert_eq!(stage.finalizers("bank").await, ["resolvespec.dev/capture"]);
    assert_eq!(stage.condition("DataSource", "bank", "Degraded").await.0, "False");
    stage.delete("DataSource", "bank").await;
    until("the end of the source", async || stage.is_gone("DataSource", "bank").await).await;
    assert_eq!(said(&database.url, counted).await, "0", "nothing of it is left");
    drop((operator, one));
    database.remove().await;
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_postgresql_is_captured() {
    // The publication and the slot.
    let counted = "select to_json((select count(*) from pg_publication)
        + (select count(*) from pg_replication_slots where database = current_database()))";
    comes_and_goes(Kind::Postgres, "wal", counted, "2").await;
}

/// While nobody confirms what it has read, a slot makes the server keep its log.
#[tokio::test(flavor = "multi_thread")]
async fn the_slot_of_a_source_without_entities_moves_on() {
    let stage = Stage::new().await;
    let database = Fresh::create(Kind::Postgres).await;
    run(&database.url, "create table coins (id int primary key)").await;
    stage.secret("bank-database", &database.url).await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.apply("DataSource", "bank", over("bank-database", "postgres", "wal")).await;
    stage.apply("Entity", "coins", json!({"source": "bank"})).await;
    stage.ready("Entity", "coins").await;
    stage.delete("Entity", "coins").await;
    until("not being served", async || one.status_of("coins").await == 404).await;
    run(&database.url, "insert into coins values (1)").await;
    let written = said(&database.url, "select to_json(pg_current_wal_lsn()::text)").await;
    run(&database.url, "insert into coins values (2)").await;
    let position = written.trim_matches('"');
    let confirmed = format!(
        "select to_json(count(*)) from pg_replication_slots
         where database = current_database() and confirmed_flush_lsn >= '{position}'::pg_lsn"
    );
    until("being confirmed", async || said(&database.url, &confirmed).await == "1").await;
    stage.ready("DataSource", "bank").await;

    stage.delete("DataSource", "bank").await;
    until("the end of the source", async || stage.is_gone("DataSource", "bank").await).await;
    let slots = "select to_json(count(*)) from pg_replication_slots where database = current_database()";
    assert_eq!(said(&database.url, slots).await, "0");
    drop((operator, one));
    database.remove().await;
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_writes_is_captured_without_triggers() {
    // Ten for the outbox, and one for each trigger.
    let counted = "select to_json((select 10 * count(*) from pg_tables where tablename = 'resolvespec_outbox')
        + (select count(*) from pg_trigger where tgname like '0_resolvespec_%'))";
    comes_and_goes(Kind::Postgres, "api", counted, "10").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_capture_mariadb() {
    let counted = "select cast(count(*) as char) from information_schema.triggers where trigger_schema = database()";
    comes_and_goes(Kind::Mariadb, "trigger", counted, "3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_sources_of_one_database_the_older_captures() {
    let stage = Stage::new().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    let url = stage.deployment.database_url().to_owned();
    stage.deployment.run_script("create table tags (id int primary key)").await;
    stage.apply("DataSource", "shop", captured()).await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    until("the triggers", async || triggers(&url).await != "0").await;
    let all = triggers(&url).await;
    // Of two that came in one second the name decides.
    stage.secret("twin-database", &url).await;
    stage.apply("DataSource", "twin", over("twin-database", "postgres", "trigger")).await;
    stage.apply("Entity", "tags", json!({"source": "twin"})).await;
    let said = stage.told("DataSource", "twin", "Degraded", "True", "CaptureFailed").await;
    assert!(said.contains(&format!("{}/shop", stage.namespace)) && said.contains("`capture.mode` to none"), "{said}");
    stage.ready("Entity", "tags").await;
    assert_eq!(one.status_of("tags").await, 200, "its entities are served all the same");
    stage.ready("DataSource", "shop").await;

    // An operator that has just begun can't read the older one's Secret, and knows its database from what was handed over.
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    secrets.delete("shop-database", &DeleteParams::default()).await.expect("deleted");
    stage.told("DataSource", "shop", "ResolvedRefs", "False", "SecretNotFound").await;
    operator.leave().await;
    let operator = stage.operator("two");
    until("looking at everything", async || operator.metric("resolvespec_operator_reconciles_total").await >= 5.0).await;
    assert_eq!(stage.condition("DataSource", "twin", "Degraded").await.1, "CaptureFailed");
    assert_eq!((triggers(&url).await, one.status_of("items").await), (all.clone(), 200));

    // The younger one goes, and takes nothing along.
    stage.delete("DataSource", "twin").await;
    until("the end of the younger", async || stage.is_gone("DataSource", "twin").await).await;
    assert_eq!(triggers(&url).await, all);
    stage.delete("DataSource", "shop").await;
    until("the end of the older", async || stage.is_gone("DataSource", "shop").await).await;
    assert_eq!(triggers(&url).await, "0");
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_younger_captures_when_the_older_is_gone() {
    let (stage, operator, one, url) = captured_shop().await;
    stage.deployment.run_script("create table tags (id int primary key)").await;
    stage.apply("DataSource", "twin", captured()).await;
    stage.apply("Entity", "tags", json!({"source": "twin"})).await;
    stage.told("DataSource", "twin", "Degraded", "True", "CaptureFailed").await;
    stage.delete("DataSource", "shop").await;
    until("the end of the older", async || stage.is_gone("DataSource", "shop").await).await;
    stage.told("DataSource", "twin", "Degraded", "False", "AsExpected").await;
    until("its triggers", async || triggers(&url).await != "0").await;
    assert_eq!(stage.finalizers("twin").await, ["resolvespec.dev/capture"]);
    stage.delete("DataSource", "twin").await;
    until("the end of the younger", async || stage.is_gone("DataSource", "twin").await).await;
    assert_eq!(triggers(&url).await, "0");
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_captured_is_told() {
    let stage = Stage::new().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    let role = format!("reader_{}", stage.namespace.replace('-', "_"));
    let mut url = url::Url::parse(stage.deployment.database_url()).expect("a URL");
    stage.deployment.run_script(&format!("create role {role} login password 'reads'; grant select on items to {role}")).await;
    url.set_username(&role).expect("a user");
    url.set_password(Some("reads")).expect("a password");
    stage.secret("shop-database", url.as_str()).await;
    stage.apply("DataSource", "shop", captured()).await;
    stage.apply("Entity", "items", json!({"source": "shop", "operations": {"read": {}}})).await;
    let said = stage.told("DataSource", "shop", "Degraded", "True", "CaptureFailed").await;
    assert!(!said.is_empty() && !said.contains("postgres://"), "{said}");
    stage.ready("Entity", "items").await;
    assert_eq!(one.status_of("items").await, 200, "it is served all the same");
    assert_eq!(triggers(stage.deployment.database_url()).await, "0");
    until("an event", async || stage.times("shop", "CaptureFailed").await > 0).await;

    // One that may is noticed without a touch of the source.
    stage.secret("shop-database", stage.deployment.database_url()).await;
    stage.told("DataSource", "shop", "Degraded", "False", "AsExpected").await;
    until("the triggers", async || triggers(stage.deployment.database_url()).await != "0").await;
    assert_eq!(stage.times("shop", "CaptureFailed").await, 1, "it is told once");
    stage.apply("DataSource", "shop", source()).await;
    until("no triggers", async || triggers(stage.deployment.database_url()).await == "0").await;
    drop((operator, one));
    stage.deployment.run_script(&format!("drop owned by {role}; drop role {role}")).await;
    stage.remove().await;
}
