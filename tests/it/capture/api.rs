//! What is written through the API: told alike however it is captured, with the name of whoever wrote it.

use super::{Captured, On, WAL, image};
use crate::conformance::{ENTITIES, script};
use crate::support::database::Kind;
use resolvespec::auth::Principal;
use resolvespec::event::capture::setup::State;
use resolvespec::protocol::{Change, Error, Operation, Request, Response, Selector, Target};
use serde_json::{Value, json};

/// Something of every kind that a write can do, in the order that is told.
fn writes() -> Vec<(Operation, &'static str, Value, Value)> {
    use Operation::{Create, Delete, Update};
    vec![
        (Create, "departments", Value::Null, json!({"id": 50, "code": "new", "title": "A \"new\" one", "budget": "0.1000"})),
        (
            Create,
            "employees",
            Value::Null,
            json!({"name": "counted", "big": "9007199254740993", "photo": "AP8=", "extra": {"a": [1.50]}}),
        ),
        (Update, "departments", json!(50), json!({"title": "Changed", "budget": null})),
        // Nothing differs, and yet it is a change.
        (Update, "departments", json!(50), json!({"title": "Changed"})),
        (Update, "departments", json!(50), json!({"id": 51})),
        (Delete, "departments", json!(51), Value::Null),
        (Create, "countries", Value::Null, json!([{"code": "AA", "name": "One"}, {"code": "AB", "name": "Two", "area": 0.1}])),
        (
            Create,
            "projects",
            Value::Null,
            json!({"id": 50, "name": "Fifty", "tasks": [{"number": 1, "title": "a"}, {"number": 2, "title": "b"}]}),
        ),
        (
            Update,
            "projects",
            json!(50),
            json!({"name": "50", "tasks": [{"_request": "insert", "number": 3, "title": "c"},
                {"_request": "update", "project_id": 50, "number": 1, "title": "A"},
                {"_request": "delete", "project_id": 50, "number": 2}]}),
        ),
        // The link is a row too, and an entity serves its table.
        (Create, "employees", Value::Null, json!({"id": 302, "name": "Link", "projects": [{"id": 60, "name": "Sixty"}]})),
        (Update, "employees", json!(302), json!({"projects": [{"_request": "delete", "id": 60}]})),
        (
            Create,
            "employees",
            Value::Null,
            json!({"id": 303, "name": "Kid", "department": {"id": 30, "code": "k", "title": "K"}}),
        ),
        (Delete, "countries", json!(["AA", "nowhere"]), Value::Null),
        (Create, "departments", Value::Null, json!({"id": 99, "code": "end", "title": "Last"})),
    ]
}

fn request(operation: Operation, entity: &str, id: Value, data: Value) -> Request {
    let target = Target { schema: Some("public".to_owned()), entity: entity.to_owned() };
    let selector = Selector::from_json(id).expect("a key");
    Request { selector, data: Some(data).filter(|data| !data.is_null()), ..Request::new(operation, target) }
}

fn named(subject: &str) -> Principal {
    Principal { subject: Some(subject.to_owned()), ..Principal::anonymous() }
}

impl Captured {
    async fn write(&self, principal: &Principal, request: Request) -> Result<Response, Error> {
        self.engine.handle(principal, &request).await
    }

    async fn department(&self, principal: &Principal, id: i64) -> Result<Response, Error> {
        let data = json!({"id": id, "code": id.to_string(), "title": "x"});
        self.write(principal, request(Operation::Create, "departments", Value::Null, data)).await
    }
}

/// A change without what differs from one run to the next.
fn essence(change: &Change) -> Value {
    json!({
        "entity": change.entity, "operation": change.operation, "key": change.key, "changed": change.changed,
        "before": image(change.before.as_deref()), "after": image(change.after.as_deref()), "user": change.user,
    })
}

async fn told_by(on: On) -> Vec<Value> {
    let captured = Captured::install(on, script(on.kind), ENTITIES).await;
    let relay = captured.start();
    for (operation, entity, id, data) in writes() {
        let said = format!("{operation:?} {entity} {id} {data}");
        captured
            .write(&named("ada"), request(operation, entity, id, data))
            .await
            .unwrap_or_else(|error| panic!("{said}: {error:?}"));
    }
    let last = |told: &[std::sync::Arc<Change>]| told.last().is_some_and(|change| change.key.get("id") == Some(&json!(99)));
    let told = super::eventually(std::time::Duration::from_secs(30), || Some(relay.bus.told()).filter(|told| last(told)));
    let told = told.await.unwrap_or_else(|| panic!("the last change is not told: {:#?}", relay.bus.lines()));
    relay.stop().await;
    captured.remove().await;
    told.iter().map(|change| essence(change)).collect()
}

async fn alike(kind: Kind, others: &[On]) {
    let by_trigger = told_by(kind.into()).await;
    assert!(by_trigger.len() >= 24, "{by_trigger:#?}");
    assert!(by_trigger.iter().all(|change| change["user"] == "ada"), "{by_trigger:#?}");
    for other in others {
        let told = told_by(*other).await;
        for (place, (expected, told)) in by_trigger.iter().zip(&told).enumerate() {
            assert_eq!(expected, told, "change {place} by {other:?}");
        }
        assert_eq!(by_trigger.len(), told.len(), "{other:?}: {told:#?}");
    }
}

const fn api(kind: Kind) -> On {
    On { kind, mode: "api" }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_told_alike_by_trigger_engine_and_log_on_postgres() {
    alike(Kind::Postgres, &[api(Kind::Postgres), WAL]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_told_alike_by_trigger_and_engine_on_mariadb() {
    alike(Kind::Mariadb, &[api(Kind::Mariadb)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_told_alike_by_trigger_and_engine_on_sqlite() {
    alike(Kind::Sqlite, &[api(Kind::Sqlite)]).await;
}

/// Each change has the name of its own writer, whoever used the connection before.
async fn users(on: On) {
    let captured = Captured::install(on, script(on.kind), ENTITIES).await;
    let relay = captured.start();
    let odd = "o'dd \\ \"名\"; drop table departments; --";
    for (id, principal) in [(50, named("ada")), (51, Principal::anonymous()), (52, named(odd)), (53, named(""))] {
        captured.department(&principal, id).await.expect("written");
    }
    // What fails leaves neither a change nor a name behind.
    captured.department(&named("eve"), 52).await.expect_err("it is there already");
    captured.department(&Principal::anonymous(), 54).await.expect("written");
    if on.mode != "api" {
        captured
            .database()
            .run_script("insert into departments (id, code, title) values (55, '55', 'x')")
            .await
            .expect("written");
    }
    captured.department(&named("bob"), 56).await.expect("written");
    let last = |told: &Vec<std::sync::Arc<Change>>| told.last().is_some_and(|change| change.key["id"] == json!(56));
    let told = super::eventually(std::time::Duration::from_secs(30), || Some(relay.bus.told()).filter(last)).await;
    let told = told.unwrap_or_else(|| panic!("the last is not told: {:#?}", relay.bus.lines()));
    let found: Vec<_> = told.iter().map(|change| (change.key["id"].clone(), change.user.clone().unwrap_or_default())).collect();
    let mut expected = vec![(50, "ada"), (51, ""), (52, odd), (53, ""), (54, ""), (55, ""), (56, "bob")];
    expected.retain(|(id, _)| *id != 55 || on.mode != "api");
    let expected: Vec<_> = expected.into_iter().map(|(id, user)| (json!(id), user.to_owned())).collect();
    assert_eq!(found, expected);
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_have_the_name_of_their_own_writer_on_postgres() {
    users(Kind::Postgres.into()).await;
    users(api(Kind::Postgres)).await;
    users(WAL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_have_the_name_of_their_own_writer_on_mariadb() {
    users(Kind::Mariadb.into()).await;
    users(api(Kind::Mariadb)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_have_the_name_of_their_own_writer_on_sqlite() {
    users(Kind::Sqlite.into()).await;
    users(api(Kind::Sqlite)).await;
}

/// The triggers of an earlier mode would tell everything twice; the engine alone needs none, and sees no one else.
async fn without_triggers(kind: Kind) {
    let captured = Captured::install(kind, script(kind), ENTITIES).await;
    captured.reload_as(api(kind), ENTITIES).await;
    assert!(captured.survey().await.tables().iter().all(|table| table.state == State::Outdated));
    captured.run_install().await;
    assert!(captured.survey().await.tables().iter().all(|table| table.state == State::Installed));
    assert_eq!(captured.survey().await.install(), [""; 0]);
    let relay = captured.start();
    captured.run("insert into departments (id, code, title) values (50, 'sql', 'by another program')").await;
    captured.department(&Principal::anonymous(), 51).await.expect("written");
    let told = relay.told(1).await;
    assert_eq!(told[0].key["id"], json!(51));
    captured.drained().await;
    assert_eq!(relay.bus.lines(), ["departments create 51"]);
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_needs_no_trigger_on_postgres() {
    without_triggers(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_needs_no_trigger_on_mariadb() {
    without_triggers(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_needs_no_trigger_on_sqlite() {
    without_triggers(Kind::Sqlite).await;
}

/// Where nothing is captured a write says nothing more than it did.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_capture_is_written_with_no_more_statements() {
    let captured = Captured::bare(On { kind: Kind::Postgres, mode: "none" }, script(Kind::Postgres), ENTITIES).await;
    captured.run("create extension pg_stat_statements").await;
    captured.department(&named("ada"), 50).await.expect("written");
    let kinds = "select to_json(query) from pg_stat_statements s join pg_database d on d.oid = s.dbid
        where d.datname = current_database() and query !~ 'pg_stat_statements'
          -- Names of ours for the columns of reads aside.
          and regexp_replace(query, 'resolvespec_value_[0-9]+', '', 'g') ~ '(resolvespec|set_config|emit_message)'";
    let said = captured.texts(kinds).await;
    assert_eq!(said, [""; 0]);
    captured.reload_as(Kind::Postgres.into(), ENTITIES).await;
    captured.department(&named("ada"), 51).await.expect("written");
    assert_eq!(captured.texts(kinds).await.len(), 1, "the name goes along with the begin");
    captured.remove().await;
}
