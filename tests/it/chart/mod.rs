//! The chart as helm renders it: what its values come to, and what it refuses. Nothing here needs a cluster but `cluster` and
//! `notes`.

mod alerts;
mod cluster;
mod departure;
mod kinds;
mod monitoring;
mod notes;
mod pods;
mod reach;
mod refusals;
mod rights;
mod settings;
mod snapshots;
mod values;
mod webhook;

use crate::support::process::Finish;
pub(crate) use cluster::definition;
pub(crate) use monitoring::{dashboard_expressions, rules};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Files of values in the chart's folder `ci`: the least, what one tries it with, and everything.
const EXAMPLES: [&str; 3] = ["minimal", "trial", "full"];
const RELEASE: &str = "api";
const NAMESPACE: &str = "shop";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn chart() -> PathBuf {
    repository().join("charts/resolvespec")
}

fn read(file: &str) -> String {
    let path = repository().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn helm(arguments: &[&str]) -> Output {
    let helm = std::env::var("TEST_HELM").expect("TEST_HELM is set by tests/run");
    // What helm would read of its user's is left out.
    let home = std::env::temp_dir().join("resolvespec-helm");
    let mut command = Command::new(helm);
    command.env("HELM_CONFIG_HOME", &home).env("HELM_CACHE_HOME", &home).env("HELM_DATA_HOME", &home).env_remove("KUBECONFIG");
    command.args(arguments).finished()
}

/// Renders the chart with an example's values and some more, written as for `--set`.
fn try_render(example: &str, more: &[&str]) -> Result<String, String> {
    render_in(NAMESPACE, example, more)
}

pub(crate) fn render_in(namespace: &str, example: &str, more: &[&str]) -> Result<String, String> {
    let (chart, values) = (chart(), chart().join(format!("ci/{example}-values.yaml")));
    let (chart, values) = (chart.display().to_string(), values.display().to_string());
    let mut arguments =
        vec!["template", RELEASE, &chart, "--namespace", namespace, "--kube-version", "1.34", "--values", &values];
    arguments.extend(more.iter().flat_map(|one| ["--set", one]));
    let output = helm(&arguments);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn render(example: &str, more: &[&str]) -> String {
    try_render(example, more).unwrap_or_else(|error| panic!("{example} {more:?}: {error}"))
}

/// Every resource of a rendered text.
pub(crate) fn resources(text: &str) -> Vec<Value> {
    let documents = text.split("\n---\n").map(|document| document.trim_start_matches("---\n"));
    let parsed = documents
        .map(|document| serde_saphyr::from_str::<Value>(document).unwrap_or_else(|error| panic!("{error} in:\n{document}")));
    parsed.filter(|resource| !resource.is_null()).collect()
}

fn of_kind<'r>(resources: &'r [Value], kind: &'r str) -> impl Iterator<Item = &'r Value> {
    resources.iter().filter(move |resource| resource["kind"] == kind)
}

fn only<'r>(resources: &'r [Value], kind: &'r str, name: &'r str) -> &'r Value {
    let found: Vec<&Value> = of_kind(resources, kind).filter(|one| one["metadata"]["name"] == name).collect();
    assert!(found.len() == 1, "{} of {kind} {name}", found.len());
    found[0]
}

/// Whether a resource is there at a moment of the release's life only: a test of it, or its end.
fn is_hook(resource: &Value) -> bool {
    !resource["metadata"]["annotations"]["helm.sh/hook"].is_null()
}

fn name_of(resource: &Value) -> String {
    format!("{} {}", resource["kind"].as_str().unwrap_or_default(), resource["metadata"]["name"].as_str().unwrap_or_default())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// The pods of everything that has some: whose, their labels, their spec.
fn pods(resources: &[Value]) -> Vec<(String, &Value, &Value)> {
    let pod = |resource| {
        let resource: &Value = resource;
        let template = if resource["kind"] == "Pod" { resource } else { &resource["spec"]["template"] };
        template["spec"].get("containers").map(|_| (name_of(resource), &template["metadata"]["labels"], &template["spec"]))
    };
    resources.iter().filter_map(pod).collect()
}
