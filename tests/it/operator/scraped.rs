//! What a real Prometheus makes of replicas and operators: it reads their metrics, every alert of the chart can be evaluated over them,
//! everything that the dashboard asks for is there, and what has happened is seen.

use super::capturing::captured_shop;
use crate::chart::{dashboard_expressions, rules};
use crate::cluster::until;
use crate::support::client::{Call, Client};
use crate::support::ports::free_address;
use crate::support::session::Session;
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A Prometheus of a test's own; killed at the end.
struct Prometheus {
    child: Child,
    folder: PathBuf,
    client: Client,
}

impl Prometheus {
    /// One that asks a replica and an operator every second, with the chart's rules.
    fn start(replica: SocketAddr, operator: SocketAddr) -> Self {
        let folder = std::env::temp_dir().join(format!("resolvespec-prometheus-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        write(&folder.join("rules.yaml"), &rules().0);
        // The labels that a ServiceMonitor gives.
        let target = |job: &str, pod: &str, address: SocketAddr| {
            let labels = json!({"namespace": "shop", "pod": pod, "endpoint": "admin"});
            json!({"job_name": job, "static_configs": [{"targets": [address.to_string()], "labels": labels}]})
        };
        let settings = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [folder.join("rules.yaml")],
            "scrape_configs": [target("shop-api-admin", "one", replica), target("shop-api-operator", "keeper", operator)],
        });
        write(&folder.join("prometheus.yaml"), &settings);
        let address = free_address();
        let log = std::fs::File::create(folder.join("log")).expect("a file");
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", folder.join("prometheus.yaml").display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address={address}")).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("prometheus runs, which tests/run installs");
        Self { child, folder, client: Client::new(address) }
    }

    /// The data of an answer; nothing while it does not answer.
    async fn ask(&self, path: &str) -> Value {
        match self.client.send(&Call::new(Method::GET, format!("/api/v1/{path}"))).await {
            Ok(answer) if answer.status == 503 => Value::Null,
            Ok(answer) => {
                assert_eq!(answer.body["status"], "success", "{path}: {}", answer.body);
                answer.body["data"].clone()
            }
            Err(_) => Value::Null,
        }
    }

    /// The values that an expression has now.
    async fn query(&self, expression: &str) -> Vec<Value> {
        let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("query", expression).finish();
        self.ask(&format!("query?{query}")).await["result"].as_array().cloned().unwrap_or_default()
    }

    /// Every rule of the chart.
    async fn rules(&self) -> Vec<Value> {
        let groups = self.ask("rules").await["groups"].as_array().cloned().unwrap_or_default();
        groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect()
    }

    async fn state(&self, alert: &str) -> String {
        let rule = self.rules().await.into_iter().find(|rule| rule["name"] == alert);
        rule.and_then(|rule| Some(rule["state"].as_str()?.to_owned())).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    #[expect(clippy::print_stderr, reason = "a test that fails shows what it said")]
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("prometheus said:\n{}", std::fs::read_to_string(self.folder.join("log")).unwrap_or_default());
        }
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn write(file: &Path, value: &Value) {
    std::fs::write(file, value.to_string()).expect("it can be written");
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_dashboard_have_what_they_ask_for() {
    let (stage, operator, one, _url) = captured_shop().await;
    let prometheus = Prometheus::start(one.admin.address(), operator.admin().address());
    let up = async || prometheus.query("up == 1").await.len();
    until("both being asked", async || up().await == 2).await;

    // A counter that comes into being with its first event has never increased, as Prometheus sees it.
    let increases: BTreeSet<String> = rules().1.iter().filter_map(|alert| counter(alert["expr"].as_str()?)).collect();
    assert!(increases.len() > 5, "{increases:?}");
    for counter in increases {
        assert!(!prometheus.query(&counter).await.is_empty(), "{counter} is not there before anything has happened");
    }

    // Something happens of everything that needs no broker.
    let mut session = Session::connect(one.client.address()).await;
    let subscribe = json!({"id": "s", "type": "subscription", "operation": "subscribe", "entity": "items", "options": {}});
    assert_eq!(session.ask(&subscribe).await["success"], true);
    let mut id = 100;
    let mut write = async || {
        id += 1;
        let read = json!({"id": "r", "type": "request", "operation": "read", "entity": "items"});
        assert_eq!(session.ask(&read).await["success"], true);
        let body = json!({"operation": "create", "data": {"id": id, "name": "x"}});
        let answer = one.client.send(&Call::post("/api/public/items", &body)).await.expect("an answer");
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
        assert_eq!(session.hear().await["data"]["id"], id);
    };
    let mut missing: Vec<String> = dashboard_expressions()
        .iter()
        .map(|expression| expression.replace("$namespace", "shop").replace("$job", ".*").replace("$__rate_interval", "10s"))
        .filter(|expression| !expression.contains("_mqtt_") && !expression.contains("_grpc_") && !is_rare(expression))
        .collect();
    assert!(missing.len() > 30, "{missing:?}");
    let since = Instant::now();
    while !missing.is_empty() {
        assert!(since.elapsed() < Duration::from_mins(1), "nothing is there for {missing:#?}");
        write().await;
        let mut left = Vec::new();
        for expression in missing {
            if prometheus.query(&expression).await.is_empty() {
                left.push(expression);
            }
        }
        missing = left;
    }
    let told = prometheus.query("sum(events_published_total)").await;
    let told: f64 = told[0]["value"][1].as_str().and_then(|value| value.parse().ok()).expect("a number");
    assert!(told >= 1.0, "{told}");

    // Every rule was evaluated, and nothing is wrong.
    let is_good = |rule: &Value| rule["health"] == "ok" && rule["state"] == "inactive";
    until("every rule", async || {
        let rules = prometheus.rules().await;
        !rules.is_empty() && rules.iter().all(is_good)
    })
    .await;

    // The replica is killed, and then the operator.
    one.signal("-KILL");
    until("an alert", async || prometheus.state("ResolveSpecNoReplicas").await == "pending").await;
    // A scrape that comes late makes it pending for a moment.
    until("somebody leading", async || prometheus.state("ResolveSpecNobodyLeads").await == "inactive").await;
    operator.signal("-KILL");
    until("another alert", async || prometheus.state("ResolveSpecNobodyLeads").await == "pending").await;
    drop((prometheus, operator, session));
    let operator = stage.operator("two");
    stage.delete("DataSource", "shop").await;
    until("the end of the source", async || stage.is_gone("DataSource", "shop").await).await;
    drop((operator, one));
    stage.remove().await;
}

/// The counter whose increase an alert is about.
fn counter(expression: &str) -> Option<String> {
    let after = expression.split_once("increase(")?.1;
    Some(after.split_once('[')?.0.to_owned())
}

/// Of what goes wrong by a code or in a phase nothing is there before it has.
fn is_rare(expression: &str) -> bool {
    ["status!=\"ok\"", "http_connections_timed_out_total", "connections_closed_total"]
        .iter()
        .any(|rare| expression.contains(rare))
}
