//! The least that a broadcast over WebSocket can be: tokio-tungstenite, and a channel that gives everyone the same text.

use super::{Outcome, lines, say};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// The answer that a client waits for when it has subscribed.
const ANSWER: &str = r#"{"id":"s","type":"response","success":true}"#;

/// Says where it listens, and `ready` after so many have come. Then `send N` broadcasts the text N times.
pub(super) async fn serve(count: usize, text: String) -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say(&listener.local_addr()?.to_string());
    let (sender, _) = broadcast::channel(1024);
    let mut served = JoinSet::new();
    for _ in 0..count {
        let (stream, _) = listener.accept().await?;
        served.spawn(one(stream, sender.subscribe()));
    }
    say("ready");
    let text = Utf8Bytes::from(text);
    let mut lines = lines();
    while let Some(line) = lines.recv().await {
        let times: usize = line.strip_prefix("send ").ok_or("say `send N`")?.parse()?;
        for _ in 0..times {
            sender.send(text.clone())?;
        }
    }
    Ok(())
}

async fn one(stream: TcpStream, mut told: broadcast::Receiver<Utf8Bytes>) -> Outcome<()> {
    stream.set_nodelay(true)?;
    // As small as the service's, so that memory is compared too.
    let config = WebSocketConfig::default().read_buffer_size(2048).write_buffer_size(0);
    let mut socket = accept_async_with_config(stream, Some(config)).await?;
    loop {
        tokio::select! {
            text = told.recv() => socket.send(Message::Text(text?)).await?,
            said = socket.next() => if let Message::Text(_) = said.ok_or("the client left")?? {
                socket.send(Message::text(ANSWER)).await?;
            },
        }
    }
}
