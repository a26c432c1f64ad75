//! What a delivery costs, beside a bare broadcast of the same bytes by tokio-tungstenite. A measurement, run by hand:
//! `cargo test --release --lib fan_out -- --ignored --nocapture`.
//!
//! The serving side has a thread and a runtime of its own, so that its time on the processor can be read alone.

use super::connection::Connection;
use super::connection_tests::{Told, notification, parts};
use super::live::Notification;
use crate::auth::Principal;
use futures_util::{SinkExt, StreamExt};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_util::task::TaskTracker;
use tungstenite::Message;
use tungstenite::protocol::Role;

const CLIENTS: usize = 200;
const ROUNDS: usize = 100;

/// Serves one connection whose handshake is done, with the notifications that come from the receiver.
type Serve = fn(TcpStream, mpsc::UnboundedReceiver<Notification>, &TaskTracker);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Nanoseconds that this thread was on the processor.
fn on_processor() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// Processor time for a delivery, in nanoseconds, at bursts of this size.
fn measure(serve: Serve, burst: usize) -> u64 {
    let (address, addressed) = oneshot::channel::<SocketAddr>();
    let (done, mut told) = mpsc::unbounded_channel::<()>();
    let clients = thread::spawn(move || runtime().block_on(hear(addressed, done, burst)));
    let (spent, _told) = runtime().block_on(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        address.send(listener.local_addr().unwrap()).unwrap();
        let tasks = TaskTracker::new();
        let mut senders = Vec::new();
        for _ in 0..CLIENTS {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (sender, receiver) = mpsc::unbounded_channel();
            serve(stream, receiver, &tasks);
            senders.push(sender);
        }
        told.recv().await.unwrap();
        let before = on_processor();
        let told_now = notification(0);
        for _ in 0..ROUNDS {
            for sender in &senders {
                for _ in 0..burst {
                    sender.send(told_now.clone()).unwrap();
                }
            }
            told.recv().await.unwrap();
        }
        let spent = on_processor() - before;
        (spent, told)
    });
    clients.join().unwrap();
    spent / (CLIENTS * ROUNDS * burst) as u64
}

/// The clients. They tell when all of a round have come.
async fn hear(address: oneshot::Receiver<SocketAddr>, done: mpsc::UnboundedSender<()>, burst: usize) {
    let address = address.await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let stream = TcpStream::connect(address).await.unwrap();
        let client = WebSocketStream::from_raw_socket(stream, Role::Client, None);
        clients.push(client.await);
    }
    done.send(()).unwrap();
    for _ in 0..ROUNDS {
        for client in &mut clients {
            for _ in 0..burst {
                client.next().await.unwrap().unwrap();
            }
        }
        done.send(()).unwrap();
    }
}

fn bare(stream: TcpStream, mut told: mpsc::UnboundedReceiver<Notification>, tasks: &TaskTracker) {
    tasks.spawn(async move {
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let text = message();
        loop {
            tokio::select! {
                told = told.recv() => match told {
                    Some(_) => socket.send(text.clone()).await.unwrap(),
                    None => return,
                },
                _ = socket.next() => return,
            }
        }
    });
}

/// The very bytes that a connection makes of a notification.
fn message() -> Message {
    let notification = notification(0);
    let head = "{\"type\":\"notification\",\"subscription_id\":\"s\",";
    Message::text(format!("{head}{}", String::from_utf8_lossy(&notification.tail)))
}

fn ours(stream: TcpStream, waiting: mpsc::UnboundedReceiver<Notification>, tasks: &TaskTracker) {
    tasks.spawn(async move {
        let ws = parts().await;
        let seat = ws.0.connections.admit(Principal::anonymous(), None).unwrap();
        let live = Told { waiting, tell: mpsc::unbounded_channel().0 };
        Connection::new(stream, live, ws.clone(), Arc::clone(seat.entry())).run().await;
    });
}

#[test]
#[ignore = "a measurement; it takes the processor for some seconds"]
#[expect(clippy::print_stderr, reason = "its figures are what it is for")]
fn a_delivery_costs_no_more_than_a_bare_broadcast_and_a_burst_much_less() {
    for (burst, percent) in [(1, 125), (100, 34)] {
        let (bare, ours) = (measure(bare, burst), measure(ours, burst));
        eprintln!("bursts of {burst}: bare {bare} ns, ours {ours} ns a delivery");
        assert!(ours * 100 <= bare * percent, "{ours} ns is more than {percent} % of {bare} ns");
    }
}
