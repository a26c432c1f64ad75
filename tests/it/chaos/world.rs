//! Everything that a storm rages over: databases, NATS, replicas and the balancer in front of them, all of its own.

use super::ledger::Row;
use crate::support::client::{Call, Client};
use crate::support::database::{Fresh, Kind};
use crate::support::mqtt::OwnMosquitto;
use crate::support::nats::OwnNats;
use crate::support::own::Own;
use crate::support::ports::free_address;
use crate::support::process::Finish;
use axum::http::Method;
use resolvespec::database::{Database, Settings, Statement};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The sources, which are also the schemas of their entities.
pub(super) const SOURCES: [&str; 4] = ["pg", "log", "maria", "lite"];

/// Their databases, and how changes are captured there.
const ENGINES: [(&str, &str); 4] = [("postgres", "trigger"), ("postgres", "wal"), ("mysql", "trigger"), ("sqlite", "trigger")];

const BINARY: &str = env!("CARGO_BIN_EXE_resolvespec");

const TABLE: &str =
    "create table marks (id integer primary key, version bigint not null, kind integer not null, stock integer not null)";

/// What is made over MQTT, without a key that would keep it from being made twice.
const ENTRIES: &str = "create table entries (id bigint generated always as identity primary key, mark text not null)";

/// How long anything may take to come up.
const DEADLINE: Duration = Duration::from_secs(90);

/// Who can be killed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Victim {
    Replica(usize),
    Nats,
    Postgres,
    Mariadb,
    Mosquitto,
}

struct Replica {
    address: SocketAddr,
    admin: SocketAddr,
    child: Option<Child>,
}

pub(super) struct World {
    folder: PathBuf,
    nats: OwnNats,
    nats_url: String,
    postgres: Own,
    mariadb: Own,
    mosquitto: OwnMosquitto,
    urls: [String; 4],
    replicas: [Replica; 3],
    balancer: Child,
    entrance: SocketAddr,
}

impl World {
    pub(super) async fn create() -> Self {
        let folder = crate::support::folder("chaos");
        std::fs::create_dir_all(folder.join("manifests")).expect("a folder");
        let (nats, postgres, mariadb) =
            (OwnNats::start("chaos"), Own::start(Kind::Postgres, "chaos"), Own::start(Kind::Mariadb, "chaos"));
        let lite = Fresh::create(Kind::Sqlite).await;
        let urls = [postgres.database().await, postgres.database_named("log").await, mariadb.database().await, lite.url];
        for url in &urls {
            let database = Database::connect(&Settings::new("chaos", url)).await.expect("the database answers");
            database.run_script(TABLE).await.expect("the table can be made");
            database.close().await;
        }
        let entries = Database::connect(&Settings::new("chaos", &urls[0])).await.expect("the database answers");
        entries.run_script(ENTRIES).await.expect("the table can be made");
        entries.close().await;
        let mosquitto = OwnMosquitto::writing_down_everything("chaos");
        std::fs::write(folder.join("manifests/all.yaml"), manifests()).expect("the manifests can be written");
        let entrance = free_address();
        let replicas = [0, 1, 2].map(|_| Replica { address: free_address(), admin: free_address(), child: None });
        let balancer = balance(&folder, entrance, &replicas);
        let nats_url = nats.url();
        let mut world = Self { folder, nats, nats_url, postgres, mariadb, mosquitto, urls, replicas, balancer, entrance };
        for arguments in [["capture", "install"].as_slice(), &["publish"]] {
            let output = world.command(arguments).arg(world.folder.join("manifests")).finished();
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        world.restore_all().await;
        world
    }

    /// Where clients connect.
    pub(super) fn entrance(&self) -> SocketAddr {
        self.entrance
    }

    /// Where clients of MQTT connect.
    pub(super) fn broker(&self) -> String {
        self.mosquitto.url()
    }

    pub(super) fn database_url(&self, source: usize) -> &str {
        &self.urls[source]
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(arguments).env("RESOLVESPEC_NATS_SERVERS", &self.nats_url).env("RESOLVESPEC_NATS_NAME", "chaos");
        command.env("RESOLVESPEC_NATS_EVENTS_BYTES", "268435456").env("RESOLVESPEC_NATS_BUCKET_BYTES", "16777216");
        for (source, url) in SOURCES.iter().zip(&self.urls) {
            command.env(format!("CHAOS_{}", source.to_uppercase()), url);
        }
        command.env_remove("RESOLVESPEC_MANIFESTS");
        command
    }

    fn start_replica(&mut self, number: usize) {
        let Replica { address, admin, .. } = self.replicas[number];
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join(format!("replica-{number}.log")));
        let mut command = self.command(&["serve", "--allow-anonymous", "--replica-name", ["one", "two", "three"][number]]);
        command.args(["--listen", &address.to_string(), "--admin-listen", &admin.to_string()]);
        command.env("RESOLVESPEC_MQTT_BROKERS", self.mosquitto.url());
        // So that sessions advance and are written down, and outlive a database that takes its time to come back.
        command.env("RESOLVESPEC_WS_PING_SECONDS", "1").env("RESOLVESPEC_WS_SESSION_SECONDS", "90");
        command.stderr(log.expect("the log can be written")).stdout(Stdio::null());
        self.replicas[number].child = Some(command.spawn().expect("the binary runs"));
    }

    /// The replica that tells the changes of a source: whoever has said last that it does.
    pub(super) fn relay(&self, source: usize) -> usize {
        let source = format!("source=\"{}\"", SOURCES[source]);
        let last_said = |number: usize| {
            let log = std::fs::read_to_string(self.folder.join(format!("replica-{number}.log"))).unwrap_or_default();
            let says = |line: &&str| line.contains("tells the changes of this database") && line.contains(&source);
            // A line begins with its time.
            Some((log.lines().rfind(says)?.to_owned(), number))
        };
        let relay = (0..self.replicas.len()).filter_map(last_said).max();
        relay.unwrap_or_else(|| panic!("nobody tells the changes of {source}")).1
    }

    pub(super) fn kill(&mut self, victim: Victim) {
        match victim {
            Victim::Replica(number) => {
                if let Some(mut child) = self.replicas[number].child.take() {
                    child.kill().expect("it can be killed");
                    child.wait().expect("it ends");
                }
            }
            Victim::Nats => self.nats.kill(),
            Victim::Postgres => self.postgres.kill(),
            Victim::Mariadb => self.mariadb.kill(),
            Victim::Mosquitto => self.mosquitto.kill(),
        }
    }

    /// Starts whoever was killed.
    pub(super) fn restore(&mut self, victim: Victim) {
        // The scripts wait for their server, and the others need this thread meanwhile.
        tokio::task::block_in_place(|| match victim {
            Victim::Replica(number) => self.start_replica(number),
            Victim::Nats => self.nats.restart(),
            Victim::Postgres => self.postgres.restart(),
            Victim::Mariadb => self.mariadb.restart(),
            Victim::Mosquitto => self.mosquitto.restart(),
        });
    }

    /// Starts every replica that is not there, and waits until all are ready.
    pub(super) async fn restore_all(&mut self) {
        for number in 0..self.replicas.len() {
            if self.replicas[number].child.is_none() {
                self.start_replica(number);
            }
            let (client, deadline) = (Client::new(self.replicas[number].admin), Instant::now() + DEADLINE);
            while client.send(&Call::new(Method::GET, "/ready")).await.map_or(0, |answer| answer.status.as_u16()) != 200 {
                assert!(Instant::now() < deadline, "replica {number} does not become ready: {}", self.said(number));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// The latest errors that a replica has logged.
    fn said(&self, number: usize) -> String {
        let log = std::fs::read_to_string(self.folder.join(format!("replica-{number}.log"))).unwrap_or_default();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// What a database has, as plain SQL says.
    pub(super) async fn rows(&self, source: usize) -> BTreeMap<i64, Row> {
        let text = match source {
            0 | 1 => "select row_to_json(m.*) from marks m",
            _ => "select json_object('id', id, 'version', version, 'kind', kind, 'stock', stock) from marks",
        };
        let database = Database::connect(&Settings::new("truth", &self.urls[source])).await.expect("the database answers");
        let rows = database.fetch_texts(Statement::new(text)).await.expect("the rows can be read");
        database.close().await;
        rows.iter().map(|row| Row::read(&serde_json::from_str::<Value>(row).expect("JSON"))).collect()
    }

    /// How often each mark was made.
    pub(super) async fn marks(&self) -> BTreeMap<String, u64> {
        let database = Database::connect(&Settings::new("truth", &self.urls[0])).await.expect("the database answers");
        let text = "select json_build_array(mark, count(*)) from entries group by mark";
        let rows = database.fetch_texts(Statement::new(text)).await.expect("the rows can be read");
        database.close().await;
        rows.iter().map(|row| serde_json::from_str::<(String, u64)>(row).expect("JSON")).collect()
    }

    pub(super) async fn remove(self) {
        let path = self.urls[3].clone();
        drop(self);
        Fresh::at(path).remove().await;
    }
}

impl Drop for World {
    #[expect(clippy::print_stderr, reason = "a storm that fails shows what the replicas said")]
    fn drop(&mut self) {
        for number in 0..self.replicas.len() {
            self.kill(Victim::Replica(number));
            if std::thread::panicking() {
                eprintln!("replica {number} said:\n{}", self.said(number));
            }
        }
        _ = self.balancer.kill();
        _ = self.balancer.wait();
        if !std::thread::panicking() {
            _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn manifests() -> String {
    let mut text = String::new();
    for (source, (engine, mode)) in SOURCES.iter().zip(ENGINES) {
        let variable = format!("CHAOS_{}", source.to_uppercase());
        _ = write!(
            text,
            "---
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {{name: {source}}}
spec: {{engine: {engine}, connection: {{env: {variable}}}, pool: {{maxConnections: 8}}, capture: {{mode: {mode}}}}}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {{name: {source}-marks}}
spec: {{source: {source}, table: marks, name: marks, apiSchema: {source}}}
"
        );
    }
    let source = SOURCES[0];
    _ = write!(
        text,
        "---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {{name: {source}-entries}}
spec: {{source: {source}, table: entries, name: entries, apiSchema: {source}}}
"
    );
    text
}

/// HAProxy over the replicas: new connections go to one that says that it is ready.
fn balance(folder: &Path, entrance: SocketAddr, replicas: &[Replica; 3]) -> Child {
    let mut config = format!(
        "defaults
  mode tcp
  timeout connect 1s
  timeout client 1h
  timeout server 1h
listen replicas
  bind {entrance}
  balance roundrobin
  option redispatch
  option httpchk GET /ready
  # One that is dead refuses at once; one that is slow to answer on a busy machine is not dead.
  timeout check 5s
"
    );
    for (number, Replica { address, admin, .. }) in replicas.iter().enumerate() {
        let port = admin.port();
        _ = writeln!(
            config,
            "  server r{number} {address} check port {port} inter 200ms fall 1 rise 1 on-marked-down shutdown-sessions"
        );
    }
    let path = folder.join("haproxy.cfg");
    std::fs::write(&path, config).expect("the configuration can be written");
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(path).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("haproxy is installed by tests/run")
}

/// Runs statements in a transaction, and commits it or takes it back; whether it is known to have been done.
pub(super) async fn execute(database: &Database, statements: &[String], commit: bool) -> bool {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let Ok(mut transaction) = database.begin(deadline).await else { return false };
    for statement in statements {
        if transaction.execute(Statement::new(statement.clone())).await.is_err() {
            return false;
        }
    }
    if commit { transaction.commit().await.is_ok() } else { transaction.rollback().await.is_ok() }
}
