//! From `apply` to an answer: what is applied is served by every replica, and its status tells so.

use super::stage::Stage;
use crate::cluster::until;
use serde_json::json;
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
        "mqttTopic": "spec/{client}/request",
    });
    assert_eq!(status["endpoints"], endpoints);
    for (condition, expected) in
        [("Accepted", "True"), ("ResolvedRefs", "True"), ("Programmed", "True"), ("Ready", "True"), ("Degraded", "False")]
    {
        let (is, reason, message) = stage.condition("Entity", "items", condition).await;
        assert!(is == expected && !reason.is_empty() && !message.is_empty(), "{condition}: {is} {reason} {message}");
    }
    assert_eq!(stage.status("DataSource", "shop").await["entities"], 1);
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
    drop((operator, one, two));
    stage.remove().await;
}
