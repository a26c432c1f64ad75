//! Another catalog is served: who can be told on is told on, and who can't is told why.

use super::counting::{Counts, Writers, now};
use super::{ENTITIES, Kind, Stage, on_all, subscribed, told};
use crate::support::server::load;
use serde_json::json;

on_all! {
    subscriptions_go_on_through_another_catalog_without_a_gap
}

async fn subscriptions_go_on_through_another_catalog_without_a_gap(kind: Kind) {
    let stage = Stage::open(kind).await;
    let writers = Writers::start(&stage).await;
    let mut all = Vec::new();
    for _ in 0..10 {
        let mut session = stage.session().await;
        let begun = subscribed(&mut session, "items", json!({"snapshot": true})).await;
        all.push((session, Counts::of(&begun["snapshot"])));
        stage.first.engine.switch(load(kind, &stage.fresh, "", ENTITIES).await);
    }
    assert!(writers.stop().await > 0);
    let end = now(&stage).await;
    for (session, counts) in &mut all {
        counts.reach(&end, session).await;
    }
    drop(all);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_another_catalog_does_not_allow_ends_with_a_word() {
    let kind = Kind::Sqlite;
    let stage = Stage::open(kind).await;
    let mut session = stage.session().await;
    let items = subscribed(&mut session, "items", json!({"columns": ["id", "stock"]})).await;
    let boxes = subscribed(&mut session, "boxes", json!({})).await;
    let without_boxes = ENTITIES.split("---").next().expect("the first");
    stage.first.engine.switch(load(kind, &stage.fresh, "", without_boxes).await);
    let message = told(&mut session).await;
    assert_eq!((&message["operation"], &message["subscription_id"]), (&json!("ended"), &boxes["subscription_id"]), "{message}");
    assert_eq!((&message["reason"], &message["error"]["code"]), (&json!("catalog_changed"), &json!("model_not_found")));
    stage.counts("resolvespec_live_subscriptions", 1).await;
    stage.run("insert into boxes values (1, 1)").await;
    stage.run("insert into items values (1, 'a', 'pen', 5)").await;
    let message = told(&mut session).await;
    assert_eq!((&message["subscription_id"], &message["data"]["stock"]), (&items["subscription_id"], &json!(5)));
    let end = json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": boxes["subscription_id"]});
    assert_eq!(session.ask(&end).await["error"]["code"], "subscription_not_found");
    drop(session);
    stage.close().await;
}
