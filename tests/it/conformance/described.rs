//! The OpenAPI document and the cases: it is one by the specification's own schemas, and everything that is asked and answered over
//! REST is as it says.

use super::case::{Case, Style, topics};
use super::{ENTITIES, body_style, header_style, script};
use crate::support::client::Call;
use crate::support::clients;
use crate::support::database::Kind;
use crate::support::server::Server;
use axum::http::Method;
use serde_json::{Value, json};
use std::process::Command;

/// What a case says over REST, and what it is answered.
async fn said(server: &Server, topic: &str, case: &Case, call: Call) -> Value {
    let answer = server.client.send(&call).await.expect("an answer");
    let kind = answer.header("content-type").split(';').next().unwrap_or_default().to_owned();
    let body = if answer.body.is_string() && kind.is_empty() { Value::Null } else { answer.body };
    json!({
        "name": format!("{topic} / {}", case.name), "method": call.method.as_str(), "path": call.path,
        "request": call.body.and_then(|body| serde_json::from_str::<Value>(&body).ok()),
        "status": answer.status.as_u16(), "type": kind, "answer": body,
    })
}

async fn serve() -> Server {
    Server::start(Kind::Sqlite, script(Kind::Sqlite), ENTITIES).await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_over_rest_is_as_the_document_says() {
    let shared = serve().await;
    let document = shared.client.send(&Call::new(Method::GET, "/openapi")).await.expect("an answer").body;
    let mut all = Vec::new();
    for (topic, cases) in topics() {
        for style in [Style::Body, Style::Header] {
            let own = if cases.iter().any(Case::writes) { Some(serve().await) } else { None };
            let server = own.as_ref().unwrap_or(&shared);
            for case in cases.iter().filter(|case| case.runs_on(Kind::Sqlite, style)) {
                let call = match style {
                    Style::Header => header_style::encode(&case.request).expect("what runs so can be said so"),
                    _ => body_style::encode(&case.request),
                };
                all.push(said(server, topic, case, call).await);
            }
            if let Some(own) = own {
                own.stop().await;
            }
        }
    }
    shared.stop().await;
    assert!(all.len() > 1000, "only {} were asked", all.len());
    let mut python = Command::new(clients::folder().join("venv/bin/python"));
    python.arg("-B").arg(clients::repository("tests/clients/openapi.py"));
    let output = clients::run_with(python, &json!({"document": document, "said": all}).to_string());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "the judge itself fails");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
