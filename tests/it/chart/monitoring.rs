//! Alerts and dashboard ask for metrics that there are, and every alert has a runbook.

use super::{list, only, read, render, resources, text};
use resolvespec::telemetry::Metrics;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Words of PromQL that stand where a metric could.
const WORDS: [&str; 9] = ["by", "without", "on", "ignoring", "or", "and", "unless", "bool", "offset"];

/// The names of metrics in an expression: names that are neither functions, nor words, nor labels.
fn metrics(expression: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest = expression;
    while let Some(start) = rest.find(|one: char| one.is_ascii_alphabetic() || "_{([\"".contains(one)) {
        let at = &rest[start..];
        let until = |end: char| at[1..].find(end).map_or(at.len(), |end| end + 2);
        let length = match at.as_bytes()[0] {
            b'{' => until('}'),
            b'[' => until(']'),
            b'"' => until('"'),
            b'(' => 1,
            _ => at.find(|one: char| !one.is_ascii_alphanumeric() && one != '_').unwrap_or(at.len()),
        };
        let (word, after) = at.split_at(length);
        rest = after;
        if word.starts_with(['{', '(', '[', '"']) {
            continue;
        }
        let after = after.trim_start();
        if WORDS.contains(&word) {
            // Labels stand in brackets behind it.
            if after.starts_with('(') {
                rest = &after[after.find(')').map_or(after.len(), |end| end + 1)..];
            }
        } else if !after.starts_with('(') && !is_function_over(word, after) {
            names.insert(word.to_owned());
        }
    }
    names
}

/// `sum by (…) (…)` is a function, too.
fn is_function_over(word: &str, after: &str) -> bool {
    ["sum", "min", "max", "avg", "count"].contains(&word) && (after.starts_with("by") || after.starts_with("without"))
}

fn is_told(metric: &str) -> bool {
    let known = |name: &str| Metrics::DESCRIPTIONS.iter().any(|(one, _)| *one == name);
    known(metric) || ["_bucket", "_sum", "_count"].iter().any(|end| metric.strip_suffix(end).is_some_and(known))
}

fn strange(expressions: &[String]) -> Vec<String> {
    let all: BTreeSet<String> = expressions.iter().flat_map(|expression| metrics(expression)).collect();
    assert!(all.len() > 10, "{all:?}");
    all.into_iter().filter(|metric| !is_told(metric)).collect()
}

/// The rules as Prometheus reads them from a file, and the alerts in them.
pub(crate) fn rules() -> (Value, Vec<Value>) {
    let rendered = resources(&render("full", &[]));
    let groups = only(&rendered, "PrometheusRule", "shop-api")["spec"]["groups"].clone();
    let alerts = list(&groups).iter().flat_map(|group| list(&group["rules"]).to_vec()).collect();
    (json!({"groups": groups}), alerts)
}

fn alerts() -> Vec<Value> {
    rules().1
}

/// What the dashboard asks Prometheus for.
pub(crate) fn dashboard_expressions() -> Vec<String> {
    let rendered = resources(&render("full", &[]));
    let board = text(&only(&rendered, "ConfigMap", "shop-api-dashboard")["data"]["resolvespec.json"]).to_owned();
    let board: Value = serde_json::from_str(&board).expect("JSON");
    let targets = list(&board["panels"]).iter().flat_map(|panel| list(&panel["targets"]));
    targets.map(|target| text(&target["expr"]).to_owned()).collect()
}

#[test]
fn names_are_found_in_expressions() {
    let found = metrics(
        "histogram_quantile(0.99, sum by (le) (rate(a_seconds_bucket{x=\"sum\", y=~\"b\"}[5m]))) > 5 or vector(0) < b_total",
    );
    assert_eq!(found, ["a_seconds_bucket", "b_total"].map(ToOwned::to_owned).into());
    assert_eq!(metrics("a{b=\"c\"} != ignoring (state) d{}"), ["a", "d"].map(ToOwned::to_owned).into());
}

#[test]
fn alerts_ask_for_metrics_that_there_are() {
    let alerts = alerts();
    assert!(alerts.len() > 15);
    let expressions: Vec<String> = alerts.iter().map(|alert| text(&alert["expr"]).to_owned()).collect();
    let strange = strange(&expressions);
    assert!(strange.is_empty(), "nobody tells {strange:?}");
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are() {
    let expressions = dashboard_expressions();
    let strange = strange(&expressions);
    assert!(strange.is_empty(), "nobody tells {strange:?}");
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let runbooks = read("charts/resolvespec/runbooks.md");
    let written: BTreeSet<&str> = runbooks.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let alerts = alerts();
    let raised: BTreeSet<&str> = alerts.iter().map(|alert| text(&alert["alert"])).collect();
    assert_eq!(written, raised);
    for alert in &alerts {
        let name = text(&alert["alert"]);
        let place = format!("https://example.com/runbooks.html#{}", name.to_lowercase());
        assert_eq!(alert["annotations"]["runbook_url"], place, "{name}");
        assert!(["critical", "warning", "info"].contains(&text(&alert["labels"]["severity"])), "{name}");
        assert!(!text(&alert["annotations"]["summary"]).is_empty(), "{name}");
    }
}

#[test]
fn prometheus_finds_both_admin_ports() {
    let rendered = resources(&render("full", &[]));
    let monitor = only(&rendered, "ServiceMonitor", "shop-api");
    let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().expect("labels");
    let services = rendered.iter().filter(|one| one["kind"] == "Service");
    let is_wanted = |service: &&Value| wanted.iter().all(|(key, value)| service["metadata"]["labels"][key] == *value);
    let mut names: Vec<&str> = services.filter(is_wanted).map(|service| text(&service["metadata"]["name"])).collect();
    names.sort_unstable();
    // The alerts' job is the name of the Service.
    assert_eq!(names, ["shop-api-admin", "shop-api-operator"]);
    let of = |job: &str| alerts().iter().any(|alert| text(&alert["expr"]).contains(&format!("job=\"{job}\"")));
    assert!(names.iter().all(|job| of(job)));
}
