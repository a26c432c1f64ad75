//! A WebSocket client: JSON out, JSON in, and how the connection ends.

use futures_util::{SinkExt, StreamExt};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// One connection.
pub(crate) struct Session {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// A request to connect, for headers and queries of one's own.
pub(crate) fn handshake(address: SocketAddr, query: &str, headers: &[(&'static str, &str)]) -> Request {
    let mut request = format!("ws://{address}/ws{query}").into_client_request().expect("the address makes a URL");
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().expect("a value that a header can have"));
    }
    request
}

/// A token for someone, that ends after so many seconds.
pub(crate) fn token(secret: &str, subject: &str, seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let claims = json!({"sub": subject, "exp": now + seconds});
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret.as_bytes())).expect("a token")
}

impl Session {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::enter(handshake(address, "", &[])).await.expect("the replica lets everyone in")
    }

    /// Connects, or has the HTTP status that it was refused with.
    pub(crate) async fn enter(request: Request) -> Result<Self, u16> {
        match timeout(DEADLINE, connect_async(request)).await.expect("an answer in time") {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("no answer to the handshake: {error}"),
        }
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        self.send(Message::text(message.to_string())).await;
    }

    pub(crate) async fn send(&mut self, message: Message) {
        self.socket.send(message).await.expect("the replica takes messages");
    }

    /// Puts a message into the buffer, to be sent with the next one.
    pub(crate) async fn feed(&mut self, message: &Value) {
        self.socket.feed(Message::text(message.to_string())).await.expect("the replica takes messages");
    }

    /// The next message; panics if the connection ends before it.
    pub(crate) async fn hear(&mut self) -> Value {
        match self.next().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")),
            other => panic!("a text was expected, and {other:?} came"),
        }
    }

    /// Says something and hears the next message.
    pub(crate) async fn ask(&mut self, message: &Value) -> Value {
        self.say(message).await;
        self.hear().await
    }

    /// The next frame that is no ping.
    pub(crate) async fn next(&mut self) -> Message {
        loop {
            let next = timeout(DEADLINE, self.socket.next()).await.expect("a frame in time");
            match next.expect("the connection stays").expect("frames as they should be") {
                Message::Ping(_) => {}
                message => return message,
            }
        }
    }

    /// The code and the reason with which the replica closes; what is said before does not matter.
    pub(crate) async fn closed(mut self) -> (u16, String) {
        let code = loop {
            if let Message::Close(frame) = self.next().await {
                let frame = frame.expect("a code");
                break (frame.code.into(), frame.reason.to_string());
            }
        };
        let rest = timeout(DEADLINE, self.socket.next()).await.expect("the end in time");
        assert!(rest.is_none(), "nothing comes after the close: {rest:?}");
        code
    }

    /// Ends as the protocol has it.
    pub(crate) async fn close(mut self) {
        self.socket.close(None).await.expect("a close can be sent");
        while timeout(DEADLINE, self.socket.next()).await.expect("the end in time").is_some() {}
    }

    /// The stream below the frames.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        match self.socket.get_mut() {
            MaybeTlsStream::Plain(stream) => stream,
            _ => panic!("tests have no TLS"),
        }
    }
}
