//! A database server of a test's own, which it may kill and freeze.

use super::database::Kind;
use super::process::Finish;
use resolvespec::database::{Database, Settings};
use std::path::{Path, PathBuf};
use std::process::Command;
use url::Url;

/// A server of the test's own, stopped and removed at the end.
pub(crate) struct Own {
    kind: Kind,
    folder: PathBuf,
    script: PathBuf,
    /// What its script is told.
    settings: Vec<(&'static str, String)>,
}

impl Own {
    pub(crate) fn start(kind: Kind, purpose: &str) -> Self {
        Self::start_with(kind, purpose, Vec::new())
    }

    /// One that can be reached from elsewhere by an address of this machine. PostgreSQL knows how.
    pub(crate) fn start_at(kind: Kind, purpose: &str, address: &str) -> Self {
        Self::start_with(kind, purpose, vec![("TEST_LISTEN", address.to_owned())])
    }

    /// A PostgreSQL that follows another one, of which it only knows what it has received.
    pub(crate) fn standby_of(primary: &str) -> Self {
        Self::start_with(Kind::Postgres, "standby", vec![("TEST_PRIMARY", primary.to_owned())])
    }

    fn start_with(kind: Kind, purpose: &str, settings: Vec<(&'static str, String)>) -> Self {
        let folder = super::folder(&format!("{purpose}-{}", kind.name()));
        let open = Command::new("chmod").args(["755"]).arg(&folder).status().expect("chmod runs");
        assert!(open.success());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/servers/{}.sh", kind.name()));
        let own = Self { kind, folder, script, settings };
        own.run("start");
        own
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    fn run(&self, verb: &str) -> String {
        let mut command = Command::new("bash");
        command.arg(&self.script).arg(verb).arg(&self.folder).envs(self.settings.clone());
        let output = command.finished();
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The URL of a new database in it.
    pub(crate) async fn database(&self) -> String {
        self.database_named("outage").await
    }

    /// The URL of a new database with a name.
    pub(crate) async fn database_named(&self, name: &str) -> String {
        let told = self.run("env");
        let variable = format!("TEST_{}_URL=", self.kind.name().to_uppercase());
        let line = told.lines().find(|line| line.contains(&variable)).expect("the script tells the URL");
        let url = line.split_once('=').expect("a value").1.trim().trim_matches(['"', '\'']).to_owned();
        let admin = Database::connect(&Settings::new("admin", &url)).await.expect("the server answers");
        admin.run_script(&format!("create database {name}")).await.expect("a database can be made");
        admin.close().await;
        let mut url = Url::parse(&url).expect("a URL");
        url.set_path(name);
        url.into()
    }

    fn pid(&self) -> String {
        let file = self.folder.join(format!("{}.pid", self.kind.name()));
        std::fs::read_to_string(file).expect("the pid is kept").trim().to_owned()
    }

    pub(crate) fn kill(&self) {
        assert!(Command::new("kill").args(["-9", &self.pid()]).status().expect("kill runs").success());
    }

    pub(crate) fn restart(&self) {
        let start = self.folder.join(format!("{}.start", self.kind.name()));
        let output = Command::new(start).finished();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Ends it, keeps a copy of all that it has, and starts it again.
    pub(crate) fn keep_copy(&self) {
        self.run("stop");
        copy(&self.data(), &self.folder.join("copy"));
        self.restart();
    }

    /// Ends it and starts it again with what it had when the copy was made.
    pub(crate) fn put_back(&self) {
        self.run("stop");
        std::fs::remove_dir_all(self.data()).expect("what it has can be removed");
        copy(&self.folder.join("copy"), &self.data());
        self.restart();
    }

    /// Stops it, and lets another take its place at its port, with what that one has.
    pub(crate) fn is_replaced_by(&self, other: &Self) {
        self.kill();
        other.run("stop");
        self.run("stop");
        std::fs::remove_dir_all(self.data()).expect("what it has can be removed");
        copy(&other.data(), &self.data());
        let settings = self.data().join("postgresql.conf");
        let text = std::fs::read_to_string(&settings).expect("it has settings");
        std::fs::write(&settings, format!("{text}port = {}\n", self.port())).expect("they can be changed");
        self.restart();
    }

    /// Ends it for now.
    pub(crate) fn stop(&self) {
        self.run("stop");
    }

    fn port(&self) -> String {
        let file = self.folder.join(format!("{}.port", self.kind.name()));
        std::fs::read_to_string(file).expect("the port is kept").trim().to_owned()
    }

    fn data(&self) -> PathBuf {
        self.folder.join(self.kind.name())
    }

    /// Stops it and every process that it has started, in the middle of whatever they do.
    pub(crate) fn freeze(&self) {
        self.signal_all("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal_all("-CONT");
    }

    fn signal_all(&self, signal: &str) {
        let parent = self.pid();
        let children = Command::new("pgrep").args(["-P", &parent]).finished();
        let children = String::from_utf8_lossy(&children.stdout).into_owned();
        let all = std::iter::once(parent.as_str()).chain(children.split_whitespace());
        // A child that has just ended can't be told, and need not be.
        _ = Command::new("kill").arg(signal).args(all).finished();
    }
}

/// With owners and rights, which servers look at.
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().expect("cp runs").success());
}

impl Drop for Own {
    fn drop(&mut self) {
        self.thaw();
        _ = Command::new("bash").arg(&self.script).arg("stop").arg(&self.folder).output();
        _ = std::fs::remove_dir_all(&self.folder);
    }
}
