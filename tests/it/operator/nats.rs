//! A NATS that is away is told and holds no deletion up; one that has lost what it had gets it back.

use super::capturing::{captured, triggers};
use super::stage::Stage;
use crate::cluster::until;
use crate::support::nats::OwnNats;
use kube::api::ListParams;
use resolvespec::store::Bucket;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[tokio::test(flavor = "multi_thread")]
async fn nats_that_is_away_is_told_and_holds_no_deletion_up() {
    let nats = OwnNats::start("operator-away");
    let stage = Stage::over(nats.url()).await;
    let (operator, one) = (stage.operator_with("one", &["--give-up-seconds", "3"]), stage.replica("one"));
    let url = stage.deployment.database_url().to_owned();
    stage.apply("DataSource", "shop", captured()).await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    until("the triggers", async || triggers(&url).await != "0").await;

    nats.kill();
    stage.deployment.run_script("create table tags (id int primary key)").await;
    stage.apply_entity("tags").await;
    let said = stage.told("Entity", "tags", "Programmed", "False", "PublishFailed").await;
    assert!(said.contains("NATS"), "{said}");
    stage.told("Entity", "tags", "Ready", "False", "PublishFailed").await;
    assert_eq!(stage.condition("Entity", "items", "Ready").await.0, "True", "replicas serve it still");
    assert_eq!(one.status_of("items").await, 200);
    // It is told once, however often it is tried again.
    let version = async || stage.api("Entity").get("tags").await.expect("it is there").metadata.resource_version;
    let turns = async || operator.metric("resolvespec_operator_reconciles_total").await;
    let (before, taken) = (version().await, turns().await);
    until("being tried again", async || turns().await >= taken + 2.0).await;
    assert_eq!(version().await, before);

    stage.delete("DataSource", "shop").await;
    until("the end of the source", async || stage.api("DataSource").get_opt("shop").await.expect("an answer").is_none()).await;
    assert_eq!(triggers(&url).await, "0");
    assert!(!stage.events("shop").await.contains(&"CaptureLeftBehind".to_owned()), "the database was there");

    nats.restart();
    until("not being served", async || one.status_of("items").await == 404).await;
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_that_has_lost_the_catalog_gets_back_what_was_served() {
    let stage = Stage::new().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.apply_source().await;
    stage.apply_entity("items").await;
    stage.deployment.run_script("create table tags (id int primary key)").await;
    stage.apply_entity("tags").await;
    stage.ready("Entity", "items").await;
    stage.ready("Entity", "tags").await;
    // What is not judged goes out as it did: only what was published tells how.
    stage.pause("Entity", "items", true).await;
    stage.apply("Entity", "items", json!({"source": "shop", "name": "goods"})).await;
    stage.apply("Entity", "tags", json!({"source": "shop", "columns": [{"name": "nothing"}]})).await;
    stage.told("Entity", "tags", "Degraded", "True", "FormerServed").await;

    let bucket = stage.deployment.bucket("catalog").await;
    bucket.delete("wanted").await.expect("deleted");
    let published = async || bucket.get("wanted").await.expect("an answer").map(|entry| entry.value);
    until("publishing again", async || published().await.is_some()).await;
    let generation: Value = serde_json::from_slice(&published().await.expect("it stays")).expect("JSON");
    let manifests = generation["manifests"].as_array().expect("a list");
    let named: Vec<&str> = manifests.iter().filter_map(|one| one["resource"]["metadata"]["name"].as_str()).collect();
    assert_eq!(named, ["shop", "items", "tags"], "{generation:#}");
    one.serves(generation["number"].as_u64().expect("a number")).await;
    for (entity, status) in [("items", 200), ("tags", 200), ("goods", 404)] {
        assert_eq!(one.status_of(entity).await, status, "{entity}");
    }
    stage.told("Entity", "tags", "Degraded", "True", "FormerServed").await;
    drop((operator, one));
    stage.remove().await;
}

/// Replicas serve on whatever NATS has lost, and tell again within a few seconds: none of it is news for resources.
#[tokio::test(flavor = "multi_thread")]
async fn nats_that_has_lost_everything_changes_nothing_for_resources_at_rest() {
    let nats = OwnNats::start("operator-wiped");
    let stage = Stage::over(nats.url()).await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.apply_source().await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    stage.ready("DataSource", "shop").await;
    let turns = async || operator.metric("resolvespec_operator_reconciles_total").await;
    let writes = async || operator.metric("resolvespec_operator_status_writes_total").await;
    let versions = async || {
        let mut versions = BTreeMap::new();
        for kind in ["DataSource", "Entity"] {
            let all = stage.api(kind).list(&ListParams::default()).await.expect("an answer").items;
            versions.extend(all.into_iter().map(|one| (one.metadata.name, one.metadata.resource_version)));
        }
        versions
    };
    // The last status is written before the turn that finds nothing more to write.
    let taken = turns().await;
    until("being at rest", async || turns().await >= taken + 2.0).await;
    let (before, written) = (versions().await, writes().await);
    let told = stage.all_events().await.len();

    nats.kill();
    nats.lose();
    nats.restart();
    // Only looked at, since whoever opens a bucket makes it.
    let has = async |stream: &str, text: &str| {
        let everything = stage.deployment.everything_in_nats().await;
        everything.iter().any(|(name, held)| name.ends_with(stream) && held.contains(text))
    };
    until("the catalog", async || has("_catalog", "wanted").await).await;
    until("the replica", async || has("_replicas", r#""replica":"one""#).await).await;
    let taken = turns().await;
    until("being looked at", async || turns().await >= taken + 3.0).await;
    assert_eq!(versions().await, before);
    assert_eq!((writes().await <= written, stage.all_events().await.len()), (true, told));
    assert_eq!(one.status_of("items").await, 200);
    drop((operator, one));
    stage.remove().await;
}
