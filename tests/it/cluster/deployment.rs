//! A database, a name in NATS and a folder of manifests; the binary publishes and serves them.

use super::until;
use crate::support::client::{Answer, Call, Client};
use crate::support::database::{Fresh, Kind};
use crate::support::ports::free_address;
use crate::support::process::Finish;
use crate::support::processor::used;
use axum::http::Method;
use futures_util::TryStreamExt;
use resolvespec::database::{Database, Settings};
use resolvespec::nats::{Connection, Settings as NatsSettings};
use resolvespec::store::{Bucket, BucketSettings, NatsBucket};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_resolvespec");

pub(crate) const SOURCE: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {name: shop}
spec: {engine: postgres, connection: {env: SHOP_URL}, pool: {maxConnections: 4}}
";

/// The manifest of a table.
pub(crate) fn entity(table: &str) -> String {
    format!("---\napiVersion: resolvespec.dev/v1alpha1\nkind: Entity\nmetadata: {{name: {table}}}\nspec: {{source: shop}}\n")
}

/// What several replicas have in common.
pub(crate) struct Deployment {
    nats: String,
    name: String,
    folder: PathBuf,
    database: Fresh,
    settings: Vec<(&'static str, String)>,
    program: String,
}

impl Deployment {
    /// A shop with one table `items` and its manifests, in the tests' NATS.
    pub(crate) async fn new() -> Self {
        Self::over(crate::support::nats::current()).await
    }

    /// The same in another NATS.
    pub(crate) async fn over(nats: String) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("it_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(format!("resolvespec-cluster-{name}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        let deployment = Self {
            nats,
            name,
            folder,
            database: Fresh::create(Kind::Postgres).await,
            settings: Vec::new(),
            program: BINARY.to_owned(),
        };
        deployment.run_script("create table items (id int primary key, name text); insert into items values (1, 'pen')").await;
        deployment.write(&format!("{SOURCE}{}", entity("items")));
        deployment
    }

    /// With the optimized program, where there is one, for what takes too much of the processor by the other.
    pub(crate) fn optimized(mut self) -> Self {
        self.program = std::env::var("TEST_RELEASE_BINARY").unwrap_or(self.program);
        self
    }

    /// With a setting more.
    pub(crate) fn with(mut self, variable: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((variable, value.into()));
        self
    }

    /// Without any setting that was given more.
    pub(crate) fn without(mut self) -> Self {
        self.settings.clear();
        self
    }

    /// A file of the deployment's own.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        std::fs::write(&path, text).expect("the file can be written");
        path.display().to_string()
    }

    pub(crate) fn write(&self, manifests: &str) {
        std::fs::write(self.folder.join("shop.yaml"), manifests).expect("the manifests can be written");
    }

    pub(crate) fn database_url(&self) -> &str {
        &self.database.url
    }

    pub(crate) async fn run_script(&self, script: &str) {
        let database = Database::connect(&Settings::new("test", &self.database.url)).await.expect("the database answers");
        database.run_script(script).await.expect("the script runs");
        database.close().await;
    }

    /// One of the deployment's buckets, as a stranger sees it.
    pub(crate) async fn bucket(&self, what: &str) -> NatsBucket {
        let connection = Connection::open(&NatsSettings::new(vec![self.nats.clone()])).await.expect("NATS answers");
        let settings = BucketSettings { max_bytes: 10 << 20, ..BucketSettings::new(format!("{}_{what}", self.name)) };
        NatsBucket::open(&connection, settings).await.expect("the bucket is there")
    }

    /// Everything that NATS has of the deployment, the former values of keys as well: subjects, headers and messages.
    pub(crate) async fn everything_in_nats(&self) -> BTreeMap<String, String> {
        let jetstream = crate::support::nats::raw(&self.nats).await;
        let names: Vec<String> = jetstream.stream_names().try_collect().await.expect("NATS tells its streams");
        let mut everything = BTreeMap::new();
        for name in names.into_iter().filter(|name| name.contains(self.name.as_str())) {
            let stream = jetstream.get_stream(&name).await.expect("the stream is there");
            let config = format!("{:?}", stream.cached_info().config);
            let mut text = config;
            for number in stream.cached_info().state.first_sequence..=stream.cached_info().state.last_sequence {
                // One that another one took the place of is not there.
                let Ok(message) = stream.get_raw_message(number).await else { continue };
                let payload = String::from_utf8_lossy(&message.payload).into_owned();
                text.extend([message.subject.as_str(), " ", &format!("{:?}", message.headers), " ", &payload, "\n"]);
            }
            everything.insert(name, text);
        }
        everything
    }

    /// What the replicas that live tell of themselves.
    pub(crate) async fn told(&self, replica: &str) -> Option<Value> {
        let entry = self.bucket("replicas").await.get(replica).await.expect("the bucket answers");
        entry.map(|entry| serde_json::from_slice(&entry.value).expect("JSON"))
    }

    /// Whether so many servers beside the leader have all of the catalog and of the changes.
    pub(crate) async fn is_replicated(&self, others: usize) -> bool {
        let Some(jetstream) = crate::support::nats::any(&self.nats).await else { return false };
        for stream in [format!("KV_{}_catalog", self.name), format!("{}_events", self.name)] {
            let Ok(stream) = jetstream.get_stream(stream).await else { return false };
            let cluster = stream.cached_info().cluster.as_ref();
            let current = cluster.map(|cluster| cluster.replicas.iter().filter(|replica| replica.current).count());
            if current != Some(others) {
                return false;
            }
        }
        true
    }

    /// How many watch one of the deployment's buckets, in the tests' NATS.
    pub(crate) async fn watchers(&self, what: &str) -> usize {
        let raw = crate::support::nats::raw(&self.nats).await;
        let stream = raw.get_stream(format!("KV_{}_{what}", self.name)).await.expect("the bucket is there");
        stream.cached_info().state.consumer_count
    }

    /// How many follow the deployment's changes, in the tests' NATS.
    pub(crate) async fn followers(&self) -> usize {
        let raw = crate::support::nats::raw(&self.nats).await;
        let stream = raw.get_stream(format!("{}_events", self.name)).await.expect("the stream is there");
        stream.cached_info().state.consumer_count
    }

    /// Consumers of each of its streams, buckets included.
    pub(crate) async fn consumers(&self) -> BTreeMap<String, usize> {
        let raw = crate::support::nats::raw(&self.nats).await;
        let streams: Vec<_> = raw.streams().try_collect().await.expect("the streams can be listed");
        let own = streams.into_iter().filter(|stream| stream.config.name.contains(&self.name));
        own.map(|stream| (stream.config.name, stream.state.consumer_count)).collect()
    }

    pub(crate) fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(subcommand).env("RESOLVESPEC_NATS_SERVERS", &self.nats).env("RESOLVESPEC_NATS_NAME", &self.name);
        command.env("RESOLVESPEC_NATS_EVENTS_BYTES", "10485760").env("RESOLVESPEC_NATS_BUCKET_BYTES", "10485760");
        command.env("SHOP_URL", &self.database.url).env_remove("RESOLVESPEC_MANIFESTS");
        command.envs(self.settings.iter().map(|(variable, value)| (variable, value)));
        command
    }

    /// Publishes the folder.
    pub(crate) fn publish(&self, arguments: &[&str]) -> Output {
        self.command("publish").arg(&self.folder).args(arguments).finished()
    }

    /// Publishes the folder, and has what is said of it.
    pub(crate) fn published(&self, arguments: &[&str]) -> String {
        let output = self.publish(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Makes what captures changes.
    pub(crate) fn capture(&self) {
        self.set_up("install");
    }

    /// Removes it.
    pub(crate) fn uncapture(&self) {
        self.set_up("remove");
    }

    fn set_up(&self, what: &str) {
        let output = self.command("capture").arg(what).arg(&self.folder).finished();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A replica on ports of its own.
    pub(crate) fn start(&self, name: &str) -> Replica {
        self.start_at(name, free_address(), free_address())
    }

    /// A replica with settings more.
    pub(crate) fn start_by(&self, name: &str, settings: &[(&str, String)]) -> Replica {
        let mut command = self.command("serve");
        command.envs(settings.iter().map(|(variable, value)| (variable, value)));
        Self::launch(name, command, free_address(), free_address())
    }

    /// A replica that has the manifests from files.
    pub(crate) fn start_with_files(&self, name: &str) -> Replica {
        let mut command = self.command("serve");
        command.arg(&self.folder);
        Self::launch(name, command, free_address(), free_address())
    }

    fn start_at(&self, name: &str, address: SocketAddr, admin: SocketAddr) -> Replica {
        Self::launch(name, self.command("serve"), address, admin)
    }

    fn launch(name: &str, mut command: Command, address: SocketAddr, admin: SocketAddr) -> Replica {
        // Whoever has a secret wants to know who asks.
        if !command.get_envs().any(|(variable, value)| variable == "RESOLVESPEC_JWT_SECRET" && value.is_some()) {
            command.arg("--allow-anonymous");
        }
        command.args(["--leave-seconds", "2", "--drain-seconds", "20", "--replica-name", name]);
        command.args(["--listen", &address.to_string(), "--admin-listen", &admin.to_string()]);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary runs");
        let said = gathered(&mut child);
        Replica { name: name.to_owned(), child, said, client: Client::new(address), admin: Client::new(admin) }
    }

    /// Starts a replica again that has ended.
    pub(crate) fn start_again(&self, replica: &Replica) -> Replica {
        self.start_at(&replica.name, replica.client.address(), replica.admin.address())
    }

    /// Starts a replica again that was killed.
    pub(crate) async fn start_again_after_death(&self, mut replica: Replica) -> Replica {
        until("the end of the replica", async || !replica.is_alive()).await;
        self.start_again(&replica)
    }

    /// Removes everything. NATS may be gone by then.
    pub(crate) async fn remove(self) {
        let is_shared = |variable: &&str| std::env::var(variable).is_ok_and(|shared| shared == self.nats);
        if ["TEST_NATS_URL", "TEST_NATS_OLDEST_URL"].iter().any(is_shared) {
            let raw = crate::support::nats::raw(&self.nats).await;
            for bucket in ["catalog", "sessions", "clients", "mqtt", "leases", "replicas"] {
                // One that was never made can't be removed.
                _ = raw.delete_key_value(format!("{}_{bucket}", self.name)).await;
            }
            _ = raw.delete_stream(format!("{}_events", self.name)).await;
        }
        std::fs::remove_dir_all(&self.folder).expect("the folder can be removed");
        self.database.remove().await;
    }
}

/// What a process logs, as it comes.
pub(crate) fn gathered(child: &mut Child) -> Arc<Mutex<String>> {
    let said = Arc::new(Mutex::new(String::new()));
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    std::thread::spawn({
        let said = Arc::clone(&said);
        move || {
            for line in lines.map_while(Result::ok) {
                said.lock().expect("no panic").extend([line.as_str(), "\n"]);
            }
        }
    });
    said
}

/// A process that serves; killed at the end.
pub(crate) struct Replica {
    pub(crate) name: String,
    child: Child,
    said: Arc<Mutex<String>>,
    pub(crate) client: Client,
    pub(crate) admin: Client,
}

impl Replica {
    /// What it has logged until now.
    pub(crate) fn said(&self) -> String {
        self.said.lock().expect("no panic").clone()
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill runs").success());
    }

    /// The time of the processor that it has had.
    pub(crate) fn used(&self) -> Duration {
        used(self.child.id())
    }

    /// A value of the process's status, in kilobytes.
    pub(crate) fn kilobytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux tells it");
        let line = status.lines().find(|line| line.starts_with(name)).expect("the status has the value");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("the value is a number")
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("a state").is_none()
    }

    /// Waits for its end, which has to be a good one.
    pub(crate) async fn ended(&mut self) {
        until("the end of the replica", async || !self.is_alive()).await;
        let status = self.child.wait().expect("it has ended");
        assert!(status.success(), "{status}: {}", self.said());
    }

    /// The status and the body of `/ready`; 0 while nobody listens.
    pub(crate) async fn ready(&self) -> (u16, Value) {
        match self.admin.send(&Call::new(Method::GET, "/ready")).await {
            Ok(answer) => (answer.status.as_u16(), answer.body),
            Err(_) => (0, Value::Null),
        }
    }

    pub(crate) async fn is_ready(&self) -> bool {
        self.ready().await.0 == 200
    }

    /// Waits until it is ready and serves a generation.
    pub(crate) async fn serves(&self, generation: u64) {
        until(&format!("{} serving generation {generation}", self.name), async || {
            let (status, body) = self.ready().await;
            status == 200 && body["catalog"]["served"] == generation
        })
        .await;
    }

    pub(crate) async fn read(&self, table: &str) -> Result<Answer, String> {
        self.client.send(&read(table)).await
    }

    pub(crate) async fn status_of(&self, table: &str) -> u16 {
        self.read(table).await.expect("an answer").status.as_u16()
    }

    /// The lines of a metric.
    pub(crate) async fn metric(&self, start: &str) -> Vec<String> {
        let answer = self.admin.send(&Call::new(Method::GET, "/metrics")).await.expect("an answer");
        let text = answer.body.as_str().expect("a text").to_owned();
        text.lines().filter(|line| line.starts_with(start)).map(ToOwned::to_owned).collect()
    }
}

impl Drop for Replica {
    #[expect(clippy::print_stderr, reason = "a test that fails shows what its replicas said")]
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{} said:\n{}", self.name, self.said());
        }
    }
}

pub(crate) fn read(table: &str) -> Call {
    Call::post(format!("/api/public/{table}"), &json!({"operation": "read"}))
}
