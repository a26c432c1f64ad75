//! The document of a small shop, and whether the routes, the rights and the references in it hold.

use super::{Base, document};
use crate::auth::{Authentication, Authenticator, JwtSettings, KeySource, Principal, Secret};
use crate::catalog::Catalog;
use crate::engine::{Engine, Served};
use crate::protocol::{Code, Operator};
use crate::transport::origin::{Hosts, Origins};
use crate::transport::rest::header::{self, Parameters};
use crate::transport::rest::{Parts, Rest, router};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use tower::ServiceExt;

const SQL: &str = "
    CREATE TABLE customers (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, password TEXT, secret TEXT, born DATE, seen TIMESTAMP, photo BLOB,
        balance DECIMAL(12, 2) NOT NULL DEFAULT 0, made_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP);
    CREATE TABLE orders (
        id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id), note TEXT NOT NULL, state TEXT);
    CREATE TABLE audits (id INTEGER PRIMARY KEY, line TEXT);
";

const MANIFESTS: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {name: shop}
spec: {engine: sqlite, connection: {url: 'sqlite:shop.db'}, seed: [shop.sql], capture: {mode: trigger}}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: customers}
spec:
  source: shop
  description: Who buys.
  columns:
    - {name: secret, hidden: true}
    - {name: password, writeOnly: true}
    - {name: made_at, readOnly: true}
  operators:
    - {name: richer, condition: 'balance > {amount}', parameters: [{name: amount, type: decimal}]}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: orders}
spec:
  source: shop
  columns:
    - {name: state, type: enum, values: [open, paid]}
  operations:
    read: {}
    create: {roles: [seller]}
    update: {roles: [seller]}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: audits}
spec:
  source: shop
  operations:
    read: {roles: [auditor]}
";

pub(in crate::transport) async fn shop() -> Served {
    let folder = std::env::temp_dir().join(format!("resolvespec-openapi-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("shop.sql"), SQL).unwrap();
    std::fs::write(folder.join("shop.yaml"), MANIFESTS).unwrap();
    let served = crate::load::load(&[folder.join("shop.yaml")], &HashMap::new(), true).await;
    std::fs::remove_dir_all(&folder).unwrap();
    served.unwrap_or_else(|problems| panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}

pub(in crate::transport) async fn routes(authentication: Authentication) -> Router {
    let metrics = crate::telemetry::Metrics::new().unwrap();
    router(Rest::from(Parts {
        engine: Engine::new(shop().await, Vec::new(), std::sync::Arc::new(crate::observed::Observed(metrics.clone()))),
        authenticator: Authenticator::new(authentication).await.unwrap(),
        drain: crate::drain::Drain::default(),
        readiness: crate::readiness::Readiness::default(),
        metrics,
        max_body_bytes: 10_000,
        body_time: std::time::Duration::from_secs(30),
        mqtt: None,
        cors_origins: std::sync::Arc::from([]),
        origins: Origins::listed(std::sync::Arc::from([])),
        hosts: Hosts::Any,
    }))
}

async fn send(routes: &Router, method: &str, path: &str) -> (StatusCode, Value) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = routes.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

fn for_roles(catalog: &Catalog, roles: &[&str]) -> Value {
    let principal = Principal { roles: roles.iter().map(ToString::to_string).collect(), ..Principal::anonymous() };
    document(catalog, &principal, &Base::default())
}

pub(in crate::transport) fn keys(value: &Value) -> Vec<&str> {
    value.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default()
}

pub(in crate::transport) fn references<'v>(value: &'v Value, found: &mut HashSet<&'v str>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str));
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn rows_show_what_can_be_read_and_inputs_what_can_be_written() {
    let served = shop().await;
    let document = for_roles(&served.catalog, &["seller"]);
    let schemas = &document["components"]["schemas"];
    let row = &schemas["Row.main.customers"]["properties"];
    assert_eq!(keys(row)[..7], ["id", "name", "born", "seen", "photo", "balance", "made_at"]);
    assert_eq!(row["id"], json!({"type": "integer", "format": "int64"}));
    assert_eq!(row["balance"], json!({"type": "number", "format": "decimal"}));
    assert_eq!(row["seen"], json!({"type": ["string", "null"], "format": "date-time"}));
    assert_eq!(row["photo"], json!({"type": ["string", "null"], "contentEncoding": "base64"}));
    assert_eq!(row["made_at"]["readOnly"], true);
    assert_eq!(row["orders"]["items"], json!({"$ref": "#/components/schemas/Row.main.orders"}));
    let create = &schemas["Create.main.customers"];
    assert_eq!(create["required"], json!(["name"]));
    assert_eq!(create["properties"]["password"], json!({"type": ["string", "null"], "writeOnly": true}));
    assert!(create["properties"].get("made_at").is_none());
    assert_eq!(create["properties"]["orders"]["items"], json!({"$ref": "#/components/schemas/Nested.main.orders"}));
    assert!(schemas["Update.main.customers"].get("required").is_none());
    let order = &schemas["Create.main.orders"];
    assert_eq!(order["required"], json!(["note"]), "the customer can be written with the order");
    assert_eq!(order["properties"]["state"], json!({"type": ["string", "null"], "enum": ["open", "paid", null]}));
    let nested = &schemas["Nested.main.orders"]["properties"]["_request"]["enum"];
    assert_eq!(*nested, json!(["insert", "update", "upsert"]), "orders can't be removed");
    let operators = &schemas["Row.main.customers"]["x-resolvespec"]["operators"];
    assert_eq!(operators[0]["name"], "richer");
    assert_eq!(operators[0]["parameters"][0]["schema"]["type"], "number");
    let text = document.to_string();
    assert!(!text.contains("secret") && !text.contains("balance >"));
}

#[tokio::test]
async fn each_caller_sees_only_what_they_may_do() {
    let served = shop().await;
    let nobody = for_roles(&served.catalog, &[]);
    assert!(!nobody.to_string().contains("audits"));
    let schemas = keys(&nobody["components"]["schemas"]);
    assert!(schemas.contains(&"Row.main.orders") && !schemas.contains(&"Create.main.orders"));
    assert_eq!(keys(&nobody["paths"]["/rest/main/orders"]), ["get"]);
    let words = |document: &Value, path: &str| -> Vec<String> {
        let bodies = &document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["oneOf"];
        bodies.as_array().unwrap().iter().map(|body| body["title"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(words(&nobody, "/api/main/orders"), ["read", "meta"]);
    let failures = &nobody["paths"]["/api/main/orders"]["post"]["responses"];
    assert_eq!(failures.get("409"), None, "a read can't conflict");
    let seller = for_roles(&served.catalog, &["seller"]);
    assert_eq!(words(&seller, "/api/main/orders"), ["read", "create", "update", "meta"]);
    assert_eq!(words(&seller, "/api/main/orders/{id}"), ["read", "update", "meta"]);
    assert_eq!(keys(&seller["paths"]["/rest/main/orders/{id}"]), ["get", "post", "put", "patch", "parameters"]);
    assert!(for_roles(&served.catalog, &["auditor"])["paths"].get("/rest/main/audits/metadata").is_some());
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_id_is_unique() {
    let served = shop().await;
    for roles in [&[][..], &["seller"], &["seller", "auditor"]] {
        let document = for_roles(&served.catalog, roles);
        let mut found = HashSet::new();
        references(&document, &mut found);
        assert!(found.len() > 30, "{}", found.len());
        for reference in found {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
        let operations = document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
        let ids: Vec<&str> = operations.filter_map(|operation| operation["operationId"].as_str()).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }
}

#[tokio::test]
async fn the_words_are_those_of_the_protocol() {
    let document = for_roles(&shop().await.catalog, &[]);
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["Code"]["enum"].as_array().unwrap().len(), Code::ALL.iter().filter(|code| !code.of_sessions()).count());
    assert_eq!(schemas["Code"]["x-enumDescriptions"]["conflict"], Code::Conflict.description());
    assert_eq!(schemas["Operator"]["enum"].as_array().unwrap().len(), Operator::ALL.len());
    let conflict = &document["components"]["responses"]["BodyError409"]["content"]["application/json"]["schema"]["allOf"][1];
    let codes = &conflict["properties"]["error"]["properties"]["code"]["enum"];
    assert_eq!(*codes, json!(["conflict", "foreign_key_violation", "serialization_failure"]));
    // What is described is what is read.
    for name in keys(&schemas["Options"]["properties"]) {
        let probe = serde_json::from_value::<crate::protocol::Options>(json!({name: {"no": "such value"}}));
        assert!(probe.is_ok() || !probe.unwrap_err().to_string().contains("unknown field"), "{name}");
    }
    for name in keys(&schemas["Preload"]["properties"]) {
        let probe = serde_json::from_value::<crate::protocol::Preload>(json!({name: {"no": "such value"}}));
        assert!(probe.is_ok() || !probe.unwrap_err().to_string().contains("unknown field"), "{name}");
    }
    for (name, parameter) in document["components"]["parameters"].as_object().unwrap() {
        let names_option = name.starts_with("X-");
        assert_eq!(parameter["in"], if name == "id" { "path" } else { "header" });
        let value = if name == "X-Files" { "{}" } else { "1" };
        let request = Request::get("/").header(name.as_str(), value).body(()).unwrap();
        let parameters = Parameters::collect(request.headers(), None).unwrap();
        let read = header::decode(&parameters);
        let nothing = header::decode(&Parameters::default());
        assert!(read.is_ok(), "{name}");
        let silent = ["X-SkipCount", "X-Single-Record-As-Object", "X-Files"].contains(&name.as_str());
        assert!(silent || !names_option || read != nothing, "{name} is described and does nothing");
    }
}

#[tokio::test]
async fn every_path_of_the_document_is_served() {
    let routes = routes(Authentication::Anonymous).await;
    let (status, document) = send(&routes, "GET", "/openapi").await;
    assert_eq!(status, StatusCode::OK);
    assert!(document.get("security").is_none());
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in keys(item).into_iter().filter(|key| *key != "parameters") {
            let (status, answer) = send(&routes, &method.to_uppercase(), &path.replace("{id}", "1")).await;
            let known = status != StatusCode::METHOD_NOT_ALLOWED
                && answer["error"]["code"] != "model_not_found"
                && !answer["error"]["message"].as_str().unwrap_or_default().contains("nothing at this path");
            assert!(known, "{method} {path} answers {status} {answer}");
        }
    }
}

#[tokio::test]
async fn any_entity_path_answers_its_own_part_on_request() {
    let routes = routes(Authentication::Anonymous).await;
    for path in ["/api/main/orders?openapi=1", "/rest/main/orders/5?x-limit=2&OpenAPI=yes", "/rest/orders?openapi=1"] {
        let (status, document) = send(&routes, "GET", path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(keys(&document["paths"]).iter().all(|path| path.contains("/orders")), "{path}");
        assert!(!keys(&document["paths"]).is_empty());
    }
    assert!(send(&routes, "GET", "/rest/main/orders?openapi=").await.1.is_array());
    assert_eq!(send(&routes, "GET", "/rest/main/nothing?openapi=1").await.0, StatusCode::NOT_FOUND);
    assert_eq!(send(&routes, "GET", "/rest/main/audits?openapi=1").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_document_asks_for_credentials_where_the_service_does() {
    let settings = |allow_anonymous| {
        let settings = JwtSettings::new(KeySource::Secret(Secret::new(vec![b'k'; 32])));
        Authentication::Jwt(JwtSettings { allow_anonymous, ..settings })
    };
    let closed = routes(settings(false)).await;
    assert_eq!(send(&closed, "GET", "/openapi").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(send(&closed, "GET", "/api/main/orders?openapi=1").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(send(&closed, "GET", "/docs").await.0, StatusCode::OK);
    let (status, document) = send(&routes(settings(true)).await, "GET", "/openapi").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(document["security"], json!([{"bearer": []}, {}]));
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
}
