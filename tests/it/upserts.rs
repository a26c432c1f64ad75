//! Upserts of one key at once: each ends as if the others had come before it or after it.

use crate::support::client::Call;
use crate::support::database::Kind;
use crate::support::server::Server;
use futures_util::future::join_all;
use serde_json::{Value, json};

const SCHEMA: &str = "create table things (id integer primary key, name varchar(50) not null, code varchar(50) unique);
create table parts (id integer primary key, thing_id integer references things (id), name varchar(50) not null);
insert into things values (1, 'first', 'taken');";

const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: things}
spec: {source: conformance, apiSchema: public, relations: [{name: parts, kind: hasMany, target: parts}]}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: parts}
spec: {source: conformance, apiSchema: public}
";

/// Keys that are added one after the other, each by all at once.
const ROUNDS: usize = 15;
const WRITERS: usize = 6;

fn upsert(row: &Value) -> Call {
    let mut row = row.clone();
    row["_request"] = json!("upsert");
    Call::post("/api/public/things", &json!({"operation": "update", "data": row}))
}

async fn all_at_once_are_done(kind: Kind) {
    let server = Server::start(kind, SCHEMA, ENTITIES).await;
    for id in 100..100 + ROUNDS {
        let calls: Vec<Call> = (0..WRITERS)
            .map(|who| {
                let parts = json!([{"id": id * 100 + who, "_request": "upsert", "name": format!("part {who}")}]);
                upsert(&json!({"id": id, "name": format!("name {who}"), "parts": parts}))
            })
            .collect();
        for (who, answer) in join_all(calls.iter().map(|call| server.client.send(call))).await.into_iter().enumerate() {
            let answer = answer.expect("an answer");
            assert_eq!(answer.status, 200, "{id} by {who} on {}: {}", kind.name(), answer.body);
            assert_eq!(answer.body["data"]["name"], format!("name {who}"), "each is answered its own: {}", answer.body);
        }
        let preload = json!([{"relation": "parts"}]);
        let read = json!({"operation": "read", "options": {"preload": preload}});
        let read = server.client.send(&Call::post(format!("/api/public/things/{id}"), &read)).await.expect("an answer");
        assert_eq!(read.body["data"]["parts"].as_array().map(Vec::len), Some(WRITERS), "{}", read.body);
    }
    let taken = server.client.send(&upsert(&json!({"id": 2, "name": "second", "code": "taken"}))).await.expect("an answer");
    let found = (taken.status.as_u16(), &taken.body["error"]["code"], &taken.body["error"]["detail"]);
    assert_eq!(found, (409, &json!("conflict"), &json!("code")), "another's value is still another's: {}", taken.body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upserts_of_one_new_key_at_once_are_all_done_on_postgres() {
    all_at_once_are_done(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upserts_of_one_new_key_at_once_are_all_done_on_mariadb() {
    all_at_once_are_done(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upserts_of_one_new_key_at_once_are_all_done_on_sqlite() {
    all_at_once_are_done(Kind::Sqlite).await;
}
