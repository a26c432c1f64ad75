//! A paused resource stays as it is published and is told nothing, until it is paused no more.

use super::capturing::{captured_shop, triggers};
use super::stage::{Stage, source};
use crate::cluster::until;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_entity_stays_as_it_is() {
    let stage = Stage::new().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.apply_source().await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    stage.pause("Entity", "items", true).await;
    stage.apply("Entity", "items", json!({"source": "shop", "name": "goods"})).await;
    stage.deployment.run_script("create table tags (id int primary key)").await;
    stage.apply_entity("tags").await;
    stage.ready("Entity", "tags").await;
    assert_eq!((one.status_of("items").await, one.status_of("goods").await), (200, 404));
    assert_eq!(stage.status("Entity", "items").await["observedGeneration"], 1);
    stage.pause("Entity", "items", false).await;
    until("going on", async || one.status_of("goods").await == 200).await;
    assert_eq!(one.status_of("items").await, 404);
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_source_stays_as_it_is() {
    let (stage, operator, one, url) = captured_shop().await;
    stage.ready("DataSource", "shop").await;
    let (before, captured) = (stage.status("DataSource", "shop").await, triggers(&url).await);

    stage.pause("DataSource", "shop", true).await;
    // It captures no more, and leads nowhere.
    let mut changed = source();
    changed["connection"]["secretKeyRef"]["name"] = json!("nowhere");
    stage.apply("DataSource", "shop", changed).await;
    let turns = async || operator.metric("resolvespec_operator_reconciles_total").await;
    let taken = turns().await;
    until("being looked at", async || turns().await >= taken + 3.0).await;
    assert_eq!(stage.status("DataSource", "shop").await, before, "it is told nothing");
    assert_eq!((one.status_of("items").await, triggers(&url).await), (200, captured));
    assert_eq!(stage.finalizers("shop").await, ["resolvespec.dev/capture"]);

    stage.pause("DataSource", "shop", false).await;
    stage.told("DataSource", "shop", "ResolvedRefs", "False", "SecretNotFound").await;
    stage.apply_source().await;
    stage.ready("DataSource", "shop").await;
    until("no triggers", async || triggers(&url).await == "0").await;
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_policy_stays_as_it_is_and_is_there() {
    let stage = Stage::new().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.deployment.run_script("create table tags (id int primary key)").await;
    stage.apply_source().await;
    stage.apply_entity("items").await;
    stage.apply_entity("tags").await;
    stage.ready("Entity", "items").await;
    stage.apply("AccessPolicy", "own", json!({"entity": "items", "filter": "row.name == principal.subject"})).await;
    stage.told("AccessPolicy", "own", "Programmed", "True", "Programmed").await;
    stage.pause("AccessPolicy", "own", true).await;
    let before = stage.status("AccessPolicy", "own").await;
    stage.apply("AccessPolicy", "own", json!({"entity": "items", "filter": "row.nane == principal.subject"})).await;
    // Another one that is good tells that a turn was taken.
    stage.apply("AccessPolicy", "next", json!({"entity": "tags", "filter": "row.id == 1"})).await;
    stage.told("AccessPolicy", "next", "Programmed", "True", "Programmed").await;
    assert_eq!(stage.status("AccessPolicy", "own").await, before, "it is told nothing");
    assert_eq!(one.status_of("items").await, 403, "it is there still");
    stage.pause("AccessPolicy", "own", false).await;
    stage.told("AccessPolicy", "own", "Accepted", "False", "Invalid").await;

    // One that is paused before it was ever published opens nothing.
    stage.delete("AccessPolicy", "own").await;
    until("being open", async || one.status_of("items").await == 200).await;
    let mut paused = super::stage::resource("AccessPolicy", "first", json!({"entity": "items", "filter": "row.id == 1"}));
    paused["metadata"]["annotations"] = json!({"resolvespec.dev/paused": "true"});
    let parameters = kube::api::PatchParams::apply("tests");
    stage.api("AccessPolicy").patch("first", &parameters, &kube::api::Patch::Apply(&paused)).await.expect("taken");
    until("being closed", async || one.status_of("items").await == 403).await;
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_policy_that_names_another_entity_opens_nothing() {
    let stage = Stage::new().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.apply_source().await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    stage.apply("AccessPolicy", "own", json!({"entity": "items", "filter": "row.id == 1"})).await;
    stage.told("AccessPolicy", "own", "Programmed", "True", "Programmed").await;
    until("being closed", async || one.status_of("items").await == 403).await;
    // The kind lets no entity be changed in place, and so it is applied anew while no operator is there.
    operator.leave().await;
    stage.delete("AccessPolicy", "own").await;
    let mut paused = super::stage::resource("AccessPolicy", "own", json!({"entity": "nowhere", "filter": "row.id == 1"}));
    paused["metadata"]["annotations"] = json!({"resolvespec.dev/paused": "true"});
    let parameters = kube::api::PatchParams::apply("tests");
    stage.api("AccessPolicy").patch("own", &parameters, &kube::api::Patch::Apply(&paused)).await.expect("taken");
    let operator = stage.operator("two");
    // Another entity tells that it was published anew, and that replicas have it.
    stage.deployment.run_script("create table tags (id int primary key)").await;
    stage.apply_entity("tags").await;
    stage.ready("Entity", "tags").await;
    assert_eq!((one.status_of("tags").await, one.status_of("items").await), (200, 403), "it holds for it still");
    stage.told("Entity", "items", "Ready", "False", "PolicyNotEnforced").await;
    stage.pause("AccessPolicy", "own", false).await;
    stage.told("AccessPolicy", "own", "ResolvedRefs", "False", "EntityNotFound").await;
    until("being open", async || one.status_of("items").await == 200).await;
    drop((operator, one));
    stage.remove().await;
}
