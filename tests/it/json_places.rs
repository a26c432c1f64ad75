//! Places in JSON where databases disagree by themselves: numbers as keys and as items, items of what is no list.

use crate::support::client::Call;
use crate::support::database::Kind;
use crate::support::server::Server;
use serde_json::{Value, json};

const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: papers}
spec: {source: conformance, apiSchema: public, columns: [{name: body, type: json}]}
";

async fn places_are_the_same(kind: Kind) {
    let schema = "create table papers (id integer primary key, body json);
        insert into papers values (1, '{\"0\":\"zero\",\"-1\":\"minus\",\"l\":[\"a\",[\"b\",\"c\"]],\"o\":{\"0\":[\"d\"]}}'), \
        (2, '[\"zero\",\"one\"]'), (3, '\"zero\"'), (4, '[[\"zero\"]]'), (5, '7'), (6, 'null'), (7, null);";
    let server = Server::start(kind, schema, ENTITIES).await;
    let cases: [(&str, Value, &[u32]); 12] = [
        ("body->0", json!("zero"), &[2]),
        ("body->'0'", json!("zero"), &[1]),
        ("body->0->0", json!("zero"), &[4]),
        ("body->0->0->0", json!("zero"), &[]),
        ("body->1", json!("one"), &[2]),
        ("body->l->0", json!("a"), &[1]),
        ("body->l->0->0", json!("a"), &[]),
        ("body->l->1->0", json!("b"), &[1]),
        ("body->l->'1'->0", json!("b"), &[]),
        ("body->o->0->0", json!("d"), &[]),
        ("body->o->'0'->0", json!("d"), &[1]),
        ("body->0", json!(7), &[]),
    ];
    for (column, value, expected) in cases {
        let filter = json!({"column": column, "operator": "eq", "value": value});
        let options = json!({"columns": ["id"], "filters": [filter], "sort": [{"column": "id"}]});
        let call = Call::post("/api/public/papers", &json!({"operation": "read", "options": options}));
        let answer = server.client.send(&call).await.expect("an answer");
        let expected: Vec<Value> = expected.iter().map(|id| json!({"id": id})).collect();
        assert_eq!(answer.body["data"], json!(expected), "{column} = {value} on {}: {}", kind.name(), answer.body);
    }
    for (column, expected) in [("body->0", 5), ("body->l->0->0", 7), ("body->'0'", 6)] {
        let filter = json!({"column": column, "operator": "is_null"});
        let options = json!({"columns": ["id"], "filters": [filter]});
        let call = Call::post("/api/public/papers", &json!({"operation": "read", "options": options}));
        let answer = server.client.send(&call).await.expect("an answer");
        assert_eq!(answer.body["metadata"]["count"], expected, "{column} is null on {}: {}", kind.name(), answer.body);
    }
    for (column, status) in [("body->-1", 400), ("body->'-1'", if kind == Kind::Mariadb { 400 } else { 200 })] {
        let filter = json!({"column": column, "operator": "eq", "value": "minus"});
        let call = Call::post("/api/public/papers", &json!({"operation": "read", "options": {"filters": [filter]}}));
        let answer = server.client.send(&call).await.expect("an answer");
        assert_eq!(answer.status, status, "{column} on {}: {}", kind.name(), answer.body);
        assert!(status == 400 || answer.body["data"][0]["id"] == 1, "{}", answer.body);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_items_of_lists_and_texts_are_keys_of_objects_on_postgres() {
    places_are_the_same(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_items_of_lists_and_texts_are_keys_of_objects_on_mariadb() {
    places_are_the_same(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_items_of_lists_and_texts_are_keys_of_objects_on_sqlite() {
    places_are_the_same(Kind::Sqlite).await;
}
