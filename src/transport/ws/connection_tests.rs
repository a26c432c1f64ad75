//! What a connection does with what its `Live` tells it: order, writes, ends.

use super::socket::Socket;
use super::{Close, Live, Notification, Settings};
use crate::auth::{Authentication, Authenticator, Principal};
use crate::catalog::test_shop::catalog;
use crate::engine::{Engine, Served};
use crate::event::bus::{MemoryBus, MemorySettings};
use crate::event::hub::{self, Hub};
use crate::protocol::Error;
use crate::store::MemoryBucket;
use crate::telemetry::Metrics;
use crate::transport::conversation::{Connection, Conversations, Ended, Parts};
use crate::transport::message::Subscription;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::WebSocketStream;
use tungstenite::Message;
use tungstenite::protocol::Role;

/// Tells what it is sent; ends as a slow consumer when nobody can send any more.
pub(super) struct Told {
    pub(super) waiting: UnboundedReceiver<Notification>,
    /// Is told of every subscription before it is answered.
    pub(super) tell: UnboundedSender<Notification>,
    /// More waits than may.
    pub(super) overflown: bool,
}

impl Live for Told {
    fn poll_next(&mut self, context: &mut Context<'_>, batch: &mut Vec<Notification>) -> Poll<Result<(), Close>> {
        self.waiting.poll_recv_many(context, batch, 1000).map(|count| if count == 0 { Err(Close::SlowConsumer) } else { Ok(()) })
    }

    fn poll_overflow(&mut self, _: &mut Context<'_>) -> Poll<()> {
        if self.overflown { Poll::Ready(()) } else { Poll::Pending }
    }

    fn subscription(&mut self, _: Subscription) -> BoxFuture<'static, Result<Bytes, Error>> {
        let tell = self.tell.clone();
        Box::pin(async move {
            tell.send(notification(0)).unwrap();
            tokio::task::yield_now().await;
            Ok(Bytes::from_static(b"{\"subscription_id\":\"s\"}"))
        })
    }
}

pub(super) fn notification(number: usize) -> Notification {
    let tail = format!("\"operation\":\"update\",\"entity\":\"items\",\"data\":{{\"id\":{number}}}}}");
    Notification { subscription_id: Arc::from("s"), tail: Bytes::from(tail) }
}

/// Every part over a catalog without databases.
pub(super) async fn parts(times: Settings) -> (Conversations, Metrics) {
    let served = Served { catalog: catalog(&[]), databases: HashMap::new() };
    let metrics = Metrics::new().unwrap();
    let engine = Engine::new(served, Vec::new(), Arc::new(crate::observed::Observed(metrics.clone())));
    let bus = Arc::new(MemoryBus::new(MemorySettings::default()));
    let sessions = Arc::new(MemoryBucket::default());
    let settings = hub::Settings::default();
    let conversations = Conversations::from(Parts {
        hub: Hub::new(hub::Parts { engine: engine.clone(), bus, sessions, metrics: metrics.live(), settings }),
        engine,
        authenticator: Authenticator::new(Authentication::Anonymous).await.unwrap(),
        settings: times,
    });
    (conversations, metrics)
}

/// A stream that counts the writes to it.
struct Counted {
    stream: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

struct Pair {
    connection: Box<Connection<Socket<Counted>, Told>>,
    client: WebSocketStream<DuplexStream>,
    writes: Arc<AtomicUsize>,
}

async fn pair() -> (Pair, UnboundedSender<Notification>) {
    let (tell, waiting) = unbounded_channel();
    (pair_with(Told { waiting, tell: tell.clone(), overflown: false }, Settings::default()).await, tell)
}

async fn pair_with(live: Told, settings: Settings) -> Pair {
    let (conversations, metrics) = parts(settings).await;
    let seat = conversations.admit(Principal::anonymous(), None, &metrics.sessions()).unwrap();
    let (client, stream) = duplex(1 << 20);
    let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    let writes = Arc::new(AtomicUsize::new(0));
    let socket = Socket::new(Counted { stream, writes: Arc::clone(&writes) }, conversations.settings.max_message_bytes);
    let connection = Connection::new(socket, live, conversations.clone(), Arc::clone(seat.entry()));
    Pair { connection, client, writes }
}

async fn hear(client: &mut WebSocketStream<DuplexStream>) -> Value {
    match client.next().await.unwrap().unwrap() {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn all_notifications_that_wait_go_out_with_one_write_and_one_object_a_frame() {
    let (Pair { connection, mut client, writes }, tell) = pair().await;
    for number in 0..300 {
        tell.send(notification(number)).unwrap();
    }
    let client = async {
        for number in 0..300 {
            let text = hear(&mut client).await;
            let expected = json!({"type": "notification", "subscription_id": "s", "operation": "update", "entity": "items",
                "data": {"id": number}});
            assert_eq!(text, expected);
        }
        assert_eq!(writes.load(Ordering::Relaxed), 1);
        client.close(None).await.unwrap();
        while client.next().await.is_some() {}
    };
    let (ended, ()) = tokio::join!(connection.run(), client);
    assert_eq!(ended, Ended::Client);
}

#[tokio::test]
async fn the_answer_to_a_subscription_comes_before_its_first_notification() {
    let (Pair { connection, mut client, .. }, _tell) = pair().await;
    let client = async {
        for _ in 0..20 {
            client
                .send(Message::text(r#"{"id":"1","type":"subscription","operation":"subscribe","entity":"items"}"#))
                .await
                .unwrap();
            let answer = hear(&mut client).await;
            assert_eq!((&answer["id"], &answer["data"]["subscription_id"]), (&json!("1"), &json!("s")));
            assert_eq!(hear(&mut client).await["type"], "notification");
        }
        client.close(None).await.unwrap();
        while client.next().await.is_some() {}
    };
    tokio::join!(connection.run(), client);
}

#[tokio::test]
async fn a_client_that_is_too_slow_is_told_to_resume() {
    let (_, nothing) = unbounded_channel();
    let live = Told { waiting: nothing, tell: unbounded_channel().0, overflown: false };
    let Pair { connection, mut client, .. } = pair_with(live, Settings::default()).await;
    let client = async {
        let Message::Close(Some(frame)) = client.next().await.unwrap().unwrap() else { panic!("a close") };
        assert_eq!(u16::from(frame.code), 4004);
        assert!(client.next().await.is_none());
    };
    let (ended, ()) = tokio::join!(connection.run(), client);
    assert_eq!(ended, Ended::Here(Close::SlowConsumer));
}

#[tokio::test]
async fn a_client_that_takes_little_is_closed_where_more_waits_than_may() {
    let (tell, waiting) = unbounded_channel();
    // More than there is room for on the way.
    for number in 0..30_000 {
        tell.send(notification(number)).unwrap();
    }
    let settings = Settings { write_time: Duration::from_millis(300), ..Settings::default() };
    let Pair { connection, mut client, .. } = pair_with(Told { waiting, tell, overflown: true }, settings).await;
    let client = async move {
        let mut some = [0; 4096];
        // The slowness is what is tried here.
        while client.get_mut().read(&mut some).await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let both = async { tokio::join!(connection.run(), client) };
    let (ended, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("it is closed");
    assert_eq!(ended, Ended::Here(Close::SlowConsumer));
}

#[tokio::test]
async fn a_connection_at_rest_is_small() {
    let (Pair { connection, .. }, _tell) = pair().await;
    let size = size_of_val(&*connection) + size_of_val(&connection.run());
    assert!(size < 2048, "it and its future have {size} bytes");
}
