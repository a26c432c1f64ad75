//! One table of requests and expected answers, run over both REST styles, WebSocket, gRPC and both versions of MQTT on all
//! three databases.
//!
//! The cases are data in `cases/`, a file per topic; what they mean is in `case.rs`. A topic that writes begins with a
//! database of its own, and its cases run in order.

mod body_style;
mod case;
pub(crate) mod compare;
mod described;
mod grpc;
mod header_style;
mod ws;

use crate::support::client::Call;
use crate::support::database::Kind;
use crate::support::grpc::connect;
use crate::support::mqtt::{self, Spoken, Station};
use crate::support::server::Server;
use crate::support::session::Session;
use case::{Case, Style, topics};
use compare::Seen;
use described::Answers;
use resolvespec::config::Config;
use resolvespec::transport::mqtt::{Settings, Version};
use serde_json::Value;
use std::collections::HashMap;
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

/// The same with a broker, to which it speaks the older version where its clients do.
async fn serve_with_broker(kind: Kind, style: Style) -> (Server, String) {
    let prefix = mqtt::prefix();
    let version = if style == Style::Mqtt311 { Version::V4 } else { Version::V5 };
    let settings = Settings { version: Some(version), ..mqtt::settings(&mqtt::shared(), &prefix) };
    let with_broker = |config| Config { mqtt: Some(settings), ..config };
    (Server::configured(kind, script(kind), ENTITIES, with_broker).await, prefix)
}

/// Every style, with how many cases must run in it on each database. They leave out without a word what they can't say, so that
/// they must say nearly all that they say now.
const STYLES: [(Style, usize); 6] = [
    (Style::Body, 1080),
    (Style::Header, 900),
    (Style::Ws, 1080),
    (Style::Grpc, 1080),
    (Style::Mqtt5, 1080),
    (Style::Mqtt311, 1080),
];

/// What became of the cases of one run.
#[derive(Default)]
struct Tally {
    ran: HashMap<Style, usize>,
    failures: Vec<String>,
    /// What REST answered.
    answers: Answers,
}

impl Tally {
    /// Counts a case, and keeps what is wrong with its answer.
    fn add(&mut self, style: Style, outcome: Result<(), String>) {
        *self.ran.entry(style).or_default() += 1;
        self.failures.extend(outcome.err());
    }
}

async fn run_all(kind: Kind) {
    let shared = serve_with_broker(kind, Style::Mqtt5).await;
    let older = serve_with_broker(kind, Style::Mqtt311).await;
    let mut tally = Tally::default();
    for (topic, cases) in topics() {
        for (style, _) in STYLES {
            let own = if cases.iter().any(Case::writes) { Some(serve_with_broker(kind, style).await) } else { None };
            let (server, prefix) = own.as_ref().unwrap_or(if style == Style::Mqtt311 { &older } else { &shared });
            match style {
                Style::Mqtt5 => run_topic_by_broker(prefix, Spoken::V5, topic, &cases, kind, &mut tally).await,
                Style::Mqtt311 => run_topic_by_broker(prefix, Spoken::V4, topic, &cases, kind, &mut tally).await,
                Style::Body | Style::Header | Style::Ws | Style::Grpc => {
                    run_topic(server, topic, &cases, kind, style, &mut tally).await;
                }
            }
            if let Some((own, _)) = own {
                own.stop().await;
            }
        }
    }
    let described = tally.answers.judge(&shared.0.client).await;
    shared.0.stop().await;
    older.0.stop().await;
    let (failed, ran): (usize, usize) = (tally.failures.len(), tally.ran.values().sum());
    assert!(failed == 0, "{failed} of {ran} answers on {} are wrong\n\n{}", kind.name(), tally.failures.join("\n"));
    for (style, least) in STYLES {
        let ran = tally.ran.get(&style).copied().unwrap_or_default();
        assert!(ran >= least, "only {ran} cases ran on {} in {}, and {least} should", kind.name(), style.name());
    }
    match described {
        Ok(answers) => assert!(answers > 1000, "only {answers} answers of REST were held against the document"),
        Err(faults) => panic!("answers on {} are not as /openapi says:\n{faults}", kind.name()),
    }
}

async fn run_topic(server: &Server, topic: &str, cases: &[Case], kind: Kind, style: Style, tally: &mut Tally) {
    let mut session = Session::connect(server.client.address()).await;
    let mut caller = connect(server.client.address()).await;
    for case in cases.iter().filter(|case| case.runs_on(kind, style)) {
        let (said, outcome) = match style {
            Style::Body => send(server, case, style, body_style::encode(&case.request), &mut tally.answers).await,
            Style::Header => match header_style::encode(&case.request) {
                Ok(call) => send(server, case, style, call, &mut tally.answers).await,
                Err(reason) => {
                    let reason = format!("the case can't be said in headers, so it must say \"only\": [\"body\"]: {reason}");
                    (String::new(), Err(reason))
                }
            },
            Style::Ws => match ws::encode(&case.request) {
                Ok(message) => {
                    let answer = session.ask(&message).await;
                    let seen = ws::seen(&case.request, &case.expect, &answer);
                    (message.to_string(), check(case, style, &seen, &answer))
                }
                Err(_) => continue,
            },
            Style::Grpc => match grpc::encode(&case.request) {
                Ok(call) => {
                    let said = format!("{call:?}");
                    let (seen, answer) = grpc::send(&mut caller, call, case).await;
                    (said, check(case, style, &seen, &answer))
                }
                Err(_) => continue,
            },
            Style::Mqtt5 | Style::Mqtt311 => unreachable!("they have a run of their own"),
        };
        tally.add(style, outcome.map_err(|reason| failure(topic, case, kind, style, &said, &reason)));
    }
    session.close().await;
}

async fn run_topic_by_broker(prefix: &str, spoken: Spoken, topic: &str, cases: &[Case], kind: Kind, tally: &mut Tally) {
    let style = if spoken == Spoken::V5 { Style::Mqtt5 } else { Style::Mqtt311 };
    let name = format!("{topic}-{}", style.name());
    let mut station = Station::connect(&mqtt::shared(), &format!("{prefix}-{name}"), prefix, spoken).await;
    station.wait_for_service().await;
    for (place, case) in cases.iter().enumerate().filter(|(_, case)| case.runs_on(kind, style)) {
        let Ok(mut message) = ws::encode(&case.request) else { continue };
        // The same message under the same id would be taken for the same request.
        let id = format!("{place}");
        message["id"] = id.clone().into();
        let mut answer = station.ask(&message).await;
        if answer["id"] == id {
            answer["id"] = "case".into();
        }
        let outcome = check(case, style, &ws::seen(&case.request, &case.expect, &answer), &answer);
        tally.add(style, outcome.map_err(|reason| failure(topic, case, kind, style, &message.to_string(), &reason)));
    }
}

/// Sends a call; tells what was sent and what is wrong with the answer.
async fn send(server: &Server, case: &Case, style: Style, call: Call, answers: &mut Answers) -> (String, Result<(), String>) {
    let outcome = server.client.send(&call).await.and_then(|answer| {
        answers.add(&call, &answer);
        let seen = match style {
            Style::Header => header_style::seen(&answer),
            _ => body_style::seen(&answer),
        };
        check(case, style, &seen, &answer.body).map_err(|reason| format!("{reason} (status {})", answer.status.as_u16()))
    });
    let body = call.body.as_deref().unwrap_or_default();
    (format!("{} {} {:?} {body}", call.method, call.path, call.headers), outcome)
}

fn check(case: &Case, style: Style, seen: &Seen, answer: &Value) -> Result<(), String> {
    let problems = compare::differences(&case.expect, style, seen);
    if problems.is_empty() {
        return Ok(());
    }
    Err(format!("{}\n  got:      {answer}", problems.join("\n  ")))
}

fn failure(topic: &str, case: &Case, kind: Kind, style: Style, said: &str, reason: &str) -> String {
    let mut text = format!("✗ {topic} / {} [{} {}]\n", case.name, kind.name(), style.name());
    if !said.is_empty() {
        _ = writeln!(text, "  request:  {said}");
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
