//! Alerts as Prometheus evaluates them over series that are made up: each is raised by what its runbook describes, after the time that it
//! waits, in words for whom it wakes; and none by a service that is well.

use super::monitoring::rules;
use super::text;
use crate::support::process::Finish;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;

/// Samples of two replicas and two operators that are well, one a minute.
const WELL: [(&str, &str, &str); 23] = [
    ("resolvespec_catalog_entities", r#"pod="a""#, "3x60"),
    ("http_requests_total", r#"pod="a", status="200""#, "0+600x60"),
    // Some fail now and then.
    ("http_requests_total", r#"pod="a", status="500""#, "0+3x60"),
    ("http_request_duration_seconds_bucket", r#"pod="a", le="0.1""#, "0+600x60"),
    ("http_request_duration_seconds_bucket", r#"pod="a", le="+Inf""#, "0+603x60"),
    ("http_connections_refused_total", r#"pod="a""#, "0x60"),
    ("resolvespec_catalog_generation", r#"pod="a", state="wanted""#, "4x20 5x40"),
    ("resolvespec_catalog_generation", r#"pod="a", state="served""#, "4x21 5x39"),
    ("db_queries_total", r#"pod="a", source="shop", status="ok""#, "0+600x60"),
    ("db_queries_total", r#"pod="a", source="shop", status="error""#, "0+3x60"),
    // All were busy for a moment.
    ("resolvespec_database_waiting", r#"pod="a", source="shop""#, "0x20 4 0x40"),
    ("resolvespec_nats_connected", r#"pod="a""#, "1x20 0 1x40"),
    ("resolvespec_capture_failures_total", r#"pod="a", source="shop""#, "0x20 1x40"),
    ("resolvespec_capture_lag_seconds", r#"pod="a", source="shop""#, "0x20 90 0x40"),
    ("resolvespec_capture_retained_bytes", r#"pod="a", source="shop""#, "16777216x60"),
    ("resolvespec_capture_slots_lost_total", r#"pod="a", source="shop""#, "0x60"),
    ("resolvespec_live_lag_seconds_bucket", r#"pod="a", le="0.005""#, "0+600x60"),
    ("resolvespec_live_lag_seconds_bucket", r#"pod="a", le="+Inf""#, "0+603x60"),
    ("resolvespec_live_slow_consumers_total", r#"pod="a""#, "0x20 3x40"),
    ("resolvespec_mqtt_connected", r#"pod="a", broker="b:1883""#, "1x20 0 1x40"),
    ("resolvespec_operator_leader", r#"pod="x""#, "1x20 0x40"),
    // Another one took over.
    ("resolvespec_operator_leader", r#"pod="y""#, "0x21 1x39"),
    ("resolvespec_operator_reconciles_total", r#"pod="x", result="error""#, "0x20 2x40"),
];

/// What raises an alert: its name, samples, when it is raised and when not yet, its labels and its words.
type Raised =
    (&'static str, &'static [(&'static str, &'static str, &'static str)], [&'static str; 2], &'static str, &'static str);

const OF_A: &str = r#"{"namespace": "shop", "job": "shop-api-admin", "pod": "a"}"#;
const OF_SHOP: &str = r#"{"source": "shop"}"#;

const RAISED: [Raised; 20] = [
    (
        "ResolveSpecNoReplicas",
        &[],
        ["4m", "5m"],
        r#"{"namespace": "shop", "job": "shop-api-admin"}"#,
        "No replica of shop-api tells its metrics.",
    ),
    (
        "ResolveSpecServerErrors",
        &[
            ("http_requests_total", r#"pod="a", status="200""#, "0+300x60"),
            ("http_requests_total", r#"pod="b", status="503""#, "0+100x60"),
        ],
        ["10m", "11m"],
        "{}",
        "25% of the requests to shop-api fail for reasons of its own.",
    ),
    (
        "ResolveSpecSlowRequests",
        &[
            ("http_request_duration_seconds_bucket", r#"pod="a", le="1""#, "0x60"),
            ("http_request_duration_seconds_bucket", r#"pod="a", le="2""#, "0+100x60"),
            ("http_request_duration_seconds_bucket", r#"pod="a", le="+Inf""#, "0+100x60"),
        ],
        ["15m", "16m"],
        "{}",
        "One request of a hundred to shop-api takes 1.99s or more.",
    ),
    (
        "ResolveSpecConnectionsRefused",
        &[("http_connections_refused_total", r#"pod="a""#, "0+1x60")],
        ["5m", "6m"],
        "{}",
        "Replicas of shop-api turn connections away, since they have as many as they may.",
    ),
    (
        "ResolveSpecCatalogRefused",
        &[
            ("resolvespec_catalog_generation", r#"pod="a", state="wanted""#, "5x60"),
            ("resolvespec_catalog_generation", r#"pod="a", state="served""#, "4x60"),
            ("resolvespec_catalog_generation", r#"pod="b", state="wanted""#, "5x60"),
            ("resolvespec_catalog_generation", r#"pod="b", state="served""#, "5x60"),
        ],
        ["4m", "5m"],
        OF_A,
        "a does not serve the catalog that is published.",
    ),
    (
        "ResolveSpecStatementErrors",
        &[
            ("db_queries_total", r#"pod="a", source="shop", status="ok""#, "0+50x60"),
            ("db_queries_total", r#"pod="a", source="shop", status="error""#, "0+50x60"),
            ("db_queries_total", r#"pod="a", source="bank", status="ok""#, "0+50x60"),
            ("db_queries_total", r#"pod="a", source="bank", status="error""#, "0x60"),
        ],
        ["10m", "11m"],
        OF_SHOP,
        "50% of the statements to the database shop fail.",
    ),
    (
        "ResolveSpecDatabaseBusy",
        &[
            ("resolvespec_database_waiting", r#"pod="a", source="shop""#, "3x60"),
            ("resolvespec_database_waiting", r#"pod="a", source="bank""#, "0x60"),
        ],
        ["4m", "5m"],
        r#"{"namespace": "shop", "job": "shop-api-admin", "pod": "a", "source": "shop"}"#,
        "Requests to a wait for a connection to the database shop: all are busy.",
    ),
    (
        "ResolveSpecNatsLost",
        &[("resolvespec_nats_connected", r#"pod="a""#, "0x60"), ("resolvespec_nats_connected", r#"pod="b""#, "1x60")],
        ["1m", "2m"],
        OF_A,
        "a has no connection to NATS, so that changes are not told there.",
    ),
    (
        "ResolveSpecCaptureFails",
        &[("resolvespec_capture_failures_total", r#"pod="a", source="shop""#, "0+2x60")],
        ["5m", "8m"],
        OF_SHOP,
        "The relay of the database shop begins again and again.",
    ),
    (
        "ResolveSpecCaptureLags",
        // Whoever does not lead has none.
        &[
            ("resolvespec_capture_lag_seconds", r#"pod="a", source="shop""#, "300x60"),
            ("resolvespec_capture_lag_seconds", r#"pod="b", source="shop""#, "0x60"),
        ],
        ["4m", "5m"],
        OF_SHOP,
        "Changes of the database shop have waited for 5m 0s.",
    ),
    (
        "ResolveSpecCaptureRetains",
        &[("resolvespec_capture_retained_bytes", r#"pod="a", source="shop""#, "10737418240x60")],
        ["4m", "5m"],
        OF_SHOP,
        "PostgreSQL keeps 10GiB of its log for the slot of shop.",
    ),
    (
        "ResolveSpecSlotLost",
        &[("resolvespec_capture_slots_lost_total", r#"pod="a", source="shop""#, "0x10 1x50")],
        ["10m", "11m"],
        OF_SHOP,
        "The slot of shop was lost and made anew; every subscriber had to read again.",
    ),
    (
        "ResolveSpecOutboxGivenUp",
        &[("resolvespec_capture_outboxes_given_up_total", r#"pod="a", source="shop""#, "0x10 1x50")],
        ["10m", "11m"],
        OF_SHOP,
        "Too many changes of shop waited while nothing could be told; they were given up.",
    ),
    (
        "ResolveSpecUnreadableRows",
        &[("resolvespec_capture_unreadable_rows_total", r#"pod="a", source="shop""#, "0x10 1x50")],
        ["10m", "11m"],
        OF_SHOP,
        "Rows of the outbox of shop can't be read.",
    ),
    (
        "ResolveSpecNotificationsLate",
        &[
            ("resolvespec_live_lag_seconds_bucket", r#"pod="a", le="5""#, "0x60"),
            ("resolvespec_live_lag_seconds_bucket", r#"pod="a", le="10""#, "0+100x60"),
            ("resolvespec_live_lag_seconds_bucket", r#"pod="a", le="+Inf""#, "0+100x60"),
        ],
        ["10m", "11m"],
        "{}",
        "One change of a hundred is told 9.95s or more after its commit.",
    ),
    (
        "ResolveSpecResync",
        &[("resolvespec_live_resyncs_total", r#"pod="a""#, "0x10 40x50")],
        ["10m", "11m"],
        "{}",
        "Subscribers of shop-api had to read again, since NATS had lost what came next.",
    ),
    (
        "ResolveSpecSlowConsumers",
        &[("resolvespec_live_slow_consumers_total", r#"pod="a""#, "0+2x60")],
        ["15m", "21m"],
        "{}",
        "Clients of shop-api are closed again and again, since they do not take what they are told.",
    ),
    (
        "ResolveSpecBrokerLost",
        &[("resolvespec_mqtt_connected", r#"pod="a", broker="b:1883""#, "0x60")],
        ["1m", "2m"],
        r#"{"namespace": "shop", "job": "shop-api-admin", "pod": "a", "broker": "b:1883"}"#,
        "a has no connection to the broker b:1883.",
    ),
    (
        "ResolveSpecNobodyLeads",
        &[("resolvespec_operator_leader", r#"pod="x""#, "0x60")],
        ["1m", "2m"],
        "{}",
        "No operator of shop-api leads; what is served goes on, and nothing changes.",
    ),
    (
        "ResolveSpecOperatorFails",
        &[("resolvespec_operator_reconciles_total", r#"pod="x", result="error""#, "0+2x60")],
        ["5m", "8m"],
        "{}",
        "The operator of shop-api can't finish its turns.",
    ),
];

fn series(all: &[(&str, &str, &str)]) -> Vec<Value> {
    let one = |(metric, labels, values): &(&str, &str, &str)| {
        let job = if metric.starts_with("resolvespec_operator") { "shop-api-operator" } else { "shop-api-admin" };
        json!({"series": format!(r#"{metric}{{namespace="shop", job="{job}", {labels}}}"#), "values": values})
    };
    all.iter().map(one).collect()
}

fn promtool(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("promtool").args(arguments).finished();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(said) } else { Err(said) }
}

#[test]
fn prometheus_raises_each_for_what_it_is_about_and_for_nothing_else() {
    let (rules, alerts) = rules();
    let names: BTreeSet<&str> = alerts.iter().map(|alert| text(&alert["alert"])).collect();
    assert_eq!(names, RAISED.iter().map(|(name, ..)| *name).collect(), "each is tried");
    let of = |name: &str| alerts.iter().find(|alert| alert["alert"] == name).expect("it is there");

    let quiet = names.iter().flat_map(|name| {
        let at = ["15m", "25m", "40m", "59m"];
        at.map(|time| json!({"eval_time": time, "alertname": name, "exp_alerts": []}))
    });
    let mut tests = vec![
        json!({"name": "well", "interval": "1m", "input_series": series(&WELL), "alert_rule_test": quiet.collect::<Vec<_>>()}),
    ];
    for (name, samples, [before, after], labels, summary) in RAISED {
        let mut labels: Value = serde_json::from_str(labels).expect("JSON");
        labels["severity"] = of(name)["labels"]["severity"].clone();
        let annotations = json!({"summary": summary, "runbook_url": of(name)["annotations"]["runbook_url"]});
        let raised = json!([{"exp_labels": labels, "exp_annotations": annotations}]);
        tests.push(json!({
            "name": name,
            "interval": "1m",
            "input_series": series(samples),
            "alert_rule_test": [
                {"eval_time": before, "alertname": name, "exp_alerts": []},
                {"eval_time": after, "alertname": name, "exp_alerts": raised},
            ],
        }));
    }

    let folder = std::env::temp_dir().join(format!("resolvespec-alerts-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let write = |name: &str, value: &Value| {
        let file = folder.join(name);
        std::fs::write(&file, value.to_string()).expect("it can be written");
        file.display().to_string()
    };
    let rules = write("rules.yaml", &rules);
    promtool(&["check", "rules", &rules]).unwrap_or_else(|error| panic!("{error}"));
    let suite = write("tests.yaml", &json!({"rule_files": [rules], "evaluation_interval": "1m", "tests": tests}));
    promtool(&["test", "rules", &suite]).unwrap_or_else(|error| panic!("{error}"));

    // It can fail: what is expected of one that is well is not so.
    let wrong = json!({"rule_files": [rules], "evaluation_interval": "1m", "tests": [
        {"interval": "1m", "input_series": [], "alert_rule_test": [
            {"eval_time": "5m", "alertname": "ResolveSpecNoReplicas", "exp_alerts": []}
        ]},
    ]});
    promtool(&["test", "rules", &write("wrong.yaml", &wrong)]).expect_err("there are no replicas");
    std::fs::remove_dir_all(&folder).expect("it can be removed");
}
