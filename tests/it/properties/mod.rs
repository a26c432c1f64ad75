//! Properties: what holds for any filter and sort, and for any bytes.

pub(crate) mod filter;
mod garbage;
pub(crate) mod sql;

use crate::support::client::Call;
use crate::support::database::Kind;
use crate::support::server::Server;
use axum::http::StatusCode;
use filter::{Query, query};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use resolvespec::database::{Database, Settings, Statement};
use serde_json::{Value, json};
use std::fmt::Write;

const CASES: u32 = 200;

const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: things}
spec: {source: conformance, apiSchema: public}
";

/// The table, with every text beside every kind of value and NULL.
fn script(kind: Kind) -> String {
    let (text, moment) = match kind {
        Kind::Postgres => ("text", "timestamptz"),
        Kind::Mariadb => ("varchar(100)", "datetime"),
        Kind::Sqlite => ("text", "timestamp"),
    };
    let mut script =
        format!("create table things (id bigint primary key, n bigint, d decimal(12,2), t {text}, at {moment}, ok boolean);\n");
    for id in 1..=90_usize {
        let pick = |count: usize, spread: usize| (id * spread + id / 7) % count;
        let n = sql::integer(filter::INTEGERS.get(pick(filter::INTEGERS.len() + 1, 5)).copied());
        let d = filter::DECIMALS.get(pick(filter::DECIMALS.len() + 1, 3)).map_or("null".to_owned(), ToString::to_string);
        let t = filter::TEXTS.get(pick(filter::TEXTS.len() + 1, 1)).map_or("null".to_owned(), |text| sql::text(kind, text));
        let at =
            filter::MOMENTS.get(pick(filter::MOMENTS.len() + 1, 2)).map_or("null".to_owned(), |text| sql::moment(kind, text));
        let ok = ["true", "false", "null"][pick(3, 4)];
        _ = writeln!(script, "insert into things values ({id}, {n}, {d}, {t}, {at}, {ok});");
    }
    script
}

async fn serve(kind: Kind) -> Server {
    Server::start(kind, &script(kind), ENTITIES).await
}

/// The ids, or a count, that plain SQL answers.
async fn by_hand(database: &Database, text: &str) -> Vec<Value> {
    let rows = database.fetch_texts(Statement::new(text)).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    rows.iter().map(|row| serde_json::from_str::<Value>(row).expect("the column is JSON")[0].take()).collect()
}

async fn answers_alike(server: &Server, database: &Database, kind: Kind, query: &Query) -> Result<(), String> {
    let call = Call::post("/api/public/things", &json!({"operation": "read", "options": query.options()}));
    let answer = server.client.send(&call).await?;
    if answer.status != StatusCode::OK {
        return Err(format!("{} {}", answer.status, answer.body));
    }
    let rows = answer.body["data"].as_array().ok_or("no list")?;
    let got: Vec<Value> = rows.iter().map(|row| row["id"].clone()).collect();
    let array = if kind == Kind::Postgres { "json_build_array" } else { "json_array" };
    let condition = sql::condition(kind, &query.filters);
    let text = format!(
        "select {array}(id) from things where {condition} order by {} limit {} offset {}",
        sql::order(&query.sort),
        query.limit,
        query.offset
    );
    let expected: Vec<Value> = by_hand(database, &text).await;
    let count = by_hand(database, &format!("select {array}(count(*)) from things where {condition}")).await;
    if got != expected || answer.body["metadata"]["filtered"] != count[0] {
        return Err(format!(
            "got {got:?} of {}\nexpected {expected:?} of {}\n{text}",
            answer.body["metadata"]["filtered"], count[0]
        ));
    }
    Ok(())
}

async fn any_query_answers_as_sql(kind: Kind) {
    let server = serve(kind).await;
    let database = Database::connect(&Settings::new("by hand", server.url())).await.expect("the database answers");
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let runtime = tokio::runtime::Handle::current();
    let outcome = tokio::task::block_in_place(|| {
        runner.run(&query(), |query| {
            runtime
                .block_on(answers_alike(&server, &database, kind, &query))
                .map_err(|reason| TestCaseError::fail(format!("{reason}\n{}", query.options())))
        })
    });
    database.close().await;
    server.stop().await;
    if let Err(failure) = outcome {
        panic!("on {}: {failure}", kind.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_filter_and_sort_answers_as_the_same_in_sql_on_postgres() {
    any_query_answers_as_sql(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_filter_and_sort_answers_as_the_same_in_sql_on_mariadb() {
    any_query_answers_as_sql(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_filter_and_sort_answers_as_the_same_in_sql_on_sqlite() {
    any_query_answers_as_sql(Kind::Sqlite).await;
}
