//! Idempotency keys: many at once, one that was used long ago, and those that nobody uses again.

use crate::serving::Shop;
use crate::support::client::{Answer, Call};
use crate::support::database::{Fresh, Kind};
use crate::support::server::Server;
use futures_util::future::join_all;
use resolvespec::database::{Database, Settings};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

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

    // A delete that was done is not refused when it is said again.
    for selector in [json!({"id": 8}), json!({"id": [9, 10]})] {
        let mut body = selector.clone();
        body["operation"] = "delete".into();
        let call = Call::post("/api/public/notes", &body).header("Idempotency-Key", format!("delete {selector}"));
        let first = server.client.send(&call).await.expect("an answer");
        assert_eq!((first.status.as_u16(), first.header("idempotency-replayed")), (200, ""), "{}", first.body);
        let again = server.client.send(&call).await.expect("an answer");
        assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (200, "true"), "{}", again.body);
        assert_eq!(first.body, again.body);
    }

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

/// More than three batches.
const OLD: usize = 1_700;

fn short_lived(kind: Kind) -> String {
    format!(
        "apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {{name: shop}}
spec: {{engine: {}, connection: {{env: KEYS_DATABASE}}, idempotencyLifetime: 2s}}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {{name: notes}}
spec: {{source: shop, apiSchema: public}}
",
        kind.engine()
    )
}

async fn keys_are_removed(kind: Kind) {
    let fresh = Fresh::create(kind).await;
    let database = Database::connect(&Settings::new("by hand", &fresh.url)).await.expect("the database answers");
    database.run_script(SCHEMA).await.expect("the schema is taken");
    let shop = Shop::new(&format!("keys-{}", kind.name()));
    std::fs::write(shop.0.join("shop.yaml"), short_lived(kind)).expect("a manifest");
    let mut dev = shop.start(&["dev", "--port", "0"], &[("KEYS_DATABASE", &fresh.url)]);
    let create = |id: u32| {
        let body = json!({"operation": "create", "data": {"id": id, "body": "x"}});
        dev.post_with("/api/public/notes", &body, "Idempotency-Key: one\r\n")
    };
    assert_eq!(create(1).0, 200);

    let rows: Vec<String> = (0..OLD).map(|number| format!("('{number:032}', '', '', {number})")).collect();
    let young = "('young', '', '', 99999999999)";
    let insert = format!("insert into resolvespec_idempotency values {}, {young}", rows.join(", "));
    database.run_script(&insert).await.expect("keys of long ago");
    let left = resolvespec::database::Statement::new(match kind {
        Kind::Mariadb => "select concat('\"', trim(id), '\"') from resolvespec_idempotency",
        Kind::Postgres | Kind::Sqlite => "select '\"' || trim(id) || '\"' from resolvespec_idempotency",
    });
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let left = database.fetch_texts(left.clone()).await.expect("the table is there");
        if left == ["\"young\""] {
            break;
        }
        assert!(Instant::now() < deadline, "{} keys are left", left.len());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(create(2).0, 200, "the key can be used again, with another request");
    dev.end();
    database.close().await;
    fresh.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_whose_time_is_over_are_removed_on_postgres() {
    keys_are_removed(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_whose_time_is_over_are_removed_on_mariadb() {
    keys_are_removed(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_whose_time_is_over_are_removed_on_sqlite() {
    keys_are_removed(Kind::Sqlite).await;
}

/// The table as versions without the index made it.
const BEFORE_THE_INDEX: &str = "create table resolvespec_idempotency (id char(32) primary key, request char(32) not null, \
                                answer text not null, created_at bigint not null)";

async fn the_index_is_made(kind: Kind) {
    let fresh = Fresh::create(kind).await;
    let database = Database::connect(&Settings::new("by hand", &fresh.url)).await.expect("the database answers");
    database.run_script(BEFORE_THE_INDEX).await.expect("the table of an earlier version");
    let server = Server::over(kind, fresh, SCHEMA, ENTITIES, Vec::new()).await;
    let index = resolvespec::database::Statement::new(match kind {
        Kind::Postgres => "select '\"1\"' from pg_indexes where indexname = 'resolvespec_idempotency_age'",
        Kind::Mariadb => {
            "select '\"1\"' from information_schema.statistics where table_schema = database() \
             and index_name = 'resolvespec_idempotency_age' and column_name = 'created_at'"
        }
        Kind::Sqlite => "select '\"1\"' from sqlite_schema where type = 'index' and name = 'resolvespec_idempotency_age'",
    });
    let deadline = Instant::now() + Duration::from_mins(1);
    while database.fetch_texts(index.clone()).await.expect("the database answers").is_empty() {
        assert!(Instant::now() < deadline, "no index is made");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let first = create(&server, "one", json!({"id": 1, "body": "x"})).await;
    assert_eq!(first.status, 200, "{}", first.body);
    database.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_keys_from_before_the_index_gets_it_at_the_start() {
    for kind in Kind::ALL {
        the_index_is_made(kind).await;
    }
}
