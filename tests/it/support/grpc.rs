//! A client of gRPC: JSON out, JSON in, and the details of errors.

use bytes::Bytes;
use resolvespec::transport::grpc::proto::Message;
use resolvespec::transport::grpc::proto::message::Form;
use resolvespec::transport::grpc::proto::resolve_spec_client::ResolveSpecClient;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_types::StatusExt;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) type Client = ResolveSpecClient<Channel>;

/// A connection.
pub(crate) async fn channel(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("the address makes a URL");
    endpoint.connect_timeout(DEADLINE).connect().await.expect("a connection")
}

/// A client with a connection of its own.
pub(crate) async fn connect(address: SocketAddr) -> Client {
    ResolveSpecClient::new(channel(address).await).max_decoding_message_size(64 << 20)
}

pub(crate) fn message(json: &Value) -> Message {
    Message { form: Some(Form::Json(Bytes::from(json.to_string()))) }
}

/// The JSON of a message that has it as text.
pub(crate) fn value(message: Message) -> Value {
    match message.form {
        Some(Form::Json(text)) => serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{error}: {text:?}")),
        other => panic!("JSON was expected, and {other:?} came"),
    }
}

/// A request with metadata.
pub(crate) fn with<T>(message: T, metadata: &[(&'static str, &str)]) -> Request<T> {
    let mut request = Request::new(message);
    for (name, text) in metadata {
        request.metadata_mut().insert(*name, text.parse().expect("a value that metadata can have"));
    }
    request
}

/// Our error in a status, as other transports tell it.
pub(crate) fn reason(status: &Status) -> Value {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("a status without a reason: {status:?}"));
    assert_eq!(info.domain, "resolvespec.dev");
    json!({"code": info.reason, "message": status.message(), "detail": info.metadata.get("detail")})
}

/// What a status says about coming back.
pub(crate) fn reconnect(status: &Status) -> String {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("a status without a reason: {status:?}"));
    info.metadata.get("reconnect").cloned().unwrap_or_default()
}

/// A conversation over a stream.
pub(crate) struct Talk {
    say: Option<mpsc::Sender<Message>>,
    hear: Streaming<Message>,
}

impl Talk {
    pub(crate) async fn begin(client: &mut Client) -> Self {
        Self::enter(client, &[]).await.expect("the replica lets everyone in")
    }

    pub(crate) async fn enter(client: &mut Client, metadata: &[(&'static str, &str)]) -> Result<Self, Status> {
        let (say, said) = mpsc::channel(64);
        let messages = futures_util::stream::unfold(said, |mut said| async move { Some((said.recv().await?, said)) });
        let answer = timeout(DEADLINE, client.session(with(messages, metadata))).await.expect("an answer in time")?;
        Ok(Self { say: Some(say), hear: answer.into_inner() })
    }

    pub(crate) async fn say(&self, json: &Value) {
        self.send(message(json)).await;
    }

    pub(crate) async fn send(&self, message: Message) {
        let say = self.say.as_ref().expect("it has not been silenced");
        say.send(message).await.expect("the stream takes messages");
    }

    /// Says nothing any more, and still listens.
    pub(crate) fn hush(&mut self) {
        self.say = None;
    }

    /// The next message; panics if the stream ends before it.
    pub(crate) async fn hear(&mut self) -> Value {
        heard(&mut self.hear).await
    }

    pub(crate) async fn ask(&mut self, json: &Value) -> Value {
        self.say(json).await;
        self.hear().await
    }

    /// The next message as it came.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>, Status> {
        next(&mut self.hear).await
    }

    /// How the stream ends; what is said before does not matter.
    pub(crate) async fn ended(mut self) -> Result<(), Status> {
        while self.next().await?.is_some() {}
        Ok(())
    }
}

/// The next message of a stream in time.
pub(crate) async fn next(stream: &mut Streaming<Message>) -> Result<Option<Message>, Status> {
    timeout(DEADLINE, stream.message()).await.expect("a message in time")
}

/// The next message of a stream, which may not end before it.
pub(crate) async fn heard(stream: &mut Streaming<Message>) -> Value {
    value(next(stream).await.unwrap_or_else(|status| panic!("{status:?}")).expect("the stream goes on"))
}
