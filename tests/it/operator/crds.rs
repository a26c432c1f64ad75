//! The kinds on a real API server: each rule refuses what it is for, and says why; what is good is taken.

use super::stage::{KINDS, api, client, kubeconfig, namespace, resource};
use crate::support::process::Finish;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::process::Command;

/// What is wrong, and a piece of what is said of it.
type Refusal = (Value, &'static str);

fn connection(connection: &Value) -> Value {
    json!({"engine": "postgres", "connection": connection})
}

fn source(more: &Value) -> Value {
    let mut spec = json!({"engine": "postgres", "connection": {"url": "postgres://me@host/db"}});
    spec.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
    spec
}

fn entity(more: &Value) -> Value {
    let mut spec = json!({"source": "shop"});
    spec.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
    spec
}

fn policy(more: &Value) -> Value {
    let mut spec = json!({"entity": "items", "filter": "true"});
    spec.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
    spec
}

fn sources() -> Vec<Refusal> {
    let one = "exactly one of url, env, file and secretKeyRef";
    let password = "holds a password";
    let duration = "should match";
    vec![
        (json!({"connection": {"env": "URL"}}), "spec.engine: Required"),
        (json!({"engine": "oracle", "connection": {"env": "URL"}}), "Unsupported value"),
        (connection(&json!({})), one),
        (connection(&json!({"env": "URL", "file": "/url"})), one),
        (connection(&json!({"secretKeyRef": {"name": "a", "key": "b"}, "url": "postgres://host/db"})), one),
        (connection(&json!({"secretKeyRef": {"name": "a"}})), "key: Required"),
        (connection(&json!({"secretKeyRef": {"name": "", "key": "b"}})), "should be at least 1 chars"),
        (connection(&json!({"url": "postgres://me:hush@host/db"})), password),
        (connection(&json!({"url": "postgres://me@host/db?sslmode=require&password=hush"})), password),
        (connection(&json!({"url": "mysql://me@host/db"})), "the URL is of another engine"),
        (source(&json!({"seed": ["a.sql"]})), "only a SQLite database can be seeded"),
        (source(&json!({"statementTimeout": "30"})), duration),
        (source(&json!({"stallTimeout": "0s"})), duration),
        (source(&json!({"idempotencyLifetime": "1 day"})), duration),
        (source(&json!({"pool": {"acquireTimeout": "-1s"}})), duration),
        (source(&json!({"pool": {"maxConnections": 0}})), "greater than or equal to 1"),
        (source(&json!({"pool": {"maxConnections": 1001}})), "less than or equal to 1000"),
        (source(&json!({"capture": {"mode": "magic"}})), "Unsupported value"),
        (source(&json!({"capture": {"mode": "trigger", "warnRetainedBytes": 5}})), "only the mode `wal`"),
        (source(&json!({"capture": {"maxRetainedBytes": 1_u64 << 30}})), "only the mode `wal`"),
        (source(&json!({"capture": {"mode": "wal", "maxRetainedBytes": 5}})), "greater than or equal to 268435456"),
        (source(&json!({"capture": {"mode": "wal", "maxWaitingRows": 1_000_000}})), "only the modes `trigger` and `api`"),
        (source(&json!({"capture": {"mode": "trigger", "maxWaitingRows": 5}})), "greater than or equal to 100000"),
        (
            source(&json!({"capture": {"mode": "wal", "warnRetainedBytes": 1_u64 << 31, "maxRetainedBytes": 1_u64 << 30}})),
            "a slot is warned of before it is given up",
        ),
        (
            json!({"engine": "mysql", "connection": {"env": "URL"}, "capture": {"mode": "wal"}}),
            "PostgreSQL's logical replication",
        ),
        (source(&json!({"telepathy": true})), "unknown field"),
    ]
}

fn entities() -> Vec<Refusal> {
    let columns = |column: Value| entity(&json!({"columns": [column]}));
    let relations = |relation: Value| entity(&json!({"relations": [relation]}));
    vec![
        (json!({}), "spec.source: Required"),
        (json!({"source": ""}), "should be at least 1 chars"),
        (columns(json!({"alias": "a"})), "name: Required"),
        (columns(json!({"name": "a", "type": "number"})), "Unsupported value"),
        (columns(json!({"name": "a", "values": ["x"]})), "`values` need `type: enum`"),
        (columns(json!({"name": "a", "type": "text", "values": ["x"]})), "`values` need `type: enum`"),
        (columns(json!({"name": "a", "readOnly": true, "writeOnly": true})), "use `hidden: true`"),
        (entity(&json!({"columns": [{"name": "a"}, {"name": "a"}]})), "Duplicate value"),
        (entity(&json!({"primaryKey": ["a", "a"]})), "Duplicate value"),
        (relations(json!({"name": "a", "kind": "manyToMany", "target": "b"})), "goes `through` its link table"),
        (
            relations(json!({"name": "a", "kind": "hasMany", "target": "b", "through": {"table": "c"}})),
            "goes `through` its link table",
        ),
        (relations(json!({"name": "a", "kind": "uncle", "target": "b"})), "Unsupported value"),
        (entity(&json!({"operations": {"read": {"roles": []}}})), "should have at least 1 items"),
        (entity(&json!({"limits": {"maxRows": 0}})), "greater than or equal to 1"),
        (entity(&json!({"defaultSort": [{"column": "a", "direction": "up"}]})), "Unsupported value"),
        (entity(&json!({"computed": [{"name": "a", "expression": ""}]})), "should be at least 1 chars"),
        (entity(&json!({"table": "x".repeat(129)})), "may not be more than 128"),
        (entity(&json!({"colums": []})), "unknown field"),
    ]
}

fn policies() -> Vec<Refusal> {
    vec![
        (json!({"filter": "true"}), "spec.entity: Required"),
        (json!({"entity": "items"}), "says nothing"),
        (json!({"entity": "items", "roles": ["a"]}), "says nothing"),
        (policy(&json!({"filter": ""})), "should be at least 1 chars"),
        (policy(&json!({"columns": ["a", "a"]})), "Duplicate value"),
    ]
}

/// Whether the API server takes a resource; what it says if not.
async fn attempt(client: &Client, namespace: &str, kind: &str, spec: &Value) -> Result<(), String> {
    let resource = serde_json::from_value(resource(kind, "attempt", spec.clone())).expect("a resource");
    let strict = PostParams { dry_run: true, field_manager: Some("tests".to_owned()) };
    let mut request = kube::core::Request::new(api(client, namespace, kind).resource_url())
        .create(&strict, serde_json::to_vec::<kube::api::DynamicObject>(&resource).expect("JSON"))
        .expect("a request");
    // As `kubectl apply` asks: unknown fields are refused and not dropped.
    *request.uri_mut() = format!("{}&fieldValidation=Strict", request.uri()).parse().expect("a URI");
    client.request::<Value>(request).await.map(|_| ()).map_err(|error| error.to_string())
}

async fn refuses_all(kind: &str, good: &[Value], bad: Vec<Refusal>) {
    let client = client().await;
    let _kinds = KINDS.read().await;
    let namespace = namespace(&client).await;
    for spec in good {
        attempt(&client, &namespace, kind, spec).await.unwrap_or_else(|said| panic!("{spec} is good: {said}"));
    }
    for (spec, expected) in bad {
        let said = attempt(&client, &namespace, kind, &spec).await.expect_err(&format!("{spec} is bad"));
        assert!(said.contains(expected), "{spec}: {said}");
        assert!(!said.contains("hush") || expected == "holds a password", "{said}");
    }
    remove(&client, &namespace).await;
}

async fn remove(client: &Client, namespace: &str) {
    Api::<Namespace>::all(client.clone()).delete(namespace, &DeleteParams::default()).await.expect("it can be deleted");
}

#[tokio::test]
async fn a_source_keeps_its_rules() {
    let good = [
        source(&json!({})),
        source(&json!({"statementTimeout": "500ms", "pool": {"maxConnections": 1, "acquireTimeout": "05s"}})),
        source(&json!({"capture": {"mode": "wal", "warnRetainedBytes": 5, "maxRetainedBytes": 268_435_456}})),
        source(&json!({"capture": {"mode": "api", "maxWaitingRows": 100_000}})),
        connection(&json!({"secretKeyRef": {"name": "a", "key": "b", "namespace": "c"}})),
        connection(&json!({"env": "URL"})),
        json!({"engine": "mysql", "connection": {"url": "mariadb://me@host/db"}, "capture": {"mode": "api"}}),
        json!({"engine": "sqlite", "connection": {"url": "sqlite:shop.db"}, "seed": ["a.sql"]}),
    ];
    refuses_all("DataSource", &good, sources()).await;
}

#[tokio::test]
async fn an_entity_keeps_its_rules() {
    let good = [
        entity(&json!({})),
        entity(&json!({"columns": [{"name": "a", "type": "enum", "values": ["x"]}, {"name": "b", "hidden": true}]})),
        entity(&json!({"relations": []})),
        entity(&json!({"relations": [{"name": "a", "kind": "manyToMany", "target": "b", "through": {"table": "c"}}]})),
        entity(&json!({"operations": {"read": {}, "create": {"roles": ["clerk"]}}, "limits": {"maxRows": 5}})),
        entity(&json!({"defaultSort": [{"column": "a", "direction": "desc", "nulls": "last"}]})),
    ];
    refuses_all("Entity", &good, entities()).await;
}

#[tokio::test]
async fn a_policy_keeps_its_rules() {
    refuses_all("AccessPolicy", &[policy(&json!({})), json!({"entity": "items", "columns": ["a"]})], policies()).await;
}

#[tokio::test]
async fn what_must_stay_cannot_be_changed() {
    let client = client().await;
    let _kinds = KINDS.read().await;
    let namespace = namespace(&client).await;
    let cases = [
        (
            "DataSource",
            source(&json!({})),
            json!({"engine": "mysql", "connection": {"url": "mysql://me@host/db"}}),
            "the engine can't be changed",
        ),
        ("Entity", entity(&json!({})), json!({"source": "bank"}), "the source can't be changed"),
        ("Entity", entity(&json!({})), entity(&json!({"sourceNamespace": "other"})), "the source can't be changed"),
        (
            "Entity",
            entity(&json!({"sourceNamespace": "a"})),
            entity(&json!({"sourceNamespace": "b"})),
            "the source can't be changed",
        ),
        ("Entity", entity(&json!({"sourceNamespace": "a"})), entity(&json!({})), "the source can't be changed"),
        ("AccessPolicy", policy(&json!({})), json!({"entity": "tags", "filter": "true"}), "the entity can't be changed"),
    ];
    for (number, (kind, before, after, expected)) in cases.into_iter().enumerate() {
        let (name, interface) = (format!("one-{number}"), api(&client, &namespace, kind));
        let apply = async |spec: &Value| {
            let patch = Patch::Apply(resource(kind, &name, spec.clone()));
            interface
                .patch(&name, &PatchParams::apply("tests").force(), &patch)
                .await
                .map(|_| ())
                .map_err(|error| error.to_string())
        };
        apply(&before).await.unwrap_or_else(|said| panic!("{before} is good: {said}"));
        let said = apply(&after).await.expect_err(&format!("{after} is a change"));
        assert!(said.contains(expected), "{after}: {said}");
        apply(&before).await.expect("what stays is taken");
    }
    remove(&client, &namespace).await;
}

#[tokio::test]
async fn defaults_are_filled_in_and_statuses_are_written_apart() {
    let client = client().await;
    let _kinds = KINDS.read().await;
    let namespace = namespace(&client).await;
    let sources = api(&client, &namespace, "DataSource");
    let mut given = resource("DataSource", "shop", source(&json!({})));
    given["status"] = json!({"entities": 7});
    let there = sources.patch("shop", &PatchParams::apply("tests"), &Patch::Apply(&given)).await.expect("taken");
    assert_eq!(there.data["spec"]["capture"]["mode"], "none");
    assert_eq!(there.data["status"], Value::Null, "a status is not taken with the rest");
    let entities = api(&client, &namespace, "Entity");
    let given = resource(
        "Entity",
        "items",
        entity(&json!({"defaultSort": [{"column": "a"}], "computed": [{"name": "b", "expression": "1"}]})),
    );
    let there = entities.patch("items", &PatchParams::apply("tests"), &Patch::Apply(&given)).await.expect("taken");
    assert_eq!(there.data["spec"]["defaultSort"][0]["direction"], "asc");
    assert_eq!(there.data["spec"]["computed"][0]["type"], "text");
    remove(&client, &namespace).await;
}

#[tokio::test]
async fn kubectl_shows_what_matters() {
    let client = client().await;
    let _kinds = KINDS.read().await;
    let namespace = namespace(&client).await;
    let kubectl = |arguments: &[&str]| {
        let program = std::env::var("TEST_KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
        let mut command = Command::new(program);
        let output = command.args(["--kubeconfig", &kubeconfig(), "--namespace", &namespace]).args(arguments).finished();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for (kind, name, spec) in [
        ("DataSource", "shop", source(&json!({}))),
        ("Entity", "items", entity(&json!({}))),
        ("AccessPolicy", "open", policy(&json!({}))),
    ] {
        let patch = Patch::Apply(resource(kind, name, spec));
        api(&client, &namespace, kind).patch(name, &PatchParams::apply("tests"), &patch).await.expect("taken");
    }
    let head = |arguments: &[&str]| {
        kubectl(arguments).lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(head(&["get", "rsds"]), "NAME ENGINE CAPTURE ENTITIES READY REASON DEGRADED AGE");
    assert_eq!(head(&["get", "rse"]), "NAME SOURCE TABLE PATH READY REASON DEGRADED AGE");
    assert_eq!(head(&["get", "rse", "-o", "wide"]), "NAME SOURCE TABLE PATH READY REASON DEGRADED PAUSED MESSAGE AGE");
    let paused = Patch::Merge(json!({"metadata": {"annotations": {"resolvespec.dev/paused": "true"}}}));
    api(&client, &namespace, "Entity").patch("items", &PatchParams::default(), &paused).await.expect("annotated");
    let shown = kubectl(&["get", "rse", "-o", "wide"]);
    assert!(shown.lines().any(|line| line.starts_with("items ") && line.contains(" true ")), "{shown}");
    assert_eq!(head(&["get", "rsap"]), "NAME ENTITY ACCEPTED READY REASON AGE");
    let all = kubectl(&["get", "resolvespec"]);
    assert!(all.contains("datasource") && all.contains("entity") && all.contains("accesspolicy"), "{all}");
    let explained = kubectl(&["explain", "entity.spec.relations.through"]);
    assert!(explained.contains("The link table of a `manyToMany`."), "{explained}");
    remove(&client, &namespace).await;
}
