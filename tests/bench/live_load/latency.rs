//! From a commit in PostgreSQL to the notification at a client: the clock runs from before `COMMIT` is sent.

use super::client::Client;
use super::{Outcome, say};
use serde_json::Value;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_postgres::NoTls;
use tokio_util::task::TaskTracker;

/// Changes before the first that counts.
const WARM_UP: usize = 20;

/// How long a notification may take before it is called lost.
const DEADLINE: Duration = Duration::from_secs(10);

pub(super) async fn measure(address: SocketAddr, url: &str, rate: u32, seconds: u32) -> Outcome<()> {
    let (database, connection) = tokio_postgres::connect(url, NoTls).await?;
    let tasks = TaskTracker::new();
    let driven = tasks.spawn(connection);
    let mut client = Client::connect(address, 0).await?;
    client.subscribe("-", 0).await?;
    let (sender, mut heard) = mpsc::unbounded_channel();
    let listening = tasks.spawn(listen(client, sender));
    let mut took = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
    for number in 0..WARM_UP + (rate * seconds) as usize {
        tick.tick().await;
        database.batch_execute("begin").await?;
        let id: i64 = database.query_one("insert into ticks (worth, note) values (1, 'latency') returning id", &[]).await?.get(0);
        let since = Instant::now();
        database.batch_execute("commit").await?;
        let (told, at) = tokio::time::timeout(DEADLINE, heard.recv()).await?.ok_or("the client has ended")?;
        if told != id {
            return Err(format!("{id} was committed and {told} was told").into());
        }
        if number >= WARM_UP {
            took.push(at - since);
        }
    }
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)].as_secs_f64() * 1000.0;
    say(&format!("{:.2} {:.2} {:.2} {:.2}", at(50), at(90), at(99), at(100)));
    listening.abort();
    drop(database);
    driven.await??;
    Ok(())
}

/// Hands on the key and the time of every notification.
async fn listen(mut client: Client, heard: mpsc::UnboundedSender<(i64, Instant)>) -> Outcome<Infallible> {
    loop {
        let text = client.text().await?;
        let at = Instant::now();
        let told: Value = serde_json::from_str(&text)?;
        heard.send((told["data"]["id"].as_i64().ok_or("a notification has no id")?, at))?;
    }
}
