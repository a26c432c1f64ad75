//! What the API server asks, as it asks it, and what it is told.

use super::*;
use serde_json::{Value, json};

/// A review of a resource that is created.
fn asked(kind: &str, spec: &Value) -> Value {
    let resource = json!({
        "apiVersion": "resolvespec.dev/v1alpha1", "kind": kind,
        "metadata": {"name": "items", "namespace": "shop", "generation": 1, "uid": "u-2"}, "spec": spec,
    });
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u-1",
            "kind": {"group": "resolvespec.dev", "version": "v1alpha1", "kind": kind},
            "resource": {"group": "resolvespec.dev", "version": "v1alpha1", "resource": "ignored"},
            "name": "items", "namespace": "shop", "operation": "CREATE",
            "userInfo": {"username": "me"}, "object": resource, "oldObject": null, "dryRun": false,
        },
    })
}

fn own() -> OwnSecret {
    OwnSecret { namespace: "shop".to_owned(), name: "databases".to_owned() }
}

/// The same as an update of what was so before.
fn updated(kind: &str, before: &Value, spec: &Value) -> Value {
    let mut review = asked(kind, spec);
    review["request"]["operation"] = json!("UPDATE");
    review["request"]["oldObject"] = review["request"]["object"].clone();
    review["request"]["oldObject"]["spec"] = before.clone();
    review
}

fn response(review: &Value) -> Value {
    let reviewed = super::review(review.to_string().as_bytes(), Some(&own())).expect("a review");
    let answer: Value = serde_json::from_slice(&reviewed.body).expect("JSON");
    assert_eq!((&answer["apiVersion"], &answer["kind"]), (&review["apiVersion"], &review["kind"]));
    assert_eq!(answer["response"]["uid"], "u-1");
    let is_allowed = answer["response"]["allowed"].as_bool().expect("it is said");
    let outcome = match answer["response"]["warnings"].as_array() {
        _ if !is_allowed => "refused",
        None => "allowed",
        Some(_) => "warned",
    };
    assert_eq!(reviewed.outcome, outcome);
    answer["response"].clone()
}

#[track_caller]
fn allows(review: &Value) {
    let response = response(review);
    assert!(response["allowed"] == true && response.get("warnings").is_none(), "{response:#}");
}

#[track_caller]
fn warns(review: &Value, expected: &str) {
    let response = response(review);
    assert_eq!((&response["allowed"], &response["warnings"]), (&json!(true), &json!([expected])));
    assert!(expected.len() <= LONGEST_WARNING, "{}", expected.len());
}

#[track_caller]
fn refuses(kind: &str, spec: &Value, expected: &str) {
    let review = asked(kind, spec);
    let response = response(&review);
    assert_eq!(response["allowed"], false, "{response:#}");
    let status = json!({"message": expected, "reason": "Invalid", "code": 422});
    assert_eq!(response["status"], status);
    let reviewed = super::review(review.to_string().as_bytes(), Some(&own())).expect("a review");
    assert_eq!(reviewed.kind, kind);
    // What is there already is not refused again, whatever else is changed of it, nor is what goes.
    let mut labelled = updated(kind, spec, spec);
    labelled["request"]["object"]["metadata"]["labels"] = json!({"a": "b"});
    allows(&labelled);
    let mut deleted = updated(kind, spec, spec);
    deleted["request"]["operation"] = json!("DELETE");
    deleted["request"]["object"] = Value::Null;
    allows(&deleted);
    let mut leaving = updated(kind, &json!({}), spec);
    leaving["request"]["object"]["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    allows(&leaving);
    let mut status = updated(kind, &json!({}), spec);
    status["request"]["subResource"] = json!("status");
    allows(&status);
    // But what was wrong before is refused when it is changed into something that is wrong.
    let changed = super::review(updated(kind, &json!({}), spec).to_string().as_bytes(), None).expect("a review");
    assert_eq!(changed.outcome, "refused");
    let mut paused = asked(kind, spec);
    paused["request"]["object"]["metadata"]["annotations"] = json!({"resolvespec.dev/paused": "true"});
    warns(&paused, if kind == "AccessPolicy" { NOT_ENFORCED } else { PAUSED });
}

#[test]
fn good_ones_are_allowed() {
    let url = json!({"url": "postgres://me@host/db"});
    allows(&asked("DataSource", &json!({"engine": "postgres", "connection": url, "pool": {"maxConnections": 7}})));
    let secret = json!({"secretKeyRef": {"name": "shop", "key": "url"}});
    let wal = json!({"mode": "wal", "warnRetainedBytes": 1_000_000});
    allows(&asked("DataSource", &json!({"engine": "postgres", "connection": secret, "capture": wal})));
    // Which columns and entities there are is for others to say, and which SQL the database speaks.
    let relation = json!({"name": "shop", "kind": "belongsTo", "target": "nowhere", "columns": ["nothing"]});
    let computed = json!({"name": "sum", "expression": "a ? b"});
    allows(&asked(
        "Entity",
        &json!({
            "source": "nowhere", "columns": [{"name": "nothing", "type": "enum"}], "limits": {"maxRows": 50},
            "relations": [relation], "computed": [computed], "primaryKey": ["a", "b"],
        }),
    ));
    warns(&asked("AccessPolicy", &json!({"entity": "nowhere", "filter": "row.nothing == principal.subject"})), NOT_ENFORCED);
}

#[test]
fn sources_that_can_not_work_in_a_cluster_are_refused() {
    let url = |url: &str| json!({"engine": "postgres", "connection": {"url": url}});
    refuses(
        "DataSource",
        &json!({"engine": "postgres", "connection": {"env": "URL"}}),
        "`env` is for `dev` and `serve`; in a cluster put the URL into a Secret and name it with secretKeyRef",
    );
    refuses(
        "DataSource",
        &json!({"engine": "sqlite", "connection": {"url": "sqlite:///shop.db"}}),
        "a SQLite database is a file on one machine, which replicas do not share; use postgres or mysql",
    );
    refuses(
        "DataSource",
        &url("postgres://me:secret@host/db"),
        "spec.connection.url: the URL holds a password, which must not be in a manifest; \
         use `env` with the name of an environment variable that holds the URL",
    );
    refuses(
        "DataSource",
        &url("mysql://me@host/db"),
        "spec.engine: the engine is postgres, but the URL begins with mysql:; change one of them",
    );
    // Everything is told together, and of a source whose URL is in a Secret as well.
    refuses(
        "DataSource",
        &json!({
            "engine": "mysql", "connection": {"secretKeyRef": {"name": "shop", "key": "url"}},
            "statementTimeout": "soon", "pool": {"maxConnections": 5000}, "capture": {"mode": "wal"},
        }),
        "spec.statementTimeout: 'soon' is not a duration; write a positive number with ms, s, m or h, as in `30s`; \
         spec.pool.maxConnections: 5000 connections are out of range; use 1 to 1000; \
         spec.capture.mode: `wal` is PostgreSQL's logical replication, which mysql does not have; use `trigger`, `api` or `none`",
    );
}

#[test]
fn entities_that_contradict_themselves_are_refused() {
    refuses(
        "Entity",
        &json!({"source": "shop", "name": "my items", "columns": [{"name": "id", "alias": "a/b"}, {"name": "id"}]}),
        "spec.columns[0].alias: 'a/b' can't be a name that clients use; use letters, digits, '_', '-' and '$'; \
         spec.columns[1].name: the column 'id' is told about twice; \
         spec.name: 'my items' can't be a name that clients use; use letters, digits, '_', '-' and '$'",
    );
    refuses(
        "Entity",
        &json!({"source": "shop", "columns": [{"name": "a", "values": ["x"]}, {"name": "b", "readOnly": true, "writeOnly": true}]}),
        "spec.columns[0].values: `values` need `type: enum`; \
         spec.columns[1].writeOnly: 'b' can neither be read nor written; use `hidden: true` instead",
    );
    refuses(
        "Entity",
        &json!({
            "source": "shop", "primaryKey": ["a", "a"], "defaultSort": [{"column": "b"}, {"column": "b"}],
            "operations": {"read": {}, "delete": {"roles": []}}, "limits": {"maxRows": 0},
        }),
        "spec.primaryKey[1]: 'a' is named twice; spec.defaultSort[1].column: 'b' is named twice; \
         spec.operations.delete.roles: no role is named; name roles, or remove the operation; \
         spec.limits.maxRows: a limit of 0 leaves nothing; use 1 or more, or remove the operation",
    );
    refuses(
        "Entity",
        &json!({
            "source": "shop", "computed": [{"name": "sum", "expression": "(a + b"}, {"name": "SUM", "expression": "a; drop"}],
            "operators": [{"name": "near", "condition": "a < {distence}", "parameters": [{"name": "distance", "type": "integer"}]}],
        }),
        "spec.computed[0].expression: a '(' is not closed; spec.computed[1].name: 'SUM' is declared twice; \
         spec.computed[1].expression: one expression is expected, without ';'; \
         spec.operators[0].condition: '{distence}' is not a declared parameter; did you mean 'distance'?",
    );
}

#[test]
fn an_entity_is_served_without_a_relation_that_can_not_be() {
    let relation = |name: &str| json!({"name": name, "kind": "hasMany", "target": "orders"});
    let review = asked("Entity", &json!({"source": "shop", "relations": [relation("orders"), relation("orders")]}));
    warns(
        &review,
        "it is served without a relation: spec.relations[1].name: 'orders' is also the name of another relation; \
         give the relation another name",
    );
}

#[test]
fn policies_that_can_not_be_read_are_refused() {
    let policy = |filter: &str| json!({"entity": "items", "filter": filter});
    refuses(
        "AccessPolicy",
        &policy("principal.id == row.name"),
        "spec.filter: the principal has no 'id'; there are claims, roles, subject",
    );
    refuses(
        "AccessPolicy",
        &json!({"entity": "items", "filter": "[row.a]", "check": "user.id == 1", "columns": ["nothing"]}),
        "spec.filter: it is no condition: it can't come to true or false; \
         spec.check: nothing is called 'user'; there are row and principal",
    );
    let response = response(&asked("AccessPolicy", &policy("row.a ==")));
    let message = response["status"]["message"].as_str().expect("a message");
    assert!(message.starts_with("spec.filter: line 1, column "), "{message}");
}

#[test]
fn what_this_version_can_not_read_is_refused_in_the_words_of_its_condition() {
    let response = response(&asked("DataSource", &json!({"engine": "oracle", "connection": {}})));
    let message = response["status"]["message"].as_str().expect("a message");
    assert!(
        message.starts_with("this version of the operator can't read it: spec.engine: unknown variant `oracle`"),
        "{message}"
    );
}

#[test]
fn what_an_operator_has_said_of_it_before_is_not_judged() {
    let mut review = updated("Entity", &json!({"source": "other"}), &json!({"source": "shop"}));
    review["request"]["object"]["status"] = json!({"conditions": "none"});
    allows(&review);
}

#[test]
fn messages_have_a_bound() {
    assert!(NOT_ENFORCED.len() < 120 && PAUSED.len() < 120, "as the API server wants warnings to be");
    let columns: Vec<Value> = (0..1000).map(|_| json!({"name": "a".repeat(100)})).collect();
    let response = response(&asked("Entity", &json!({"source": "shop", "columns": columns})));
    let message = response["status"]["message"].as_str().expect("a message");
    assert!(message.len() < 1100 && message.ends_with('…'), "{}", message.len());
}

#[test]
fn what_is_none_of_ours_is_allowed() {
    let mut other = asked("Entity", &json!({"limits": {"maxRows": 0}}));
    other["request"]["kind"]["version"] = json!("v2");
    allows(&other);
    let mut pod = asked("Pod", &json!({}));
    pod["request"]["kind"] = json!({"group": "", "version": "v1", "kind": "Pod"});
    allows(&pod);
}

#[test]
fn what_is_no_review_is_told_so() {
    let error = |body: &str| super::review(body.as_bytes(), None).err().expect("it is none");
    for body in ["", "{", "[]", "null", "{\"kind\": \"AdmissionReview\"}", &format!("{}{}", "[".repeat(5000), "]".repeat(5000))] {
        assert!(error(body).starts_with("this is no AdmissionReview: "), "{body:.20}: {}", error(body));
    }
    let mut review = asked("Entity", &json!({"source": "shop"}));
    review["apiVersion"] = json!("admission.k8s.io/v1beta1");
    assert_eq!(
        error(&review.to_string()),
        "this is 'AdmissionReview' of 'admission.k8s.io/v1beta1'; an AdmissionReview of admission.k8s.io/v1 is expected"
    );
    let mut review = asked("Entity", &json!({"source": "shop"}));
    review["request"]["object"] = Value::Null;
    assert_eq!(error(&review.to_string()), "this AdmissionReview has no object");
    review.as_object_mut().expect("an object").remove("request");
    assert_eq!(error(&review.to_string()), "this AdmissionReview has no request");
}

#[test]
fn the_secret_that_has_all_urls_is_refused() {
    let source =
        |reference: Value| asked("DataSource", &json!({"engine": "postgres", "connection": {"secretKeyRef": reference}}));
    let named = source(json!({"name": "databases", "key": "bank.shop.1"}));
    let response = response(&named);
    let message = response["status"]["message"].as_str().unwrap_or_default();
    assert!(response["allowed"] == false && message.contains("'shop/databases' is the operator's own"), "{response:#}");
    allows(&source(json!({"name": "databases", "namespace": "bank", "key": "url"})));
    let unknown = super::review(named.to_string().as_bytes(), None).expect("a review");
    assert_eq!(unknown.outcome, "allowed", "conditions tell it then");
}
