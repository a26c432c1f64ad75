//! A database that freezes: requests end at their deadlines, the rest of the process lives, and all goes on afterwards.

use crate::stalls::{ask, fill, sample};
use crate::support::database::Kind;
use crate::support::own::Own;
use crate::support::shop::{Process, Shop};
use resolvespec::database::{Database, Error, Settings};
use serde_json::{Value, json};
use std::io::Read;
use std::time::{Duration, Instant};
use tokio::time::timeout;

fn manifest(kind: Kind) -> String {
    format!(
        "
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {{name: shop}}
spec:
  engine: {}
  connection: {{env: FROZEN_DATABASE}}
  pool: {{maxConnections: 3, acquireTimeout: 1s}}
  statementTimeout: 2s
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {{name: items}}
spec: {{source: shop, apiSchema: public}}
",
        kind.engine()
    )
}

/// The deadlines above, one after the other, and room for a slow machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);

pub(super) async fn start(own: &Own, name: &str) -> (Shop, Process) {
    start_with(own, name, "").await
}

/// Serves the table as a script has filled it.
async fn start_with(own: &Own, name: &str, script: &str) -> (Shop, Process) {
    let url = own.database().await;
    let database = Database::connect(&Settings::new("fill", &url)).await.expect("the database answers");
    database.run_script("create table items (id int primary key, name text not null)").await.expect("a table can be made");
    if !script.is_empty() {
        database.run_script(script).await.expect("the table can be filled");
    }
    database.close().await;
    let shop = Shop::new(name);
    std::fs::write(shop.0.join("shop.yaml"), manifest(own.kind())).expect("a manifest");
    let dev = shop.start(&["dev", "--port", "0"], &[("FROZEN_DATABASE", &url)]);
    (shop, dev)
}

fn read(dev: &Process) -> String {
    dev.exchange("/api/public/items", &json!({"operation": "read"}), "")
}

/// A write that may be sent again.
fn write(dev: &Process, id: usize) -> String {
    let body = json!({"operation": "create", "data": {"id": id, "name": "pen"}});
    dev.exchange("/api/public/items", &body, &format!("Idempotency-Key: item-{id}\r\n"))
}

fn status(answer: &str) -> &str {
    answer.split_whitespace().nth(1).unwrap_or_default()
}

/// Sends reads and writes at once, and holds every answer against what an outage may say.
fn all_end_in_time(dev: &Process, count: usize) {
    std::thread::scope(|scope| {
        for id in 0..count {
            scope.spawn(move || {
                let began_at = Instant::now();
                let answer = if id % 2 == 0 { read(dev) } else { write(dev, id) };
                assert!(began_at.elapsed() < PATIENCE, "it took {:?}: {answer}", began_at.elapsed());
                let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
                let code = body["error"]["code"].as_str().unwrap_or_default();
                assert!(matches!((status(&answer), code), ("503", "unavailable") | ("504", "deadline_exceeded")), "{answer}");
                assert!(answer.to_lowercase().contains("retry-after: "), "{answer}");
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_postgres_costs_deadlines_and_all_goes_on_afterwards() {
    let own = Own::start(Kind::Postgres, "frozen");
    let (_shop, mut dev) = start(&own, "frozen").await;
    assert_eq!(status(&read(&dev)), "200");
    own.freeze();
    // More than there are connections, twice: the second time without any that were open before.
    all_end_in_time(&dev, 10);
    all_end_in_time(&dev, 10);
    own.thaw();
    let deadline = Instant::now() + PATIENCE;
    for id in (1..10).step_by(2) {
        while status(&write(&dev, id)) != "200" {
            assert!(Instant::now() < deadline, "writes do not go on: {}", write(&dev, id));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let (_, body) = dev.post_with("/api/public/items", &json!({"operation": "read", "options": {"columns": ["id"]}}), "");
    assert_eq!(body["data"], json!([{"id": 1}, {"id": 3}, {"id": 5}, {"id": 7}, {"id": 9}]), "each write is there once");
    dev.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_postgres_does_not_keep_the_process_from_ending() {
    let own = Own::start(Kind::Postgres, "stuck");
    let (_shop, mut dev) = start(&own, "stuck").await;
    assert_eq!(status(&read(&dev)), "200");
    own.freeze();
    all_end_in_time(&dev, 3);
    dev.signal("-TERM");
    let deadline = Instant::now() + PATIENCE;
    while dev.child.try_wait().expect("a state").is_none() {
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Freezes a database in the middle of a large page, whose client would wait for as long as it takes.
async fn a_page_ends_at_its_deadline(kind: Kind) {
    let own = Own::start(kind, "frozen-page");
    let (_shop, mut dev) = start_with(&own, &format!("frozen-page-{}", kind.name()), &fill(kind)).await;
    let mut page = ask(&dev);
    page.set_read_timeout(Some(PATIENCE)).expect("a time");
    page.read_exact(&mut [0; 1024]).expect("the page begins");
    own.freeze();
    let frozen_at = Instant::now();
    let mut rest = Vec::new();
    // It may end with an error or without: either way it is no whole answer.
    _ = page.read_to_end(&mut rest);
    assert!(frozen_at.elapsed() < PATIENCE, "the page did not end after {} more bytes", rest.len());
    assert!(!rest.ends_with(b"0\r\n\r\n"), "the page must not look whole");
    super::until("the connection's return", || sample(&dev, &["resolvespec_database_connections", "busy"]) == 0).await;
    own.thaw();
    let deadline = Instant::now() + PATIENCE;
    while dev.post("/api/public/items/1", &json!({"operation": "read"}), None).0 != 200 {
        assert!(Instant::now() < deadline, "reads do not go on");
        std::thread::sleep(Duration::from_millis(20));
    }
    dev.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_page_of_a_postgres_that_freezes_in_its_middle_ends_in_time() {
    a_page_ends_at_its_deadline(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_page_of_a_mariadb_that_freezes_in_its_middle_ends_in_time() {
    a_page_ends_at_its_deadline(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_to_wait_for_commits_of_a_frozen_server_learns_that_it_is_away() {
    for kind in [Kind::Postgres, Kind::Mariadb] {
        let own = Own::start(kind, "watch");
        let mut settings = Settings::new("watch", own.database().await);
        settings.acquire_timeout = Duration::from_secs(1);
        let database = Database::connect(&settings).await.expect("the database answers");
        own.freeze();
        let watch = timeout(PATIENCE, database.try_watch("resolvespec_outbox")).await.expect("it is given up in time");
        assert!(matches!(watch, Err(Error::Unavailable(_))), "{:?}", watch.map(|watch| watch.is_some()));
        own.thaw();
        let watch = database.try_watch("resolvespec_outbox").await.expect("the server answers");
        assert!(watch.is_some(), "nobody has it");
        drop(watch);
        database.close().await;
    }
}
