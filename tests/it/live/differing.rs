//! Replicas that have different catalogs for a while, as when one of them refuses the newest: whichever of them has the relay,
//! nobody is left in the dark.

use super::{ENTITIES, Kind, Stage, brief, config, on_all, subscribed, told};
use crate::support::server::load_captured;
use crate::support::session::Session;
use serde_json::json;

/// The table of the boxes under another name.
const RENAMED: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: items}
spec: {source: conformance}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: crates}
spec: {source: conformance, table: boxes, name: crates}
";

on_all! {
    what_the_relay_s_catalog_does_not_know_is_to_be_read_again
}

async fn what_the_relay_s_catalog_does_not_know_is_to_be_read_again(kind: Kind) {
    differing(Stage::open(kind).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_s_relay_does_not_know_is_to_be_read_again() {
    differing(Stage::by_the_log().await).await;
}

async fn differing(stage: Stage) {
    let serve = async |entities: &str| {
        stage.first.engine.switch(load_captured(stage.kind, &stage.fresh, "", entities, stage.mode).await);
    };
    let mut session = stage.session().await;
    subscribed(&mut session, "items", json!({})).await;
    stage.run("insert into items values (1, 'a', 'pen', 1)").await;
    // The first replica has the relay, and keeps it.
    assert_eq!(brief(&mut session).await.0, "create");
    let second = stage.another_with(config(), RENAMED).await;
    let (mut items, mut crates) = (Session::connect(second.address).await, Session::connect(second.address).await);
    subscribed(&mut items, "items", json!({})).await;
    subscribed(&mut crates, "crates", json!({})).await;
    let without_boxes = ENTITIES.split("---").next().expect("the first");
    for (id, entities) in [(1, without_boxes), (2, ENTITIES)] {
        serve(entities).await;
        stage.run(&format!("insert into boxes values ({id}, 1)")).await;
        let message = told(&mut crates).await;
        let expected = (&json!("resync_required"), &json!("change_unreadable"), &json!("crates"));
        assert_eq!((&message["operation"], &message["reason"], &message["entity"]), expected, "{message}");
    }
    serve(RENAMED).await;
    // A look that the relay had begun before that can find the first of them.
    for id in 3.. {
        assert!(id < 20, "what is served alike is told again");
        stage.run(&format!("insert into boxes values ({id}, 1)")).await;
        let (operation, row, _) = brief(&mut crates).await;
        if operation == "create" {
            assert_eq!(row, json!({"id": id, "size": 1}));
            break;
        }
    }
    stage.run("insert into items values (2, 'b', 'pen', 1)").await;
    assert_eq!(brief(&mut items).await.1["id"], 2, "who follows another table heard nothing of it");
    drop((session, items, crates));
    second.stop().await;
    stage.close().await;
}
