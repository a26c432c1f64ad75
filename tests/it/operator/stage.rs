//! Namespaces of a test's own on the API server, a database, a name in NATS, operators and replicas as processes; and what a
//! kubelet does, which mounts a Secret.

use crate::cluster::deployment::{Deployment, Replica, gathered};
use crate::cluster::until;
use crate::support::client::{Call, Client as Http};
use crate::support::ports::free_address;
use axum::http::Method;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, ObjectMeta, Patch, PatchParams, PostParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, CustomResourceExt};
use resolvespec::manifest::{AccessPolicy, DataSource, Entity};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{RwLock, RwLockWriteGuard};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// Where the API server is.
pub(super) fn kubeconfig() -> String {
    std::env::var("TEST_KUBECONFIG").expect("TEST_KUBECONFIG is set by tests/run")
}

/// The kinds are the API server's, and so all tests have the same. Whoever changes them holds this alone; whoever applies them or
/// relies on what they refuse shares it.
pub(crate) static KINDS: RwLock<()> = RwLock::const_new(());

/// An API server that has the kinds.
pub(super) async fn client() -> Client {
    let _kinds = KINDS.read().await;
    let client = connected().await;
    apply_kinds(&client).await;
    client
}

async fn connected() -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig()).expect("the file can be read");
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("it is complete");
    config.read_timeout = Some(Duration::from_mins(2));
    Client::try_from(config).expect("a client")
}

async fn apply_kinds(client: &Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in [DataSource::crd(), Entity::crd(), AccessPolicy::crd()] {
        let name = definition.metadata.name.clone().expect("a name");
        definitions.patch(&name, &PatchParams::apply("tests").force(), &Patch::Apply(&definition)).await.expect("it is taken");
        until("the kind", async || {
            let there = definitions.get(&name).await.expect("it is there");
            let conditions = there.status.and_then(|status| status.conditions).unwrap_or_default();
            conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
        })
        .await;
    }
}

/// Kinds that a test changes: nobody else applies or checks them meanwhile, and at its end, be it a panic, they are as they were.
pub(super) struct ChangedKinds {
    _alone: RwLockWriteGuard<'static, ()>,
}

impl ChangedKinds {
    pub(super) async fn begin() -> Self {
        Self { _alone: KINDS.write().await }
    }
}

impl Drop for ChangedKinds {
    fn drop(&mut self) {
        // On a thread of its own, since what drops it may be a runtime.
        let restored = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async { apply_kinds(&connected().await).await });
        });
        let is_restored = restored.join().is_ok();
        assert!(is_restored || std::thread::panicking(), "the kinds can't be restored");
    }
}

/// A namespace of a test's own.
pub(super) async fn namespace(client: &Client) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("it-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await.expect("a namespace");
    name
}

/// The interface to a kind in a namespace.
pub(super) fn api(client: &Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let resource = match kind {
        "DataSource" => DataSource::api_resource(),
        "Entity" => Entity::api_resource(),
        "AccessPolicy" => AccessPolicy::api_resource(),
        _ => ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1beta1", kind)),
    };
    Api::namespaced_with(client.clone(), namespace, &resource)
}

pub(super) struct Stage {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) deployment: Deployment,
    folder: PathBuf,
    kubelet: Mutex<JoinHandle<()>>,
}

impl Stage {
    /// A shop with one table `items`, a Secret with its URL, and nothing else.
    pub(super) async fn new() -> Self {
        Self::of(Deployment::new().await).await
    }

    /// The same in another NATS.
    pub(super) async fn over(nats: String) -> Self {
        Self::of(Deployment::over(nats).await).await
    }

    async fn of(deployment: Deployment) -> Self {
        let client = client().await;
        let namespace = namespace(&client).await;
        let folder = std::env::temp_dir().join(format!("resolvespec-databases-{namespace}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        let deployment = deployment.with("RESOLVESPEC_DATABASES_PATH", folder.display().to_string());
        let kubelet = Mutex::new(TaskTracker::new().spawn(mount(
            client.clone(),
            namespace.clone(),
            "resolvespec-databases".to_owned(),
            folder.clone(),
        )));
        let stage = Self { client, namespace, deployment, folder, kubelet };
        stage.secret("shop-database", stage.deployment.database_url()).await;
        stage
    }

    pub(super) async fn secret(&self, name: &str, url: &str) {
        let secret = Secret {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            data: Some(BTreeMap::from([("url".to_owned(), ByteString(url.as_bytes().to_vec()))])),
            ..Secret::default()
        };
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        secrets.patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(&secret)).await.expect("the Secret is taken");
    }

    pub(super) fn api(&self, kind: &str) -> Api<DynamicObject> {
        api(&self.client, &self.namespace, kind)
    }

    /// Applies a resource.
    pub(super) async fn apply(&self, kind: &str, name: &str, spec: Value) {
        let resource = resource(kind, name, spec);
        self.api(kind)
            .patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(&resource))
            .await
            .unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
    }

    /// The source `shop`, over the Secret.
    pub(super) async fn apply_source(&self) {
        self.apply("DataSource", "shop", source()).await;
    }

    pub(super) async fn apply_entity(&self, table: &str) {
        self.apply("Entity", table, json!({"source": "shop"})).await;
    }

    /// Stops the operator at a resource, or lets it go on.
    pub(super) async fn pause(&self, kind: &str, name: &str, paused: bool) {
        let value = paused.then_some("true");
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"resolvespec.dev/paused": value}}}));
        self.api(kind).patch(name, &PatchParams::default(), &patch).await.expect("annotated");
    }

    pub(super) async fn delete(&self, kind: &str, name: &str) {
        self.api(kind).delete(name, &DeleteParams::default()).await.expect("it can be deleted");
    }

    /// What a resource is told.
    pub(super) async fn status(&self, kind: &str, name: &str) -> Value {
        let there = self.api(kind).get_opt(name).await.expect("an answer");
        there.map_or(Value::Null, |there| there.data["status"].clone())
    }

    /// One of its conditions: status, reason and message.
    pub(super) async fn condition(&self, kind: &str, name: &str, condition: &str) -> (String, String, String) {
        condition_of(&self.status(kind, name).await, condition)
    }

    /// Waits for a condition, by its status and reason; the message is what it comes to.
    pub(super) async fn told(&self, kind: &str, name: &str, condition: &str, status: &str, reason: &str) -> String {
        let mut last = Value::Null;
        let message = std::sync::OnceLock::new();
        let what = format!("{kind} {name} being {condition}={status} for {reason}");
        let since = std::time::Instant::now();
        while message.get().is_none() {
            last = self.status(kind, name).await;
            let (is, why, text) = condition_of(&last, condition);
            if is == status && why == reason {
                message.set(text).expect("once");
            }
            assert!(since.elapsed() < Duration::from_mins(1), "{what} did not come about: {last:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(last);
        message.into_inner().expect("it was set")
    }

    pub(super) async fn ready(&self, kind: &str, name: &str) {
        self.told(kind, name, "Ready", "True", "Ready").await;
    }

    /// The reasons of all events about a resource, each as often as it was told: the same once more is a count in its series.
    pub(super) async fn events(&self, name: &str) -> Vec<String> {
        let is_of_it = |event: &Event| event.regarding.as_ref().and_then(|one| one.name.as_deref()) == Some(name);
        let of_it = self.all_events().await.into_iter().filter(is_of_it);
        let times = |event: &Event| event.series.as_ref().map_or(1, |series| usize::try_from(series.count).expect("a count"));
        of_it.flat_map(|event| std::iter::repeat_n(event.reason.clone().unwrap_or_default(), times(&event))).collect()
    }

    /// How often a resource was told for a reason.
    pub(super) async fn times(&self, name: &str, reason: &str) -> usize {
        self.events(name).await.iter().filter(|told| *told == reason).count()
    }

    pub(super) async fn all_events(&self) -> Vec<Event> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        events.list(&ListParams::default()).await.expect("an answer").items
    }

    pub(super) async fn finalizers(&self, source: &str) -> Vec<String> {
        self.api("DataSource").get(source).await.expect("it is there").metadata.finalizers.unwrap_or_default()
    }

    pub(super) async fn is_gone(&self, kind: &str, name: &str) -> bool {
        self.api(kind).get_opt(name).await.expect("an answer").is_none()
    }

    pub(super) fn replica(&self, name: &str) -> Replica {
        self.deployment.start(name)
    }

    pub(super) fn operator(&self, name: &str) -> Operator {
        self.operator_with(name, &[])
    }

    pub(super) fn operator_with(&self, name: &str, arguments: &[&str]) -> Operator {
        Operator::launch(name, self.operator_command(arguments), &[])
    }

    fn operator_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.deployment.command("operator");
        command.env("KUBECONFIG", kubeconfig()).args(["--namespace", &self.namespace, "--watch-namespace", &self.namespace]);
        command.arg("--databases-path").arg(&self.folder).args(arguments);
        command
    }

    /// One that enters by another kubeconfig.
    pub(super) fn operator_as(&self, name: &str, arguments: &[&str], kubeconfig: &str) -> Operator {
        Operator::launch(name, self.operator_command(arguments), &[("KUBECONFIG", kubeconfig)])
    }

    /// Mounts another Secret in the place of the usual one.
    pub(super) fn mount(&self, secret: &str) {
        let mounting = mount(self.client.clone(), self.namespace.clone(), secret.to_owned(), self.folder.clone());
        std::mem::replace(&mut *self.kubelet.lock().expect("no panic"), TaskTracker::new().spawn(mounting)).abort();
    }

    /// Removes everything. What an operator would have to undo has to be gone, or the operator has to be there.
    pub(super) async fn remove(self) {
        self.kubelet.lock().expect("no panic").abort();
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.delete(&self.namespace, &DeleteParams::default()).await.expect("it can be deleted");
        std::fs::remove_dir_all(&self.folder).expect("the folder can be removed");
        self.deployment.remove().await;
    }
}

/// The spec of a source over the Secret.
pub(super) fn source() -> Value {
    json!({
        "engine": "postgres",
        "connection": {"secretKeyRef": {"name": "shop-database", "key": "url"}},
        "pool": {"maxConnections": 4},
    })
}

#[expect(clippy::needless_pass_by_value, reason = "specs are written where they are given")]
pub(super) fn resource(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "resolvespec.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn condition_of(status: &Value, condition: &str) -> (String, String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = status["conditions"].as_array().and_then(|all| all.iter().find(|one| one["type"] == condition));
    found.map_or_else(Default::default, |one| (text(&one["status"]), text(&one["reason"]), text(&one["message"])))
}

/// Does what a kubelet does for a pod that mounts the Secret.
async fn mount(client: Client, namespace: String, secret: String, folder: PathBuf) {
    let secrets: Api<Secret> = Api::namespaced(client, &namespace);
    loop {
        let data = secrets.get_opt(&secret).await.ok().flatten().and_then(|secret| secret.data).unwrap_or_default();
        for (key, ByteString(value)) in &data {
            write(&folder.join(key), value);
        }
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if !data.contains_key(&entry.file_name().to_string_lossy().into_owned()) {
                _ = std::fs::remove_file(entry.path());
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn write(file: &Path, value: &[u8]) {
    if std::fs::read(file).is_ok_and(|there| there == value) {
        return;
    }
    let beside = file.with_file_name(format!(".{}", file.file_name().unwrap_or_default().to_string_lossy()));
    if std::fs::write(&beside, value).is_ok() {
        _ = std::fs::rename(&beside, file);
    }
}

/// A process that operates; killed at the end.
pub(super) struct Operator {
    name: String,
    child: Child,
    said: Arc<Mutex<String>>,
    admin: Http,
}

impl Operator {
    fn launch(name: &str, mut command: Command, variables: &[(&str, &str)]) -> Self {
        let admin = free_address();
        command.args(["--identity", name, "--admin-listen", &admin.to_string(), "--survey-seconds", "2"]);
        command.envs(variables.iter().copied());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary runs");
        let said = gathered(&mut child);
        Self { name: name.to_owned(), child, said, admin: Http::new(admin) }
    }

    /// What it has logged until now.
    pub(super) fn said(&self) -> String {
        self.said.lock().expect("no panic").clone()
    }

    pub(super) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill runs").success());
    }

    /// Waits for its end, which has to be a good one.
    pub(super) async fn ended(&mut self) {
        until("the end of the operator", async || self.child.try_wait().expect("a state").is_some()).await;
        let status = self.child.wait().expect("it has ended");
        assert!(status.success(), "{status}: {}", self.said());
    }

    /// Its admin port.
    pub(super) fn admin(&self) -> &Http {
        &self.admin
    }

    /// What its admin port answers.
    pub(super) async fn ask(&self, method: Method, path: &str) -> Value {
        self.admin.send(&Call::new(method, path)).await.expect("an answer").body
    }

    /// The value of a metric; 0 if it is not there.
    pub(super) async fn metric(&self, start: &str) -> f64 {
        let Ok(answer) = self.admin.send(&Call::new(Method::GET, "/metrics")).await else { return 0.0 };
        let text = answer.body.as_str().unwrap_or_default().to_owned();
        let values =
            text.lines().filter(|line| line.starts_with(start)).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    }

    /// Has it give its lease back and end.
    pub(super) async fn leave(mut self) {
        self.signal("-TERM");
        self.ended().await;
    }

    pub(super) async fn leads(&self) -> bool {
        self.metric("resolvespec_operator_leader").await > 0.0
    }
}

impl Drop for Operator {
    #[expect(clippy::print_stderr, reason = "a test that fails shows what its operators said")]
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{} said:\n{}", self.name, self.said());
        }
    }
}
