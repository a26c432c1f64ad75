//! From `apply` to an answer: what is applied is served by every replica, and its status tells so.

use super::rights::kubectl;
use super::stage::Stage;
use crate::cluster::until;
use crate::support::mqtt::{OwnMosquitto, Spoken, Station};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_applied_is_served_and_tells_where() {
    let stage = Stage::new().await;
    let operator = stage.operator("one");
    let (one, two) = (stage.replica("one"), stage.replica("two"));
    // Ready before there is anything to serve, as `helm install --wait` needs it.
    for replica in [&one, &two] {
        replica.serves(1).await;
        assert_eq!(replica.status_of("items").await, 404);
    }
    stage.apply_source().await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    stage.ready("DataSource", "shop").await;
    for replica in [&one, &two] {
        assert_eq!(replica.status_of("items").await, 200);
    }
    let status = stage.status("Entity", "items").await;
    assert_eq!(status["observedGeneration"], 1);
    let endpoints = json!({
        "rest": "/api/public/items",
        "restHeaders": "/rest/public/items",
        "webSocketEntity": "public.items",
        "grpcName": "resolvespec.v1.ResolveSpec/Call",
    });
    assert_eq!(status["endpoints"], endpoints, "nobody serves MQTT");
    for (condition, expected) in
        [("Accepted", "True"), ("ResolvedRefs", "True"), ("Programmed", "True"), ("Ready", "True"), ("Degraded", "False")]
    {
        let (is, reason, message) = stage.condition("Entity", "items", condition).await;
        assert!(is == expected && !reason.is_empty() && !message.is_empty(), "{condition}: {is} {reason} {message}");
    }
    for condition in status["conditions"].as_array().expect("conditions") {
        assert_eq!(condition["observedGeneration"], 1, "{condition}");
    }
    assert_eq!(stage.status("DataSource", "shop").await["entities"], 1);
    for (kind, name, shown) in
        [("Entity", "items", "items shop /api/public/items"), ("DataSource", "shop", "shop postgres none 1")]
    {
        let (_, reason, _) = stage.condition(kind, name, "Ready").await;
        let (_, degraded, _) = stage.condition(kind, name, "Degraded").await;
        let line = kubectl(&["--namespace", &stage.namespace, "get", kind, name, "--no-headers"], "");
        let columns = line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(columns.starts_with(&format!("{shown} True {reason} {degraded} ")), "{columns}");
    }
    until("the event", async || stage.events("items").await == ["Ready"]).await;

    // One more on a running service is there at once.
    stage.deployment.run_script("create table tags (id int primary key)").await;
    let since = Instant::now();
    stage.apply_entity("tags").await;
    until("both serving it", async || one.status_of("tags").await == 200 && two.status_of("tags").await == 200).await;
    let took = since.elapsed();
    assert!(took < Duration::from_secs(2), "it took {took:?}");
    stage.ready("Entity", "tags").await;

    stage.delete("Entity", "tags").await;
    until("not serving it any more", async || one.status_of("tags").await == 404).await;
    assert_eq!(one.status_of("items").await, 200);
    assert_eq!(stage.events("items").await, ["Ready"], "nothing of it has changed");
    drop((operator, one, two));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_told_while_replicas_serve_mqtt() {
    let broker = OwnMosquitto::start("topics");
    let stage = Stage::new().await;
    let (operator, without) = (stage.operator("one"), stage.replica("without"));
    stage.apply_source().await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    let topic = async || stage.status("Entity", "items").await["endpoints"]["mqttTopic"].clone();
    assert_eq!(topic().await, Value::Null);
    let settings = [("RESOLVESPEC_MQTT_BROKERS", broker.url()), ("RESOLVESPEC_MQTT_PREFIX", "shop".to_owned())];
    let with = stage.deployment.start_by("with", &settings);
    until("the topic", async || topic().await == "shop/{client}/request").await;
    // It is where requests are answered.
    let mut station = Station::connect(&broker.url(), "walker", "shop", Spoken::V5).await;
    let asked = json!({"id": "1", "type": "request", "operation": "read", "entity": "items"});
    assert_eq!(station.ask(&asked).await["data"][0]["name"], "pen");
    // A broker that is away is no reason to tell clients of no topic; a replica that is gone is one.
    with.signal("-TERM");
    until("no topic", async || topic().await == Value::Null).await;
    assert_eq!(stage.events("items").await, ["Ready"]);
    drop((operator, without, with));
    stage.remove().await;
}
