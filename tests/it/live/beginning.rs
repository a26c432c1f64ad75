//! Where a subscription begins: with a snapshot, after a position, or now; without gap and without telling anything twice.

use super::counting::{Counts, Writers, now};
use super::{Kind, Stage, brief, come_back, config, eq, on_all, subscribe, subscribed, told};
use async_trait::async_trait;
use resolvespec::config::Config;
use resolvespec::engine::{Context, Hook};
use resolvespec::event::bus::{MemoryBus, MemorySettings};
use resolvespec::event::hub;
use resolvespec::live::Handles;
use resolvespec::transport::ws;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

on_all! {
    a_snapshot_and_what_follows_neither_miss_nor_repeat_a_change
    a_resumed_subscription_neither_misses_nor_repeats_a_change
    a_snapshot_and_what_the_service_writes_neither_miss_nor_repeat_a_change
    a_resumed_subscription_to_what_the_service_writes_neither_misses_nor_repeats_a_change
    what_the_service_writes_is_told_once_and_nothing_else_is
    a_snapshot_has_the_rows_of_a_read
    what_a_snapshot_has_seen_is_not_told_however_late_it_comes
}

async fn a_snapshot_and_what_follows_neither_miss_nor_repeat_a_change(kind: Kind) {
    snapshots(Stage::open(kind).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_what_the_log_tells_neither_miss_nor_repeat_a_change() {
    snapshots(Stage::by_the_log().await).await;
}

async fn a_snapshot_and_what_the_service_writes_neither_miss_nor_repeat_a_change(kind: Kind) {
    snapshots(by_the_service(kind).await).await;
}

/// Whose changes the engine tells as it makes them, and nobody else's.
async fn by_the_service(kind: Kind) -> Stage {
    Stage::captured(kind, "api", Handles::memory(), config(), Vec::new()).await
}

async fn snapshots(stage: Stage) {
    let writers = Writers::start(&stage).await;
    let mut all = Vec::new();
    for _ in 0..15 {
        let mut session = stage.session().await;
        let begun = subscribed(&mut session, "items", json!({"snapshot": true, "filters": [eq("kind", "count")]})).await;
        let mut counts = Counts::of(&begun["snapshot"]);
        for _ in 0..10 {
            counts.take(&told(&mut session).await);
        }
        all.push((session, counts));
    }
    assert!(writers.stop().await > 0);
    let end = now(&stage).await;
    for (session, counts) in &mut all {
        counts.reach(&end, session).await;
    }
    drop(all);
    stage.close().await;
}

async fn a_resumed_subscription_neither_misses_nor_repeats_a_change(kind: Kind) {
    resumes(Stage::open(kind).await).await;
}

async fn a_resumed_subscription_to_what_the_service_writes_neither_misses_nor_repeats_a_change(kind: Kind) {
    resumes(by_the_service(kind).await).await;
}

async fn resumes(stage: Stage) {
    let writers = Writers::start(&stage).await;
    let mut session = stage.session().await;
    let begun = subscribed(&mut session, "items", json!({"snapshot": true})).await;
    let mut counts = Counts::of(&begun["snapshot"]);
    for _ in 0..15 {
        let mut position = Value::Null;
        for _ in 0..8 {
            let message = told(&mut session).await;
            counts.take(&message);
            position = message["position"].clone();
        }
        session = stage.session().await;
        let begun = subscribed(&mut session, "items", json!({"resume": position})).await;
        assert_eq!(begun["position"], position);
    }
    assert!(writers.stop().await > 0);
    let end = now(&stage).await;
    counts.reach(&end, &mut session).await;
    drop(session);
    stage.close().await;
}

async fn what_the_service_writes_is_told_once_and_nothing_else_is(kind: Kind) {
    let stage = by_the_service(kind).await;
    let (mut session, mut writer) = (stage.session().await, stage.session().await);
    let begun = subscribed(&mut session, "items", json!({"snapshot": true})).await;
    assert_eq!(begun["snapshot"], json!([]));
    let row = |id: u32, stock: u32| json!({"id": id, "name": "n", "kind": "pen", "stock": stock});
    for (operation, record, data) in [
        ("create", json!(null), json!([row(1, 1), row(2, 2)])),
        ("update", json!("1"), json!({"stock": 5})),
        ("delete", json!("2"), json!(null)),
        ("create", json!(null), row(3, 3)),
    ] {
        let write =
            json!({"id": "w", "type": "request", "operation": operation, "entity": "items", "record_id": record, "data": data});
        let answer = writer.ask(&write).await;
        assert_eq!(answer["success"], true, "{answer}");
        stage.run("update items set stock = stock + 10").await;
        stage.run("insert into items values (99, 'n', 'pen', 1)").await;
        stage.run("delete from items where id = 99").await;
    }
    for expected in
        [("create", row(1, 1)), ("create", row(2, 2)), ("update", row(1, 5)), ("delete", json!({"id": 2})), ("create", row(3, 3))]
    {
        let (operation, data, reason) = brief(&mut session).await;
        assert_eq!((operation.as_str(), data, reason), (expected.0, expected.1, Value::Null));
    }
    // Nothing of it comes again, nor late.
    let pong = session.ask(&json!({"id": "p", "type": "ping"})).await;
    assert_eq!(pong["type"], "pong", "{pong}");
    stage.counts("resolvespec_live_events_total", 5).await;
    drop((session, writer));
    stage.close().await;
}

async fn a_snapshot_has_the_rows_of_a_read(kind: Kind) {
    let stage = Stage::open(kind).await;
    for id in 1..=5 {
        stage.run(&format!("insert into items values ({id}, 'n', 'pen', {})", 10 - id)).await;
    }
    stage.run("insert into items values (6, 'n', 'ink', 1)").await;
    let mut session = stage.session().await;
    let options = json!({"snapshot": true, "filters": [eq("kind", "pen")], "columns": ["id"],
        "sort": [{"column": "stock", "direction": "asc"}], "limit": 2});
    let begun = subscribed(&mut session, "items", options).await;
    assert_eq!(begun["snapshot"], json!([{"id": 5}, {"id": 4}]), "{begun}");
    assert_eq!(begun["metadata"], json!({"total": 6, "count": 2, "filtered": 5, "limit": 2, "offset": 0}));
    stage.run("update items set stock = 3 where id = 1").await;
    assert_eq!(brief(&mut session).await, ("update".to_owned(), json!({"id": 1}), Value::Null));
    let empty = subscribed(&mut session, "boxes", json!({"snapshot": true})).await;
    assert_eq!((&empty["snapshot"], &empty["metadata"]["total"]), (&json!([]), &json!(0)));
    drop(session);
    stage.close().await;
}

/// The relay has not told of rows that the snapshot has: nothing has run it yet.
async fn what_a_snapshot_has_seen_is_not_told_however_late_it_comes(kind: Kind) {
    let stage = Stage::open(kind).await;
    let mut session = stage.session().await;
    for turn in 1..=20 {
        // In one transaction with a pause of no length between: the relay may be before, in, or after each of these.
        stage.run(&format!("insert into items values ({turn}, 'n', 'pen', 0)")).await;
        let begun = subscribed(&mut session, "items", json!({"snapshot": true})).await;
        assert_eq!(begun["snapshot"].as_array().map(Vec::len), Some(turn), "{begun}");
        stage.run(&format!("update items set stock = {turn} where id = {turn}")).await;
        let (operation, data, _) = brief(&mut session).await;
        assert_eq!((operation.as_str(), &data["stock"]), ("update", &json!(turn)));
        let end =
            json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": begun["subscription_id"]});
        assert_eq!(session.ask(&end).await["success"], true);
    }
    drop(session);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_does_not_fit_into_a_snapshot_is_refused_and_a_part_can_be_had() {
    let stage = Stage::open(Kind::Postgres).await;
    stage.run("insert into boxes select n, n from generate_series(1, 20000) n").await;
    let mut session = stage.session().await;
    for whole in [json!({"snapshot": true}), json!({"snapshot": true, "limit": 0}), json!({"snapshot": true, "offset": 5})] {
        let error = subscribe(&mut session, "boxes", whole).await.expect_err("too many rows");
        assert_eq!(error["code"], "limit_exceeded", "{error}");
    }
    let begun = subscribed(&mut session, "boxes", json!({"snapshot": true, "limit": 3})).await;
    assert_eq!(begun["metadata"]["filtered"], 20_000);
    let begun = subscribed(&mut session, "boxes", json!({"snapshot": true, "offset": 19_990})).await;
    assert_eq!(begun["metadata"]["count"], 10, "the rest fits");
    stage.counts("resolvespec_live_subscriptions", 2).await;
    drop(session);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_no_answer_has_room_for_begins_nothing() {
    let guard = Arc::new(Beginnings::default());
    let ws = ws::Settings { max_answer_bytes: 2000, ..ws::Settings::default() };
    let live = hub::Settings { max_subscriptions: 1, ..hub::Settings::default() };
    let hooks: Vec<Arc<dyn Hook>> = vec![guard.clone()];
    let stage = Stage::with(Kind::Sqlite, |config| Config { ws, live, ..config }, hooks).await;
    for id in 1..=3 {
        stage.run(&format!("insert into items values ({id}, '{}', 'pen', 0)", "x".repeat(900))).await;
    }
    let mut session = stage.session().await;
    let error = subscribe(&mut session, "items", json!({"snapshot": true})).await.expect_err("too many bytes");
    assert_eq!(error["code"], "limit_exceeded", "{error}");
    stage.counts("resolvespec_live_subscriptions", 0).await;
    let begun = subscribed(&mut session, "items", json!({"snapshot": true, "limit": 2})).await;
    assert_eq!(begun["metadata"]["count"], 2, "what was refused takes no room");
    assert_eq!(guard.0.load(Ordering::Relaxed), 1, "and hooks are told of what begins");
    stage.run("insert into items values (4, 'd', 'pen', 0)").await;
    let message = told(&mut session).await;
    assert_eq!((&message["subscription_id"], &message["data"]["id"]), (&begun["subscription_id"], &json!(4)));
    drop(session);
    let (session, said) = come_back(&stage.first, &begun["session"]).await;
    let restored = said["restored"].as_array().expect("a list");
    assert_eq!((restored.len(), &restored[0]["subscription_id"]), (1, &begun["subscription_id"]), "{said}");
    drop(session);
    stage.close().await;
}

/// Counts what begins.
#[derive(Default)]
struct Beginnings(AtomicUsize);

#[async_trait]
impl Hook for Beginnings {
    async fn after_subscribe(&self, _: Context<'_>, _: &str) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_can_not_be_resumed_from_says_so() {
    let bus = MemoryBus::new(MemorySettings { max_changes: 5, ..MemorySettings::default() });
    let stage = Stage::over(Kind::Sqlite, bus).await;
    let mut session = stage.session().await;
    let begun = subscribed(&mut session, "boxes", json!({})).await["position"].clone();
    let mut position = Value::Null;
    for id in 1..=10 {
        stage.run(&format!("insert into boxes values ({id}, 0)")).await;
        position = told(&mut session).await["position"].clone();
    }
    let refused = [
        (begun, "offset"),
        (json!({"epoch": "another", "offset": position["offset"]}), "epoch"),
        (json!({"epoch": position["epoch"], "offset": 11}), "offset"),
    ];
    for (resume, detail) in refused {
        let error = subscribe(&mut session, "boxes", json!({"resume": resume})).await.expect_err("it can't be resumed from");
        assert_eq!((&error["code"], &error["detail"]), (&json!("resync_required"), &json!(detail)), "{error}");
    }
    let resume = json!({"epoch": position["epoch"], "offset": 5});
    let again = subscribed(&mut session, "boxes", json!({"resume": resume, "filters": [eq("id", 9)]})).await;
    let message = told(&mut session).await;
    assert_eq!((&message["subscription_id"], &message["position"]["offset"]), (&again["subscription_id"], &json!(9)));
    drop(session);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_replay_goes_at_the_client_s_pace() {
    let live = hub::Settings { max_waiting: 100, ..hub::Settings::default() };
    let stage = Stage::with(Kind::Postgres, |config| Config { live, ..config }, Vec::new()).await;
    let mut session = stage.session().await;
    let begun = subscribed(&mut session, "boxes", json!({"filters": [eq("id", 0)]})).await["position"].clone();
    stage.run("insert into boxes select n, n from generate_series(1, 3000) n").await;
    stage.counts("resolvespec_live_events_total", 3000).await;
    subscribed(&mut session, "boxes", json!({"resume": begun})).await;
    for number in 1..=3000 {
        assert_eq!(told(&mut session).await["data"]["id"], number);
    }
    stage.run("insert into boxes values (3001, 0)").await;
    assert_eq!(told(&mut session).await["data"]["id"], 3001);
    drop(session);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_resume_at_once_share_a_replay() {
    let stage = Stage::open(Kind::Postgres).await;
    let mut session = stage.session().await;
    let begun = subscribed(&mut session, "boxes", json!({"filters": [eq("id", 0)]})).await["position"].clone();
    stage.run("insert into boxes select n, n from generate_series(1, 200) n").await;
    stage.counts("resolvespec_live_events_total", 200).await;
    let mut all = Vec::new();
    for number in 1..=40 {
        let mut session = stage.session().await;
        let asked = json!({"id": "s", "type": "subscription", "operation": "subscribe", "entity": "boxes",
            "options": {"resume": begun, "filters": [eq("size", number)]}});
        session.say(&asked).await;
        all.push((number, session));
    }
    for (number, session) in &mut all {
        assert_eq!(session.hear().await["success"], true);
        assert_eq!(told(session).await["data"]["size"], *number);
    }
    drop((all, session));
    stage.close().await;
}
