//! Resources at rest are left alone, those that are served and those that can't be.

use super::capturing::captured;
use super::stage::Stage;
use crate::cluster::until;
use futures_util::{StreamExt, stream};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

const ENTITIES: usize = 500;
/// What is wrong with one thing or another.
const FAULTY: usize = 9;

/// Resources with whatever can be wrong with one, each told what it is: a table, a source, a Secret and a database that are not
/// there, a path and a database that are an older one's, relations that lead nowhere, a policy that can't be read.
async fn faulty(stage: &Stage) {
    stage.deployment.run_script("create table astray (id int primary key)").await;
    stage.secret("away-database", "postgres://nobody:nothing@127.0.0.1:1/none").await;
    stage.secret("twin-database", stage.deployment.database_url()).await;
    let over = |secret: &str, mode: &str| {
        let connection = json!({"secretKeyRef": {"name": secret, "key": "url"}});
        json!({"engine": "postgres", "connection": connection, "capture": {"mode": mode}, "pool": {"maxConnections": 4}})
    };
    stage.apply("DataSource", "poor", over("no-database", "none")).await;
    stage.apply("DataSource", "away", over("away-database", "none")).await;
    stage.apply("DataSource", "twin", over("twin-database", "trigger")).await;
    stage.apply("Entity", "missing", json!({"source": "shop"})).await;
    stage.apply("Entity", "lost", json!({"source": "bank"})).await;
    stage.apply("Entity", "second", json!({"source": "shop", "table": "astray", "name": "t0"})).await;
    stage.apply("Entity", "waiting", json!({"source": "away"})).await;
    let relation = json!([{"name": "nowhere", "kind": "belongsTo", "target": "nothing"}]);
    stage.apply("Entity", "astray", json!({"source": "shop", "relations": relation})).await;
    stage.apply("AccessPolicy", "wrong", json!({"entity": "t0", "filter": "row.nothing == 1"})).await;
    for (kind, name, condition, status, reason) in [
        ("DataSource", "poor", "ResolvedRefs", "False", "SecretNotFound"),
        ("DataSource", "away", "Ready", "False", "DatabaseUnavailable"),
        ("DataSource", "twin", "Degraded", "True", "CaptureFailed"),
        ("Entity", "missing", "Accepted", "False", "TableNotFound"),
        ("Entity", "lost", "ResolvedRefs", "False", "DataSourceNotFound"),
        ("Entity", "second", "Accepted", "False", "PathConflict"),
        ("Entity", "waiting", "Accepted", "Unknown", "DatabaseUnavailable"),
        ("Entity", "astray", "Degraded", "True", "RelationNotFound"),
        ("AccessPolicy", "wrong", "Accepted", "False", "Invalid"),
    ] {
        stage.told(kind, name, condition, status, reason).await;
    }
}

/// How many entities are ready.
async fn ready(stage: &Stage) -> usize {
    let all = stage.api("Entity").list(&ListParams::default()).await.expect("an answer").items;
    let is_ready = |one: &&kube::api::DynamicObject| {
        let conditions = one.data["status"]["conditions"].as_array();
        conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
    };
    all.iter().filter(is_ready).count()
}

const NOTHING: [String; 0] = [];

/// What is another version of itself, or is there newly.
fn changed<K: Ord + Debug>(before: &BTreeMap<K, Option<String>>, after: &BTreeMap<K, Option<String>>) -> Vec<String> {
    after.iter().filter(|(key, version)| before.get(key) != Some(version)).map(|(key, _)| format!("{key:?}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_entities_at_rest_are_not_written() {
    let stage = Stage::new().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    let tables: Vec<String> = (0..ENTITIES).map(|number| format!("create table t{number} (id int primary key)")).collect();
    stage.deployment.run_script(&tables.join(";")).await;
    stage.apply("DataSource", "shop", captured()).await;
    let names = (0..ENTITIES).map(|number| format!("t{number}"));
    stream::iter(names).for_each_concurrent(8, |name| async { stage.apply_entity(&{ name }).await }).await;
    until("all being ready", async || ready(&stage).await == ENTITIES).await;
    assert_eq!(one.status_of("t499").await, 200);
    // The same event once more is another version of it.
    let events = async || {
        let version = |event: Event| (event.metadata.name, event.metadata.resource_version);
        stage.all_events().await.into_iter().map(version).collect::<BTreeMap<_, _>>()
    };
    // An event is written after its status.
    until("every event", async || events().await.len() > ENTITIES).await;
    assert_eq!(stage.events("t0").await, ["Ready"]);
    assert_eq!(events().await.len(), ENTITIES + 1, "each entity and the source, and each was told one thing only");

    faulty(&stage).await;
    let versions = async || {
        let mut all = BTreeMap::new();
        for kind in ["DataSource", "Entity", "AccessPolicy"] {
            let items = stage.api(kind).list(&ListParams::default()).await.expect("an answer").items;
            all.extend(items.into_iter().map(|one| ((kind, one.metadata.name), one.metadata.resource_version)));
        }
        all
    };
    let writes = async || operator.metric("resolvespec_operator_status_writes_total").await;
    let turns = async || operator.metric("resolvespec_operator_reconciles_total").await;
    // Some of them come to what they are by way of something else.
    until("rest", async || {
        let (taken, before, told) = (turns().await, versions().await, events().await);
        until("two turns", async || turns().await >= taken + 2.0).await;
        versions().await == before && events().await == told
    })
    .await;
    let (written, before, told) = (writes().await, versions().await, events().await);
    assert_eq!(before.len(), 1 + ENTITIES + FAULTY);
    assert!(told.len() > ENTITIES + FAULTY, "each was told something");
    assert_eq!(stage.events("missing").await, ["TableNotFound"]);
    let taken = turns().await;
    // A minute, in which the operator looks at everything again and again.
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(turns().await >= taken + 10.0, "it was looked at");
    assert!(writes().await <= written, "nothing is written");
    assert_eq!(changed(&before, &versions().await), NOTHING);
    assert_eq!(changed(&told, &events().await), NOTHING, "nothing is told");

    // Nor does another one that takes over find anything to write.
    let next = stage.operator("two");
    until("waiting", async || next.said().contains("waiting to lead")).await;
    operator.signal("-TERM");
    until("looking at everything", async || next.metric("resolvespec_operator_reconciles_total").await >= 5.0).await;
    assert_eq!(changed(&before, &versions().await), NOTHING);
    assert_eq!(changed(&told, &events().await), NOTHING, "nothing is told");
    stage.delete("DataSource", "shop").await;
    until("the end of the source", async || stage.is_gone("DataSource", "shop").await).await;
    stage.delete("DataSource", "twin").await;
    until("the end of the other", async || stage.is_gone("DataSource", "twin").await).await;
    drop((operator, next, one));
    stage.remove().await;
}
