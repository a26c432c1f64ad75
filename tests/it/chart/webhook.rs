//! The webhook: off unless asked for, where the program listens, trusted by what is given, and asked about what is served only.

use super::{list, of_kind, only, pods, render, resources, text};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use resolvespec::transport::admission;
use serde_json::{Value, json};

const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

fn with(more: &[&str]) -> Vec<Value> {
    let authority = format!("operator.webhook.tls.caBundle={AUTHORITY}");
    let own = ["operator.webhook.enabled=true", "operator.webhook.tls.secretName=tls", &authority];
    resources(&render("minimal", &[&own, more].concat()))
}

fn configuration(resources: &[Value]) -> &Value {
    let all: Vec<&Value> = of_kind(resources, "ValidatingWebhookConfiguration").collect();
    assert_eq!(all.len(), 1);
    all[0]
}

#[test]
fn it_is_off_unless_asked_for() {
    for example in ["minimal", "trial"] {
        let rendered = render(example, &[]);
        assert!(!rendered.to_lowercase().contains("webhook"), "{example}");
    }
    let rendered = with(&["operator.enabled=true"]);
    assert_eq!(configuration(&rendered)["webhooks"][0]["failurePolicy"], "Ignore");
}

#[test]
fn the_api_server_asks_where_the_operator_answers() {
    let rendered = with(&[]);
    let webhook = &configuration(&rendered)["webhooks"][0];
    let client = &webhook["clientConfig"];
    assert_eq!(client["service"]["path"], admission::PATH);
    assert_eq!(client["caBundle"], BASE64_STANDARD.encode(AUTHORITY));
    assert_eq!((&webhook["sideEffects"], &webhook["matchPolicy"]), (&json!("None"), &json!("Equivalent")));
    let service = only(&rendered, "Service", text(&client["service"]["name"]));
    let port = &service["spec"]["ports"][0];
    assert_eq!((&port["port"], &service["metadata"]["namespace"]), (&client["service"]["port"], &client["service"]["namespace"]));
    let (_, _, pod) = pods(&rendered).into_iter().find(|(whose, ..)| whose.ends_with("-operator")).expect("a pod");
    let container = &pod["containers"][0];
    let listens = list(&container["ports"]).iter().find(|one| one["name"] == port["targetPort"]).expect("it is there");
    let variable = |name: &str| {
        let found = list(&container["env"]).iter().find(|one| one["name"] == name).expect("it is set");
        text(&found["value"]).to_owned()
    };
    assert_eq!(variable("RESOLVESPEC_WEBHOOK_LISTEN"), format!("0.0.0.0:{}", listens["containerPort"]));
    let mounts = list(&container["volumeMounts"]);
    let mount = mounts.iter().find(|mount| mount["name"] == "webhook-tls").expect("it is mounted");
    // What a Secret of type kubernetes.io/tls has.
    for (name, key) in [("RESOLVESPEC_WEBHOOK_CERT", "tls.crt"), ("RESOLVESPEC_WEBHOOK_KEY", "tls.key")] {
        assert_eq!(variable(name), format!("{}/{key}", text(&mount["mountPath"])));
    }
    let policy = only(&rendered, "NetworkPolicy", "api-resolvespec-operator");
    assert!(list(&policy["spec"]["ingress"]).iter().any(|rule| rule["ports"][0]["port"] == port["targetPort"]));
}

#[test]
fn it_is_asked_about_what_is_served_only() {
    let served = |more: &[&str]| configuration(&with(more))["webhooks"][0]["namespaceSelector"]["matchExpressions"][0].clone();
    assert_eq!(served(&[]), json!({"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop"]}));
    assert_eq!(served(&["operator.watchNamespaces={a,b}"])["values"], json!(["a", "b"]));
    assert_eq!(served(&["operator.watchAllNamespaces=true"]), Value::Null);
}
