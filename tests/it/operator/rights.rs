//! The rights that the chart gives are enough for everything that the operator does. That they are no more than what is committed
//! is seen in `chart::cluster`.

use super::stage::{Stage, kubeconfig, source};
use crate::chart::{render_in, resources};
use crate::cluster::until;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

fn kubectl(arguments: &[&str], input: &str) -> String {
    let program = std::env::var("TEST_KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
    let mut command = Command::new(program);
    command.arg("--kubeconfig").arg(kubeconfig()).args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kubectl runs");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the chart names after its release.
const NAME: &str = "api-resolvespec-operator";
const DATABASES: &str = "api-resolvespec-databases";

#[tokio::test(flavor = "multi_thread")]
async fn the_charts_rights_are_enough() {
    let stage = Stage::new().await;
    let namespace = stage.namespace.as_str();
    let watched = format!("operator.watchNamespaces={{{namespace}}}");
    let rendered = render_in(namespace, "minimal", &[&watched]).expect("it can be rendered");
    for resource in resources(&rendered) {
        if matches!(resource["kind"].as_str(), Some("Role" | "RoleBinding" | "ServiceAccount")) {
            kubectl(&["--namespace", namespace, "apply", "--filename", "-"], &resource.to_string());
        }
    }

    // From leading to undoing capture.
    let token = kubectl(&["--namespace", namespace, "create", "token", NAME], "");
    let config = std::fs::read_to_string(kubeconfig()).expect("the file can be read");
    let mut config: Value = serde_saphyr::from_str(&config).expect("YAML");
    for user in config["users"].as_array_mut().expect("users") {
        user["user"] = json!({"token": token.trim()});
    }
    let file = stage.deployment.file("operator.kubeconfig", &config.to_string());
    let operator = stage.operator_as("one", &["--lease", NAME, "--databases-secret", DATABASES], &file);
    stage.mount(DATABASES);
    let one = stage.replica("one");
    let mut spec = source();
    spec["capture"] = json!({"mode": "trigger"});
    stage.apply("DataSource", "shop", spec).await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    until("an event", async || stage.events("items").await == ["Ready"]).await;
    stage.delete("DataSource", "shop").await;
    until("the end of the source", async || stage.api("DataSource").get_opt("shop").await.expect("an answer").is_none()).await;
    let said = operator.said();
    assert!(!said.contains("forbidden"), "{said}");
    drop((operator, one));
    stage.remove().await;
}
