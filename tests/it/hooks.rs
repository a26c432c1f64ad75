//! Hooks of those who embed the library: they refuse, narrow, set values, undo and audit, and never widen.

use crate::support::client::Call;
use crate::support::database::{Fresh, Kind};
use crate::support::server::Server;
use async_trait::async_trait;
use resolvespec::engine::{Context, Hook, NarrowRead, NarrowWrite, Refusal};
use resolvespec::protocol::{Condition, Error, Leaf, Operation, Operator};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const SCHEMA: &str = "
create table teams (id integer primary key, name text not null);
create table notes (id integer primary key, team_id integer references teams(id), owner text, body text not null, secret text);
insert into teams values (1, 'red');
insert into notes values (1, 1, 'ada', 'one', 's1'), (2, 1, 'bob', 'two', 's2'), (3, 1, 'ada', 'three', 's3');
";

const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: teams}
spec: {source: conformance, relations: [{name: notes, kind: hasMany, target: notes}]}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: notes}
spec: {source: conformance, relations: [{name: team, kind: belongsTo, target: teams}]}
";

/// Lets everyone see and touch what belongs to ada, and nothing else.
#[derive(Default)]
struct AdaOnly {
    audit: Mutex<Vec<String>>,
}

fn adas() -> Condition {
    Condition::Leaf(Leaf { column: "owner".to_owned(), operator: Operator::Eq, value: json!("ada") })
}

#[async_trait]
impl Hook for AdaOnly {
    async fn before_handle(&self, context: Context<'_>) -> Result<(), Refusal> {
        if context.entity.name == "teams" && context.operation == Operation::Delete {
            return Err(Refusal::new("teams stay"));
        }
        Ok(())
    }

    async fn before_read(&self, context: Context<'_>, read: &mut NarrowRead<'_, '_>) -> Result<(), Refusal> {
        if context.entity.name == "notes" {
            read.filter(&adas())?;
            read.drop_column("secret")?;
        }
        Ok(())
    }

    async fn before_create(&self, _: Context<'_>, write: &mut NarrowWrite<'_, '_>) -> Result<(), Refusal> {
        write.set("owner", &json!("ada"))
    }

    async fn after_create(&self, _: Context<'_>, rows: &[u8]) -> Result<(), Refusal> {
        if rows.windows(6).any(|window| window == b"forbid") {
            return Err(Refusal::new("not this text"));
        }
        Ok(())
    }

    async fn before_update(&self, _: Context<'_>, write: &mut NarrowWrite<'_, '_>) -> Result<(), Refusal> {
        write.filter(&adas())
    }

    async fn before_delete(&self, _: Context<'_>, write: &mut NarrowWrite<'_, '_>) -> Result<(), Refusal> {
        write.filter(&adas())
    }

    async fn after_handle(&self, context: Context<'_>, refused: Option<&Error>) {
        let outcome = refused.map_or("ok", |error| error.code.as_str());
        self.audit.lock().expect("no panic").push(format!("{} {} {outcome}", context.operation.as_str(), context.entity.name));
    }
}

async fn call(server: &Server, path: &str, body: Value) -> (u16, Value) {
    let answer = server.client.send(&Call::post(format!("/api/main/{path}"), &body)).await.expect("an answer");
    (answer.status.as_u16(), answer.body)
}

async fn serve() -> (Server, Arc<AdaOnly>) {
    let hook = Arc::new(AdaOnly::default());
    let fresh = Fresh::create(Kind::Sqlite).await;
    (Server::over(Kind::Sqlite, fresh, SCHEMA, ENTITIES, vec![hook.clone()]).await, hook)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowed_read_is_narrow_in_rows_counts_positions_and_columns() {
    let (server, _) = serve().await;
    let (status, body) = call(&server, "notes", json!({"operation": "read"})).await;
    assert_eq!((status, &body["metadata"]["total"], &body["metadata"]["filtered"]), (200, &json!(2), &json!(2)));
    assert_eq!(body["data"][1]["id"], 3);
    assert!(body["data"][0].get("secret").is_none(), "{body}");
    let (_, body) = call(&server, "notes", json!({"operation": "read", "options": {"fetch_row_number": "3"}})).await;
    assert_eq!(body["metadata"]["row_number"], 2, "{body}");
    let (status, _) = call(&server, "notes/2", json!({"operation": "read"})).await;
    assert_eq!(status, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowed_read_is_narrow_in_related_rows_too() {
    let (server, _) = serve().await;
    let preload = json!({"columns": ["id"], "preload": [{"relation": "team.notes"}]});
    let (status, body) = call(&server, "notes", json!({"operation": "read", "options": preload})).await;
    assert_eq!(status, 200, "{body}");
    for row in body["data"].as_array().expect("a list") {
        let related = row["team"]["notes"].as_array().expect("a list");
        let ids: Vec<&Value> = related.iter().map(|note| &note["id"]).collect();
        assert_eq!(ids, [1, 3], "the row that the filter leaves out is not reached by a detour: {body}");
        assert!(related.iter().all(|note| note.get("secret").is_none()), "{body}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_set_narrowed_refused_and_undone() {
    let (server, hook) = serve().await;
    let (_, body) = call(&server, "notes", json!({"operation": "create", "data": {"id": 10, "owner": "bob", "body": "x"}})).await;
    assert_eq!(body["data"]["owner"], "ada", "{body}");
    let (status, body) = call(&server, "notes", json!({"operation": "create", "data": {"id": 11, "body": "forbidden"}})).await;
    assert_eq!((status, &body["error"]["code"]), (400, &json!("hook_error")));
    let (status, _) = call(&server, "notes/11", json!({"operation": "read"})).await;
    assert_eq!(status, 404, "an after-hook that refuses undoes the write");
    let (status, _) = call(&server, "notes/2", json!({"operation": "update", "data": {"body": "mine"}})).await;
    assert_eq!(status, 404, "a row that the hook's filter leaves out is not there");
    let (status, _) = call(&server, "notes/2", json!({"operation": "delete"})).await;
    assert_eq!(status, 404);
    let (status, body) = call(&server, "teams/1", json!({"operation": "delete"})).await;
    assert_eq!((status, &body["error"]["message"]), (400, &json!("teams stay")));
    let audit = hook.audit.lock().expect("no panic").clone();
    let expected = [
        "create notes ok",
        "create notes hook_error",
        "read notes not_found",
        "update notes not_found",
        "delete notes not_found",
        "delete teams hook_error",
    ];
    assert_eq!(audit, expected);
    server.stop().await;
}

/// A row's `_request` decides which hooks are asked for it, whatever the request's operation is.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_a_rows_own_does_not_get_past_the_hooks_of_what_is_done() {
    let (server, _) = serve().await;
    let create = |row: Value| json!({"operation": "create", "data": row});
    let (status, _) = call(&server, "notes", create(json!({"_request": "update", "id": 2, "body": "mine"}))).await;
    assert_eq!(status, 404, "the row is bob's");
    let (status, _) = call(&server, "notes", create(json!({"_request": "upsert", "id": 2, "body": "mine"}))).await;
    assert_eq!(status, 409, "the row is bob's, and its key is taken");
    let (status, body) = call(&server, "notes", create(json!({"_request": "delete", "id": 1}))).await;
    assert_eq!((status, &body["error"]["code"]), (400, &json!("invalid_data")), "{body}");
    let (status, body) =
        call(&server, "notes/1", json!({"operation": "update", "data": {"_request": "insert", "body": "x"}})).await;
    assert_eq!((status, &body["error"]["code"]), (400, &json!("invalid_data")), "{body}");

    let rows =
        json!([{"_request": "insert", "id": 20, "owner": "bob", "body": "x"}, {"id": 1, "owner": "bob", "body": "changed"}]);
    let (status, body) = call(&server, "notes", json!({"operation": "update", "data": rows})).await;
    let owners = [&body["data"][0]["owner"], &body["data"][1]["owner"]];
    assert_eq!((status, owners), (200, [&json!("ada"), &json!("bob")]), "a value is set in the row that is added alone: {body}");
    let rows = json!([{"_request": "insert", "id": 21, "body": "forbidden"}]);
    let (status, body) = call(&server, "notes", json!({"operation": "update", "data": rows})).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (400, &json!("hook_error")),
        "after-hooks are asked by what was done too: {body}"
    );
    server.stop().await;
}
