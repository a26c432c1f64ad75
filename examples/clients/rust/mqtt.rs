//! A client in Rust, over MQTT 5: it subscribes, writes, is told of its own write, is cut off, and gets from the broker what
//! it missed.
//!
//! ```sh
//! resolvespec dev examples/flights
//! cargo run --example mqtt_client -- mqtt://127.0.0.1:1883
//! ```
//!
//! What comes is printed, a line each.

use rumqttc_v5::mqttbytes::QoS;
use rumqttc_v5::{AsyncClient, Broker, Event, EventLoop, MqttOptions, Packet, PublishOptions};
use serde_json::{Value, json};
use std::collections::VecDeque;
use url::Url;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "it is what the program is for")]
async fn main() -> Outcome<()> {
    let broker = std::env::args().nth(1).unwrap_or_else(|| "mqtt://127.0.0.1:1883".to_owned());
    for line in run(&broker.parse()?).await? {
        println!("{line}");
    }
    Ok(())
}

/// Does all of it, and answers what there is to tell.
pub(crate) async fn run(broker: &Url) -> Outcome<Vec<String>> {
    let airlines = json!({"schema": "main", "entity": "airlines"});
    let mut lines = Vec::new();
    let mut session = Session::open(broker, "example-rust").await?;
    let begun = session.ask("subscription", "subscribe", &airlines).await?;
    let id = begun["subscription_id"].as_str().ok_or("there is no subscription")?;
    lines.push(format!("subscribed, told at {}", begun["notify_topic"].as_str().unwrap_or_default().replace(id, "…")));

    let row = json!({"data": {"carrier": "MR", "name": "Ferrous Air"}});
    session.ask("request", "create", &with(&airlines, &row)).await?;
    lines.push(format!("told: {}", session.hear("create").await?));

    session.cut();
    lines.push("cut".to_owned());
    // Somebody else writes while this client is away.
    let mut other = Session::open(broker, "example-rust-2").await?;
    let change = json!({"record_id": "MR", "data": {"name": "Ferrous Airways"}});
    other.ask("request", "update", &with(&airlines, &change)).await?;

    session.come_back().await?;
    lines.push(format!("the broker has {} the session", if session.kept { "kept" } else { "forgotten" }));
    lines.push(format!("missed: {}", session.hear("update").await?));

    session.ask("request", "delete", &with(&airlines, &json!({"record_id": "MR"}))).await?;
    lines.push(format!("told: {}", session.hear("delete").await?));
    // A subscription over MQTT lasts until someone ends it.
    session.ask("subscription", "unsubscribe", &json!({ "subscription_id": id })).await?;
    Ok(lines)
}

/// A client of the broker: requests are answered by their id, notifications come one after the other.
struct Session {
    client: AsyncClient,
    events: EventLoop,
    topics: String,
    told: VecDeque<Value>,
    /// Whether the broker knew the client when it came back.
    kept: bool,
    next: u32,
}

impl Session {
    /// Connects under a client id, which is also where the client's topics are.
    async fn open(broker: &Url, id: &str) -> Outcome<Self> {
        let host = broker.host_str().ok_or("the broker's URL has no host")?;
        let mut options = MqttOptions::new(id, Broker::tcp(host, broker.port().unwrap_or(1883)));
        // The broker keeps what comes until the client is there again, for an hour at most; what it may have kept of an
        // earlier run is given up.
        options.set_clean_start(true).set_session_expiry_interval(Some(3600));
        if !broker.username().is_empty() {
            options.set_credentials(broker.username(), broker.password().unwrap_or_default().to_owned());
        }
        let (client, events) = AsyncClient::builder(options).capacity(10).build();
        let topics = format!("spec/{id}");
        let mut session = Self { client, events, topics, told: VecDeque::new(), kept: false, next: 0 };
        session.come_back().await?;
        session.events.options.set_clean_start(false);
        for topic in ["response", "notify/+"] {
            session.client.subscribe(format!("{}/{topic}", session.topics), QoS::AtLeastOnce).await?;
            while !matches!(session.event().await?, Some(Packet::SubAck(_))) {}
        }
        Ok(session)
    }

    /// Goes away without a word, as a client does whose network is gone.
    fn cut(&mut self) {
        self.events.clean();
    }

    /// Connects, which happens by listening.
    async fn come_back(&mut self) -> Outcome<()> {
        loop {
            if let Some(Packet::ConnAck(connected)) = self.event().await? {
                self.kept = connected.session_present;
                return Ok(());
            }
        }
    }

    /// Says something, and has the `data` of its answer.
    async fn ask(&mut self, kind: &str, operation: &str, rest: &Value) -> Outcome<Value> {
        self.next += 1;
        // Ids are the client's and must not come again: a request with one that was used gets the answer of that time.
        let id = format!("{}-{}", std::process::id(), self.next);
        let message = with(&json!({"id": id, "type": kind, "operation": operation, "timestamp": now()}), rest);
        let topic = format!("{}/request", self.topics);
        self.client.publish(topic, message.to_string(), PublishOptions::at_least_once()).await?;
        loop {
            let Some(Packet::Publish(heard)) = self.event().await? else { continue };
            let answer: Value = serde_json::from_slice(&heard.payload)?;
            if answer["type"] == "notification" {
                self.told.push_back(answer);
            } else if answer["id"] == id.as_str() {
                return if answer["success"] == true {
                    Ok(answer["data"].clone())
                } else {
                    Err(answer["error"].to_string().into())
                };
            }
        }
    }

    /// The next notification of an operation, in words. What was told shortly before a cut may come again, so that one looks
    /// at what it says and not at how often.
    async fn hear(&mut self, operation: &str) -> Outcome<String> {
        loop {
            let Some(told) = self.told.pop_front() else {
                if let Some(Packet::Publish(heard)) = self.event().await? {
                    self.told.push_back(serde_json::from_slice(&heard.payload)?);
                }
                continue;
            };
            if told["operation"] == operation {
                let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let words = [operation.to_owned(), word(&told["key"]["carrier"]), word(&told["data"]["name"])];
                return Ok(words.join(" ").trim_end().to_owned());
            }
        }
    }

    /// What happens next, if it is something that the broker says.
    async fn event(&mut self) -> Outcome<Option<Packet>> {
        match self.events.poll().await? {
            Event::Incoming(packet) => Ok(Some(packet)),
            _ => Ok(None),
        }
    }
}

/// A message with more fields.
fn with(message: &Value, more: &Value) -> Value {
    let mut fields = message.as_object().cloned().unwrap_or_default();
    fields.extend(more.as_object().cloned().unwrap_or_default());
    fields.into()
}

fn now() -> u128 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos())
}
