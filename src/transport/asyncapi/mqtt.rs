//! MQTT: a topic for requests, one for answers and one for each subscription, of each client.

use super::messages::{FAILURE, Messages, OVER_MQTT, PING};
use super::{channel_ref, messages_in, messages_of};
use serde_json::{Map, Value, json};

/// Where MQTT is spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mqtt {
    /// The brokers that the service is connected to.
    pub brokers: Vec<Broker>,
    /// What topics begin with.
    pub prefix: String,
}

/// A broker, as clients reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Host and port.
    pub host: String,
    /// Whether it is reached through TLS.
    pub secure: bool,
}

const REQUEST: &str = "mqttRequest";
const RESPONSE: &str = "mqttResponse";
const NOTIFY: &str = "mqttNotify";
/// A client's name and password, which the broker asks for.
const CREDENTIALS: &str = "mqttCredentials";

impl Mqtt {
    /// Adds the servers, the topics and what is done there.
    pub(super) fn add(
        &self,
        messages: &Messages,
        servers: &mut Map<String, Value>,
        channels: &mut Map<String, Value>,
        operations: &mut Map<String, Value>,
    ) {
        servers.extend(self.servers());
        let said = || {
            let of_rows = messages.requests.iter().chain(&messages.subscribes).cloned();
            of_rows.chain(OVER_MQTT.iter().chain([&PING]).map(|one| one.asked.to_owned())).collect::<Vec<_>>()
        };
        let answered = || {
            let of_rows = messages.responses.iter().chain(&messages.subscribed).cloned();
            let others = OVER_MQTT.iter().chain([&PING]).map(|one| one.answered.to_owned());
            of_rows.chain(others).chain([FAILURE.to_owned()]).collect::<Vec<_>>()
        };
        channels.insert(REQUEST.to_owned(), self.channel("request", &said(), "What a client says."));
        let summary = "Answers to a client that does not name another topic. It subscribes here before its first request.";
        channels.insert(RESPONSE.to_owned(), self.channel("response", &answered(), summary));
        let operation = |action: &str, channel: &str, summary: &str, names: &[String]| {
            json!({
                "action": action,
                "channel": channel_ref(channel),
                "summary": summary,
                "messages": messages_of(channel, names),
                "bindings": {"mqtt": {"bindingVersion": "0.2.0", "qos": 1, "retain": false}},
            })
        };
        let exchange = |asked: &[String], answered: &[String], summary: &str| {
            let answers: Vec<String> = answered.iter().cloned().chain([FAILURE.to_owned()]).collect();
            let mut operation = operation("receive", REQUEST, summary, asked);
            operation["reply"] = json!({"channel": channel_ref(RESPONSE), "messages": messages_of(RESPONSE, &answers)});
            operation
        };
        let mut add = |name: &str, operation: Value| operations.insert(format!("mqtt.{name}"), operation);
        if !messages.requests.is_empty() {
            add("request", exchange(&messages.requests, &messages.responses, "Read or write rows."));
        }
        add(PING.operation, exchange(&[PING.asked.to_owned()], &[PING.answered.to_owned()], PING.summary));
        if messages.subscribes.is_empty() {
            return;
        }
        add("subscribe", exchange(&messages.subscribes, &messages.subscribed, "Be told of changes."));
        for one in OVER_MQTT {
            add(one.operation, exchange(&[one.asked.to_owned()], &[one.answered.to_owned()], one.summary));
        }
        let summary = "A change of a row that a subscription is about.";
        add("notify", operation("send", NOTIFY, summary, &messages.notifications));
        channels.insert(NOTIFY.to_owned(), self.channel("notify/{subscription_id}", &messages.notifications, summary));
    }

    /// How a client says who it is, to the broker.
    pub(super) fn security_schemes() -> Map<String, Value> {
        let description = "What the broker asks of its clients. A client can use the topics below its own client id alone. A bearer \
            token goes into the user property `authorization` of each message (MQTT 5), or into its field `token`.";
        Map::from_iter([(CREDENTIALS.to_owned(), json!({"type": "userPassword", "description": description}))])
    }

    fn servers(&self) -> impl Iterator<Item = (String, Value)> {
        self.brokers.iter().enumerate().map(|(place, broker)| {
            let name = if place == 0 { "mqtt".to_owned() } else { format!("mqtt{}", place + 1) };
            let server = json!({
                "host": broker.host,
                "protocol": if broker.secure { "mqtts" } else { "mqtt" },
                "description": "A broker, for MQTT 5 and 3.1.1. All messages have QoS 1 and none is retained.",
                "security": [{"$ref": format!("#/components/securitySchemes/{CREDENTIALS}")}],
            });
            (name, server)
        })
    }

    fn channel(&self, topic: &str, messages: &[String], summary: &str) -> Value {
        let mut parameters = json!({"client_id": {"description": "The client id with which the client is connected."}});
        if topic.contains("{subscription_id}") {
            let description = "The subscription; the answer to subscribe has the whole topic as `notify_topic`.";
            parameters["subscription_id"] = json!({ "description": description });
        }
        let servers = self.servers().map(|(name, _)| json!({"$ref": format!("#/servers/{name}")}));
        json!({
            "address": format!("{}/{{client_id}}/{topic}", self.prefix),
            "summary": summary,
            "parameters": parameters,
            "servers": servers.collect::<Vec<_>>(),
            "messages": messages_in(messages),
        })
    }
}
