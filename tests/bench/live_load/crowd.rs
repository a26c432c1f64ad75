//! Many clients at once, and clients that come and go.

use super::client::Client;
use super::{Outcome, lines, say};
use futures_util::StreamExt;
use futures_util::stream;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Clients that enter at the same time.
const AT_ONCE: usize = 50;

/// What all clients have heard.
struct Heard {
    count: AtomicU64,
    /// How many are waited for.
    wanted: AtomicU64,
    reached: watch::Sender<u64>,
    latest: Mutex<String>,
}

/// Connects, and says `ready`. Then `hear N` is answered by `heard` when N more notifications have come, `show` by one.
pub(super) async fn hear(address: SocketAddr, count: usize, column: &str) -> Outcome<()> {
    let heard = Arc::new(Heard {
        count: AtomicU64::new(0),
        wanted: AtomicU64::new(u64::MAX),
        reached: watch::Sender::new(0),
        latest: Mutex::default(),
    });
    let mut entering = stream::iter((0..count).map(|number| enter(address, number, column))).buffer_unordered(AT_ONCE);
    let mut all = JoinSet::new();
    while let Some(client) = entering.next().await {
        all.spawn(listen(client?, all.is_empty(), Arc::clone(&heard)));
    }
    say("ready");
    tokio::select! {
        outcome = obey(&heard) => outcome,
        Some(ended) = all.join_next() => Err(format!("a client ended: {:?}", ended?.err()).into()),
    }
}

async fn enter(address: SocketAddr, number: usize, column: &str) -> Outcome<Client> {
    let mut client = Client::connect(address, number).await?;
    client.subscribe(column, number).await?;
    Ok(client)
}

async fn listen(mut client: Client, shows: bool, heard: Arc<Heard>) -> Outcome<()> {
    loop {
        let text = client.text().await?;
        if !text.starts_with(r#"{"type":"notification""#) {
            return Err(format!("not a notification: {text}").into());
        }
        if shows {
            text.as_str().clone_into(&mut heard.latest.lock().unwrap_or_else(PoisonError::into_inner));
        }
        let count = heard.count.fetch_add(1, Ordering::SeqCst) + 1;
        if count >= heard.wanted.load(Ordering::SeqCst) {
            heard.reached.send_replace(count);
        }
    }
}

async fn obey(heard: &Heard) -> Outcome<()> {
    let mut lines = lines();
    let mut wanted = 0;
    while let Some(line) = lines.recv().await {
        if line == "show" {
            say(&heard.latest.lock().unwrap_or_else(PoisonError::into_inner));
            continue;
        }
        let more: u64 = line.strip_prefix("hear ").ok_or("say `hear N` or `show`")?.parse()?;
        wanted += more;
        heard.wanted.store(wanted, Ordering::SeqCst);
        // Those that came before it was said are counted too.
        let mut reached = heard.reached.subscribe();
        while heard.count.load(Ordering::SeqCst) < wanted {
            reached.changed().await?;
        }
        if heard.count.load(Ordering::SeqCst) > wanted {
            return Err("more notifications came than there were changes".into());
        }
        say("heard");
    }
    Ok(())
}

/// Comes and goes so many times, and says `done`.
pub(super) async fn churn(address: SocketAddr, count: usize, column: &str) -> Outcome<()> {
    let visit = async |number| enter(address, number, column).await?.leave().await;
    let mut visits = stream::iter((0..count).map(visit)).buffer_unordered(AT_ONCE);
    while let Some(outcome) = visits.next().await {
        outcome?;
    }
    say("done");
    Ok(())
}
