//! `Programmed` is what every replica has acknowledged: one that lags behind holds it back, and nothing else.

use super::stage::Stage;
use crate::cluster::until;
use bytes::Bytes;
use resolvespec::store::Bucket;

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_holds_it_back() {
    let stage = Stage::new().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.deployment.run_script("create table tags (id int primary key)").await;
    stage.apply_source().await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    // Another replica, which tells what the first one does and then falls behind.
    let replicas = stage.deployment.bucket("replicas").await;
    let told = async || stage.deployment.told("one").await.expect("it lives");
    let acknowledge = async || {
        let told = told().await;
        replicas.put("lagging", Bytes::from(told.to_string()), None).await.expect("told");
        told["generation"].clone()
    };
    let first = acknowledge().await;
    stage.apply_entity("tags").await;
    until("one of them serving it", async || one.status_of("tags").await == 200).await;
    until("one of them telling it", async || told().await["generation"] != first).await;
    let said = stage.told("Entity", "tags", "Programmed", "False", "Pending").await;
    assert!(said.contains("not every replica"), "{said}");
    stage.told("Entity", "tags", "Ready", "False", "Pending").await;
    // For as long as it lags, whatever else happens.
    let turns = async || operator.metric("resolvespec_operator_reconciles_total").await;
    let taken = turns().await;
    until("looking again", async || turns().await >= taken + 3.0).await;
    assert_eq!(stage.condition("Entity", "tags", "Programmed").await.0, "False");
    assert_eq!(stage.condition("Entity", "items", "Programmed").await.0, "True", "it serves that as it is");

    acknowledge().await;
    stage.told("Entity", "tags", "Programmed", "True", "Programmed").await;
    stage.ready("Entity", "tags").await;
    // One that falls behind and goes holds back nothing.
    stage.apply("Entity", "tags", serde_json::json!({"source": "shop", "name": "marks"})).await;
    stage.told("Entity", "tags", "Programmed", "False", "Pending").await;
    replicas.delete("lagging").await.expect("gone");
    stage.ready("Entity", "tags").await;
    drop((operator, one));
    stage.remove().await;
}
