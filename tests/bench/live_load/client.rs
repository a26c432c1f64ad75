//! One client: a connection, and perhaps a subscription.

use super::Outcome;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async};

/// Loopback addresses that connections come from, since one has too few ports for all of them.
const SOURCES: usize = 8;

pub(super) struct Client(WebSocketStream<TcpStream>);

impl Client {
    /// Connects; the number says from which address.
    pub(super) async fn connect(address: SocketAddr, number: usize) -> Outcome<Self> {
        let socket = TcpSocket::new_v4()?;
        let last = u8::try_from(2 + number % SOURCES)?;
        socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into())?;
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        let (stream, _) = client_async(format!("ws://{address}/ws"), stream).await?;
        Ok(Self(stream))
    }

    /// Subscribes to the changes of rows that have a value in a column; to all for `-`.
    pub(super) async fn subscribe(&mut self, column: &str, value: usize) -> Outcome<()> {
        let filters = if column == "-" { json!([]) } else { json!([{"column": column, "operator": "eq", "value": value}]) };
        let asked = json!({"id": "s", "type": "subscription", "operation": "subscribe", "entity": "ticks", "options": {"filters": filters}});
        self.0.send(Message::text(asked.to_string())).await?;
        let answer: Value = serde_json::from_str(&self.text().await?)?;
        if answer["success"] == true { Ok(()) } else { Err(answer.to_string().into()) }
    }

    /// The next text. Pings are answered on the way.
    pub(super) async fn text(&mut self) -> Outcome<Utf8Bytes> {
        loop {
            match self.0.next().await.ok_or("the connection ended")?? {
                Message::Text(text) => return Ok(text),
                Message::Close(frame) => return Err(format!("closed: {frame:?}").into()),
                Message::Ping(_) => self.0.flush().await?,
                Message::Pong(_) | Message::Binary(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Leaves as the protocol has it.
    pub(super) async fn leave(mut self) -> Outcome<()> {
        self.0.close(None).await?;
        while let Some(message) = self.0.next().await {
            message?;
        }
        Ok(())
    }
}
