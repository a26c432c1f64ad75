//! Hooks of writes asked for rows that are written with a row: they refuse, narrow, set and undo as for the row itself.

use crate::support::client::Call;
use crate::support::database::{Fresh, Kind};
use crate::support::server::Server;
use async_trait::async_trait;
use resolvespec::engine::{Context, Hook, NarrowWrite, Refusal};
use resolvespec::protocol::{Condition, Leaf, Operation, Operator};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const SCHEMA: &str = "
create table teams (id integer primary key, name varchar(20));
create table notes (id integer primary key, team_id integer references teams(id), owner varchar(20), body varchar(20));
create table marks (id integer primary key, note_id integer references notes(id), label varchar(20));
create table tags (id integer primary key, name varchar(20));
create table note_tags (note_id integer not null, tag_id integer not null, primary key (note_id, tag_id),
  foreign key (note_id) references notes(id), foreign key (tag_id) references tags(id));
insert into teams values (1, 'red'), (2, 'blue');
insert into notes values (1, 1, 'ada', 'one'), (2, 1, 'bob', 'two');
insert into marks values (1, 1, 'old');
insert into tags values (1, 'free'), (2, 'locked');
insert into note_tags values (1, 1), (1, 2);
";

const ENTITIES: &str = "
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
  relations:
    - {name: team, kind: belongsTo, target: teams}
    - {name: marks, kind: hasMany, target: marks}
    - {name: tags, kind: manyToMany, target: tags, through: {table: note_tags}}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: marks}
spec: {source: conformance, apiSchema: main}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: tags}
spec: {source: conformance, apiSchema: main}
";

/// Notes are ada's, locked tags stay, and marks say what becomes of them.
#[derive(Default)]
struct Policy {
    turns: Mutex<Vec<String>>,
    after: Mutex<Vec<(String, Value)>>,
}

fn is(column: &str, operator: Operator, value: &str) -> Condition {
    Condition::Leaf(Leaf { column: column.to_owned(), operator, value: json!(value) })
}

impl Policy {
    fn before(&self, context: Context<'_>, write: &mut NarrowWrite<'_, '_>) -> Result<(), Refusal> {
        let turn = format!("{} {}", context.operation.as_str(), context.entity.name);
        self.turns.lock().expect("no panic").push(turn.clone());
        match turn.as_str() {
            "create notes" => write.set("owner", &json!("ada")),
            "update notes" | "delete notes" => write.filter(&is("owner", Operator::Eq, "ada")),
            "create marks" => write.set("label", &json!("by the hook")),
            "update marks" => write.drop_column("label"),
            "update teams" => write.drop_column("name"),
            "create teams" => Err(Refusal::new("no new teams")),
            "create tags" => write.set("id", &json!(77)),
            "delete tags" => write.filter(&is("name", Operator::Neq, "locked")),
            _ => Ok(()),
        }
    }

    fn after(&self, context: Context<'_>, rows: &[u8]) -> Result<(), Refusal> {
        let text = String::from_utf8(rows.to_vec()).expect("text");
        if context.entity.name == "marks" && text.contains("9999") {
            return Err(Refusal::new("not this mark"));
        }
        let turn = format!("{} {}", context.operation.as_str(), context.entity.name);
        let rows = serde_json::from_str(&format!("[{text}]")).expect("rows as JSON");
        self.after.lock().expect("no panic").push((turn, rows));
        Ok(())
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.turns.lock().expect("no panic"))
    }

    fn told(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut *self.after.lock().expect("no panic"))
    }
}

#[async_trait]
impl Hook for Policy {
    async fn before_create(&self, context: Context<'_>, write: &mut NarrowWrite<'_, '_>) -> Result<(), Refusal> {
        assert_eq!(context.operation, Operation::Create);
        self.before(context, write)
    }

    async fn before_update(&self, context: Context<'_>, write: &mut NarrowWrite<'_, '_>) -> Result<(), Refusal> {
        self.before(context, write)
    }

    async fn before_delete(&self, context: Context<'_>, write: &mut NarrowWrite<'_, '_>) -> Result<(), Refusal> {
        self.before(context, write)
    }

    async fn after_create(&self, context: Context<'_>, rows: &[u8]) -> Result<(), Refusal> {
        self.after(context, rows)
    }

    async fn after_update(&self, context: Context<'_>, rows: &[u8]) -> Result<(), Refusal> {
        self.after(context, rows)
    }

    async fn after_delete(&self, context: Context<'_>, rows: &[u8]) -> Result<(), Refusal> {
        self.after(context, rows)
    }
}

struct Desk {
    server: Server,
    policy: Arc<Policy>,
}

impl Desk {
    async fn open(kind: Kind) -> Self {
        let policy = Arc::new(Policy::default());
        let server = Server::over(kind, Fresh::create(kind).await, SCHEMA, ENTITIES, vec![policy.clone()]).await;
        Self { server, policy }
    }

    async fn call(&self, path: &str, body: Value) -> (u16, Value) {
        let answer = self.server.client.send(&Call::post(format!("/api/main/{path}"), &body)).await.expect("an answer");
        (answer.status.as_u16(), answer.body)
    }

    async fn write(&self, path: &str, operation: &str, data: Value) -> (u16, Value) {
        self.call(path, json!({"operation": operation, "data": data})).await
    }

    async fn rows(&self, path: &str) -> Value {
        self.call(path, json!({"operation": "read"})).await.1["data"].clone()
    }

    /// Everything there is.
    async fn all(&self) -> Vec<Value> {
        let tags = json!({"operation": "read", "options": {"preload": [{"relation": "tags"}]}});
        vec![self.rows("teams").await, self.call("notes", tags).await.1["data"].clone(), self.rows("marks").await]
    }
}

async fn refused(kind: Kind) {
    let desk = Desk::open(kind).await;
    let before = desk.all().await;
    for (path, operation, data, status, message) in [
        // By a word, two levels below and before anything is written.
        ("notes", "create", json!({"id": 9, "body": "x", "team": {"id": 9, "name": "new"}}), 400, "no new teams"),
        ("notes", "create", json!({"id": 9, "team": {"_request": "upsert", "id": 9, "name": "new"}}), 400, "no new teams"),
        // By a filter: bob's note is not there.
        ("teams/1", "update", json!({"notes": [{"id": 1, "body": "x"}, {"id": 2, "body": "x"}]}), 404, ""),
        ("teams/1", "update", json!({"notes": [{"_request": "insert", "id": 9}, {"_request": "delete", "id": 2}]}), 404, ""),
        ("notes/1", "update", json!({"tags": [{"_request": "delete", "id": 1}, {"_request": "delete", "id": 2}]}), 404, ""),
        // After the rows were written, which undoes all of it.
        ("teams/1", "update", json!({"notes": [{"id": 1, "marks": [{"_request": "insert", "id": 9999}]}]}), 400, "not this mark"),
    ] {
        let (said, body) = desk.write(path, operation, data.clone()).await;
        assert_eq!(said, status, "{kind:?} {data}: {body}");
        let told = body["error"]["message"].as_str().unwrap_or_default();
        assert!(told.contains(message), "{kind:?} {data}: {body}");
        assert_eq!(desk.all().await, before, "{kind:?}: nothing is written by {data}");
    }
    desk.server.stop().await;
}

async fn set(kind: Kind) {
    let desk = Desk::open(kind).await;
    let marks = json!([{"id": 50, "label": "mine"}, {"_request": "update", "id": 1, "label": "mine"}]);
    let data = json!({"name": "green", "notes": [{"_request": "insert", "id": 10, "owner": "bob", "marks": marks}]});
    let (status, body) = desk.write("teams/1", "update", data).await;
    assert_eq!(status, 200, "{kind:?} {body}");
    assert_eq!(body["data"]["name"], "red", "the row's own hook is asked as before: {body}");
    assert_eq!(body["data"]["notes"][0]["owner"], "ada", "{body}");
    let expected = json!([{"id": 1, "note_id": 10, "label": "old"}, {"id": 50, "note_id": 10, "label": "by the hook"}]);
    assert_eq!(desk.rows("marks").await, expected, "{kind:?}");
    assert_eq!(desk.policy.asked(), ["update teams", "create notes", "create marks", "update marks"], "each once, from above");
    let told = desk.policy.told();
    let of = |turn: &str| told.iter().find(|(name, _)| name == turn).map(|(_, rows)| rows.clone()).unwrap_or_default();
    assert_eq!(of("create marks"), json!([expected[1]]), "{told:?}");
    assert_eq!(of("update marks"), json!([expected[0]]), "{told:?}");
    assert_eq!((&of("create notes")[0]["id"], &of("create notes")[0]["owner"]), (&json!(10), &json!("ada")), "{told:?}");
    assert_eq!(of("update teams")[0]["id"], 1, "{told:?}");

    // What a preload answers instead is told as well, and what is removed as it was.
    let options = json!({"preload": [{"relation": "marks"}]});
    let rows = json!({"marks": [{"_request": "delete", "id": 50}, {"_request": "insert", "id": 51}]});
    let (status, body) = desk.call("notes/10", json!({"operation": "update", "data": rows, "options": options})).await;
    assert_eq!(status, 200, "{kind:?} {body}");
    let new = json!({"id": 51, "note_id": 10, "label": "by the hook"});
    let told = desk.policy.told();
    let of = |turn: &str| told.iter().find(|(name, _)| name == turn).map(|(_, rows)| rows.clone()).unwrap_or_default();
    assert_eq!(of("create marks"), json!([new]), "{kind:?} {told:?}");
    assert_eq!(of("delete marks"), json!([expected[1]]), "{kind:?} {told:?}");
    desk.policy.asked();

    // A link is to the row that the hook makes of it, and one that is taken away has the turn of a delete.
    let tags = json!({"tags": [{"_request": "insert", "id": 5, "name": "new"}, {"_request": "delete", "id": 1}]});
    let (status, body) = desk.write("notes/1", "update", tags).await;
    assert_eq!(status, 200, "{kind:?} {body}");
    assert_eq!(desk.policy.asked(), ["update notes", "create tags", "delete tags"]);
    let told = desk.policy.told();
    assert!(told.contains(&("delete tags".to_owned(), json!([{"id": 1, "name": "free"}]))), "{kind:?} {told:?}");
    let options = json!({"operation": "read", "options": {"preload": [{"relation": "tags", "columns": ["id"]}]}});
    let linked = desk.call("notes/1", options).await.1["data"]["tags"].clone();
    assert_eq!(linked, json!([{"id": 2}, {"id": 77}]), "{kind:?}");
    desk.server.stop().await;
}

/// Decides on the team of notes.
struct TeamTwo;

#[async_trait]
impl Hook for TeamTwo {
    async fn before_create(&self, context: Context<'_>, write: &mut NarrowWrite<'_, '_>) -> Result<(), Refusal> {
        if context.entity.name == "notes" { write.set("team_id", &json!(2)) } else { Ok(()) }
    }

    async fn before_update(&self, context: Context<'_>, write: &mut NarrowWrite<'_, '_>) -> Result<(), Refusal> {
        if context.entity.name == "notes" { write.drop_column("team_id") } else { Ok(()) }
    }
}

async fn decided(kind: Kind) {
    let policy = Arc::new(Policy::default());
    let server = Server::over(kind, Fresh::create(kind).await, SCHEMA, ENTITIES, vec![Arc::new(TeamTwo)]).await;
    let desk = Desk { server, policy };
    let before = desk.all().await;
    for (path, operation, data) in [
        ("teams/1", "update", json!({"notes": [{"_request": "insert", "id": 9}]})),
        ("notes", "create", json!({"id": 9, "team": {"_request": "update", "id": 1}})),
        ("notes", "create", json!({"id": 9, "team": {"id": 3}})),
        ("notes/1", "update", json!({"team": {"_request": "update", "id": 2}})),
        ("teams/2", "update", json!({"notes": [{"id": 1}]})),
    ] {
        let (status, body) = desk.write(path, operation, data.clone()).await;
        let error = &body["error"];
        assert_eq!((status, &error["code"], &error["detail"]), (400, &json!("hook_error"), &json!("team_id")), "{data}: {body}");
        assert_eq!(desk.all().await, before, "{kind:?}: nothing is written by {data}");
    }
    let (status, body) = desk.write("teams/2", "update", json!({"notes": [{"_request": "insert", "id": 9}]})).await;
    assert_eq!((status, &body["data"]["notes"][0]["team_id"]), (200, &json!(2)), "it is what the hook wants: {body}");
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_written_with_another_is_refused_and_nothing_is_written() {
    for kind in Kind::ALL {
        refused(kind).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_written_with_another_is_set_and_told_afterwards() {
    for kind in Kind::ALL {
        set(kind).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hook_decides_is_not_decided_by_a_related_row() {
    for kind in Kind::ALL {
        decided(kind).await;
    }
}
