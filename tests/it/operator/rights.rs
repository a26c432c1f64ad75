//! The rights that the chart gives are enough for everything that the operator does, and for letting sources go when it is gone.
//! That they are no more than what is committed is seen in `chart::cluster`.

use super::capturing::captured;
use super::stage::{Stage, kubeconfig, resource, source};
use crate::chart::{render_in, resources};
use crate::cluster::until;
use crate::support::process::Finish;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::process::Command;

pub(super) fn kubectl(arguments: &[&str], input: &str) -> String {
    let program = std::env::var("TEST_KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
    let mut command = Command::new(program);
    command.arg("--kubeconfig").arg(kubeconfig()).args(arguments);
    let output = command.fed(input);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the chart names after its release.
pub(super) const NAME: &str = "api-resolvespec-operator";
pub(super) const DATABASES: &str = "api-resolvespec-databases";
const DEPARTURE: &str = "api-resolvespec-departure";

fn rights(namespace: &str) -> Vec<Value> {
    let watched = format!("operator.watchNamespaces={{{namespace}}}");
    let rendered = render_in(namespace, "minimal", &[&watched]).expect("it can be rendered");
    let is_right = |resource: &Value| matches!(resource["kind"].as_str(), Some("Role" | "RoleBinding" | "ServiceAccount"));
    resources(&rendered).into_iter().filter(is_right).collect()
}

/// Gives the accounts the chart's rights, each as it is changed.
pub(super) fn grant(namespace: &str, change: impl Fn(&mut Value)) {
    for mut resource in rights(namespace) {
        change(&mut resource);
        kubectl(&["--namespace", namespace, "apply", "--filename", "-"], &resource.to_string());
    }
}

/// A kubeconfig by which one enters as an account.
pub(super) fn entry(stage: &Stage, account: &str) -> String {
    let token = kubectl(&["--namespace", &stage.namespace, "create", "token", account], "");
    let config = std::fs::read_to_string(kubeconfig()).expect("the file can be read");
    let mut config: Value = serde_saphyr::from_str(&config).expect("YAML");
    for user in config["users"].as_array_mut().expect("users") {
        user["user"] = json!({"token": token.trim()});
    }
    stage.deployment.file(&format!("{account}.kubeconfig"), &config.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_charts_rights_are_enough() {
    let stage = Stage::new().await;
    grant(&stage.namespace, |_| {});
    // From leading to undoing capture.
    let file = entry(&stage, NAME);
    let operator = stage.operator_as("one", &["--lease", NAME, "--databases-secret", DATABASES], &file);
    stage.mount(DATABASES);
    let one = stage.replica("one");
    stage.apply("DataSource", "shop", captured()).await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    until("an event", async || stage.events("items").await == ["Ready"]).await;
    stage.delete("DataSource", "shop").await;
    until("the end of the source", async || stage.is_gone("DataSource", "shop").await).await;
    let said = operator.said();
    assert!(!said.contains("forbidden"), "{said}");
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_of_who_comes_last_are_enough() {
    let stage = Stage::new().await;
    grant(&stage.namespace, |_| {});
    let file = entry(&stage, NAME);
    let operator = stage.operator_as("one", &["--lease", NAME, "--databases-secret", DATABASES], &file);
    stage.mount(DATABASES);
    let one = stage.replica("one");
    stage.apply("DataSource", "shop", captured()).await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    until("the finalizer", async || !stage.finalizers("shop").await.is_empty()).await;

    // As helm does: what is of the release goes, and an operator that works on for a moment has no rights any more.
    for resource in rights(&stage.namespace).iter().filter(|one| one["metadata"]["annotations"]["helm.sh/hook"].is_null()) {
        kubectl(&["--namespace", &stage.namespace, "delete", "--filename", "-"], &resource.to_string());
    }
    let mut command = stage.deployment.command("release");
    command.env("KUBECONFIG", entry(&stage, DEPARTURE)).env("RESOLVESPEC_NAMESPACES", &stage.namespace);
    let output = command.finished();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && !said.contains("forbidden"), "{said}");
    assert!(stage.finalizers("shop").await.is_empty());
    assert_eq!(stage.times("shop", "CaptureLeftBehind").await, 1);
    stage.delete("DataSource", "shop").await;
    until("the end of the source", async || stage.is_gone("DataSource", "shop").await).await;
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_one_source_lets_the_others_go() {
    let stage = Stage::new().await;
    // One source may be changed and the other one may not, and another namespace may not be looked at.
    grant(&stage.namespace, |right| {
        let is_its_role =
            right["kind"] == "Role" && right["metadata"]["name"].as_str().is_some_and(|name| name.ends_with("-departure"));
        if is_its_role {
            right["rules"] = json!([
                {"apiGroups": ["resolvespec.dev"], "resources": ["datasources"], "verbs": ["list"]},
                {"apiGroups": ["resolvespec.dev"], "resources": ["datasources"], "resourceNames": ["shop"], "verbs": ["patch"]},
                {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
            ]);
        }
    });
    for name in ["bank", "shop"] {
        let mut held = resource("DataSource", name, source());
        held["metadata"]["finalizers"] = json!(["resolvespec.dev/capture"]);
        let parameters = PatchParams::apply("backup");
        stage.api("DataSource").patch(name, &parameters, &Patch::Apply(&held)).await.expect("taken");
    }
    let mut command = stage.deployment.command("release");
    let namespaces = format!("kube-system,{}", stage.namespace);
    command.env("KUBECONFIG", entry(&stage, DEPARTURE)).env("RESOLVESPEC_NAMESPACES", namespaces);
    let output = command.finished();
    let (said, faults) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success(), "{said}{faults}");
    assert!(said.contains(&format!("released: DataSource {}/shop;", stage.namespace)), "{said}{faults}");
    assert!(!said.contains("/bank"), "{said}");
    assert!(faults.contains("the namespace 'kube-system' can't be listed"), "{faults}");
    assert!(faults.contains(&format!("the DataSource {}/bank can't be let go", stage.namespace)), "{faults}");
    assert!(stage.finalizers("shop").await.is_empty());
    assert_eq!(stage.finalizers("bank").await, ["resolvespec.dev/capture"]);
    assert_eq!((stage.times("shop", "CaptureLeftBehind").await, stage.times("bank", "CaptureLeftBehind").await), (1, 0));
    let free = json!({"metadata": {"finalizers": null}});
    stage.api("DataSource").patch("bank", &PatchParams::default(), &Patch::Merge(free)).await.expect("taken");
    stage.remove().await;
}
