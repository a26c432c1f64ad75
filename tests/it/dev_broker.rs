//! The broker of `dev`, with Mosquitto's own clients and nothing else.

use crate::support::process::Finish;
use crate::support::shop::{Process, Shop};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

/// `dev` with a broker at a port of its own.
pub(crate) struct Dev {
    pub(crate) process: Process,
    pub(crate) port: String,
    _shop: Shop,
}

impl Dev {
    pub(crate) fn start(name: &str) -> Self {
        let shop = Shop::new(&format!("broker-{name}"));
        let mut process = shop.start(&["dev", "--port", "0", "--mqtt-listen", "127.0.0.1:0"], &[]);
        let line = process.hear("MQTT is at ");
        Self::at(process, &line, shop)
    }

    /// By the line that tells where the broker is.
    fn at(process: Process, line: &str, shop: Shop) -> Self {
        let (_, rest) = line.split_once("MQTT is at 127.0.0.1:").expect("an address");
        let (port, _) = rest.split_once('.').expect("the end of a sentence");
        process.enters_its_broker();
        Self { process, port: port.to_owned(), _shop: shop }
    }

    pub(crate) fn client(&self, program: &str, version: &str, arguments: &[&str]) -> Command {
        // Into a pipe they would write whole blocks.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", program, "-h", "127.0.0.1", "-p", &self.port, "-V", version, "-q", "1"]).args(arguments);
        command
    }

    fn run(&self, program: &str, version: &str, arguments: &[&str]) -> Output {
        self.client(program, version, arguments).finished()
    }

    fn publish(&self, version: &str, arguments: &[&str]) {
        let output = self.run("mosquitto_pub", version, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// What `mosquitto_sub` hears until it has heard enough.
    fn hear(&self, version: &str, arguments: &[&str]) -> String {
        let output = self.run("mosquitto_sub", version, arguments);
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {told}");
        told
    }
}

/// `mosquitto_sub` that has subscribed.
struct Listener {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Listener {
    fn start(dev: &Dev, version: &str, user: &str, topics: &[&str]) -> Self {
        let mut command = dev.client("mosquitto_sub", version, &["-u", user, "-d", "-W", "30", "-F", "heard %t %p"]);
        for topic in topics {
            command.args(["-t", topic]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().expect("mosquitto_sub runs");
        let mut listener = Self { lines: BufReader::new(child.stdout.take().expect("piped")), child };
        listener.until("Subscribed");
        listener
    }

    fn until(&mut self, beginning: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).expect("readable") > 0, "it ended before it said '{beginning}'");
            if line.starts_with(beginning) {
                return line.trim_end().to_owned();
            }
        }
    }

    /// The next message, with its topic.
    fn next(&mut self) -> (String, Value) {
        let line = self.until("heard ");
        let (topic, payload) = line.trim_start_matches("heard ").split_once(' ').expect("a topic and a payload");
        (topic.to_owned(), serde_json::from_str(payload).unwrap_or_else(|error| panic!("{error}: {payload}")))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn read(id: &str) -> String {
    json!({"id": id, "type": "request", "operation": "read", "schema": "main", "entity": "items"}).to_string()
}

#[test]
fn mosquittos_clients_ask_and_are_answered_in_both_versions() {
    let mut dev = Dev::start("asked");
    for version in ["311", "5"] {
        let user = format!("user-{version}");
        let answers = format!("spec/{user}/response");
        let mut listener = Listener::start(&dev, version, &user, &[&answers]);
        dev.publish(version, &["-u", &user, "-t", &format!("spec/{user}/request"), "-m", &read("r")]);
        let (topic, answer) = listener.next();
        assert_eq!((topic, &answer["id"]), (answers, &json!("r")), "{answer}");
        assert_eq!(answer["data"], json!([{"id": 1, "name": "pen"}]), "{answer}");
    }
    // And one that is both, by its client id alone, with the response topic of MQTT 5.
    let arguments = ["-i", "both", "-t", "spec/both/request", "-e", "spec/both/answers", "-m", &read("rr"), "-W", "20"];
    let output = dev.run("mosquitto_rr", "5", &arguments);
    let answer: Value = serde_json::from_slice(&output.stdout).expect("an answer");
    assert_eq!((&answer["id"], &answer["success"]), (&json!("rr"), &json!(true)));
    dev.process.end();
}

#[test]
fn a_session_that_is_kept_gets_what_came_while_nobody_was_there() {
    let mut dev = Dev::start("kept");
    for (version, expiry) in [("311", &[][..]), ("5", &["-x", "600"])] {
        let id = format!("kept-{version}");
        let topic = format!("spec/{id}/response");
        let session = [&["-i", &id, "-c", "-t", &topic, "-W", "20"][..], expiry].concat();
        dev.hear(version, &[&session[..], &["-E"]].concat());
        for number in ["1", "2", "3"] {
            dev.publish(version, &["-u", &id, "-t", &format!("spec/{id}/request"), "-m", &read(number)]);
        }
        let told = dev.hear(version, &[&session[..], &["-C", "3"]].concat());
        let ids: Vec<Value> = told.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["id"].clone()).collect();
        assert_eq!(ids, ["1", "2", "3"], "in the order of the requests, MQTT {version}");
    }
    dev.process.end();
}

#[test]
fn what_is_retained_is_told_to_who_comes_later_until_it_is_taken_back() {
    let mut dev = Dev::start("retained");
    for version in ["311", "5"] {
        let topic = format!("spec/u{version}/state");
        let user = format!("u{version}");
        dev.publish(version, &["-u", &user, "-t", &topic, "-r", "-m", "on"]);
        let told = dev.hear(version, &["-u", &user, "-t", &topic, "-C", "1", "-W", "20", "-F", "%r %p"]);
        assert_eq!(told.trim(), "1 on");
        dev.publish(version, &["-u", &user, "-t", &topic, "-r", "-n"]);
        let mut listener = Listener::start(&dev, version, &user, &[&format!("spec/{user}/#")]);
        dev.publish(version, &["-u", &user, "-t", &topic, "-m", "\"off\""]);
        assert_eq!(listener.next(), (topic, json!("off")), "and nothing of before");
    }
    dev.process.end();
}

#[test]
fn those_who_share_a_subscription_have_a_message_each_in_turn() {
    let mut dev = Dev::start("shared");
    for version in ["311", "5"] {
        // Two connections of one user, whose topics both may use.
        let user = format!("team-{version}");
        let (topic, shared) = (format!("spec/{user}/work"), format!("$share/g/spec/{user}/work"));
        let mut alone = Listener::start(&dev, version, &user, &[&topic]);
        let mut sharing = [(); 2].map(|()| Listener::start(&dev, version, &user, &[&shared]));
        let end = 20;
        for number in 0..end {
            dev.publish(version, &["-u", &user, "-t", &topic, "-m", &number.to_string()]);
        }
        let mut heard = Vec::new();
        for listener in &mut sharing {
            let own: Vec<u64> = (0..end / 2).map(|_| listener.next().1.as_u64().expect("a number")).collect();
            assert!(own.is_sorted(), "in their order: {own:?}");
            heard.extend(own);
        }
        heard.sort_unstable();
        assert_eq!(heard, (0..end).collect::<Vec<_>>(), "each by one of both, MQTT {version}");
        for number in 0..end {
            assert_eq!(alone.next(), (topic.clone(), json!(number)), "whoever does not share hears all");
        }
    }
    dev.process.end();
}

#[test]
fn a_client_has_its_own_topics_and_nobody_elses() {
    let mut dev = Dev::start("own");
    for version in ["311", "5"] {
        let mut owner = Listener::start(&dev, version, "owner", &["spec/owner/#"]);
        for topic in ["spec/owner/#", "spec/+/response", "spec/#", "#", "spec/thief2/#", "$share/resolvespec/spec/+/request"] {
            let output = dev.run("mosquitto_sub", version, &["-i", "thief", "-t", topic, "-W", "5"]);
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(told.contains("denied"), "{topic} over MQTT {version}: {told}");
        }
        dev.run("mosquitto_pub", version, &["-i", "thief", "-t", "spec/owner/request", "-m", &read("stolen")]);
        dev.run("mosquitto_pub", version, &["-i", "thief", "-t", "spec/owner/response", "-m", "\"invented\""]);
        let will = [
            "-i",
            "thief",
            "--will-topic",
            "spec/owner/response",
            "--will-payload",
            "\"invented\"",
            "-t",
            "spec/thief/x",
            "-m",
            "x",
        ];
        assert!(!dev.run("mosquitto_pub", version, &will).status.success(), "a will is held to the same");
        dev.publish(version, &["-u", "owner", "-t", "spec/owner/x", "-m", "\"own\""]);
        assert_eq!(owner.next(), ("spec/owner/x".to_owned(), json!("own")), "nothing of the thief's comes before it");
    }
    for name in [&["-i", "$resolvespec"][..], &["-i", "a/b"], &["-i", "+"], &["-u", "resolvespec", "-P", "guess"], &["-u", "#"]] {
        let arguments = [name, &["-t", "spec/a/x", "-m", "x"]].concat();
        assert!(!dev.run("mosquitto_pub", "5", &arguments).status.success(), "{name:?} is let in");
    }
    dev.process.end();
}

#[test]
fn a_port_that_is_taken_is_told_and_another_one_used_unless_it_was_asked_for() {
    // If somebody else has it, it is taken all the same.
    let taken = TcpListener::bind("127.0.0.1:1883");
    let shop = Shop::new("broker-taken");
    let mut process = shop.start(&["dev", "--port", "0"], &[]);
    let line = process.hear("MQTT is at ");
    assert!(line.starts_with("127.0.0.1:1883 is taken, so MQTT is at 127.0.0.1:"), "{line}");
    let mut dev = Dev::at(process, &line, shop);
    dev.publish("5", &["-u", "me", "-t", "spec/me/x", "-m", "x"]);
    dev.process.end();
    drop(taken);

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let shop = Shop::new("broker-asked");
    let output = Command::new(env!("CARGO_BIN_EXE_resolvespec"))
        .args(["dev", "--port", "0", "--mqtt-listen", &address])
        .arg(&shop.0)
        .finished();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains(&address), "{told}");
}

#[test]
fn it_can_be_off() {
    let shop = Shop::new("broker-off");
    let mut process = shop.start(&["dev", "--port", "0", "--mqtt-listen", "off"], &[]);
    process.signal("-TERM");
    let mut rest = String::new();
    process.rest().read_to_string(&mut rest).expect("readable");
    assert!(rest.contains("Live changes") && !rest.contains("MQTT"), "{rest}");
    process.end();
}
