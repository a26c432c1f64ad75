//! Another catalog is served: who can be told on is told on, and who can't is told why.

use super::counting::{Counts, Writers, now};
use super::lagging::{LARGE, ROWS, small_queues};
use super::{ENTITIES, Kind, Stage, brief, come_back, eq, install, on_all, subscribed, told};
use crate::support::server::load;
use crate::support::session::Session;
use serde_json::{Value, json};

on_all! {
    subscriptions_go_on_through_another_catalog_without_a_gap
    who_is_told_something_else_reads_again_and_nobody_else_does
}

/// The manifests with more in the spec of items.
fn items_with(more: &str) -> String {
    ENTITIES.replacen("{source: conformance}", &format!("{{source: conformance, {more}}}"), 1)
}

/// Serves other manifests when a script has run, with everything captured.
async fn serve(stage: &Stage, script: &str, entities: &str) {
    let served = load(stage.kind, &stage.fresh, script, entities).await;
    install(&served).await;
    stage.first.engine.switch(served);
}

async fn reads_again(session: &mut Session) {
    let message = told(session).await;
    let what = (&message["operation"], &message["reason"]);
    assert_eq!(what, (&json!("resync_required"), &json!("catalog_changed")), "{message}");
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

async fn who_is_told_something_else_reads_again_and_nobody_else_does(kind: Kind) {
    let stage = Stage::open(kind).await;
    stage.run("insert into items values (1, 'a', 'pen', 0)").await;
    let (mut all, mut some) = (stage.session().await, stage.session().await);
    subscribed(&mut all, "items", json!({"snapshot": true})).await;
    let few = json!({"columns": ["id", "stock"], "filters": [eq("id", 1)], "snapshot": true});
    subscribed(&mut some, "items", few).await;
    let column = "alter table items add column colour varchar(20)";
    let catalogs = [
        ("", "columns: [{name: kind, hidden: true}]", json!({"id": 1, "name": "a", "stock": 1})),
        ("", "columns: [{name: kind, alias: sort}]", json!({"id": 1, "name": "a", "sort": "pen", "stock": 2})),
        (column, "columns: []", json!({"id": 1, "name": "a", "kind": "pen", "stock": 3, "colour": null})),
    ];
    for (script, more, row) in catalogs {
        serve(&stage, script, &items_with(more)).await;
        reads_again(&mut all).await;
        stage.run("update items set stock = stock + 1 where id = 1").await;
        let same = json!({"id": 1, "stock": row["stock"]});
        assert_eq!(brief(&mut all).await, ("update".to_owned(), row, Value::Null), "{more}");
        assert_eq!(brief(&mut some).await, ("update".to_owned(), same, Value::Null), "nothing is new to it: {more}");
    }
    let things = "create table things (id integer primary key, name varchar(100), kind varchar(20), stock integer)";
    serve(&stage, things, &items_with("table: things, name: items")).await;
    for session in [&mut all, &mut some] {
        reads_again(session).await;
    }
    stage.run("update items set stock = 9 where id = 1").await;
    stage.run("insert into things values (1, 'b', 'ink', 7)").await;
    assert_eq!(brief(&mut all).await.1, json!({"id": 1, "name": "b", "kind": "ink", "stock": 7}));
    assert_eq!(brief(&mut some).await.1, json!({"id": 1, "stock": 7}));
    drop((all, some));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_being_replayed_is_told_nothing_more_of_a_column_that_is_hidden() {
    let stage = small_queues().await;
    let (mut quick, mut slow) = (stage.session().await, stage.session().await);
    let begun = subscribed(&mut quick, "items", json!({"filters": [eq("id", 0)]})).await["position"].clone();
    stage.run(LARGE).await;
    stage.counts("resolvespec_live_events_total", ROWS).await;
    subscribed(&mut slow, "items", json!({"resume": begun})).await;
    assert_eq!(told(&mut slow).await["data"]["kind"], "pen");
    serve(&stage, "", &items_with("columns: [{name: kind, hidden: true}]")).await;
    reads_again(&mut quick).await;
    // What is on its way to it by now arrives.
    let mut count = 1;
    let last = loop {
        let message = told(&mut slow).await;
        if message["operation"] != "create" {
            break message;
        }
        count += 1;
    };
    assert_eq!((&last["operation"], &last["reason"]), (&json!("resync_required"), &json!("catalog_changed")), "{last}");
    assert!(count < ROWS, "it was replayed to the end");
    stage.run("insert into items values (0, 'x', 'pen', 1)").await;
    for session in [&mut quick, &mut slow] {
        assert_eq!(brief(session).await.1, json!({"id": 0, "name": "x", "stock": 1}));
    }
    drop((quick, slow));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_under_another_catalog_reads_again_what_is_something_else() {
    let stage = Stage::open(Kind::Sqlite).await;
    let mut client = stage.session().await;
    let items = subscribed(&mut client, "items", json!({})).await;
    let boxes = subscribed(&mut client, "boxes", json!({})).await;
    drop(client);
    serve(&stage, "", &items_with("columns: [{name: kind, hidden: true}]")).await;
    stage.run("insert into boxes values (1, 1)").await;
    // Again and again, since nobody knows yet that it has heard any of it; what was the cause is not kept.
    for reason in ["catalog_changed", "changes_lost"] {
        let (mut client, said) = come_back(&stage.first, &items["session"]).await;
        assert_eq!(said["restored"].as_array().map(Vec::len), Some(2), "{said}");
        let both = [told(&mut client).await, told(&mut client).await];
        let of = |begun: &Value| {
            both.iter().find(|one| one["subscription_id"] == begun["subscription_id"]).expect("something is told of each")
        };
        assert_eq!((&of(&items)["operation"], &of(&items)["reason"]), (&json!("resync_required"), &json!(reason)));
        assert_eq!((&of(&boxes)["operation"], &of(&boxes)["data"]["id"]), (&json!("create"), &json!(1)), "it is as it was");
    }
    stage.close().await;
}
