//! Whether the answers of REST are those that `/openapi` says. Python judges: the specification's validator, and JSON Schema.

use crate::support::client::{Answer, Call, Client};
use crate::support::clients;
use crate::support::process::Finish;
use axum::http::Method;
use serde_json::{Value, json};
use std::process::Command;

/// Answers, as they came.
#[derive(Default)]
pub(super) struct Answers(Vec<Value>);

impl Answers {
    pub(super) fn add(&mut self, call: &Call, answer: &Answer) {
        self.0.push(json!({
            "method": call.method.as_str(),
            "path": call.path,
            "status": answer.status.as_u16(),
            "type": answer.header("content-type"),
            "body": answer.body,
            "said": format!("{:?} {}", call.headers, call.body.as_deref().unwrap_or_default()),
        }));
    }

    /// Holds them against the service's document; the faults, none of them if it is all right.
    pub(super) async fn judge(self, client: &Client) -> Result<usize, String> {
        let document = client.send(&Call::new(Method::GET, "/openapi")).await?.body;
        let count = self.0.len();
        judge(&document, &self.0).map(|()| count)
    }
}

fn judge(document: &Value, answers: &[Value]) -> Result<(), String> {
    let mut python = Command::new(clients::folder().join("venv/bin/python"));
    python.arg("-B").arg(clients::repository("tests/clients/openapi.py"));
    let output = python.fed(json!({"document": document, "answers": answers}).to_string());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "the judge itself fails");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stdout).into_owned()) }
}

#[test]
fn the_judge_tells_what_is_wrong() {
    let row = json!({"type": "object", "properties": {"id": {"type": "integer"}}});
    let success = json!({"description": "A row.", "content": {"application/json": {"schema": row}}});
    let read = json!({"responses": {"200": success}, "parameters": [
        {"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}]});
    let document = json!({"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {"/rest/a/{id}": {"get": read}}});
    let answer = |method: &str, path: &str, status: u16, body: Value| json!({"method": method, "path": path, "status": status, "type": "application/json", "body": body, "said": ""});
    let good = [
        answer("GET", "/rest/a/1?x=y", 200, json!({"id": 1})),
        answer("PUT", "/rest/a/1", 405, Value::Null),
        answer("GET", "/rest/b/1", 404, Value::Null),
    ];
    assert_eq!(judge(&document, &good), Ok(()));
    let bad = [
        (answer("GET", "/rest/a/1", 200, json!({"id": "1"})), "$.id"),
        (answer("GET", "/rest/a/1", 404, Value::Null), "no status 404"),
        (answer("PUT", "/rest/a/1", 200, Value::Null), "no such path and method"),
        (answer("GET", "/rest/a", 200, json!([])), "no such path and method"),
    ];
    let mut plain = answer("GET", "/rest/a/1", 200, json!({"id": 1}));
    plain["type"] = json!("text/plain");
    for (answer, fault) in bad.into_iter().chain([(plain, "type 'text/plain'")]) {
        let told = judge(&document, &[answer]).expect_err("it is not as the document says");
        assert!(told.contains(fault), "{told}");
    }
    let told = judge(&json!({"openapi": "3.1.0", "paths": {}}), &[]).expect_err("it has no info");
    assert!(told.contains("'info' is a required property"), "{told}");
}
