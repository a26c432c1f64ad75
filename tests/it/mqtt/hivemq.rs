//! HiveMQ's community edition, which `tests/hivemq/run` gets: both versions on one port, shared requests, clients that its
//! permissions hold to their own topics, and subscriptions whose clients are away.

use super::brokers::{answer, shop, subscribed, told, write};
use super::{create, read};
use crate::support::mqtt::{Beside, Entry, Spoken, Station};
use crate::support::ports::free_port;
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A broker of the test's own, stopped and removed at the end. Its clients' passwords are their names.
struct HiveMq {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl HiveMq {
    fn start(name: &str) -> Self {
        let program = std::env::var("TEST_HIVEMQ").expect("TEST_HIVEMQ is the folder that tests/hivemq/run makes");
        let (folder, port) = (crate::support::folder(name), free_port());
        let mut command = Command::new("java");
        command.args(["-cp", &format!("{program}/lib/*:{program}"), "Broker"]).arg(&folder).arg(port.to_string());
        command.args(["service:service", "ann:ann", "bob:bob"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("java runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let is_there = lines.any(|line| line.is_ok_and(|line| line == format!("HiveMQ is at {port}")));
        assert!(is_there, "HiveMQ does not start");
        // It goes on writing, and must not wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, folder, port }
    }

    /// A client whose session the broker keeps, with the topics that are its own.
    async fn entered(&self, name: &str, spoken: Spoken) -> Station {
        let url = format!("mqtt://{name}:{name}@127.0.0.1:{}", self.port);
        let entry = Entry { url: &url, id: name, prefix: "spec", spoken, stays: true };
        let station = Station::enter(entry).await.expect("the broker lets it in");
        for topic in ["response", "notify/+"] {
            station.subscribe(&format!("spec/{name}/{topic}")).await.expect("its own topics");
        }
        station
    }
}

impl Drop for HiveMq {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes HiveMQ, which tests/hivemq/run gets"]
async fn two_replicas_share_the_requests_of_hivemqs_clients_in_both_versions() {
    let broker = HiveMq::start("hivemq-shared");
    let url = format!("mqtt://service:service@127.0.0.1:{}", broker.port);
    let shops = [shop("hivemq-one"), shop("hivemq-two")];
    let mut replicas = shops.each_ref().map(|shop| {
        let replica = shop.start(&["dev", "--port", "0", "--mqtt-broker", &url, "--mqtt-group", "both"], &[]);
        replica.enters_its_broker();
        replica
    });
    for (name, spoken) in [("ann", Spoken::V5), ("bob", Spoken::V4)] {
        let mut station = broker.entered(name, spoken).await;
        for number in 0..20 {
            let answer = answer(&mut station, &read(&number.to_string())).await;
            assert_eq!(answer["data"], json!([{"id": 1, "name": "pen"}]), "{answer}");
        }
        assert!(station.hears(std::time::Duration::from_millis(500)).await.is_none(), "one of both answers");
    }
    for replica in &mut replicas {
        let text = replica.get("/metrics");
        let received =
            text.lines().find(|line| line.starts_with("resolvespec_mqtt_messages_total{") && line.contains("received"));
        assert!(received.is_some_and(|line| !line.ends_with(" 0")), "it was asked as well: {text}");
        replica.end();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes HiveMQ, which tests/hivemq/run gets"]
async fn hivemq_keeps_clients_apart_and_what_they_are_told_while_they_are_away() {
    let broker = HiveMq::start("hivemq-apart");
    let url = format!("mqtt://service:service@127.0.0.1:{}", broker.port);
    let shop = shop("hivemq-apart");
    let mut replica = shop.start(&["dev", "--port", "0", "--mqtt-broker", &url], &[]);
    replica.enters_its_broker();
    for (name, other, spoken) in [("ann", "bob", Spoken::V5), ("bob", "ann", Spoken::V4)] {
        let mut station = broker.entered(name, spoken).await;
        let made = answer(&mut station, &create("c", name)).await;
        assert_eq!(made["success"], true, "{made}");
        assert_eq!(answer(&mut station, &create("c", name)).await["idempotency_replayed"], true);
        let id = subscribed(&mut station).await;
        write(&replica, "while it listens");
        let first = told(&mut station).await;
        assert_eq!((&first["subscription_id"], &first["data"]["name"]), (&json!(id), &json!("while it listens")), "{first}");
        station.vanish().await;
        write(&replica, "while it is away");
        let mut station = broker.entered(name, spoken).await;
        assert!(station.is_kept);
        assert_eq!(told(&mut station).await["data"]["name"], "while it is away");
        let all = json!({"id": "a", "type": "subscription", "operation": "unsubscribe_all"});
        assert_eq!(answer(&mut station, &all).await["data"]["unsubscribed"], 1);

        for topic in [format!("spec/{other}/response"), "spec/+/response".to_owned(), "$share/g/spec/+/request".to_owned()] {
            assert!(station.subscribe(&topic).await.is_err(), "{topic} is not its own");
        }
        // A broker of 3.1.1 closes the connection, and one of 5 says why not.
        let stolen = create("s", "stolen").to_string().into_bytes();
        assert!(station.publish(&format!("spec/{other}/request"), stolen, Beside::default()).await.is_err());
    }
    assert!(!replica.get("/rest/main/items").contains("stolen"));
    replica.end();
}
