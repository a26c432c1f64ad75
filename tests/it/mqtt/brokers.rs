//! Brokers that want TLS, that are several, and that do not take everything.

use super::{code, read};
use crate::support::certificates::Certificates;
use crate::support::mqtt::{Entry, OwnMosquitto, Spoken, Station};
use crate::support::ports::free_port;
use crate::support::shop::{Process, Shop};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

/// How long it is waited for something that must not come.
const SILENCE: Duration = Duration::from_millis(500);

const MANIFEST: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {name: shop}
spec: {engine: sqlite, connection: {url: 'sqlite:shop.db'}, seed: [seed.sql], capture: {mode: trigger}}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: items}
spec: {source: shop}
";

/// A shop whose changes are captured.
pub(super) fn shop(name: &str) -> Shop {
    let shop = Shop::new(&format!("mqtt-{name}"));
    std::fs::write(shop.0.join("shop.yaml"), MANIFEST).expect("a manifest can be written");
    shop
}

/// A client whose session the broker keeps.
async fn station(broker: &OwnMosquitto, id: &str) -> Station {
    let entry = Entry { url: &broker.url(), id, prefix: "spec", spoken: Spoken::V5, stays: true };
    let station = Station::enter(entry).await.expect("the broker lets everyone in");
    for topic in ["response", "notify/+"] {
        station.subscribe(&format!("spec/{id}/{topic}")).await.expect("its own topics");
    }
    station
}

/// The answer to a request, whatever is told meanwhile.
pub(super) async fn answer(station: &mut Station, message: &Value) -> Value {
    station.say(message).await;
    loop {
        let heard = station.hear().await;
        if heard.topic.ends_with("/response") && heard.body["id"] == message["id"] {
            return heard.body;
        }
    }
}

/// The next notification.
pub(super) async fn told(station: &mut Station) -> Value {
    loop {
        let heard = station.hear().await;
        if heard.topic.contains("/notify/") {
            return heard.body;
        }
    }
}

pub(super) async fn subscribed(station: &mut Station) -> String {
    let wish = json!({"id": "s", "type": "subscription", "operation": "subscribe", "entity": "items"});
    let begun = answer(station, &wish).await;
    begun["data"]["subscription_id"].as_str().unwrap_or_else(|| panic!("{begun}")).to_owned()
}

pub(super) fn write(process: &Process, name: &str) {
    let (status, body) = process.post("/api/main/items", &json!({"operation": "create", "data": {"name": name}}), None);
    assert_eq!(status, 200, "{body}");
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} does not come about");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn metric(process: &Process, name: &str) -> u64 {
    let text = process.get("/metrics");
    let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_is_entered_over_tls_with_a_certificate_of_our_own() {
    let (ours, strange) = (Certificates::make("mqtt-ours"), Certificates::make("mqtt-strange"));
    for file in ["server.pem", "server.key", "ca.pem"] {
        // Mosquitto reads them as another user.
        std::fs::set_permissions(ours.path(file), std::fs::Permissions::from_mode(0o644)).expect("the file is ours");
    }
    let port = free_port();
    let more = format!(
        "listener {port} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n",
        ours.path("ca.pem"),
        ours.path("server.pem"),
        ours.path("server.key")
    );
    let broker = OwnMosquitto::with("encrypted", &more);
    let plain = broker.url();
    let (who, _) = plain.trim_start_matches("mqtt://").split_once('@').expect("a user");
    let url = format!("mqtts://{who}@127.0.0.1:{port}");
    let shop = shop("encrypted");
    let start = |ca: &Certificates, own: &Certificates| {
        let (ca, certificate, key) = (ca.path("ca.pem"), own.path("client.pem"), own.path("client.key"));
        let files = ["--mqtt-ca", &ca, "--mqtt-cert", &certificate, "--mqtt-key", &key];
        shop.start(&[&["dev", "--port", "0", "--mqtt-broker", &url][..], &files].concat(), &[])
    };
    // A broker that somebody else vouches for, and a certificate of ours that somebody else has signed.
    for (ca, own) in [(&strange, &ours), (&ours, &strange)] {
        let mut process = start(ca, own);
        until("the refusal", || process.get("/ready").contains("mqtt")).await;
        let since = Instant::now();
        while since.elapsed() < SILENCE {
            assert_eq!(metric(&process, "resolvespec_mqtt_connected"), 0);
        }
        process.end();
    }
    let mut process = start(&ours, &ours);
    process.enters_its_broker();
    let mut client = station(&broker, "ann").await;
    assert_eq!(answer(&mut client, &read("1")).await["success"], true);
    process.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_several_brokers_has_its_own_clients_and_outages() {
    let (first, second) = (OwnMosquitto::start("several-first"), OwnMosquitto::start("several-second"));
    let shop = shop("several");
    let brokers = [first.url(), second.url()].join(",");
    let mut process = shop.start(&["dev", "--port", "0", "--mqtt-broker", &brokers], &[]);
    until("both connections", || metric(&process, "resolvespec_mqtt_connected") == 2).await;
    let (mut one, mut two) = (station(&first, "ann").await, station(&second, "ann").await);
    let ids = [subscribed(&mut one).await, subscribed(&mut two).await];
    assert_ne!(ids[0], ids[1], "the same name at another broker is somebody else");
    write(&process, "for both");
    for (station, id) in [(&mut one, &ids[0]), (&mut two, &ids[1])] {
        let told = told(station).await;
        assert_eq!((&told["subscription_id"], &told["data"]["name"]), (&json!(id), &json!("for both")), "{told}");
    }
    drop(one);
    first.end();
    until("its loss", || process.get("/ready").contains("\"degraded\":[\"mqtt\"]")).await;
    write(&process, "while one is away");
    assert_eq!(told(&mut two).await["data"]["name"], "while one is away", "the other one goes on");
    assert_eq!(answer(&mut two, &read("2")).await["success"], true);
    first.restart();
    let mut one = station(&first, "ann").await;
    assert_eq!(told(&mut one).await["data"]["name"], "while one is away", "it is told when the broker is there again");
    process.end();
}

/// A broker that lets the service publish whatever matches none of these patterns.
fn refusing(name: &str, refused: &str) -> OwnMosquitto {
    let file = permissions(name);
    allow(name, refused);
    OwnMosquitto::with(name, &format!("acl_file {file}\n"))
}

fn permissions(name: &str) -> String {
    std::env::temp_dir().join(format!("resolvespec-{name}-{}.acl", std::process::id())).display().to_string()
}

fn allow(name: &str, refused: &str) {
    let file = permissions(name);
    std::fs::write(&file, format!("user resolvespec\n{refused}topic readwrite #\n")).expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("the file is ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broker_refuses_is_owed_until_it_takes_the_word_to_read_again() {
    let name = "refusing";
    let broker = refusing(name, "topic deny spec/ann/notify/#\n");
    let shop = shop(name);
    let mut process = shop.start(&["dev", "--port", "0", "--mqtt-broker", &broker.url()], &[]);
    process.enters_its_broker();
    let (mut ann, mut bob) = (station(&broker, "ann").await, station(&broker, "bob").await);
    let id = subscribed(&mut ann).await;
    subscribed(&mut bob).await;
    write(&process, "refused");
    assert_eq!(told(&mut bob).await["data"]["name"], "refused", "others are told");
    until("the count", || metric(&process, "resolvespec_mqtt_notifications_refused_total") >= 2).await;
    assert!(ann.hears(SILENCE).await.is_none());
    allow(name, "");
    broker.reload();
    let owed = told(&mut ann).await;
    assert_eq!((&owed["operation"], &owed["reason"]), (&json!("resync_required"), &json!("notification_refused")), "{owed}");
    assert_eq!((&owed["subscription_id"], &owed["entity"]), (&json!(id), &json!("items")), "{owed}");
    write(&process, "taken");
    assert_eq!(told(&mut ann).await["data"]["name"], "taken", "it goes on");
    process.end();
    _ = std::fs::remove_file(permissions(name));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_a_broker_refuses_for_long_ends() {
    let name = "refusing-for-long";
    let broker = refusing(name, "topic deny spec/ann/notify/#\n");
    let shop = shop(name);
    let mut process = shop.start(&["dev", "--port", "0", "--mqtt-broker", &broker.url()], &[]);
    process.enters_its_broker();
    let mut ann = station(&broker, "ann").await;
    let id = subscribed(&mut ann).await;
    write(&process, "refused");
    until("its end", || process.get("/admin/subscriptions").contains("\"total\":0")).await;
    let end = json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": id});
    assert_eq!(code(&answer(&mut ann, &end).await), "subscription_not_found");
    process.end();
    _ = std::fs::remove_file(permissions(name));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_whose_answer_is_refused_is_none() {
    let name = "refusing-answers";
    let broker = refusing(name, "topic deny spec/ann/response\n");
    let shop = shop(name);
    let mut process = shop.start(&["dev", "--port", "0", "--mqtt-broker", &broker.url()], &[]);
    process.enters_its_broker();
    let (mut ann, mut bob) = (station(&broker, "ann").await, station(&broker, "bob").await);
    let wish = json!({"id": "s", "type": "subscription", "operation": "subscribe", "entity": "items"});
    ann.say(&wish).await;
    subscribed(&mut bob).await;
    until("its end", || process.get("/admin/subscriptions").contains("\"total\":1")).await;
    write(&process, "for bob");
    assert_eq!(told(&mut bob).await["data"]["name"], "for bob");
    assert!(ann.hears(SILENCE).await.is_none(), "whoever was not answered is told nothing");
    process.end();
    _ = std::fs::remove_file(permissions(name));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_comes_before_the_first_notification_while_others_write() {
    let broker = OwnMosquitto::start("answered-first");
    let shop = shop("answered-first");
    let mut process = shop.start(&["dev", "--port", "0", "--mqtt-broker", &broker.url()], &[]);
    process.enters_its_broker();
    for number in 0..20 {
        let mut client = station(&broker, &format!("client-{number}")).await;
        let wish = json!({"id": "s", "type": "subscription", "operation": "subscribe", "entity": "items"});
        client.say(&wish).await;
        // Some of these are committed before the subscription begins, some after.
        for write_number in 0..10 {
            write(&process, &format!("{number} {write_number}"));
        }
        let first = client.hear().await;
        assert!(first.topic.ends_with("/response"), "{} comes first: {}", first.topic, first.body);
        assert_eq!(first.body["success"], true, "{}", first.body);
        write(&process, "last");
        while told(&mut client).await["data"]["name"] != "last" {}
    }
    process.end();
}
