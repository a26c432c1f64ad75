//! Who is told of a change, and what of it.

use super::{Kind, Stage, brief, config, eq, on_all, subscribe, subscribed, told};
use crate::support::session::Session;
use serde_json::json;

on_all! {
    a_filter_is_held_against_the_row_before_and_after
    columns_are_projected_and_the_key_is_always_told
    who_unsubscribes_is_told_nothing_more
    what_is_not_captured_can_not_be_subscribed_to
    a_client_s_own_writes_are_told_after_their_answers
}

async fn a_filter_is_held_against_the_row_before_and_after(kind: Kind) {
    let stage = Stage::open(kind).await;
    let (mut pens, mut all) = (stage.session().await, stage.session().await);
    let begun = subscribed(&mut pens, "items", json!({"filters": [eq("kind", "pen")]})).await;
    assert!(begun["position"]["epoch"].is_string() && begun["position"]["offset"].is_u64(), "{begun}");
    subscribed(&mut all, "items", json!({})).await;
    for sql in [
        "insert into items values (1, 'blue', 'pen', 5)",
        "insert into items values (2, 'black', 'ink', 6)",
        "update items set stock = 7 where id = 2",
        "update items set stock = 8 where id = 1",
        "update items set kind = 'pen' where id = 2",
        "update items set kind = 'cap' where id = 1",
        "delete from items where id = 1",
        "delete from items where id = 2",
    ] {
        stage.run(sql).await;
    }
    let row = |id: u32, name: &str, kind: &str, stock: u32| json!({"id": id, "name": name, "kind": kind, "stock": stock});
    let nothing = json!(null);
    for expected in [
        ("create", row(1, "blue", "pen", 5), nothing.clone()),
        ("update", row(1, "blue", "pen", 8), nothing.clone()),
        ("create", row(2, "black", "pen", 7), json!("enter")),
        ("delete", json!({"id": 1}), json!("leave")),
        ("delete", json!({"id": 2}), nothing.clone()),
    ] {
        let (operation, data, reason) = brief(&mut pens).await;
        assert_eq!((operation.as_str(), data, reason), expected);
    }
    for expected in ["create", "create", "update", "update", "update", "update", "delete", "delete"] {
        assert_eq!(brief(&mut all).await.0, expected);
    }
    stage.close().await;
}

async fn columns_are_projected_and_the_key_is_always_told(kind: Kind) {
    let stage = Stage::open(kind).await;
    let mut session = stage.session().await;
    let begun = subscribed(&mut session, "items", json!({"columns": ["stock", "name"]})).await;
    stage.run("insert into items values (1, 'blue', 'pen', 5)").await;
    let message = told(&mut session).await;
    assert_eq!(message["subscription_id"], begun["subscription_id"]);
    assert_eq!(message["data"].to_string(), r#"{"stock":5,"name":"blue"}"#);
    assert_eq!((&message["key"], &message["entity"]), (&json!({"id": 1}), &json!("items")));
    assert_eq!(message["schema"], begun["schema"]);
    assert_eq!(message["position"]["epoch"], begun["position"]["epoch"]);
    assert!(message["position"]["offset"].as_u64() > begun["position"]["offset"].as_u64(), "{message}");
    for time in ["timestamp", "occurred_at"] {
        assert!(message[time].as_str().is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok()), "{message}");
    }
    stage.close().await;
}

async fn who_unsubscribes_is_told_nothing_more(kind: Kind) {
    let stage = Stage::open(kind).await;
    let mut session = stage.session().await;
    let items = subscribed(&mut session, "items", json!({})).await;
    subscribed(&mut session, "boxes", json!({})).await;
    stage.counts("resolvespec_live_subscriptions", 2).await;
    assert_eq!(stage.page("/admin/connections").await["connections"][0]["subscriptions"], 2);
    let end = json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": items["subscription_id"]});
    let answer = session.ask(&end).await;
    assert_eq!(answer["data"], json!({"unsubscribed": true, "subscription_id": items["subscription_id"]}));
    assert_eq!(session.ask(&end).await["error"]["code"], "subscription_not_found");
    stage.run("insert into items values (1, 'blue', 'pen', 5)").await;
    stage.run("insert into boxes values (1, 3)").await;
    assert_eq!(told(&mut session).await["entity"], "boxes");
    session.close().await;
    stage.counts("resolvespec_live_subscriptions", 0).await;
    stage.close().await;
}

async fn what_is_not_captured_can_not_be_subscribed_to(kind: Kind) {
    let stage = Stage::open(kind).await;
    let mut session = stage.session().await;
    let error = subscribe(&mut session, "ghosts", json!({})).await.expect_err("there are none");
    assert_eq!(error["code"], "model_not_found");
    let error = subscribe(&mut session, "items", json!({"filters": [eq("colour", "red")]})).await.expect_err("no such column");
    assert_eq!(error["code"], "invalid_column");
    let error = subscribe(&mut session, "items", json!({"preload": [{"relation": "boxes"}]})).await.expect_err("no preloads");
    assert_eq!(error["code"], "invalid_option");
    let removal = resolvespec::event::capture::setup::removal(&stage.writer).await.expect("it can be removed");
    stage.writer.run_all(&removal.statements).await.expect("it is removed");
    let error = subscribe(&mut session, "items", json!({})).await.expect_err("nothing is captured");
    assert_eq!(error["code"], "not_captured", "{error}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("capture install")), "{error}");
    super::install(&stage.first.engine.served()).await;
    subscribed(&mut session, "items", json!({})).await;
    stage.close().await;
}

/// As the TypeScript client does it: without a schema, and with answers and notifications told apart by `type`.
async fn a_client_s_own_writes_are_told_after_their_answers(kind: Kind) {
    let stage = Stage::open(kind).await;
    let mut session = stage.session().await;
    let begun = subscribed(&mut session, "items", json!({"filters": [eq("kind", "pen")]})).await;
    for (number, (operation, record, data)) in [
        ("create", json!(null), json!({"id": 1, "name": "a", "kind": "pen", "stock": 1})),
        ("update", json!("1"), json!({"stock": 2})),
        ("delete", json!("1"), json!(null)),
    ]
    .into_iter()
    .enumerate()
    {
        let id = number.to_string();
        let write =
            json!({"id": id, "type": "request", "operation": operation, "entity": "items", "record_id": record, "data": data});
        let answer = session.ask(&write).await;
        assert_eq!(
            (&answer["type"], &answer["id"], &answer["success"]),
            (&json!("response"), &json!(id), &json!(true)),
            "{answer}"
        );
        let message = told(&mut session).await;
        assert_eq!((&message["operation"], &message["entity"]), (&json!(operation), &json!("items")));
        assert_eq!((&message["subscription_id"], &message["data"]["id"]), (&begun["subscription_id"], &json!(1)));
        assert!(message.get("id").is_none(), "{message}");
    }
    drop(session);
    stage.close().await;
}

/// A column whose texts are equal by rules that only the database knows, and then is collated byte by byte.
async fn followed_by_its_collation(kind: Kind, loose: &str, exact: &str) {
    let stage = Stage::open(kind).await;
    stage.run(loose).await;
    let second = stage.another(config()).await;
    let mut session = Session::connect(second.address).await;
    let is_listed = json!({"column": "name", "operator": "in", "value": ["pen", "ink"]});
    for filter in [eq("name", "pen"), is_listed] {
        let filters = json!([eq("kind", "pen"), filter]);
        let error = subscribe(&mut session, "items", json!({"filters": filters})).await.expect_err("only the database knows");
        assert_eq!((&error["code"], &error["detail"]), (&json!("unmatchable_filter"), &json!("name")), "{error}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains("the filter on 'name'") && message.contains("collation"), "{error}");
    }
    subscribed(&mut session, "items", json!({"filters": [eq("kind", "pen")]})).await;
    stage.run("insert into items values (1, 'Pen', 'ink', 5)").await;
    stage.run("insert into items values (2, 'Pen', 'pen', 5)").await;
    let row = json!({"id": 2, "name": "Pen", "kind": "pen", "stock": 5});
    assert_eq!(brief(&mut session).await, ("create".to_owned(), row, json!(null)));
    session.close().await;
    second.stop().await;

    stage.run(exact).await;
    let third = stage.another(config()).await;
    let mut session = Session::connect(third.address).await;
    subscribed(&mut session, "items", json!({"filters": [eq("name", "pen")]})).await;
    stage.run("insert into items values (3, 'Pen', 'pen', 5)").await;
    stage.run("insert into items values (4, 'pen', 'pen', 5)").await;
    assert_eq!(brief(&mut session).await.1["id"], 4);
    session.close().await;
    third.stop().await;
    stage.close().await;
}

/// As a stock server collates every text.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_without_case_can_not_be_followed_by_equality_until_it_is_collated_by_bytes_on_mariadb() {
    let loose = "alter table items modify name varchar(100) character set utf8mb4 collate utf8mb4_general_ci";
    let exact = "alter table items modify name varchar(100) character set utf8mb4 collate utf8mb4_bin";
    followed_by_its_collation(Kind::Mariadb, loose, exact).await;
}

/// The tests' server is Debian's, which has ICU.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_without_case_can_not_be_followed_by_equality_until_it_is_collated_by_bytes_on_postgres() {
    let loose = "create collation caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        alter table items alter column name type varchar(100) collate caseless";
    let exact = "alter table items alter column name type varchar(100) collate \"C\"";
    followed_by_its_collation(Kind::Postgres, loose, exact).await;
}
