//! A NATS of a test's own, so that it can be killed; and a connection that knows nothing of ours.

use super::ports::free_address;
use super::process::Finish;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The tests' NATS.
pub(crate) fn current() -> String {
    std::env::var("TEST_NATS_URL").expect("TEST_NATS_URL is set: run the tests with tests/run, or see tests/run --serve")
}

/// The oldest that replicas work with.
pub(crate) fn oldest() -> String {
    std::env::var("TEST_NATS_OLDEST_URL").expect("TEST_NATS_OLDEST_URL is set by tests/run")
}

/// A plain connection, to see and to do what the service does not.
pub(crate) async fn raw(url: &str) -> async_nats::jetstream::Context {
    let parsed = url::Url::parse(url).expect("a URL");
    let password = parsed.password().expect("with a password").to_owned();
    let options = async_nats::ConnectOptions::with_user_and_password(parsed.username().to_owned(), password);
    async_nats::jetstream::new(options.connect(url).await.expect("the test's NATS answers"))
}

/// The same to any of several servers with one user, if one answers.
pub(crate) async fn any(urls: &str) -> Option<async_nats::jetstream::Context> {
    let urls: Vec<url::Url> = urls.split(',').map(|url| url.parse().expect("a URL")).collect();
    let options = async_nats::ConnectOptions::with_user_and_password("all".to_owned(), "of them".to_owned());
    let servers: Vec<String> =
        urls.iter().map(|url| format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"))).collect();
    Some(async_nats::jetstream::new(options.connect(servers).await.ok()?))
}

/// Stopped and removed at the end.
pub(crate) struct OwnNats {
    folder: PathBuf,
    /// The script that runs it, by whose name its files are called.
    server: &'static str,
}

impl OwnNats {
    /// One that writes everything through to the disk.
    pub(crate) fn start(name: &str) -> Self {
        Self::start_with(name, None)
    }

    /// One that is entered as a piece of its configuration says.
    pub(crate) fn start_with(name: &str, entry: Option<&str>) -> Self {
        Self::run_by("nats", name, entry)
    }

    /// The oldest that replicas work with.
    pub(crate) fn start_oldest(name: &str) -> Self {
        Self::run_by("nats_oldest", name, None)
    }

    fn run_by(server: &'static str, name: &str, entry: Option<&str>) -> Self {
        let folder = super::folder(name);
        if let Some(entry) = entry {
            std::fs::write(folder.join("nats.entry"), entry).expect("a file");
        }
        let own = Self { folder, server };
        own.run("start");
        own
    }

    pub(crate) fn url(&self) -> String {
        let told = self.run("env");
        let line = told.lines().find(|line| line.contains("_URL=")).expect("the script tells the URL");
        line.split_once('=').expect("a value").1.trim().to_owned()
    }

    /// Where it is, without who enters.
    pub(crate) fn address(&self) -> String {
        let url = self.url();
        format!("nats://{}", url.rsplit_once('@').expect("a user").1)
    }

    pub(crate) fn kill(&self) {
        let pid = std::fs::read_to_string(self.folder.join(format!("{}.pid", self.server))).expect("the pid is kept");
        assert!(Command::new("kill").args(["-9", pid.trim()]).status().expect("kill runs").success());
    }

    pub(crate) fn restart(&self) {
        self.run("start");
    }

    /// Keeps what it has on its disk, to be brought back later. It has to be down.
    pub(crate) fn save(&self) {
        self.copy(self.server, "saved");
    }

    /// Brings back what was saved. It has to be down.
    pub(crate) fn restore(&self) {
        std::fs::remove_dir_all(self.folder.join(self.server).join("jetstream")).expect("its data is there");
        self.copy("saved/jetstream", &format!("{}/jetstream", self.server));
    }

    /// Loses everything that it has on its disk. It has to be down.
    pub(crate) fn lose(&self) {
        std::fs::remove_dir_all(self.folder.join(self.server).join("jetstream")).expect("its data is there");
    }

    fn script(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/servers/{}.sh", self.server))
    }

    fn copy(&self, from: &str, to: &str) {
        let (from, to) = (self.folder.join(from), self.folder.join(to));
        assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs").success());
    }

    fn run(&self, verb: &str) -> String {
        let mut command = Command::new("bash");
        let output = command.arg(self.script()).arg(verb).arg(&self.folder).env("TEST_FSYNC", "on").finished();
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for OwnNats {
    fn drop(&mut self) {
        _ = Command::new("bash").arg(self.script()).arg("stop").arg(&self.folder).output();
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Three servers that keep everything on each of them.
pub(crate) struct NatsCluster {
    pub(crate) servers: Vec<OwnNats>,
}

impl NatsCluster {
    pub(crate) fn start(name: &str) -> Self {
        let routes = [0; 3].map(|_| free_address().to_string());
        let all = routes.iter().map(|route| format!("nats-route://{route}")).collect::<Vec<_>>().join(", ");
        let server = |(number, route): (usize, &String)| {
            let entry = format!(
                "server_name: {name}-{number}\nauthorization {{ user: all, password: \"of them\" }}\n\
                 cluster {{ name: {name}, listen: {route}, routes: [{all}] }}\n"
            );
            OwnNats::start_with(&format!("{name}-{number}"), Some(&entry))
        };
        Self { servers: routes.iter().enumerate().map(server).collect() }
    }

    /// Where they are, as a setting has it.
    pub(crate) fn urls(&self) -> String {
        let url = |server: &OwnNats| server.address().replace("nats://", "nats://all:of%20them@");
        self.servers.iter().map(url).collect::<Vec<_>>().join(",")
    }
}
