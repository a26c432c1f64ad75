//! Entities that are for some roles alone, reached through others: by preloads, and by rows that are written with a row.

use crate::support::client::{Answer, Call};
use crate::support::database::Kind;
use crate::support::server::Server;
use crate::support::shop::{SECRET, in_seconds, token};
use axum::http::Method;
use resolvespec::auth::{Authentication, JwtSettings, KeySource, Secret};
use resolvespec::config::Config;
use serde_json::{Value, json};

const SCHEMA: &str = "
create table teams (id integer primary key, name varchar(20));
create table members (id integer primary key, team_id integer references teams(id), name varchar(20));
create table notes (id integer primary key, member_id integer references members(id), body varchar(20));
create table pens (id integer primary key, note_id integer references notes(id), name varchar(20));
insert into teams values (1, 'red');
insert into members values (1, 1, 'ada');
insert into notes values (1, 1, 'one'), (2, 1, 'two');
insert into pens values (1, 1, 'quill');
";

/// Everything is for everybody but the notes, which lie between members and pens.
const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: teams}
spec: {source: conformance, apiSchema: public, relations: [{name: members, kind: hasMany, target: members}]}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: members}
spec: {source: conformance, apiSchema: public, relations: [{name: notes, kind: hasMany, target: notes}]}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: notes}
spec:
  source: conformance
  apiSchema: public
  relations: [{name: member, kind: belongsTo, target: members}]
  operations: {read: {roles: [reader]}, create: {roles: [creator]}, update: {roles: [updater]}, delete: {roles: [deleter]}}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: pens}
spec: {source: conformance, apiSchema: public, relations: [{name: note, kind: belongsTo, target: notes}]}
";

/// Somebody with these roles, or nobody.
type Caller<'a> = Option<&'a [&'a str]>;

const EVERY_ROLE: [&str; 4] = ["reader", "creator", "updater", "deleter"];

async fn serve(kind: Kind) -> Server {
    let jwt = JwtSettings { allow_anonymous: true, ..JwtSettings::new(KeySource::Secret(Secret::new(SECRET))) };
    let guarded = |config| Config { authentication: Authentication::Jwt(jwt), ..config };
    Server::configured(kind, SCHEMA, ENTITIES, guarded).await
}

async fn ask(server: &Server, caller: Caller<'_>, call: &Call) -> Answer {
    let mut call = call.clone();
    if let Some(roles) = caller {
        let claims = json!({"sub": "ada", "exp": in_seconds(600), "roles": roles});
        call = call.header("Authorization", format!("Bearer {}", token(&claims, SECRET)));
    }
    server.client.send(&call).await.expect("an answer")
}

fn post(path: &str, body: &Value) -> Call {
    Call::post(format!("/api/public/{path}"), body)
}

/// Nobody is told to say who they are, and everybody else that it is not for them.
fn assert_refused(answer: &Answer, caller: Caller<'_>, call: &Call) {
    let (status, code, scheme) = if caller.is_none() { (401, "unauthorized", "Bearer") } else { (403, "forbidden", "") };
    let error = &answer.body["error"];
    assert_eq!((answer.status.as_u16(), &error["code"]), (status, &json!(code)), "{caller:?} {call:?}: {}", answer.body);
    assert_eq!(answer.header("www-authenticate"), scheme, "{caller:?} {call:?}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("public.notes")), "{caller:?} {call:?}: {error}");
    assert_eq!(answer.body["data"], Value::Null, "{caller:?} {call:?}");
}

/// All there is, as whoever may read it sees it.
async fn everything(server: &Server) -> Value {
    let read = json!({"operation": "read", "options": {"sort": [{"column": "id"}]}});
    let mut all = json!({});
    for entity in ["teams", "members", "notes", "pens"] {
        let answer = ask(server, Some(&["reader"]), &post(entity, &read)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        all[entity] = answer.body["data"].clone();
    }
    all
}

async fn preloads_are_asked_for(kind: Kind) {
    let server = serve(kind).await;
    let read = |preload: Value| json!({"operation": "read", "options": {"preload": preload}});
    let nested = json!([{"relation": "members", "preload": [{"relation": "notes", "limit": 1}]}]);
    let calls = [
        post("notes", &read(json!([]))),
        post("notes/1", &read(json!([]))),
        post("members", &read(json!([{"relation": "notes"}]))),
        post("members/1", &read(json!([{"relation": "notes", "columns": ["body"]}]))),
        post("teams", &read(json!([{"relation": "members.notes"}]))),
        post("teams/1", &read(nested)),
        post("pens", &read(json!([{"relation": "note"}]))),
        // The way leads through it, to what everybody may read.
        post("pens/1", &read(json!([{"relation": "note.member"}]))),
        Call::new(Method::GET, "/rest/public/members").header("X-Preload", "notes"),
        Call::new(Method::GET, "/rest/public/pens/1").header("X-Preload", "note"),
    ];
    let strangers: [Caller<'_>; 3] = [None, Some(&[]), Some(&["creator", "updater", "deleter"])];
    for call in &calls {
        for caller in strangers {
            assert_refused(&ask(&server, caller, call).await, caller, call);
        }
        let answer = ask(&server, Some(&["reader"]), call).await;
        assert_eq!(answer.status, 200, "{call:?}: {}", answer.body);
        assert!(answer.body.to_string().contains(r#""one""#), "{call:?}: {}", answer.body);
    }
    // What does not lead there is everybody's.
    for caller in strangers {
        let answer = ask(&server, caller, &post("teams", &read(json!([{"relation": "members"}])))).await;
        assert_eq!((answer.status.as_u16(), &answer.body["data"][0]["members"][0]["name"]), (200, &json!("ada")));
    }

    // A write answers no rows to whom a read would not, and is not done then.
    let options = json!({"preload": [{"relation": "notes"}]});
    let update = post("members/1", &json!({"operation": "update", "data": {"name": "eve"}, "options": options}));
    let before = everything(&server).await;
    for caller in strangers {
        assert_refused(&ask(&server, caller, &update).await, caller, &update);
        assert_eq!(everything(&server).await, before, "{}: {caller:?}", kind.name());
    }
    let answer = ask(&server, Some(&["reader"]), &update).await;
    let (name, notes) = (&answer.body["data"]["name"], &answer.body["data"]["notes"]);
    assert_eq!((answer.status.as_u16(), name), (200, &json!("eve")), "{}", answer.body);
    assert_eq!(notes.as_array().map(Vec::len), Some(2), "{}", answer.body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preload_needs_the_role_for_what_it_leads_to_on_postgres() {
    preloads_are_asked_for(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preload_needs_the_role_for_what_it_leads_to_on_mariadb() {
    preloads_are_asked_for(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preload_needs_the_role_for_what_it_leads_to_on_sqlite() {
    preloads_are_asked_for(Kind::Sqlite).await;
}

const CREATOR: &[&str] = &["creator"];
const UPDATER: &[&str] = &["updater"];
const DELETER: &[&str] = &["deleter"];
const BOTH: &[&str] = &["creator", "updater"];

/// Writes that reach notes through others, one after the other, each with the roles that it needs.
fn writes() -> Vec<(Call, &'static [&'static str])> {
    let update = |path: &str, data: Value| post(path, &json!({"operation": "update", "data": data}));
    let create = |path: &str, data: Value| post(path, &json!({"operation": "create", "data": data}));
    let insert = json!([{"_request": "insert", "id": 3, "body": "three"}]);
    let upsert = json!([{"_request": "upsert", "id": 5, "body": "five"}]);
    let below = json!([{"id": 1, "notes": [{"_request": "insert", "id": 6, "body": "six"}, {"id": 5, "body": "fifth"}]}]);
    vec![
        (update("members/1", json!({"name": "eve", "notes": insert})), CREATOR),
        (create("members", json!({"id": 2, "name": "bob", "notes": [{"id": 4, "body": "four"}]})), CREATOR),
        (update("members/1", json!({"name": "ida", "notes": [{"id": 1, "body": "first"}]})), UPDATER),
        (update("members/1", json!({"name": "una", "notes": upsert})), BOTH),
        (update("members/1", json!({"name": "uma", "notes": [{"_request": "delete", "id": 2}]})), DELETER),
        (update("teams/1", json!({"name": "blue", "members": below})), BOTH),
        (update("pens/1", json!({"name": "biro", "note": {"id": 1, "body": "seen by pens"}})), UPDATER),
        (create("pens", json!({"id": 2, "name": "chalk", "note": {"id": 7, "body": "seven"}})), CREATOR),
        (update("pens/1", json!({"name": "loose", "note": {"_request": "delete", "id": 1}})), DELETER),
    ]
}

async fn nested_writes_are_asked_for(kind: Kind) {
    let server = serve(kind).await;
    let no_role: &[&str] = &[];
    for (call, needs) in writes() {
        let before = everything(&server).await;
        let all_but = |missing: &str| EVERY_ROLE.into_iter().filter(|role| *role != missing).collect::<Vec<_>>();
        let lacking: Vec<Vec<&str>> = needs.iter().map(|role| all_but(role)).collect();
        let lacking = lacking.iter().map(|roles| Some(roles.as_slice()));
        for caller in [None, Some(no_role), Some(&EVERY_ROLE[..1])].into_iter().chain(lacking) {
            assert_refused(&ask(&server, caller, &call).await, caller, &call);
            assert_eq!(everything(&server).await, before, "{}: {caller:?} {call:?}", kind.name());
        }
        let answer = ask(&server, Some(needs), &call).await;
        assert_eq!(answer.status, 200, "{}: {call:?}: {}", kind.name(), answer.body);
        assert!(!answer.body.to_string().contains("body"), "who may not read it learns its key alone: {}", answer.body);
        assert_ne!(everything(&server).await, before, "{}: {call:?}", kind.name());
    }
    let expected = json!({
        "teams": [{"id": 1, "name": "blue"}],
        "members": [{"id": 1, "team_id": 1, "name": "uma"}, {"id": 2, "team_id": null, "name": "bob"}],
        "notes": [
            {"id": 3, "member_id": 1, "body": "three"},
            {"id": 4, "member_id": 2, "body": "four"},
            {"id": 5, "member_id": 1, "body": "fifth"},
            {"id": 6, "member_id": 1, "body": "six"},
            {"id": 7, "member_id": null, "body": "seven"},
        ],
        "pens": [{"id": 1, "note_id": null, "name": "loose"}, {"id": 2, "note_id": 7, "name": "chalk"}],
    });
    assert_eq!(everything(&server).await, expected, "{}", kind.name());

    // Whoever may read as well sees what was written.
    let update = json!({"operation": "update", "data": {"notes": [{"id": 3, "body": "third"}]}});
    let answer = ask(&server, Some(&["reader", "updater"]), &post("members/1", &update)).await;
    let notes = &answer.body["data"]["notes"];
    assert_eq!(*notes, json!([{"id": 3, "member_id": 1, "body": "third"}]), "{}: {}", kind.name(), answer.body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_written_with_a_row_need_their_own_roles_on_postgres() {
    nested_writes_are_asked_for(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_written_with_a_row_need_their_own_roles_on_mariadb() {
    nested_writes_are_asked_for(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_written_with_a_row_need_their_own_roles_on_sqlite() {
    nested_writes_are_asked_for(Kind::Sqlite).await;
}
