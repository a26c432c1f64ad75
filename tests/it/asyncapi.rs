//! The AsyncAPI document: held against its official parser, and what is said over WebSocket and MQTT against the document.

use crate::support::clients;
use crate::support::mqtt::{self, Spoken, Station};
use crate::support::process::Finish;
use crate::support::session::{Session, handshake};
use crate::support::shop::{Process, Shop};
use resolvespec::auth::Principal;
use resolvespec::database::{Database, Settings};
use resolvespec::load::load;
use resolvespec::transport::asyncapi::{Base, Broker, Mqtt, document};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;

const MANIFEST: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {name: shop}
spec: {engine: sqlite, connection: {url: 'sqlite:shop.db'}, seed: [seed.sql], capture: {mode: trigger}}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: customers}
spec:
  source: shop
  description: Who buys.
  columns: [{name: secret, hidden: true}, {name: password, writeOnly: true}]
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: orders}
spec: {source: shop, columns: [{name: state, type: enum, values: [open, paid]}]}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: odd}
spec: {source: shop, table: odd, name: 'odd-$name_1'}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: notes}
spec: {source: shop, operations: {create: {roles: [writer]}}}
";

const SEED: &str = "
create table customers (id integer primary key, name text not null, password text, secret text, born date, balance decimal(9, 2));
create table orders (id integer primary key, customer_id integer references customers (id), note text, state text, photo blob);
create table odd (a integer, b text, primary key (a, b));
create table notes (id integer primary key, line text);
insert into customers values (1, 'Ada', 'x', 'y', '1815-12-10', 9.5);
insert into orders values (1, 1, 'first', 'open', x'00ff');
";

fn folder(name: &str) -> PathBuf {
    let folder = crate::support::folder(&format!("asyncapi-{name}"));
    std::fs::write(folder.join("shop.yaml"), MANIFEST).expect("a manifest");
    std::fs::write(folder.join("seed.sql"), SEED).expect("a seed");
    folder
}

/// Asks the official parser, and holds messages against the document; the faults, none of them if it is all right.
fn judge(document: &Value, said: &[(&str, Value)]) -> Result<String, String> {
    let said: Vec<Value> = said.iter().map(|(name, payload)| json!({"message": name, "payload": payload})).collect();
    let mut node = clients::node();
    node.arg(clients::repository("tests/clients/asyncapi.mjs")).arg(clients::folder().join("npm/clients/node_modules"));
    let output = node.fed(json!({"document": document, "said": said}).to_string());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "the judge itself fails");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(told) } else { Err(told) }
}

fn served_document(dev: &Process) -> Value {
    serde_json::from_str(&dev.get("/asyncapi")).expect("the document is JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_parser_takes_it_for_every_caller_with_and_without_mqtt() {
    let folder = folder("parsed");
    let served = load(std::slice::from_ref(&folder), &HashMap::new(), true).await.expect("the manifests are good");
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
    let brokers = vec![
        Broker { host: "broker.example:1883".to_owned(), secure: false },
        Broker { host: "broker.example:8883".to_owned(), secure: true },
    ];
    let mqtt = Mqtt { brokers, prefix: "spec".to_owned() };
    for (roles, mqtt) in [(&[][..], None), (&[], Some(&mqtt)), (&["writer"], Some(&mqtt))] {
        for (takes_tokens, admits_anonymous) in [(false, true), (true, false), (true, true)] {
            let base = Base { host: "127.0.0.1:8080", secure: takes_tokens, takes_tokens, admits_anonymous, mqtt };
            let principal = Principal { roles: roles.iter().map(ToString::to_string).collect(), ..Principal::anonymous() };
            let document = document(&served.catalog, &principal, &base);
            let told = judge(&document, &[]).unwrap_or_else(|faults| panic!("{roles:?} {base:?}: {faults}"));
            assert!(told.starts_with(if mqtt.is_some() { "4 channels" } else { "1 channels" }), "{told}");
        }
    }
    let mut broken = document(
        &served.catalog,
        &Principal::anonymous(),
        &Base { host: "h", secure: false, takes_tokens: false, admits_anonymous: true, mqtt: None },
    );
    broken["operations"]["websocket.ping"]["action"] = json!("answer");
    assert!(judge(&broken, &[]).is_err_and(|faults| faults.contains("operations.websocket.ping.action")), "it can fail");
}

/// A client that notes what is said under the names that the document has for it.
struct Noted {
    session: Session,
    said: Vec<(&'static str, Value)>,
}

impl Noted {
    async fn ask(&mut self, asked: &'static str, message: Value, answered: &'static str) -> Value {
        let answer = self.session.ask(&message).await;
        self.said.push((asked, message));
        self.said.push((answered, answer.clone()));
        answer
    }

    async fn hear(&mut self, name: &'static str) -> Value {
        let heard = self.session.hear().await;
        self.said.push((name, heard.clone()));
        heard
    }

    async fn write(&mut self, rest: Value) {
        let mut message = json!({"id": "w", "type": "request", "schema": "main", "entity": "orders"});
        for (name, value) in rest.as_object().expect("an object") {
            message[name.as_str()] = value.clone();
        }
        let answer = self.ask("request.main.orders", message, "response.main.orders").await;
        assert_eq!(answer["success"], true, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_over_websocket_is_what_it_says() {
    let shop = Shop(folder("said"));
    let mut dev = shop.start(&["dev", "--port", "0"], &[]);
    let document = served_document(&dev);
    assert_eq!(
        document["servers"]["websocket"],
        json!({
            "host": "localhost", "protocol": "ws", "description": document["servers"]["websocket"]["description"],
        }),
        "the host is the one that was asked for"
    );
    let address = dev.address.parse().expect("an address");
    let mut client = Noted { session: Session::connect(address).await, said: Vec::new() };
    let filters = json!([{"column": "state", "operator": "eq", "value": "open"}]);
    let options = json!({"filters": filters, "snapshot": true, "columns": ["id", "note", "state"]});
    let wish = json!({"id": "s", "type": "subscription", "operation": "subscribe", "schema": "main", "entity": "orders",
        "options": options});
    let begun = client.ask("subscribe.main.orders", wish, "subscribed.main.orders").await;
    assert_eq!(begun["data"]["snapshot"], json!([{"id": 1, "note": "first", "state": "open"}]), "{begun}");
    let row = json!({"id": 2, "customer_id": 1, "note": "second", "state": "open", "photo": "AP8="});
    client.write(json!({"operation": "create", "data": row, "idempotency_key": "k"})).await;
    let told = client.hear("notification.main.orders").await;
    client.write(json!({"operation": "create", "data": row, "idempotency_key": "k"})).await;
    client
        .write(json!({"operation": "read", "options": {"filters": filters, "limit": 5, "preload": [{"relation": "customer"}]}}))
        .await;
    client.write(json!({"operation": "read", "record_id": 2})).await;
    client.write(json!({"operation": "meta"})).await;
    client.write(json!({"operation": "update", "record_id": "2", "data": {"state": "paid"}})).await;
    assert_eq!(client.hear("notification.main.orders").await["reason"], "leave");
    client.write(json!({"operation": "update", "record_id": "2", "data": {"state": "open"}})).await;
    assert_eq!(client.hear("notification.main.orders").await["reason"], "enter");
    client.write(json!({"operation": "delete", "record_id": [2]})).await;
    assert_eq!(client.hear("notification.main.orders").await["operation"], "delete");
    let id = &begun["data"]["subscription_id"];
    let heard = json!({"id": "a", "type": "subscription", "operation": "acknowledge", "subscription_id": id,
        "position": told["position"]});
    client.ask("acknowledge", heard, "acknowledged").await;
    client.ask("ping", json!({"type": "ping", "id": "p"}), "pong").await;
    let wrong = json!({"id": "r", "type": "request", "operation": "read", "entity": "orders", "record_id": 99});
    client.ask("request.main.orders", wrong, "failure").await;

    let Noted { session, mut said } = client;
    session.close().await;
    let query = format!("?session={}", begun["data"]["session"].as_str().expect("a session"));
    let mut again = Session::enter(handshake(address, &query, &[])).await.expect("it is let in");
    said.push(("session", again.hear().await));
    // What was told after the acknowledged place comes again, since nobody said that it was heard.
    for _ in 0..3 {
        said.push(("notification.main.orders", again.hear().await));
    }
    let mut client = Noted { session: again, said };
    let end = json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": id});
    client.ask("unsubscribe", end, "unsubscribed").await;

    let told = judge(&document, &client.said).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(told.contains(&format!("{} said", client.said.len())), "{told}");
    // And it would not take just anything.
    for (name, wrong) in [
        ("notification.main.orders", json!({"type": "notification", "operation": "upsert"})),
        (
            "response.main.orders",
            json!({"id": "1", "type": "response", "success": true, "timestamp": "2026-01-01T00:00:00Z",
            "data": {"id": "text"}}),
        ),
        (
            "failure",
            json!({"id": "1", "type": "response", "success": false, "timestamp": "2026-01-01T00:00:00Z",
            "error": {"code": "no_such_code", "message": ""}}),
        ),
        (
            "request.main.customers",
            json!({"id": "1", "type": "request", "operation": "create", "entity": "customers",
            "data": {"name": 5}}),
        ),
    ] {
        assert!(judge(&document, &[(name, wrong.clone())]).is_err_and(|faults| faults.contains(name)), "{name} takes {wrong}");
    }
    dev.end();
}

/// The same for a client of a broker, which holds the topics against the document as well.
struct Overheard<'d> {
    document: &'d Value,
    station: Station,
    told: VecDeque<Value>,
    said: Vec<(&'static str, Value)>,
}

impl Overheard<'_> {
    /// A topic of the client, by the name of its channel.
    fn topic(&self, channel: &str, subscription: &Value) -> String {
        let address = self.document["channels"][channel]["address"].as_str().unwrap_or_else(|| panic!("a channel {channel}"));
        let subscription = subscription.as_str().unwrap_or_default();
        address.replace("{client_id}", &self.station.id).replace("{subscription_id}", subscription)
    }

    /// The next message, which is an answer or something told.
    async fn next(&mut self) -> Option<Value> {
        let heard = self.station.hear().await;
        if heard.body["type"] == "notification" {
            assert_eq!(heard.topic, self.topic("mqttNotify", &heard.body["subscription_id"]), "{}", heard.body);
            self.told.push_back(heard.body);
            return None;
        }
        assert_eq!(heard.topic, self.topic("mqttResponse", &Value::Null), "{}", heard.body);
        Some(heard.body)
    }

    async fn ask(&mut self, asked: &'static str, message: Value, answered: &'static str) -> Value {
        let answer = self.unread(message.clone(), answered).await;
        self.said.push((asked, message));
        answer
    }

    /// Says what the document has no message for.
    async fn unread(&mut self, message: Value, answered: &'static str) -> Value {
        self.station.say(&message).await;
        let answer = loop {
            if let Some(answer) = self.next().await {
                break answer;
            }
        };
        assert_eq!(answer["id"], message["id"], "{answer}");
        self.said.push((answered, answer.clone()));
        answer
    }

    async fn hear(&mut self, name: &'static str) -> Value {
        let told = loop {
            if let Some(told) = self.told.pop_front() {
                break told;
            }
            assert_eq!(self.next().await, None, "nothing was asked");
        };
        self.said.push((name, told.clone()));
        told
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_over_mqtt_is_what_it_says() {
    let (shop, prefix) = (Shop(folder("over-mqtt")), mqtt::prefix());
    let broker = mqtt::shared();
    let mut dev = shop.start(&["dev", "--port", "0", "--mqtt-broker", &broker, "--mqtt-prefix", &prefix], &[]);
    dev.enters_its_broker();
    let document = served_document(&dev);
    for spoken in [Spoken::V5, Spoken::V4] {
        let id = format!("{prefix}-{spoken:?}");
        let station = Station::connect(&broker, &id, &prefix, spoken).await;
        let mut client = Overheard { document: &document, station, told: VecDeque::new(), said: Vec::new() };
        assert_eq!(client.topic("mqttRequest", &Value::Null), format!("{prefix}/{id}/request"));
        client.station.subscribe(&client.topic("mqttNotify", &json!("+"))).await.expect("its own topics");
        client.ask("ping", json!({"type": "ping", "id": "p"}), "pong").await;
        let filters = json!([{"column": "state", "operator": "eq", "value": "open"}]);
        let options = json!({"filters": filters, "snapshot": true, "columns": ["id", "note", "state"]});
        let wish = json!({"id": "s", "type": "subscription", "operation": "subscribe", "schema": "main", "entity": "orders",
            "options": options});
        let begun = client.ask("subscribe.main.orders", wish, "subscribed.main.orders").await;
        let subscription = &begun["data"]["subscription_id"];
        assert_eq!(begun["data"]["snapshot"], json!([{"id": 1, "note": "first", "state": "open"}]), "{begun}");
        assert_eq!(begun["data"]["notify_topic"], client.topic("mqttNotify", subscription), "{begun}");

        let about = |rest: Value| {
            let mut message = json!({"id": "w", "type": "request", "schema": "main", "entity": "orders"});
            for (name, value) in rest.as_object().expect("an object") {
                message[name.as_str()] = value.clone();
            }
            message
        };
        let row = json!({"id": 2, "customer_id": 1, "note": "second", "state": "open", "photo": "AP8="});
        let (paid, open) = (json!({"state": "paid"}), json!({"state": "open"}));
        for (rest, told) in [
            (json!({"operation": "create", "data": row, "idempotency_key": id}), Some(("create", None))),
            (json!({"operation": "create", "data": row, "idempotency_key": id}), None),
            (json!({"operation": "read", "options": {"filters": filters, "limit": 5}}), None),
            (json!({"operation": "read", "record_id": 2}), None),
            (json!({"operation": "meta"}), None),
            (json!({"operation": "update", "record_id": "2", "data": paid}), Some(("delete", Some("leave")))),
            (json!({"operation": "update", "record_id": "2", "data": open}), Some(("create", Some("enter")))),
            (json!({"operation": "delete", "record_id": [2]}), Some(("delete", None))),
        ] {
            let answer = client.ask("request.main.orders", about(rest), "response.main.orders").await;
            assert_eq!(answer["success"], true, "{answer}");
            if let Some((operation, reason)) = told {
                let heard = client.hear("notification.main.orders").await;
                assert_eq!((heard["operation"].as_str(), heard["reason"].as_str()), (Some(operation), reason), "{heard}");
                assert!(heard["position"]["complete"].is_u64(), "{heard}");
            }
        }
        let wrong = json!({"id": "r", "type": "request", "operation": "read", "entity": "orders", "record_id": 99});
        client.ask("request.main.orders", wrong, "failure").await;
        let end = json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": subscription});
        client.ask("unsubscribe", end.clone(), "unsubscribed").await;
        client.ask("unsubscribe", end, "failure").await;
        let nameless = json!({"id": "n", "type": "subscription", "operation": "unsubscribe"});
        let refused = client.unread(nameless, "failure").await;
        assert_eq!(refused["error"]["code"], "invalid_subscription", "{refused}");
        let all = json!({"id": "a", "type": "subscription", "operation": "unsubscribe_all"});
        client.ask("unsubscribe_all", all, "unsubscribed_all").await;

        let told = judge(&document, &client.said).unwrap_or_else(|faults| panic!("{spoken:?}: {faults}"));
        assert!(told.contains(&format!("{} said", client.said.len())), "{told}");
        // And it would not take just anything.
        let (_, mut wrong) = client.said.iter().find(|(name, _)| *name == "notification.main.orders").expect("one").clone();
        wrong["position"]["complete"] = json!("7");
        let faults = judge(&document, &[("notification.main.orders", wrong)]).expect_err("a place that is a text");
        assert!(faults.contains("notification.main.orders"), "{faults}");
    }
    dev.end();
}

/// A row of the outbox that nobody can read, so that whoever follows its table has to read again.
async fn disturb(shop: &Shop) {
    let url = format!("sqlite:{}", shop.0.join("shop.db").display());
    let database = Database::connect(&Settings::new("shop", &url)).await.expect("the database is there");
    let row = "insert into resolvespec_outbox (table_name, operation, before_image, after_image)
        values ('orders', 'create', null, '[1]')";
    database.run_script(row).await.expect("it is written");
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_is_told_of_its_subscription_itself_is_what_it_says() {
    let (shop, prefix) = (Shop(folder("of-subscriptions")), mqtt::prefix());
    let broker = mqtt::shared();
    let of_mqtt = ["--mqtt-broker", &broker, "--mqtt-prefix", &prefix, "--mqtt-subscription-seconds", "3"];
    let mut dev = shop.start(&[&["dev", "--port", "0"][..], &of_mqtt].concat(), &[]);
    dev.enters_its_broker();
    let document = served_document(&dev);
    let station = Station::connect(&broker, &format!("{prefix}-c"), &prefix, Spoken::V5).await;
    let mut client = Overheard { document: &document, station, told: VecDeque::new(), said: Vec::new() };
    client.station.subscribe(&client.topic("mqttNotify", &json!("+"))).await.expect("its own topics");
    let wish = json!({"id": "s", "type": "subscription", "operation": "subscribe", "schema": "main", "entity": "orders"});
    client.ask("subscribe.main.orders", wish.clone(), "subscribed.main.orders").await;
    let session = Session::connect(dev.address.parse().expect("an address")).await;
    let mut connected = Noted { session, said: Vec::new() };
    connected.ask("subscribe.main.orders", wish, "subscribed.main.orders").await;

    disturb(&shop).await;
    let name = "notification.main.orders";
    assert_eq!(client.hear(name).await["operation"], "resync_required");
    assert_eq!(connected.hear(name).await["operation"], "resync_required");
    let ended = loop {
        let told = client.hear(name).await;
        if told["operation"] == "ended" {
            break told;
        }
    };
    assert_eq!((&ended["reason"], &ended["error"]), (&json!("client_unheard"), &Value::Null), "{ended}");
    let others: Vec<&str> = MANIFEST.split("---").filter(|text| !text.contains("{name: orders}")).collect();
    std::fs::write(shop.0.join("shop.yaml"), others.join("---")).expect("a manifest");
    let ended = connected.hear(name).await;
    assert_eq!((&ended["operation"], &ended["reason"]), (&json!("ended"), &json!("catalog_changed")), "{ended}");
    assert!(ended["error"]["code"].is_string(), "{ended}");

    let said = [client.said, connected.said].concat();
    let told = judge(&document, &said).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(told.contains(&format!("{} said", said.len())), "{told}");
    dev.end();
}
