//! Requests that are no requests: every one gets JSON with a stable code, and none a 5xx.

use crate::conformance::serve;
use crate::support::client::{Call, Client};
use crate::support::database::Kind;
use crate::support::server::MAX_BODY_BYTES;
use axum::http::Method;

struct Refusal {
    name: &'static str,
    method: Method,
    path: &'static str,
    body: Option<String>,
    status: u16,
    code: &'static str,
}

fn refusal(
    name: &'static str,
    method: Method,
    path: &'static str,
    body: Option<&str>,
    status: u16,
    code: &'static str,
) -> Refusal {
    Refusal { name, method, path, body: body.map(ToOwned::to_owned), status, code }
}

fn refusals() -> Vec<Refusal> {
    let body = "/api/public/projects";
    let header = "/rest/public/projects";
    let large = format!("{{\"operation\":\"create\",\"data\":{{\"name\":\"{}\"}}}}", "x".repeat(MAX_BODY_BYTES));
    let deep = format!("{{\"operation\":\"create\",\"data\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    vec![
        refusal("an empty body", Method::POST, body, None, 400, "invalid_request"),
        refusal("half a body", Method::POST, body, Some("{\"operation\":"), 400, "invalid_request"),
        refusal("two bodies", Method::POST, body, Some("{\"operation\":\"read\"} {}"), 400, "invalid_request"),
        refusal("a body that is a list", Method::POST, body, Some("[]"), 400, "invalid_request"),
        refusal("a request as a list of its parts", Method::POST, body, Some("[\"read\"]"), 400, "invalid_request"),
        refusal("a body that is null", Method::POST, body, Some("null"), 400, "invalid_request"),
        refusal("half a surrogate", Method::POST, body, Some("{\"operation\":\"\\ud800\"}"), 400, "invalid_request"),
        refusal(
            "a key said twice",
            Method::POST,
            body,
            Some("{\"operation\":\"read\",\"operation\":\"read\"}"),
            400,
            "invalid_request",
        ),
        refusal("no operation", Method::POST, body, Some("{}"), 400, "invalid_operation"),
        refusal("a body nested too deep", Method::POST, body, Some(&deep), 400, "invalid_request"),
        refusal("a body that is too large", Method::POST, body, Some(&large), 413, "payload_too_large"),
        refusal("a body in headers that is too large", Method::POST, header, Some(&large), 413, "payload_too_large"),
        refusal("half a body of the header style", Method::POST, header, Some("{\"id\":"), 400, "invalid_request"),
        refusal("PUT in the body style", Method::PUT, body, Some("{}"), 405, "method_not_allowed"),
        refusal("DELETE in the body style", Method::DELETE, body, None, 405, "method_not_allowed"),
        refusal("PUT without an id", Method::PUT, header, Some("{}"), 405, "method_not_allowed"),
        refusal("PATCH without an id", Method::PATCH, header, Some("{}"), 405, "method_not_allowed"),
        refusal("TRACE", Method::TRACE, header, None, 405, "method_not_allowed"),
        refusal("a path that is none", Method::GET, "/nothing/at/all/here", None, 404, "not_found"),
        refusal("a path that is not UTF-8", Method::GET, "/rest/public/%ff", None, 400, "invalid_request"),
        refusal("a query that is not UTF-8", Method::GET, "/rest/public/projects?x-limit=%ff", None, 400, "invalid_request"),
        refusal("NUL in a key", Method::GET, "/rest/public/countries/%00", None, 400, "invalid_value"),
        refusal("NUL in an entity", Method::GET, "/rest/public/%00", None, 404, "model_not_found"),
    ]
}

async fn try_each(client: &Client, database: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for refusal in refusals() {
        let call = Call { body: refusal.body, ..Call::new(refusal.method, refusal.path) };
        match client.send(&call.header("content-type", "application/json")).await {
            Err(reason) => wrong.push(format!("{} on {database}: {reason}", refusal.name)),
            Ok(answer) => {
                let (status, code) = (answer.status.as_u16(), answer.body["error"]["code"].as_str().unwrap_or_default());
                // Who is told that a method is wrong is told which are right.
                let tells = (status == 405) != answer.header("allow").is_empty();
                if (status, code) != (refusal.status, refusal.code) || !tells {
                    let expected = format!("{} {}", refusal.status, refusal.code);
                    wrong.push(format!("{} on {database}: expected {expected}, got {status} {}", refusal.name, answer.body));
                }
            }
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_with_a_code() {
    let mut wrong = Vec::new();
    for kind in Kind::ALL {
        let server = serve(kind).await;
        wrong.extend(try_each(&server.client, kind.name()).await);
        server.stop().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
