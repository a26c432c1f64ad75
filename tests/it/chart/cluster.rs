//! What a real API server says to the chart: it takes every resource, lets the pods into a restricted namespace, and grants the two
//! accounts what is committed and nothing else.

use super::{EXAMPLES, RELEASE, chart, helm, name_of, pods, render_in, repository, resources};
use crate::support::process::Finish;
use serde_json::{Value, json};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Kinds that a cluster has from others, by their files among what tests/run has fetched.
const OTHERS: [&str; 5] = [
    "gateway.networking.k8s.io_httproutes",
    // What other tests need, so that it does not come while something of its group is asked for.
    "gateway.networking.k8s.io_referencegrants",
    "gateway.networking.k8s.io_grpcroutes",
    "monitoring.coreos.com_servicemonitors",
    "monitoring.coreos.com_prometheusrules",
];

/// The file with the definition of a kind.
pub(crate) fn definition(name: &str) -> String {
    format!("{}/{name}.yaml", std::env::var("TEST_KINDS").expect("TEST_KINDS is set by tests/run"))
}

/// Has the cluster know these kinds; of one that it knows it keeps its own definition. Once, and before anybody else asks: while a
/// kind comes, kubectl does not find out what a name stands for.
fn ensure_kinds_of_others() {
    static ENSURED: Once = Once::new();
    ENSURED.call_once(|| {
        for name in OTHERS {
            let (file, (group, plural)) = (definition(name), name.split_once('_').expect("group and kind"));
            if let Err(error) = try_kubectl(&["create", "-f", &file], None) {
                assert!(error.contains("already exists"), "{file}: {error}");
            }
            wait_for_kind(&format!("{plural}.{group}"));
        }
    });
}

/// Waits until a kind can be used. `kubectl wait` fails where it is so new that nothing is said of it yet.
pub(super) fn wait_for_kind(name: &str) {
    let deadline = Instant::now() + Duration::from_mins(1);
    let established =
        ["get", "crd", name, "-o", r#"jsonpath={range .status.conditions[?(@.type=="Established")]}{.status}{end}"#];
    while try_kubectl(&established, None).as_deref() != Ok("True") {
        assert!(Instant::now() < deadline, "{name} does not become a kind: {:?}", try_kubectl(&["get", "crd", name], None));
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(super) fn try_kubectl(arguments: &[&str], input: Option<&Value>) -> Result<String, String> {
    let kubectl = std::env::var("TEST_KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
    let kubeconfig = std::env::var("TEST_KUBECONFIG").expect("TEST_KUBECONFIG is set by tests/run");
    let mut command = Command::new(kubectl);
    command.args(["--kubeconfig", &kubeconfig]).args(arguments);
    let output = command.fed(input.map(Value::to_string).unwrap_or_default());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

pub(super) fn kubectl(arguments: &[&str], input: Option<&Value>) -> String {
    try_kubectl(arguments, input).unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
}

/// A namespace of a test's own, at the level `restricted`.
pub(super) struct Namespace(pub(super) String);

impl Namespace {
    pub(super) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        ensure_kinds_of_others();
        let name = format!("it-chart-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        kubectl(&["create", "-f", "-"], Some(&namespace));
        Self(name)
    }

    /// What is installed in it, whose operator watches it alone.
    fn render(&self, example: &str) -> Vec<Value> {
        self.render_with(example, &format!("operator.watchNamespaces={{{}}}", self.0))
    }

    fn render_with(&self, example: &str, more: &str) -> Vec<Value> {
        resources(&render_in(&self.0, example, &[more]).unwrap_or_else(|error| panic!("{example}: {error}")))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        _ = try_kubectl(&["delete", "namespace", &self.0, "--wait=false"], None);
    }
}

#[test]
fn the_api_server_takes_every_resource() {
    let namespace = Namespace::new();
    for example in EXAMPLES {
        for resource in &namespace.render(example) {
            let arguments = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "-f", "-"];
            if let Err(error) = try_kubectl(&arguments, Some(resource)) {
                panic!("{} of {example}: {error}", name_of(resource));
            }
        }
    }
}

#[test]
fn whoever_turns_autoscaling_on_keeps_the_replicas_that_there_are() {
    let namespace = Namespace::new();
    let kubeconfig = std::env::var("TEST_KUBECONFIG").expect("TEST_KUBECONFIG is set by tests/run");
    let (place, values) = (chart().display().to_string(), chart().join("ci/minimal-values.yaml").display().to_string());
    // Nothing runs here: the release is nothing but its resources.
    let install = |more: &[&str]| {
        let mut arguments =
            vec!["upgrade", "--install", RELEASE, &place, "--kubeconfig", &kubeconfig, "--namespace", &namespace.0];
        arguments.extend(["--values", &values, "--no-hooks", "--set", "crds.install=false,replicas.count=4"]);
        arguments.extend_from_slice(more);
        let output = helm(&arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let deployment = format!("deployment/{RELEASE}-resolvespec");
    let count = || kubectl(&["get", &deployment, "-n", &namespace.0, "-o", "jsonpath={.spec.replicas}"], None);
    install(&[]);
    assert_eq!(count(), "4");
    let scaled = ["--set", "autoscaling.enabled=true,autoscaling.maxReplicas=9"];
    install(&scaled);
    assert_eq!(count(), "4", "an upgrade takes no replica away");
    // What is scaled later stays as well.
    kubectl(&["scale", &deployment, "-n", &namespace.0, "--replicas", "7"], None);
    install(&scaled);
    assert_eq!(count(), "7");
}

#[test]
fn routes_and_monitors_are_held_against_their_own_definitions() {
    let namespace = Namespace::new();
    let rendered = namespace.render("full");
    for (kind, place, wrong, words) in [
        ("HTTPRoute", "/spec/rules/0/backendRefs/0/port", json!(70_000), "backendRefs[0].port"),
        ("GRPCRoute", "/spec/hostnames/0", json!("not a name"), "spec.hostnames[0]"),
        ("ServiceMonitor", "/spec/endpoints/0/interval", json!("often"), "spec.endpoints[0].interval"),
        ("PrometheusRule", "/spec/groups/0/rules/0/for", json!("long"), "rules[0].for"),
    ] {
        let mut resource = rendered.iter().find(|one| one["kind"] == kind).expect("it is there").clone();
        *resource.pointer_mut(place).expect("the place is there") = wrong;
        let refused = try_kubectl(&["apply", "--server-side", "--dry-run=server", "-f", "-"], Some(&resource));
        let error = refused.expect_err("it is wrong");
        assert!(error.contains("is invalid") && error.contains(words), "{kind}: {error}");
    }
}

#[test]
fn pods_may_run_in_a_restricted_namespace() {
    let namespace = Namespace::new();
    let create = |spec: &Value| {
        let mut spec = spec.clone();
        let fields = spec.as_object_mut().expect("an object");
        // What has to be in a cluster beforehand is not what this is about.
        fields.remove("priorityClassName");
        fields.remove("serviceAccountName");
        fields.entry("restartPolicy").or_insert(json!("Always"));
        if let Some(volumes) = fields.get_mut("volumes").and_then(Value::as_array_mut) {
            volumes.push(json!({"name": "data", "emptyDir": {}}));
            volumes.dedup_by(|one, other| one["name"] == other["name"]);
        }
        let pod =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": namespace.0}, "spec": spec});
        try_kubectl(&["create", "--dry-run=server", "-f", "-"], Some(&pod))
    };
    for example in EXAMPLES {
        let rendered = namespace.render(example);
        for (whose, _, spec) in pods(&rendered) {
            if let Err(error) = create(spec) {
                panic!("{whose} of {example}: {error}");
            }
            let mut careless = spec.clone();
            careless["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
            let error = create(&careless).expect_err("the namespace is restricted");
            assert!(error.contains("violates PodSecurity"), "{error}");
        }
    }
}

#[test]
fn the_accounts_may_do_what_is_committed() {
    let names = ["api-resolvespec", "api-resolvespec-operator", "api-resolvespec-departure"];
    grants_what_is_committed("minimal", names, "");
    // With its Secrets named it may read no others.
    grants_what_is_committed("full", ["shop-api", "shop-api-keeper", "shop-api-departure"], "-of-full");
}

/// What the accounts of replicas, of the operator and of who comes last may do.
fn grants_what_is_committed(example: &str, names: [&str; 3], end: &str) {
    let namespace = Namespace::new();
    namespace.render(example).iter().filter(|one| is_about_rights(one)).for_each(apply);
    for (account, file) in names.into_iter().zip(["replicas", "operator", "departure"]) {
        may_do_what_is_committed(&namespace, account, &namespace, &format!("{file}{end}"));
    }
}

/// Whose operator watches all namespaces may do what it does there in each of them, and no more.
#[test]
fn in_other_namespaces_the_accounts_may_do_what_is_committed() {
    let (namespace, other) = (Namespace::new(), Namespace::new());
    let rendered = namespace.render_with("minimal", "operator.watchAllNamespaces=true");
    rendered.iter().filter(|one| is_about_rights(one)).for_each(apply);
    for name in ["replicas", "operator", "departure"] {
        let account = if name == "replicas" { "api-resolvespec".to_owned() } else { format!("api-resolvespec-{name}") };
        may_do_what_is_committed(&namespace, &account, &other, &format!("{name}-elsewhere"));
    }
    // These are in no namespace that goes with the test.
    for resource in rendered.iter().filter(|one| one["kind"] == "ClusterRole" || one["kind"] == "ClusterRoleBinding") {
        kubectl(&["delete", "-f", "-"], Some(resource));
    }
}

fn is_about_rights(resource: &Value) -> bool {
    let kinds = ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ServiceAccount"];
    kinds.iter().any(|kind| resource["kind"] == *kind)
}

fn apply(resource: &Value) {
    kubectl(&["apply", "-f", "-"], Some(resource));
}

/// Compares what an account of a namespace may do in one with the committed list of that name.
fn may_do_what_is_committed(of: &Namespace, account: &str, there: &Namespace, file: &str) {
    let who = format!("system:serviceaccount:{}:{account}", of.0);
    let list = kubectl(&["auth", "can-i", "--list", "--namespace", &there.0, "--as", &who], None);
    // Columns by their content, and without what every account may: to ask what it may, and for versions.
    let mut lines: Vec<String> =
        list.lines().skip(1).map(columns).filter(|line| !line.starts_with("self") && !line.contains("[/")).collect();
    lines.sort();
    let granted = format!("{}\n", lines.join("\n"));
    let place = repository().join(format!("tests/it/chart/snapshots/rights-of-{file}.txt"));
    if std::env::var_os("TEST_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&place, &granted).expect("it can be written");
    }
    let committed = std::fs::read_to_string(&place).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
    assert_eq!(committed, granted, "the account {account} of {RELEASE}");
}

fn columns(line: &str) -> String {
    line.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect::<Vec<_>>().join(" ")
}
