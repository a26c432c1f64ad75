//! From a message to its answer: who asks, decode, call the engine, encode, and hand it to the broker.

use super::broker::{Broker, Error as PublishError};
use super::lanes::{Done, Lanes, Request};
use super::notify::{Fate, Speaker, Then};
use super::topic;
use super::wire::{Message, Outgoing};
use crate::auth::Principal;
use crate::protocol::{self, Code, Error, KeyInput, Operation, Selector};
use crate::transport::message::{self, Said};
use bytes::Bytes;
use futures_util::FutureExt;
use serde_json::{Map, Value};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tracing::Instrument as _;
use xxhash_rust::xxh3::Xxh3;

/// Answers a request. When this returns the answer is handed to the broker, so that the next one's comes after it; the
/// request is acknowledged later, by a task of its own, when the broker has the answer.
pub(super) async fn answer(lanes: &Lanes, request: Request) {
    let Request { client, message, done } = request;
    let span = tracing::info_span!("mqtt", broker = lanes.broker().name(), %client);
    async {
        let asked = Asked { lanes, client: &client, message: &message };
        // The engine catches what panics in it. What does here must not keep those that wait behind it from being answered.
        let answered = AssertUnwindSafe(asked.answer()).catch_unwind().await;
        let Answered { text, then } = answered.unwrap_or_else(|_| asked.panicked());
        deliver(lanes, addressed(lanes, &client, &message, text), then, done).await;
    }
    .instrument(span)
    .await;
}

/// Answers a request that there is no room for. One that the broker keeps until it is acknowledged waits for its answer to be
/// sent, so that there are no more of these than the broker has on its way; any other is answered if that can be at once.
pub(super) fn turn_away(lanes: &Lanes, request: Request, why: &str) {
    let Request { client, message, done } = request;
    let error = Error::new(Code::Unavailable, why);
    lanes.metrics().refused(error.code.as_str());
    let answers = addressed(lanes, &client, &message, failure(&id_of(&message), &error));
    if done.told_again_by().is_none() {
        for out in answers {
            // Whoever asks by QoS 0 lives with losses.
            _ = lanes.broker().try_send(out);
        }
        return;
    }
    let own = lanes.clone();
    lanes.tasks().spawn(async move { deliver(&own, answers, None, done).await });
}

/// The id of a message, whatever else can be read of it.
fn id_of(message: &Message) -> String {
    match message::decode(&message.payload) {
        Ok(read) => read.id,
        Err(unreadable) => unreadable.id,
    }
}

/// The answer to a message, and what is to be done when the broker has it.
struct Answered {
    text: Vec<u8>,
    then: Option<Then>,
}

impl From<Vec<u8>> for Answered {
    fn from(text: Vec<u8>) -> Self {
        Self { text, then: None }
    }
}

/// A message and who is said to have sent it.
struct Asked<'a> {
    lanes: &'a Lanes,
    client: &'a Arc<str>,
    message: &'a Message,
}

impl Asked<'_> {
    async fn answer(&self) -> Answered {
        let (lanes, bytes) = (self.lanes, &self.message.payload);
        if let Some(bytes) = self.message.left_out {
            let most = lanes.mqtt().settings.max_message_bytes;
            let error = Error::new(Code::PayloadTooLarge, format!("the message has {bytes} bytes, and {most} are taken"));
            return self.refused("", &error).into();
        }
        let read = match message::decode(bytes) {
            Ok(read) => read,
            Err(unreadable) => return self.refused(&unreadable.id, &as_named_here(unreadable.error)).into(),
        };
        if let Err(error) = topic::check_client(self.client).and_then(|()| self.check_response_topic()) {
            return self.refused(&read.id, &error).into();
        }
        let principal = match self.comes_as(read.token.as_deref()).await {
            Ok(principal) => principal,
            // A ping asks whether somebody is there, and so is answered to anybody; it keeps nothing alive then.
            Err(_) if matches!(read.said, Said::Ping) => return pong(&read.id),
            Err(error) => return self.refused(&read.id, &error).into(),
        };
        lanes.mqtt().subscriptions.heard(lanes.broker(), self.client, &principal);
        match read.said {
            Said::Ping => pong(&read.id),
            Said::Request(request) => self.requested(&principal, read.id, *request).await.into(),
            Said::Subscription(asked) => {
                let speaker =
                    Speaker { broker: lanes.broker().clone(), client: Arc::clone(self.client), principal: Arc::new(principal) };
                match lanes.mqtt().subscriptions.subscription(speaker, asked, bytes.clone()).await {
                    Ok(answer) => {
                        let mut text = Vec::new();
                        message::data(&mut text, &read.id, &answer.data);
                        Answered { text, then: answer.then }
                    }
                    Err(error) => failure(&read.id, &error).into(),
                }
            }
        }
    }

    /// Who it is, if hooks let it come.
    async fn comes_as(&self, token: Option<&str>) -> Result<Principal, Error> {
        let (mqtt, broker) = (self.lanes.mqtt(), self.lanes.broker().name());
        let (identity, authorization) = (&mqtt.0.identity, self.property(&["authorization", "Authorization"]));
        let principal = identity.of(broker, self.client, authorization, token).await?;
        if mqtt.engine.has_hooks() && !identity.was_let_in(broker, self.client, &principal) {
            mqtt.0.met.may_come(&mqtt.engine, &identity.key(broker, self.client), &principal).await?;
        }
        Ok(principal)
    }

    async fn requested(&self, principal: &Principal, id: String, mut request: protocol::Request) -> Vec<u8> {
        let lanes = self.lanes;
        if request.idempotency_key.is_none() && !matches!(request.operation, Operation::Read | Operation::Meta) {
            let given = self.property(&["idempotency_key", "idempotency-key"]).map(ToOwned::to_owned);
            request.idempotency_key = Some(given.unwrap_or_else(|| {
                key_of(&lanes.mqtt().0.identity.key(lanes.broker().name(), self.client), &self.message.payload)
            }));
        }
        id_from_data(&mut request);
        let timer = lanes.metrics().start(request.operation.as_str());
        let outcome = lanes.mqtt().engine.handle(principal, &request).await;
        let mut out = Vec::new();
        let success = message::answer(&mut out, &id, outcome, lanes.broker().max_payload_bytes()).await;
        timer.finish(success);
        out
    }

    /// A client must not have us publish what it may not publish itself.
    fn check_response_topic(&self) -> Result<(), Error> {
        let Some(topic) = &self.message.response_topic else { return Ok(()) };
        let prefix = &self.lanes.mqtt().settings.prefix;
        if topic::is_own(prefix, self.client, topic) {
            return Ok(());
        }
        let message = format!("the response topic has to be one of the client's own, below {prefix}/{}/", self.client);
        Err(Error::new(Code::Forbidden, message).with_detail("response_topic"))
    }

    fn property(&self, names: &[&str]) -> Option<&str> {
        let found = self.message.properties.iter().find(|(name, _)| names.contains(&name.as_str()));
        found.map(|(_, value)| value.as_str())
    }

    fn panicked(&self) -> Answered {
        tracing::error!("a request panicked; its client is told of an internal error");
        self.refused(&id_of(self.message), &Error::internal()).into()
    }

    fn refused(&self, id: &str, error: &Error) -> Vec<u8> {
        self.lanes.metrics().refused(error.code.as_str());
        failure(id, error)
    }
}

fn pong(id: &str) -> Answered {
    let mut out = Vec::new();
    message::pong_of_success(&mut out, id);
    out.into()
}

/// The error under the code that it has over MQTT (§2.2), where that is another one than over WebSocket.
fn as_named_here(error: Error) -> Error {
    let code = if error.code == Code::MissingSubscriptionId { Code::InvalidSubscription } else { error.code };
    Error { code, ..error }
}

fn failure(id: &str, error: &Error) -> Vec<u8> {
    let mut out = Vec::new();
    message::failure(&mut out, id, error);
    out
}

/// What tells a request from others: the same bytes from the same client, of the same broker where there are several, are the
/// same request, told again. The id is among them, so a client that begins to count anew is understood as long as it does not
/// say the very same again.
fn key_of(client: &str, payload: &[u8]) -> String {
    let mut hash = Xxh3::new();
    hash.update(&(client.len() as u64).to_be_bytes());
    hash.update(client.as_bytes());
    hash.update(payload);
    format!("mqtt:{:032x}", hash.digest128())
}

/// A record can be named in the data, where the key is missing in its place: `{"id": …}`, in an update beside the values.
fn id_from_data(request: &mut protocol::Request) {
    if request.selector != Selector::None || matches!(request.operation, Operation::Create | Operation::Meta) {
        return;
    }
    let Some(Value::Object(data)) = &mut request.data else { return };
    let alone = data.len() == 1;
    let updates = request.operation == Operation::Update;
    if alone == updates || !names_record(data) {
        return;
    }
    if let Some(id) = data.shift_remove("id").and_then(KeyInput::from_json) {
        request.selector = Selector::One(id);
    }
    if !updates {
        request.data = None;
    }
}

fn names_record(data: &Map<String, Value>) -> bool {
    matches!(data.get("id"), Some(Value::String(_) | Value::Number(_)))
}

/// The answer, to the client's topic and to the one that the request names.
fn addressed(lanes: &Lanes, client: &str, message: &Message, answer: Vec<u8>) -> Vec<Outgoing> {
    let prefix = &lanes.mqtt().settings.prefix;
    let (topic, payload) = (topic::response(prefix, client), Bytes::from(answer));
    let correlation = message.correlation.clone();
    match &message.response_topic {
        Some(other) if *other == topic => vec![Outgoing { topic, payload, correlation }],
        Some(other) if topic::is_own(prefix, client, other) => vec![
            Outgoing { topic, payload: payload.clone(), correlation: None },
            Outgoing { topic: other.clone(), payload, correlation },
        ],
        _ => vec![Outgoing { topic, payload, correlation: None }],
    }
}

/// Hands answers to the broker, and has the request acknowledged when the broker has them and what was to follow is done.
async fn deliver(lanes: &Lanes, answers: Vec<Outgoing>, then: Option<Then>, done: Done) {
    let broker = lanes.broker().clone();
    let mut out = Vec::with_capacity(answers.len());
    for answer in answers {
        let number = broker.number().unwrap_or_default();
        let sent = broker.send_message(answer.clone()).await;
        out.push((answer, number, sent));
    }
    lanes.tasks().spawn(async move {
        let mut fate = Fate::Refused;
        for (answer, number, sent) in out {
            let told = match sent {
                Ok(published) => published.acknowledged().await,
                Err(error) => Err(error),
            };
            let told = match told {
                Err(PublishError::Lost) => send_again(&broker, answer, number, &done).await,
                told => told,
            };
            match told {
                Ok(()) => fate = Fate::Taken,
                // The broker tells the request again, or nobody waits for the answer any more.
                Err(PublishError::Lost) => {
                    drop(done);
                    if let Some(then) = then {
                        then(Fate::Lost).await;
                    }
                    return;
                }
                Err(error) => tracing::warn!(broker = broker.name(), %error, "an answer can't be sent"),
            }
        }
        if let Some(then) = then {
            then(fate).await;
        }
        done.acknowledge();
    });
}

/// Sends an answer on the next connection, unless the broker tells the request again there.
async fn send_again(broker: &Broker, answer: Outgoing, mut number: u64, done: &Done) -> Result<(), PublishError> {
    loop {
        let session = broker.after(number).await.ok_or(PublishError::Lost)?;
        if session.resumed && done.told_again_by().is_some() {
            return Err(PublishError::Lost);
        }
        number = broker.number().unwrap_or(number);
        match broker.send_message(answer.clone()).await {
            Ok(published) => match published.acknowledged().await {
                Err(PublishError::Lost) => {}
                told => return told,
            },
            Err(PublishError::Lost) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Target;
    use serde_json::json;

    #[test]
    fn the_same_bytes_of_the_same_client_have_the_same_key() {
        let key = key_of("a", b"{\"id\":\"1\"}");
        assert_eq!(key, key_of("a", b"{\"id\":\"1\"}"));
        assert_ne!(key, key_of("b", b"{\"id\":\"1\"}"));
        assert_ne!(key, key_of("a", b"{\"id\":\"2\"}"));
        assert_ne!(key_of("ab", b"c"), key_of("a", b"bc"));
    }

    fn asked(operation: Operation, data: Value) -> (Selector, Option<Value>) {
        let target = Target { schema: None, entity: "notes".to_owned() };
        let mut request = protocol::Request { data: Some(data), ..protocol::Request::new(operation, target) };
        id_from_data(&mut request);
        (request.selector, request.data)
    }

    #[test]
    fn a_record_can_be_named_in_the_data() {
        let seven = Selector::One(KeyInput::Text("7".to_owned()));
        assert_eq!(asked(Operation::Read, json!({"id": 7})), (seven.clone(), None));
        assert_eq!(asked(Operation::Delete, json!({"id": "7"})), (seven.clone(), None));
        assert_eq!(asked(Operation::Update, json!({"id": 7, "text": "x"})), (seven, Some(json!({"text": "x"}))));
        for (operation, data) in [
            (Operation::Create, json!({"id": 7})),
            (Operation::Update, json!({"id": 7})),
            (Operation::Read, json!({"id": 7, "more": 1})),
            (Operation::Delete, json!({"id": null})),
            (Operation::Delete, json!([{"id": 7}])),
        ] {
            assert_eq!(asked(operation, data.clone()), (Selector::None, Some(data)));
        }
    }
}
