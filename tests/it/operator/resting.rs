//! Resources at rest are left alone.

use super::stage::Stage;
use crate::cluster::until;
use futures_util::{StreamExt, stream};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use std::collections::BTreeMap;
use std::time::Duration;

const ENTITIES: usize = 500;

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_entities_at_rest_are_not_written() {
    let stage = Stage::new().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    let tables: Vec<String> = (0..ENTITIES).map(|number| format!("create table t{number} (id int primary key)")).collect();
    stage.deployment.run_script(&tables.join(";")).await;
    stage.apply_source().await;
    let names = (0..ENTITIES).map(|number| format!("t{number}"));
    stream::iter(names).for_each_concurrent(8, |name| async { stage.apply_entity(&{ name }).await }).await;
    let versions = async || {
        let all = stage.api("Entity").list(&ListParams::default()).await.expect("an answer").items;
        let ready = all.iter().filter(|one| {
            let conditions = one.data["status"]["conditions"].as_array();
            conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
        });
        let count = ready.count();
        let version = |one: kube::api::DynamicObject| {
            (one.metadata.name.unwrap_or_default(), one.metadata.resource_version.unwrap_or_default())
        };
        (count, all.into_iter().map(version).collect::<BTreeMap<String, String>>())
    };
    until("all being ready", async || versions().await.0 == ENTITIES).await;
    assert_eq!(one.status_of("t499").await, 200);
    // The last status is written before the turn that finds nothing more to write.
    let writes = async || operator.metric("resolvespec_operator_status_writes_total").await;
    let turns = async || operator.metric("resolvespec_operator_reconciles_total").await;
    let (written, before) = (writes().await, versions().await.1);
    let sources = async || stage.api("DataSource").get("shop").await.expect("it is there").metadata.resource_version;
    let source = sources().await;
    // The same event once more is another version of it.
    let events = async || {
        let version = |event: Event| (event.metadata.name, event.metadata.resource_version);
        stage.all_events().await.into_iter().map(version).collect::<BTreeMap<_, _>>()
    };
    // An event is written after its status.
    until("every event", async || events().await.len() > ENTITIES).await;
    let told = events().await;
    assert_eq!(stage.events("t0").await, ["Ready"]);
    assert_eq!(told.len(), ENTITIES + 1, "each entity and the source, and each was told one thing only");
    let taken = turns().await;
    // A minute, in which the operator looks at everything again and again.
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(turns().await >= taken + 10.0, "it was looked at");
    assert!(writes().await <= written, "nothing is written");
    assert_eq!(versions().await.1, before);
    assert_eq!(sources().await, source);
    assert_eq!(events().await, told, "nothing is told");

    // Nor does another one that takes over find anything to write.
    let next = stage.operator("two");
    until("waiting", async || next.said().contains("waiting to lead")).await;
    operator.signal("-TERM");
    until("looking at everything", async || next.metric("resolvespec_operator_reconciles_total").await >= 5.0).await;
    assert_eq!(versions().await.1, before);
    assert_eq!(sources().await, source);
    assert_eq!(events().await, told, "nothing is told");
    drop((operator, next, one));
    stage.remove().await;
}
