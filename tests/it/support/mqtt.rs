//! Brokers of a test's own, and a client that speaks either version of MQTT.

mod kept;

use super::ports::free_port;
use super::process::Finish;
use kept::NothingToSend;
use resolvespec::auth::Secret;
use resolvespec::transport::mqtt::{Server, Settings, User};
use rumqttc_v5::mqttbytes::QoS;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use url::Url;

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The broker that all tests share.
pub(crate) fn shared() -> String {
    std::env::var("TEST_MOSQUITTO_URL").expect("TEST_MOSQUITTO_URL names the broker; tests/run starts one")
}

/// A prefix that no other test has.
pub(crate) fn prefix() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("spec-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    V5,
    V4,
}

enum Speaker {
    V5(rumqttc_v5::AsyncClient),
    V4(rumqttc_v4::AsyncClient),
}

/// A message that came.
#[derive(Debug)]
pub(crate) struct Heard {
    pub topic: String,
    pub body: Value,
    pub correlation: Option<Vec<u8>>,
}

/// What goes with a message in MQTT 5.
#[derive(Default)]
pub(crate) struct Beside {
    pub response_topic: Option<String>,
    pub correlation: Option<Vec<u8>>,
    pub properties: Vec<(String, String)>,
}

/// A client of a broker.
pub(crate) struct Station {
    pub id: String,
    pub prefix: String,
    /// Whether the broker had kept its session.
    pub is_kept: bool,
    speaker: Speaker,
    heard: mpsc::UnboundedReceiver<Heard>,
    task: JoinHandle<()>,
}

/// How a client enters.
pub(crate) struct Entry<'a> {
    pub url: &'a str,
    pub id: &'a str,
    pub prefix: &'a str,
    pub spoken: Spoken,
    /// Whether the broker keeps its session.
    pub stays: bool,
}

/// A request leaves before the broker has acknowledged the packet before it, which it takes 40 ms for.
fn at_once() -> rumqttc_v5::NetworkOptions {
    let mut network = rumqttc_v5::NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network
}

impl Station {
    /// Enters and listens to all answers.
    pub(crate) async fn connect(url: &str, id: &str, prefix: &str, spoken: Spoken) -> Self {
        let station = Self::enter(Entry { url, id, prefix, spoken, stays: false }).await.expect("the broker lets everyone in");
        station.subscribe(&format!("{prefix}/{id}/response")).await.expect("a client may hear its answers");
        station
    }

    /// Enters, or has the reason why not.
    pub(crate) async fn enter(entry: Entry<'_>) -> Result<Self, String> {
        Self::enter_with(entry, None).await
    }

    /// The same with a will: the broker says it as a request of the client when the client is lost.
    pub(crate) async fn enter_with(entry: Entry<'_>, will: Option<&Value>) -> Result<Self, String> {
        let url: Url = entry.url.parse().expect("a URL");
        let (host, port) = (url.host_str().expect("a host").to_owned(), url.port().unwrap_or(1883));
        let (user, password) = (url.username().to_owned(), url.password().unwrap_or_default().to_owned());
        let (told, heard) = mpsc::unbounded_channel();
        let (id, prefix) = (entry.id.to_owned(), entry.prefix.to_owned());
        let (request, will) = (format!("{prefix}/{id}/request"), will.map(ToString::to_string));
        let (speaker, task, is_kept) = match entry.spoken {
            Spoken::V5 => {
                let mut options = rumqttc_v5::MqttOptions::new(id.clone(), rumqttc_v5::Broker::tcp(host, port));
                options.set_clean_start(!entry.stays).set_session_expiry_interval(entry.stays.then_some(600));
                options.set_unlimited_incoming_packet_size();
                if entry.stays {
                    options.set_session_store(NothingToSend { expiry: options.session_expiry_interval() });
                }
                if let Some(will) = will {
                    options.set_last_will(rumqttc_v5::LastWill::new(request, will, QoS::AtLeastOnce, false, None));
                }
                if !user.is_empty() {
                    options.set_credentials(user, password);
                }
                options.set_network_options(at_once());
                let (client, mut events) = rumqttc_v5::AsyncClient::builder(options).capacity(100).build();
                let first =
                    timeout(DEADLINE, events.poll()).await.expect("an answer in time").map_err(|error| error.to_string())?;
                let is_kept =
                    matches!(first, rumqttc_v5::Event::Incoming(rumqttc_v5::Packet::ConnAck(said)) if said.session_present);
                let task = TaskTracker::new().spawn(async move {
                    while let Ok(event) = events.poll().await {
                        if let rumqttc_v5::Event::Incoming(rumqttc_v5::Packet::Publish(message)) = event {
                            let correlation = message.properties.and_then(|said| said.correlation_data);
                            _ = told.send(heard_by(&message.topic, &message.payload, correlation.map(|data| data.to_vec())));
                        }
                    }
                });
                (Speaker::V5(client), task, is_kept)
            }
            Spoken::V4 => {
                let mut options = rumqttc_v4::MqttOptions::new(id.clone(), rumqttc_v4::Broker::tcp(host, port));
                options.set_clean_session(!entry.stays).set_max_packet_size(1 << 28, 1 << 28);
                if let Some(will) = will {
                    options.set_last_will(rumqttc_v4::LastWill::new(request, will, QoS::AtLeastOnce, false));
                }
                if !user.is_empty() {
                    options.set_credentials(user, password);
                }
                let (client, mut events) = rumqttc_v4::AsyncClient::builder(options).capacity(100).build();
                events.set_network_options(at_once());
                let first =
                    timeout(DEADLINE, events.poll()).await.expect("an answer in time").map_err(|error| error.to_string())?;
                let is_kept =
                    matches!(first, rumqttc_v4::Event::Incoming(rumqttc_v4::Packet::ConnAck(said)) if said.session_present);
                let task = TaskTracker::new().spawn(async move {
                    while let Ok(event) = events.poll().await {
                        if let rumqttc_v4::Event::Incoming(rumqttc_v4::Packet::Publish(message)) = event {
                            _ = told.send(heard_by(&message.topic, &message.payload, None));
                        }
                    }
                });
                (Speaker::V4(client), task, is_kept)
            }
        };
        Ok(Self { id, prefix, is_kept, speaker, heard, task })
    }

    pub(crate) async fn subscribe(&self, filter: &str) -> Result<(), String> {
        let asked = async {
            match &self.speaker {
                Speaker::V5(client) => {
                    let notice = client.subscribe_tracked(filter, QoS::AtLeastOnce).await.map_err(|error| error.to_string())?;
                    notice.wait_completion_async().await.map_err(|error| error.to_string())
                }
                Speaker::V4(client) => {
                    let notice = client.subscribe_tracked(filter, QoS::AtLeastOnce).await.map_err(|error| error.to_string())?;
                    notice.wait_completion_async().await.map_err(|error| error.to_string())
                }
            }
        };
        timeout(DEADLINE, asked).await.expect("an answer in time")
    }

    /// Publishes and waits for the broker's word, which tells of a refusal in MQTT 5 only.
    pub(crate) async fn publish(&self, topic: &str, payload: Vec<u8>, beside: Beside) -> Result<(), String> {
        let said = async {
            match &self.speaker {
                Speaker::V5(client) => {
                    let properties = rumqttc_v5::PublishProperties {
                        response_topic: beside.response_topic,
                        correlation_data: beside.correlation.map(Into::into),
                        user_properties: beside.properties,
                        ..rumqttc_v5::PublishProperties::default()
                    };
                    let options = rumqttc_v5::PublishOptions::at_least_once().properties(properties);
                    let notice = client.publish_tracked(topic, payload, options).await.map_err(|error| error.to_string())?;
                    notice.wait_completion_async().await.map_err(|error| error.to_string())
                }
                Speaker::V4(client) => {
                    let options = rumqttc_v4::PublishOptions::at_least_once();
                    let notice = client.publish_tracked(topic, payload, options).await.map_err(|error| error.to_string())?;
                    notice.wait_completion_async().await.map_err(|error| error.to_string())
                }
            }
        };
        timeout(DEADLINE, said).await.expect("an answer in time")
    }

    pub(crate) async fn say_with(&self, message: &Value, beside: Beside) {
        let topic = format!("{}/{}/request", self.prefix, self.id);
        self.publish(&topic, message.to_string().into_bytes(), beside).await.expect("the broker takes requests");
    }

    pub(crate) async fn say(&self, message: &Value) {
        self.say_with(message, Beside::default()).await;
    }

    /// The next message.
    pub(crate) async fn hear(&mut self) -> Heard {
        timeout(DEADLINE, self.heard.recv()).await.expect("a message in time").expect("the connection stands")
    }

    /// The next message, if one comes soon.
    pub(crate) async fn hears(&mut self, within: Duration) -> Option<Heard> {
        timeout(within, self.heard.recv()).await.ok().flatten()
    }

    /// Whether the broker has gone, or has sent the client away.
    pub(crate) fn is_cut(&self) -> bool {
        self.task.is_finished()
    }

    /// Closes the socket without a word of goodbye.
    pub(crate) async fn vanish(mut self) {
        self.task.abort();
        // With the task the socket is gone, while the client still could say something.
        _ = (&mut self.task).await;
    }

    /// Says something and hears the answer.
    pub(crate) async fn ask(&mut self, message: &Value) -> Value {
        self.say(message).await;
        self.hear().await.body
    }

    /// The same with what goes beside it in MQTT 5.
    pub(crate) async fn ask_with(&mut self, message: &Value, beside: Beside) -> Value {
        self.say_with(message, beside).await;
        self.hear().await.body
    }

    /// Asks until a replica answers, which may still be on its way to the broker.
    pub(crate) async fn wait_for_service(&mut self) {
        let deadline = std::time::Instant::now() + DEADLINE;
        loop {
            self.say(&json!({"id": "there?", "type": "ping"})).await;
            if self.hears(Duration::from_millis(200)).await.is_some() {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "nobody answers over MQTT");
        }
        // What was asked more than once is answered more than once.
        while self.hears(Duration::from_millis(200)).await.is_some() {}
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn heard_by(topic: &[u8], payload: &[u8], correlation: Option<Vec<u8>>) -> Heard {
    Heard {
        topic: String::from_utf8_lossy(topic).into_owned(),
        body: serde_json::from_slice(payload).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(payload))),
        correlation,
    }
}

/// A Mosquitto of a test's own, stopped and removed at the end.
pub(crate) struct OwnMosquitto {
    folder: PathBuf,
    script: PathBuf,
}

impl OwnMosquitto {
    pub(crate) fn start(name: &str) -> Self {
        let folder = super::folder(name);
        Self::in_folder(folder)
    }

    /// One that writes down whatever changes, and gives nothing up that waits for a client.
    pub(crate) fn writing_down_everything(name: &str) -> Self {
        Self::with(name, "autosave_on_changes true\nautosave_interval 1\nmax_queued_messages 0\n")
    }

    /// One with more lines in its configuration.
    pub(crate) fn with(name: &str, more: &str) -> Self {
        let folder = super::folder(&format!("{name}-mosquitto"));
        std::fs::write(folder.join("mosquitto.more"), more).expect("a file");
        Self::in_folder(folder)
    }

    /// Reads its files of passwords and permissions again.
    pub(crate) fn reload(&self) {
        assert!(Command::new("kill").args(["-HUP", &self.pid()]).status().expect("kill runs").success());
    }

    fn in_folder(folder: PathBuf) -> Self {
        let open = Command::new("chmod").arg("755").arg(&folder).status().expect("chmod runs");
        assert!(open.success());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/mosquitto.sh");
        let own = Self { folder, script };
        own.run("start");
        own
    }

    /// One with the configuration of `examples/mosquitto`, the ports and places exchanged. Its clients' passwords are their
    /// names.
    pub(crate) fn shipped(name: &str, users: &[&str]) -> Self {
        let folder = super::folder(name);
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/mosquitto");
        let read = |name: &str| std::fs::read_to_string(examples.join(name)).expect("it is shipped");
        let port = free_port();
        let place = folder.join("mosquitto").display().to_string();
        let text = read("mosquitto.conf")
            .replace("listener 1883", &format!("listener {port} 127.0.0.1"))
            .replace("listener 1884", "listener PORT")
            .replace("/etc/mosquitto/service.passwd", "USERS")
            .replace("/etc/mosquitto/", &format!("{place}/"))
            .replace("/var/lib/mosquitto/", &format!("{place}/"));
        std::fs::write(folder.join("mosquitto.entry"), text).expect("a file");
        for file in ["clients.acl", "service.acl"] {
            std::fs::write(folder.join(file), read(file)).expect("a file");
        }
        let passwords = users.iter().map(|user| [user, ":", user, "\n"].concat()).collect::<String>();
        std::fs::write(folder.join("clients.passwd"), passwords).expect("a file");
        std::fs::write(folder.join("clients.port"), port.to_string()).expect("a file");
        Self::in_folder(folder)
    }

    /// Where clients enter the shipped one.
    pub(crate) fn clients(&self) -> String {
        let port = std::fs::read_to_string(self.folder.join("clients.port")).expect("it is the shipped one");
        format!("mqtt://127.0.0.1:{port}")
    }

    pub(crate) fn url(&self) -> String {
        let told = self.run("env");
        let line = told.lines().find(|line| line.contains("TEST_MOSQUITTO_URL=")).expect("the script tells the URL");
        line.split_once('=').expect("a value").1.trim().to_owned()
    }

    fn pid(&self) -> String {
        std::fs::read_to_string(self.folder.join("mosquitto.pid")).expect("the pid is kept").trim().to_owned()
    }

    /// Stops it in the middle of whatever it does.
    pub(crate) fn freeze(&self) {
        assert!(Command::new("kill").args(["-STOP", &self.pid()]).status().expect("kill runs").success());
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        assert!(Command::new("kill").args(["-CONT", &self.pid()]).status().expect("kill runs").success());
    }

    /// Ends it in order, so that it writes down what it keeps.
    pub(crate) fn end(&self) {
        self.run("stop");
    }

    pub(crate) fn kill(&self) {
        assert!(Command::new("kill").args(["-9", &self.pid()]).status().expect("kill runs").success());
    }

    pub(crate) fn restart(&self) {
        self.run("start");
    }

    fn run(&self, verb: &str) -> String {
        let output = Command::new("bash").arg(&self.script).arg(verb).arg(&self.folder).finished();
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for OwnMosquitto {
    fn drop(&mut self) {
        _ = Command::new("bash").arg(&self.script).arg("stop").arg(&self.folder).output();
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What a replica that uses a broker is configured with.
pub(crate) fn settings(url: &str, prefix: &str) -> Settings {
    let parsed: Url = url.parse().expect("a URL");
    let (host, port) = (parsed.host_str().expect("a host").to_owned(), parsed.port().unwrap_or(1883));
    let password = Secret::new(parsed.password().unwrap_or_default());
    let user = (!parsed.username().is_empty()).then(|| User { name: parsed.username().to_owned(), password });
    let server = Server { name: format!("{host}:{port}"), host, port, tls: None, user };
    let id = format!("service-{}", uuid::Uuid::new_v4().simple());
    Settings { prefix: prefix.to_owned(), ..Settings::new(vec![server], id) }
}
