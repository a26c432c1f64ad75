//! One table of requests and expected answers, run over both REST styles on all three databases.
//!
//! The cases are data in `cases/`, a file per topic; what they mean is in `case.rs`. A topic that writes begins with a
//! database of its own, and its cases run in order.

mod body_style;
mod case;
pub(crate) mod compare;
mod header_style;

use crate::support::client::{Answer, Call};
use crate::support::database::Kind;
use crate::support::server::Server;
use case::{Case, Style, topics};
use std::fmt::Write;

pub(crate) const ENTITIES: &str = include_str!("schema/entities.yaml");

pub(crate) fn script(kind: Kind) -> &'static str {
    match kind {
        Kind::Postgres => include_str!("schema/postgres.sql"),
        Kind::Mariadb => include_str!("schema/mysql.sql"),
        Kind::Sqlite => include_str!("schema/sqlite.sql"),
    }
}

/// A server with the conformance schema, filled.
pub(crate) async fn serve(kind: Kind) -> Server {
    Server::start(kind, script(kind), ENTITIES).await
}

/// What became of the cases of one run.
#[derive(Default)]
struct Tally {
    ran: usize,
    failures: Vec<String>,
}

async fn run_all(kind: Kind) {
    let shared = serve(kind).await;
    let mut tally = Tally::default();
    for (topic, cases) in topics() {
        for style in [Style::Body, Style::Header] {
            if cases.iter().any(Case::writes) {
                let own = serve(kind).await;
                run_topic(&own, topic, &cases, kind, style, &mut tally).await;
                own.stop().await;
            } else {
                run_topic(&shared, topic, &cases, kind, style, &mut tally).await;
            }
        }
    }
    shared.stop().await;
    let failed = tally.failures.len();
    assert!(failed == 0, "{failed} of {} answers on {} are wrong\n\n{}", tally.ran, kind.name(), tally.failures.join("\n"));
    assert!(tally.ran >= 500, "only {} cases ran on {}", tally.ran, kind.name());
}

async fn run_topic(server: &Server, topic: &str, cases: &[Case], kind: Kind, style: Style, tally: &mut Tally) {
    for case in cases.iter().filter(|case| case.runs_on(kind, style)) {
        tally.ran += 1;
        let call = match style {
            Style::Body => Ok(body_style::encode(&case.request)),
            Style::Header => header_style::encode(&case.request),
        };
        let outcome = match &call {
            Ok(call) => server.client.send(call).await.and_then(|answer| check(case, style, &answer)),
            Err(reason) => Err(format!("the case can't be said in headers, so it must say \"only\": [\"body\"]: {reason}")),
        };
        if let Err(reason) = outcome {
            tally.failures.push(failure(topic, case, kind, style, call.ok().as_ref(), &reason));
        }
    }
}

fn check(case: &Case, style: Style, answer: &Answer) -> Result<(), String> {
    let seen = match style {
        Style::Body => body_style::seen(answer),
        Style::Header => header_style::seen(answer),
    };
    let problems = compare::differences(&case.expect, &seen);
    if problems.is_empty() {
        return Ok(());
    }
    Err(format!("{}\n  got:      {} {}", problems.join("\n  "), answer.status.as_u16(), answer.body))
}

fn failure(topic: &str, case: &Case, kind: Kind, style: Style, call: Option<&Call>, reason: &str) -> String {
    let mut text = format!("✗ {topic} / {} [{} {}]\n", case.name, kind.name(), style.name());
    if let Some(call) = call {
        _ = writeln!(text, "  request:  {} {} {:?} {}", call.method, call.path, call.headers, call.body.as_deref().unwrap_or(""));
    }
    _ = writeln!(text, "  expected: {}\n  {reason}", case.expect.shown());
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_is_answered_as_the_protocol_says_on_postgres() {
    run_all(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_is_answered_as_the_protocol_says_on_mariadb() {
    run_all(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_is_answered_as_the_protocol_says_on_sqlite() {
    run_all(Kind::Sqlite).await;
}

#[test]
fn there_are_at_least_three_hundred_cases_and_no_two_of_a_topic_have_the_same_name() {
    let mut count = 0;
    for (topic, cases) in topics() {
        let mut names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        count += names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), cases.len(), "{topic} has two cases of one name");
    }
    assert!(count >= 300, "there are {count} cases");
}
