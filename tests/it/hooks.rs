//! Hooks of those who embed the library: they refuse, narrow, set values, undo and audit, and never widen.

use crate::support::client::Call;
use crate::support::database::{Fresh, Kind};
use crate::support::server::Server;
use async_trait::async_trait;
use axum::http::Method;
use resolvespec::engine::{Context, Hook, NarrowRead, NarrowWrite, Refusal};
use resolvespec::protocol::{Condition, Error, Leaf, Operation, Operator};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
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

#[tokio::test(flavor = "multi_thread")]
async fn audits_are_told_whom_their_roles_keep_out() {
    let hook = Arc::new(AdaOnly::default());
    let limited = "spec: {source: conformance, operations: {read: {}, delete: {roles: [clerk]}}, relations: [{name: team";
    let entities = ENTITIES.replace("spec: {source: conformance, relations: [{name: team", limited);
    let fresh = Fresh::create(Kind::Sqlite).await;
    let server = Server::over(Kind::Sqlite, fresh, SCHEMA, &entities, vec![hook.clone()]).await;
    for (path, request, expected) in [
        ("notes", json!({"operation": "create", "data": {"id": 10, "body": "x"}}), 403),
        ("notes/1", json!({"operation": "delete"}), 401),
        ("nothing", json!({"operation": "read"}), 404),
        ("notes", json!({"operation": "read"}), 200),
    ] {
        assert_eq!(call(&server, path, request).await.0, expected, "{path}");
    }
    let audit = hook.audit.lock().expect("no panic").clone();
    assert_eq!(audit, ["create notes forbidden", "delete notes unauthorized", "read notes ok"]);
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
    assert_eq!((status, owners), (200, [&json!("ada"), &Value::Null]), "a value is set in the row that is added alone: {body}");
    assert_eq!(body["data"][1], json!({"id": 1}), "of the row that is bob's now, the key alone may be seen");
    let rows = json!([{"_request": "insert", "id": 21, "body": "forbidden"}]);
    let (status, body) = call(&server, "notes", json!({"operation": "update", "data": rows})).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (400, &json!("hook_error")),
        "after-hooks are asked by what was done too: {body}"
    );
    server.stop().await;
}

/// Guards notes as [`AdaOnly`] does, lets nobody read what is in the vault, and notes down what it is asked about.
#[derive(Default)]
struct Guard {
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Hook for Guard {
    async fn before_read(&self, context: Context<'_>, read: &mut NarrowRead<'_, '_>) -> Result<(), Refusal> {
        assert_eq!(context.operation, Operation::Read);
        self.asked.lock().expect("no panic").push(context.entity.name.clone());
        match context.entity.name.as_str() {
            "vault" => Err(Refusal::new("the vault is closed")),
            "notes" => {
                read.filter(&adas())?;
                read.drop_column("secret")
            }
            _ => Ok(()),
        }
    }
}

const VAULT: &str = "
create table vault (id integer primary key, note_id integer references notes(id), content varchar(20));
insert into vault values (1, 1, 'gold');
";

const GUARDED: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: teams}
spec: {source: conformance, apiSchema: main, relations: [{name: notes, kind: hasMany, target: notes}]}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: notes}
spec:
  source: conformance
  apiSchema: main
  relations: [{name: team, kind: belongsTo, target: teams}, {name: vault, kind: hasMany, target: vault}]
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: vault}
spec: {source: conformance, apiSchema: main, relations: [{name: note, kind: belongsTo, target: notes}]}
";

impl Guard {
    async fn serve(kind: Kind) -> (Server, Arc<Self>) {
        let hook = Arc::new(Self::default());
        let script = format!("{}{VAULT}", SCHEMA.replace(" text", " varchar(20)"));
        (Server::over(kind, Fresh::create(kind).await, &script, GUARDED, vec![hook.clone()]).await, hook)
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("no panic"))
    }
}

async fn related_rows_are_guarded(kind: Kind) {
    let (server, hook) = Guard::serve(kind).await;
    for limit in [json!({}), json!({"limit": 5, "sort": [{"column": "id", "direction": "desc"}]})] {
        let mut preload = json!({"relation": "notes", "preload": [{"relation": "team", "preload": [{"relation": "notes"}]}]});
        preload.as_object_mut().expect("a preload").extend(limit.as_object().expect("options").clone());
        let (status, body) = call(&server, "teams", json!({"operation": "read", "options": {"preload": [preload]}})).await;
        assert_eq!(status, 200, "{body}");
        let notes = body["data"][0]["notes"].as_array().expect("a list");
        assert_eq!(notes.len(), 2, "{body}");
        for note in notes.iter().chain(notes[0]["team"]["notes"].as_array().expect("a list")) {
            assert_eq!((note.get("secret"), &note["owner"]), (None, &json!("ada")), "{body}");
        }
        assert_eq!(body["metadata"]["total"], 1);
        assert_eq!(hook.asked(), ["teams", "notes"], "each entity has one turn, wherever it appears");
    }
    let only = json!({"preload": [{"relation": "notes", "columns": ["secret"]}]});
    let (status, body) = call(&server, "teams", json!({"operation": "read", "options": only})).await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("forbidden")), "{body}");
    server.stop().await;
}

async fn related_rows_are_refused(kind: Kind) {
    let (server, _) = Guard::serve(kind).await;
    for (path, relation) in [("notes", "vault"), ("teams", "notes.vault"), ("teams/1", "notes.vault.note")] {
        let options = json!({"preload": [{"relation": relation}]});
        let (status, body) = call(&server, path, json!({"operation": "read", "options": options})).await;
        assert_eq!((status, &body["error"]["message"]), (400, &json!("the vault is closed")), "{path}: {body}");
        let update = json!({"operation": "update", "data": {"id": 1}, "options": options});
        let (status, body) = call(&server, path.split('/').next().expect("a name"), update).await;
        assert_eq!((status, &body["error"]["message"]), (400, &json!("the vault is closed")), "{path}: {body}");
    }
    let (status, _) = call(&server, "teams", json!({"operation": "read", "options": {"preload": [{"relation": "notes"}]}})).await;
    assert_eq!(status, 200, "what does not reach the vault is answered");
    server.stop().await;
}

async fn answers_of_writes_are_guarded(kind: Kind) {
    let (server, hook) = Guard::serve(kind).await;
    let new = json!({"id": 20, "owner": "ada", "body": "x", "secret": "s", "vault": [{"id": 5, "content": "silver"}]});
    let (status, body) = call(&server, "notes", json!({"operation": "create", "data": new})).await;
    assert_eq!(status, 200, "{body}");
    let expected = json!({"id": 20, "team_id": null, "owner": "ada", "body": "x", "vault": [{"id": 5}]});
    assert_eq!(body["data"], expected, "a column that is dropped is not answered, and of the vault only keys are");
    assert_eq!(hook.asked(), ["notes", "vault"]);

    let new = json!({"id": 21, "owner": "bob", "body": "y"});
    let (status, body) = call(&server, "notes", json!({"operation": "create", "data": new})).await;
    assert_eq!((status, &body["data"]), (200, &json!({"id": 21})), "of a row that the caller can't see only the key is answered");
    let (status, body) = call(&server, "vault", json!({"operation": "create", "data": {"id": 9, "content": "tin"}})).await;
    assert_eq!((status, &body["data"]), (200, &json!({"id": 9})), "{body}");

    let options = json!({"preload": [{"relation": "notes"}]});
    let (status, body) =
        call(&server, "teams/1", json!({"operation": "update", "data": {"name": "blue"}, "options": options})).await;
    let notes = body["data"]["notes"].as_array().expect("a list");
    assert_eq!((status, notes.len()), (200, 2), "{body}");
    assert!(notes.iter().all(|note| note.get("secret").is_none()), "{body}");

    // The tag of what was read is the tag of what is written, since both are narrowed.
    let read = Call::post("/api/main/notes/1", &json!({"operation": "read"}));
    let tag = server.client.send(&read).await.expect("an answer").header("etag").to_owned();
    let update =
        Call::post("/api/main/notes/1", &json!({"operation": "update", "data": {"body": "new"}})).header("If-Match", tag);
    assert_eq!(server.client.send(&update).await.expect("an answer").status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_preloaded_are_narrowed_at_any_depth() {
    for kind in Kind::ALL {
        related_rows_are_guarded(kind).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preload_is_refused_at_any_depth() {
    for kind in Kind::ALL {
        related_rows_are_refused(kind).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_write_answers_is_narrowed_and_refused_too() {
    for kind in Kind::ALL {
        answers_of_writes_are_guarded(kind).await;
    }
}

/// Notes down what was read, and refuses it if it is told to.
#[derive(Default)]
struct Reading {
    told: Mutex<Vec<(String, u64)>>,
    refuses: AtomicBool,
}

#[async_trait]
impl Hook for Reading {
    async fn after_read(&self, context: Context<'_>, rows: u64) -> Result<(), Refusal> {
        assert_eq!(context.operation, Operation::Read);
        self.told.lock().expect("no panic").push((context.entity.name.clone(), rows));
        if self.refuses.load(Ordering::Relaxed) {
            return Err(Refusal::new("this was too much"));
        }
        Ok(())
    }
}

impl Reading {
    fn told(&self) -> Vec<(String, u64)> {
        std::mem::take(&mut *self.told.lock().expect("no panic"))
    }
}

async fn reads_are_told(kind: Kind) {
    let hook = Arc::new(Reading::default());
    let script = format!("{}{VAULT}", SCHEMA.replace(" text", " varchar(20)"));
    let server = Server::over(kind, Fresh::create(kind).await, &script, GUARDED, vec![hook.clone()]).await;
    let nobodys = json!({"filters": [{"column": "owner", "operator": "eq", "value": "eve"}]});
    let reads: [(&str, Value, u64); 9] = [
        ("notes", json!({}), 3),
        ("notes", json!({"options": {"limit": 2}}), 2),
        ("notes", json!({"options": {"offset": 2, "skip_count": true}}), 1),
        ("notes", json!({"options": nobodys}), 0),
        ("notes", json!({"id": [1, 3]}), 2),
        ("notes", json!({"options": {"fetch_row_number": "2"}}), 1),
        ("notes/2", json!({}), 1),
        // Rows of other entities are not counted.
        ("teams", json!({"options": {"preload": [{"relation": "notes.vault"}]}}), 1),
        ("teams/1", json!({"options": {"preload": [{"relation": "notes"}]}}), 1),
    ];
    for refuses in [false, true] {
        hook.refuses.store(refuses, Ordering::Relaxed);
        for (path, read, rows) in &reads {
            let mut read = read.clone();
            read["operation"] = "read".into();
            let (status, body) = call(&server, path, read.clone()).await;
            let entity = path.split('/').next().expect("a name").to_owned();
            assert_eq!(hook.told(), [(entity, *rows)], "{}: {path} {read}: {body}", kind.name());
            if refuses {
                let error = json!({"code": "hook_error", "message": "this was too much"});
                assert_eq!((status, &body["error"]), (400, &error), "{}: {path} {read}: {body}", kind.name());
                assert_eq!(body["data"], Value::Null, "{}: {path} {read}: nothing of it is answered", kind.name());
            } else {
                assert_eq!((status, &body["success"]), (200, &json!(true)), "{}: {path} {read}: {body}", kind.name());
            }
        }
        for (path, rows) in [("notes", 3_u64), ("notes/2", 1)] {
            let answer = server.client.send(&Call::new(Method::GET, format!("/rest/main/{path}"))).await.expect("an answer");
            assert_eq!(answer.status, if refuses { 400 } else { 200 }, "{}: {path}: {}", kind.name(), answer.body);
            assert_eq!(hook.told(), [("notes".to_owned(), rows)], "{}: {path}", kind.name());
        }
    }
    // What was not found was not read, and what a write answers is no read.
    let (status, _) = call(&server, "notes/99", json!({"operation": "read"})).await;
    assert_eq!((status, hook.told()), (404, Vec::new()), "{}", kind.name());
    let (status, body) = call(&server, "notes/2", json!({"operation": "update", "data": {"body": "new"}})).await;
    assert_eq!((status, hook.told()), (200, Vec::new()), "{}: {body}", kind.name());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_is_told_with_its_number_of_rows_and_may_be_refused() {
    for kind in Kind::ALL {
        reads_are_told(kind).await;
    }
}

/// Lets everybody change everything, and read what is Ada's.
struct ReadsOnly;

#[async_trait]
impl Hook for ReadsOnly {
    async fn before_read(&self, context: Context<'_>, read: &mut NarrowRead<'_, '_>) -> Result<(), Refusal> {
        if context.entity.name == "notes" {
            read.filter(&adas())?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_of_a_write_do_not_tell_of_rows_that_can_not_be_read() {
    let fresh = Fresh::create(Kind::Sqlite).await;
    let server = Server::over(Kind::Sqlite, fresh, SCHEMA, ENTITIES, vec![Arc::new(ReadsOnly)]).await;
    let create =
        |id: u32, owner: &str| json!({"operation": "create", "data": {"id": id, "owner": owner, "body": "x", "secret": "s"}});
    for (id, owner) in [(901, "ada"), (902, "bob")] {
        assert_eq!(call(&server, "notes", create(id, owner)).await.0, 200);
    }
    let update = |id: u32, filter: Value| json!({"operation": "update", "id": id, "data": {"body": "y"}, "options": {"filters": [filter]}});
    let is = |value: &str| json!({"column": "body", "operator": "eq", "value": value});
    assert_eq!(call(&server, "notes", update(901, is("x"))).await.0, 200);
    assert_eq!(call(&server, "notes", update(901, is("z"))).await.0, 404);
    for guess in ["x", "z"] {
        let (status, body) = call(&server, "notes", update(902, is(guess))).await;
        assert_eq!((status, &body["error"]["code"]), (404, &json!("not_found")), "{guess}: {body}");
    }
    let unconditional = json!({"operation": "update", "id": 902, "data": {"body": "y"}});
    assert_eq!(call(&server, "notes", unconditional).await.0, 200, "without a filter it is changed as before");
    server.stop().await;
}
