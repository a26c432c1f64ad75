//! A release of the chart on the node, and what one does with it: helm, kubectl, its pods and their processes.

use serde_json::{Value, json};
use std::fmt::Debug;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub(super) const NAMESPACE: &str = "shop";
const RELEASE: &str = "api";
const NAME: &str = "api-resolvespec";

/// How the chart is installed: what one tries it with, with images that are on the node already.
const VALUES: [&str; 7] = [
    "image.repository=localhost/resolvespec",
    "image.tag=test",
    "image.pullPolicy=Never",
    "nats.image=localhost/nats:test",
    "mosquitto.image=localhost/mosquitto:test",
    "service.type=NodePort",
    "replicas.count=3",
];

/// A variable of tests/run.
pub(super) fn told(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is set by tests/run --node"))
}

/// A pod that runs.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) address: IpAddr,
    is_ready: bool,
    restarts: u64,
}

/// Installs it into a namespace that enforces the level `restricted`, and waits as Flux and Argo do: it is ready before it
/// has anything to serve. Comes to where the Service is from outside: a port of the node.
pub(super) fn install() -> SocketAddr {
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}});
    kubectl_with(&["create", "-f", "-"], &namespace.to_string());
    let trial = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/resolvespec/ci/trial-values.yaml").display().to_string();
    let mut arguments = vec!["install", RELEASE, chart(), "--values", &trial, "--wait", "--timeout", "3m"];
    arguments.extend(VALUES.iter().flat_map(|value| ["--set", value]));
    helm(&arguments);
    let port = kubectl(&["get", "service", NAME, "-o", "jsonpath={.spec.ports[?(@.name=='http')].nodePort}"]);
    let address: IpAddr = told("TEST_NODE_ADDRESS").parse().expect("an address");
    SocketAddr::new(address, port.parse().expect("a port"))
}

/// Applies resources, and waits until every replica serves them.
pub(super) fn declare(resources: &str) {
    apply(resources);
    // A kubelet takes up to two minutes to bring the file with a database's URL to pods that run already.
    kubectl(&["wait", "--for=condition=Ready", "datasource,entity", "--all", "--timeout=180s"]);
}

/// A rolling update, by values more.
pub(super) fn upgrade(value: &str) {
    helm(&["upgrade", RELEASE, chart(), "--reuse-values", "--set", value, "--wait", "--timeout", "5m"]);
}

/// What `helm test` asks.
pub(super) fn test() {
    let said = helm(&["test", RELEASE, "--timeout", "2m"]);
    assert!(said.contains("Phase:          Succeeded"), "{said}");
}

pub(super) fn uninstall() {
    helm(&["uninstall", RELEASE, "--wait", "--timeout", "2m"]);
}

/// Where the trial broker is, by the address of its Service.
pub(super) fn broker() -> String {
    let address = kubectl(&["get", "service", &format!("{NAME}-mosquitto"), "-o", "jsonpath={.spec.clusterIP}"]);
    format!("mqtt://{address}:1883")
}

/// The pods of a component that run; those that are on their way out as well.
pub(super) fn pods(component: &str) -> Vec<Pod> {
    let selector = format!("app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component={component}");
    let list: Value = serde_json::from_str(&kubectl(&["get", "pods", "-l", &selector, "-o", "json"])).expect("JSON");
    let pod = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array();
        let is_ready = conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True");
        let name = pod["metadata"]["name"].as_str()?.to_owned();
        let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64()?;
        Some(Pod { name, address: pod["status"]["podIP"].as_str()?.parse().ok()?, is_ready, restarts })
    };
    list["items"].as_array().expect("a list").iter().filter_map(pod).collect()
}

/// Waits until there are as many pods as there should be and no others, all ready.
pub(super) async fn settled() {
    for (component, count) in [("replica", 3), ("operator", 2), ("nats", 1), ("mosquitto", 1)] {
        so(component, |pods| pods.len() == count && pods.iter().all(|pod| pod.is_ready)).await;
    }
}

/// Waits until a pod that was killed runs again.
pub(super) async fn risen(component: &str, victim: &Pod) {
    let is_back = |pod: &Pod| pod.name == victim.name && pod.is_ready && pod.restarts > victim.restarts;
    so(component, |pods| pods.iter().any(is_back)).await;
}

/// Waits until a pod that was deleted is gone.
pub(super) async fn replaced(component: &str, victim: &Pod) {
    so(component, |pods| pods.iter().all(|pod| pod.name != victim.name)).await;
}

/// Waits until it is so of a component's pods.
async fn so(component: &str, is_so: impl Fn(&[Pod]) -> bool) {
    let since = Instant::now();
    loop {
        let found = pods(component);
        if is_so(&found) {
            return;
        }
        assert!(since.elapsed() < Duration::from_mins(2), "{component} is still {found:?}");
        // A question is a process each, which takes its time of the processor from what is tested.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The operator's pod that leads.
pub(super) fn leader() -> Pod {
    let holder = kubectl(&["get", "lease", &format!("{NAME}-operator"), "-o", "jsonpath={.spec.holderIdentity}"]);
    let operators = pods("operator");
    let found = operators.iter().find(|pod| pod.name == holder);
    found.unwrap_or_else(|| panic!("'{holder}' leads, and is none of {operators:?}")).clone()
}

/// Kills the process of a pod, who has no time for a word.
pub(super) fn kill(pod: &Pod) {
    let pid = process_of(&pod.name);
    assert!(Command::new("kill").args(["-9", &pid]).status().expect("kill runs").success());
}

/// Deletes a pod as one does by hand; it has its time to end, which is not waited for.
pub(super) fn delete(pod: &Pod) {
    kubectl(&["delete", "pod", &pod.name, "--wait=false"]);
}

/// What the containers of a component have logged, for a test that fails.
pub(super) fn logs(component: &str) -> String {
    let selector = format!("app.kubernetes.io/component={component}");
    try_run(kubectl_command(&["logs", "-l", &selector, "--prefix", "--tail=60"]), "").unwrap_or_else(|error| error)
}

fn chart() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/charts/resolvespec")
}

/// The process whose host is called like the pod. The node's processes are seen from outside, under other numbers.
fn process_of(pod: &str) -> String {
    let mark = format!("HOSTNAME={pod}");
    let processes = std::fs::read_dir("/proc").expect("Linux has it").flatten();
    let is_it = |entry: &std::fs::DirEntry| {
        // One that ends meanwhile is not it.
        let variables = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        variables.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let found: Vec<String> = processes.filter(is_it).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(found.len() == 1, "the processes of {pod}: {found:?}");
    found[0].clone()
}

/// Applies a resource or several, as YAML.
pub(super) fn apply(manifests: &str) {
    kubectl_with(&["apply", "-f", "-"], manifests);
}

/// A condition of a resource: its status and its message.
pub(super) fn condition(resource: &str, condition: &str) -> (String, String) {
    let path = format!("jsonpath={{.status.conditions[?(@.type=='{condition}')]['status','message']}}");
    let both = kubectl(&["get", resource, "-o", &path]);
    let (status, message) = both.split_once(' ').unwrap_or_default();
    (status.to_owned(), message.to_owned())
}

pub(super) fn kubectl(arguments: &[&str]) -> String {
    kubectl_with(arguments, "")
}

fn kubectl_with(arguments: &[&str], input: &str) -> String {
    try_run(kubectl_command(arguments), input).unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
}

fn kubectl_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(told("TEST_KUBECTL"));
    command.args(["--kubeconfig", &told("TEST_NODE_KUBECONFIG"), "--namespace", NAMESPACE]).args(arguments);
    command
}

fn helm(arguments: &[&str]) -> String {
    let mut command = Command::new(told("TEST_HELM"));
    // What helm would read of its user's is left out.
    let home = std::env::temp_dir().join("resolvespec-helm");
    command.env("HELM_CONFIG_HOME", &home).env("HELM_CACHE_HOME", &home).env("HELM_DATA_HOME", &home);
    command.args(["--kubeconfig", &told("TEST_NODE_KUBECONFIG"), "--namespace", NAMESPACE]).args(arguments);
    try_run(command, "").unwrap_or_else(|error| panic!("helm {arguments:?}: {error}"))
}

/// Runs a program to its end, while other tasks go on.
fn try_run(mut command: Command, input: &str) -> Result<String, String> {
    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }
    tokio::task::block_in_place(|| {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| describe(&command, &error))?;
        child.stdin.take().expect("piped").write_all(input.as_bytes()).map_err(|error| describe(&command, &error))?;
        let output = child.wait_with_output().map_err(|error| describe(&command, &error))?;
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    })
}

fn describe(command: &Command, error: &impl Debug) -> String {
    format!("{}: {error:?}", command.get_program().display())
}
