//! A client in Rust, over gRPC: it subscribes, writes, is told of its own write, is cut off, and goes on where it was.
//!
//! ```sh
//! cargo run --example grpc_client -- http://127.0.0.1:8080 notes '{"id": 1, "text": "one"}' '{"id": 2, "text": "two"}'
//! ```
//!
//! The first row is written while it listens, the second while it is away; neither may be there before. What comes is
//! printed, a line each. The entity's changes have to be captured.

use futures_util::stream;
use resolvespec::transport::grpc::proto::Message;
use resolvespec::transport::grpc::proto::message::Form;
use resolvespec::transport::grpc::proto::resolve_spec_client::ResolveSpecClient;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
type Client = ResolveSpecClient<Channel>;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "it is what the program is for")]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, entity, here, away] = &arguments[..] else {
        return Err("usage: grpc_client ADDRESS ENTITY ROW ROW".into());
    };
    for told in run(address, entity, serde_json::from_str(here)?, serde_json::from_str(away)?).await? {
        println!("{told}");
    }
    Ok(())
}

/// Does all of it, and answers the notifications that came.
pub(crate) async fn run(address: &str, entity: &str, here: Value, away: Value) -> Outcome<Vec<Value>> {
    let mut client = connect(address).await?;
    let mut stream = Session::begin(&mut client, None).await?;
    let begun = stream.ask(json!({"id": "1", "type": "subscription", "operation": "subscribe", "entity": entity})).await?;
    let (subscription, session) = (begun["data"]["subscription_id"].clone(), begun["data"]["session"].clone());

    create(&mut client, entity, here).await?;
    let own = stream.hear().await?;
    // What is acknowledged is not told again.
    let heard = json!({"id": "2", "type": "subscription", "operation": "acknowledge", "subscription_id": subscription,
        "position": own["position"]});
    stream.ask(heard).await?;

    // The connection breaks, and something happens meanwhile.
    drop((stream, client));
    let mut client = connect(address).await?;
    create(&mut client, entity, away).await?;

    // Whoever comes back with its session's id has its subscriptions again, and is told what it has missed.
    let mut stream = Session::begin(&mut client, session.as_str()).await?;
    let restored = stream.hear().await?;
    if restored["restored"][0]["subscription_id"] != subscription {
        return Err(format!("the session is not there any more: {restored}").into());
    }
    let missed = stream.hear().await?;
    Ok(vec![own, missed])
}

async fn connect(address: &str) -> Outcome<Client> {
    Ok(ResolveSpecClient::new(Endpoint::from_shared(address.to_owned())?.connect().await?))
}

/// Writes a row. The key makes it safe to do so again if the answer is lost.
async fn create(client: &mut Client, entity: &str, row: Value) -> Outcome<()> {
    let key = format!("create-{row}");
    let mut request = Request::new(message(&json!({"operation": "create", "entity": entity, "data": row})));
    request.metadata_mut().insert("idempotency-key", key.parse()?);
    client.call(request).await?;
    Ok(())
}

/// Both directions of a stream.
struct Session {
    say: mpsc::Sender<Message>,
    hear: Streaming<Message>,
}

impl Session {
    async fn begin(client: &mut Client, session: Option<&str>) -> Outcome<Self> {
        let (say, said) = mpsc::channel(16);
        let mut request = Request::new(stream::unfold(said, |mut said| async move { Some((said.recv().await?, said)) }));
        if let Some(session) = session {
            request.metadata_mut().insert("resolvespec-session", session.parse()?);
        }
        Ok(Self { say, hear: client.session(request).await?.into_inner() })
    }

    /// Says something, and answers what is heard next.
    async fn ask(&mut self, said: Value) -> Outcome<Value> {
        self.say.send(message(&said)).await?;
        self.hear().await
    }

    async fn hear(&mut self) -> Outcome<Value> {
        let message = self.hear.message().await?.ok_or("the stream has ended")?;
        let Some(Form::Json(text)) = message.form else { return Err("JSON is what was asked for".into()) };
        let told: Value = serde_json::from_slice(&text)?;
        if told["success"] == false { Err(told["error"].to_string().into()) } else { Ok(told) }
    }
}

fn message(said: &Value) -> Message {
    Message { form: Some(Form::Json(said.to_string().into())) }
}
