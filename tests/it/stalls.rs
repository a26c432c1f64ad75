//! Readers of large pages: one that stops gives its connection back after a while, one that is slow gets all.

use crate::support::database::{Fresh, Kind};
use crate::support::shop::{Process, Shop};
use resolvespec::database::{Database, Settings};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const ROWS: usize = 100_000;

/// One connection, which whoever holds it keeps from all others.
fn manifest(kind: Kind) -> String {
    format!(
        "
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {{name: shop}}
spec: {{engine: {}, connection: {{env: STALL_DATABASE}}, pool: {{maxConnections: 1, acquireTimeout: 10s}}, stallTimeout: 500ms}}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {{name: items}}
spec: {{source: shop, apiSchema: public}}
",
        kind.engine()
    )
}

/// More than all buffers between the database and a client hold.
pub(crate) fn fill(kind: Kind) -> String {
    let body = "x".repeat(250);
    match kind {
        Kind::Postgres => format!("insert into items select n, '{body}' from generate_series(1, {ROWS}) n"),
        Kind::Mariadb => format!("insert into items select seq, '{body}' from seq_1_to_{ROWS}"),
        Kind::Sqlite => format!(
            "insert into items with recursive n(i) as (select 1 union all select i + 1 from n where i < {ROWS}) \
             select i, '{body}' from n"
        ),
    }
}

/// Asks for the whole table.
pub(crate) fn ask(dev: &Process) -> TcpStream {
    let mut stream = TcpStream::connect(&dev.address).expect("it listens");
    let body = json!({"operation": "read", "options": {"limit": ROWS}}).to_string();
    let length = body.len();
    write!(
        stream,
        "POST /api/public/items HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .expect("sent");
    stream
}

/// The sample of a metric that has all of these in its line.
pub(crate) fn sample(dev: &Process, parts: &[&str]) -> u64 {
    let text = dev.get("/metrics");
    let line = text.lines().find(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part)));
    line.map_or(0, |line| line.rsplit(' ').next().and_then(|value| value.trim().parse().ok()).expect("a whole number"))
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} does not come about");
        std::thread::sleep(Duration::from_millis(10));
    }
}

async fn a_reader_stops(kind: Kind) {
    let fresh = Fresh::create(kind).await;
    let database = Database::connect(&Settings::new("fill", &fresh.url)).await.expect("the database answers");
    for statement in ["create table items (id integer primary key, body text not null)", &fill(kind)] {
        database.run_script(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    database.close().await;
    let shop = Shop::new(&format!("stalls-{}", kind.name()));
    std::fs::write(shop.0.join("shop.yaml"), manifest(kind)).expect("a manifest");
    let mut dev = shop.start(&["dev", "--port", "0"], &[("STALL_DATABASE", &fresh.url)]);

    let mut stopped = ask(&dev);
    let busy = || sample(&dev, &["resolvespec_database_connections", "busy"]);
    until("the large read", || busy() == 1);
    // It needs the connection that the reader holds, which is one as long as it does not read.
    assert_eq!(dev.post("/api/public/items/1", &json!({"operation": "read"}), None).0, 200);
    until("the connection's return", || busy() == 0);
    assert_eq!(sample(&dev, &["db_queries_total", "SELECT", "cancelled"]), 1);
    let mut rest = Vec::new();
    // It may end with an error or without: either way it is no whole answer.
    _ = stopped.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n"), "the page must not look whole");

    let mut slow = ask(&dev);
    let (mut whole, mut buffer) = (Vec::new(), vec![0; 128 * 1024]);
    let began_at = Instant::now();
    loop {
        let count = slow.read(&mut buffer).expect("the answer goes on");
        if count == 0 {
            break;
        }
        whole.extend_from_slice(&buffer[..count]);
        // The slowness is what is tried here.
        std::thread::sleep(Duration::from_millis(8));
    }
    assert!(whole.ends_with(b"0\r\n\r\n"), "a slow reader gets the whole page");
    assert!(began_at.elapsed() > Duration::from_millis(500), "it was slow: {:?}", began_at.elapsed());
    dev.end();
    fresh.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_gives_its_connection_back_on_postgres() {
    a_reader_stops(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_gives_its_connection_back_on_mariadb() {
    a_reader_stops(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_gives_its_connection_back_on_sqlite() {
    a_reader_stops(Kind::Sqlite).await;
}
