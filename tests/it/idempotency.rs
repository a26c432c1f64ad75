//! Idempotency keys: many at once, and one that was used long ago.

use crate::support::client::{Answer, Call};
use crate::support::database::Kind;
use crate::support::server::Server;
use futures_util::future::join_all;
use resolvespec::database::{Database, Settings};
use serde_json::{Value, json};

const SCHEMA: &str = "create table notes (id integer primary key, body varchar(20) not null)";
const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: notes}
spec: {source: conformance, apiSchema: public}
";

async fn create(server: &Server, key: &str, data: Value) -> Answer {
    let call = Call::post("/api/public/notes", &json!({"operation": "create", "data": data})).header("Idempotency-Key", key);
    server.client.send(&call).await.expect("an answer")
}

async fn keys_work(kind: Kind) {
    let server = Server::start(kind, SCHEMA, ENTITIES).await;
    // Writes with different keys have nothing to do with each other.
    let answers = join_all((0..60).map(|id| {
        let server = &server;
        async move { create(server, &format!("key {id}"), json!({"id": id, "body": "x"})).await }
    }));
    let odd: Vec<Answer> = answers.await.into_iter().filter(|answer| answer.status != 200).collect();
    assert!(odd.is_empty(), "{odd:#?}");

    let again = create(&server, "key 7", json!({"id": 7, "body": "x"})).await;
    assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (200, "true"));
    let other = json!({"id": 100, "body": "y"});
    let reused = create(&server, "key 7", other.clone()).await;
    assert_eq!((reused.status.as_u16(), &reused.body["error"]["code"]), (422, &json!("idempotency_key_reused")));

    let database = Database::connect(&Settings::new("by hand", server.url())).await.expect("the database answers");
    let age = "update resolvespec_idempotency set created_at = created_at - 100000";
    database.run_script(age).await.expect("the keys can be aged");
    database.close().await;
    let outlived = create(&server, "key 7", other.clone()).await;
    assert_eq!((outlived.status.as_u16(), outlived.header("idempotency-replayed")), (200, ""), "{}", outlived.body);
    let again = create(&server, "key 7", other).await;
    assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (200, "true"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_do_not_get_in_each_others_way_and_are_forgotten_after_a_day_on_postgres() {
    keys_work(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_do_not_get_in_each_others_way_and_are_forgotten_after_a_day_on_mariadb() {
    keys_work(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_do_not_get_in_each_others_way_and_are_forgotten_after_a_day_on_sqlite() {
    keys_work(Kind::Sqlite).await;
}
