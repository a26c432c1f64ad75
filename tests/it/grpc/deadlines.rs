//! The deadline of a call and of a stream ends the statement that is on its way, in the database itself: on servers nobody is at it
//! any more, and SQLite, which is in the process, leaves the processor alone.

use crate::support::database::{Fresh, Kind};
use crate::support::grpc::message;
use crate::support::processor::used;
use crate::support::server::Server;
use crate::support::shop::Shop;
use prost::Message as _;
use resolvespec::database::{Database, Settings, Statement};
use serde_json::{Value, json};
use std::pin::pin;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tonic::Code;

/// How long anything else may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// What is given to the statement, which would take three times the time that anything may take.
const GIVEN: Duration = Duration::from_secs(3);

const TABLE: &str = "create table notes (id integer primary key); insert into notes values (1);";

/// A read that does not end, as both methods take it.
fn endless() -> Value {
    json!({"id": "e", "type": "request", "operation": "read", "entity": "notes",
        "options": {"customOperators": [{"name": "endless"}]}})
}

/// The headers and trailers of a method with a deadline, as curl hears them. The library's client counts the deadline as well, gives
/// up at the same time, and then does not hear the answer; curl only says it.
async fn told_by_curl(address: &str, method: &str) -> String {
    let bytes = message(&endless()).encode_to_vec();
    let length = u32::try_from(bytes.len()).expect("it is short");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--http2-prior-knowledge", "--max-time", "20", "--output", "/dev/null", "--dump-header", "-"]);
    curl.args(["--header", "content-type: application/grpc", "--header", "te: trailers", "--header"]);
    curl.arg(format!("grpc-timeout: {}m", GIVEN.as_millis())).args(["--data-binary", "@-"]);
    curl.arg(format!("http://{address}/resolvespec.v1.ResolveSpec/{method}"));
    let mut curl = curl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("curl runs");
    let mut body = curl.stdin.take().expect("piped");
    for part in [&[0][..], &length.to_be_bytes(), &bytes] {
        body.write_all(part).await.expect("it is read");
    }
    drop(body);
    let output = curl.wait_with_output().await.expect("it ends");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asks, and objects to an end that comes too early or too late, or that is another one.
async fn ends_in_time(address: &str, method: &str) {
    let began = Instant::now();
    let said = told_by_curl(address, method).await;
    let took = began.elapsed();
    assert!(took >= GIVEN && took < GIVEN + DEADLINE / 2, "{method} ended after {took:?}: {said}");
    let status = format!("grpc-status: {}", Code::DeadlineExceeded as i32);
    assert!(said.lines().any(|line| line.trim_end() == status), "{method}: {said}");
}

/// The deadline of a method ends its statement, by what says whether a statement is on its way.
async fn ends_the_statement(address: &str, mut is_on_its_way: impl AsyncFnMut() -> bool) {
    for method in ["Call", "Session"] {
        let mut seen = false;
        // A busy machine may not come to the statement before the deadline.
        for _ in 0..5 {
            let mut asking = pin!(ends_in_time(address, method));
            loop {
                tokio::select! {
                    is = is_on_its_way() => seen |= is,
                    () = &mut asking => break,
                }
            }
            if seen {
                break;
            }
        }
        assert!(seen, "{method} does not come to its statement");
        let since = Instant::now();
        while is_on_its_way().await {
            assert!(since.elapsed() < DEADLINE, "the statement of {method} is left to run");
        }
    }
}

/// A statement of a server: its condition, and what finds those that are at it.
async fn ends_at_the_server(kind: Kind, condition: &str, at_it: &str) {
    let entities = format!(
        "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {{name: notes}}
spec: {{source: conformance, apiSchema: public, operators: [{{name: endless, condition: '{condition}'}}]}}
"
    );
    let fresh = Fresh::create(kind).await;
    let watch = Database::connect(&Settings::new("watch", &fresh.url)).await.expect("the database answers");
    let server = Server::over(kind, fresh, TABLE, &entities, Vec::new()).await;
    let address = server.client.address().to_string();
    ends_the_statement(&address, async || !watch.fetch_texts(Statement::new(at_it)).await.expect("an answer").is_empty()).await;
    watch.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_statement_on_postgres() {
    let at_it = "select '1' from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    ends_at_the_server(Kind::Postgres, "pg_sleep(60) is not null", at_it).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_statement_on_mariadb() {
    // A sleep would end by itself soon after its client has gone.
    let at_it = "select '1' from information_schema.processlist where id <> connection_id() and db = database() \
                 and info like '%benchmark(%'";
    ends_at_the_server(Kind::Mariadb, "benchmark(1000000000, md5(1)) = 0", at_it).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_statement_on_sqlite() {
    let shop = Shop::new("grpc-deadline");
    let count = "(with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n) > 0";
    let manifest = format!(
        "
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {{name: shop}}
spec: {{engine: sqlite, connection: {{url: 'sqlite:shop.db'}}, seed: [seed.sql]}}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {{name: notes}}
spec: {{source: shop, operators: [{{name: endless, condition: '{count}'}}]}}
"
    );
    std::fs::write(shop.0.join("shop.yaml"), manifest).expect("a manifest");
    std::fs::write(shop.0.join("seed.sql"), TABLE).expect("a seed");
    let mut dev = shop.start(&["dev", "--port", "0", "--mqtt-listen", "off"], &[]);
    let process = dev.child.id();
    // A statement that runs takes all of a processor that it can get.
    let is_busy = async || {
        let before = used(process);
        tokio::time::sleep(Duration::from_millis(600)).await;
        used(process) > before + Duration::from_millis(30)
    };
    ends_the_statement(&dev.address, is_busy).await;
    dev.end();
}
