//! A crowd of clients that are told of every change, and that count together.

use super::station::{Station, publish};
use super::{Outcome, lines, say};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use rumqttc_v5::AsyncClient;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Clients that enter at the same time.
const AT_ONCE: usize = 50;

struct Heard {
    count: AtomicU64,
    wanted: AtomicU64,
    reached: watch::Sender<u64>,
    latest: Mutex<Bytes>,
}

/// Subscribes through the service and says `ready`. Then `hear N` is answered by `heard` when N more notifications have come,
/// `show` by one.
pub(super) async fn told(port: u16, count: usize) -> Outcome<()> {
    let entering = stream::iter((0..count).map(|number| async move {
        let id = format!("told-{number}");
        let topics = [format!("spec/{id}/response"), format!("spec/{id}/notify/+")];
        let mut station = Station::enter(port, id.clone(), &topics).await?;
        let wish = r#"{"id":"s","type":"subscription","operation":"subscribe","entity":"ticks"}"#;
        publish(&station.client(), &format!("spec/{id}/request"), wish.into()).await?;
        let answer = station.message().await?;
        if !answer.starts_with(br#"{"id":"s","type":"response","success":true"#) {
            return Err(format!("no subscription: {}", String::from_utf8_lossy(&answer)).into());
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(station)
    }));
    let mut entering = entering.buffer_unordered(AT_ONCE);
    let heard = Arc::new(Heard::new());
    let mut all = JoinSet::new();
    while let Some(station) = entering.next().await {
        all.spawn(listen(station?, all.is_empty(), Arc::clone(&heard)));
    }
    say("ready");
    tokio::select! {
        outcome = obey(&heard, async |_| Ok(())) => outcome,
        Some(ended) = all.join_next() => Err(format!("a client ended: {ended:?}").into()),
    }
}

/// Listens to one topic with everybody and says `ready`. Then obeys as above, and has the broker send what is to be heard.
pub(super) async fn bare(port: u16, count: usize, payload: Bytes) -> Outcome<()> {
    let topics = ["bare/notify".to_owned()];
    let mut entering =
        stream::iter((0..count).map(|number| Station::enter(port, format!("bare-{number}"), &topics))).buffer_unordered(AT_ONCE);
    let heard = Arc::new(Heard::new());
    let mut all = JoinSet::new();
    while let Some(station) = entering.next().await {
        all.spawn(listen(station?, all.is_empty(), Arc::clone(&heard)));
    }
    let mut speaker = Station::enter(port, "bare-speaker".to_owned(), &[]).await?;
    let client: AsyncClient = speaker.client();
    all.spawn(async move {
        loop {
            speaker.next().await?;
        }
    });
    say("ready");
    let hearers = count as u64;
    let send = async |more: u64| {
        for _ in 0..more / hearers {
            publish(&client, "bare/notify", payload.clone()).await?;
        }
        Ok(())
    };
    tokio::select! {
        outcome = obey(&heard, send) => outcome,
        Some(ended) = all.join_next() => Err(format!("a client ended: {ended:?}").into()),
    }
}

impl Heard {
    fn new() -> Self {
        let (count, wanted) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Self { count, wanted, reached: watch::Sender::new(0), latest: Mutex::default() }
    }
}

async fn listen(mut station: Station, shows: bool, heard: Arc<Heard>) -> Outcome<()> {
    loop {
        let payload = station.message().await?;
        if shows {
            *heard.latest.lock().unwrap_or_else(PoisonError::into_inner) = payload;
        }
        let count = heard.count.fetch_add(1, Ordering::SeqCst) + 1;
        if count >= heard.wanted.load(Ordering::SeqCst) {
            heard.reached.send_replace(count);
        }
    }
}

async fn obey(heard: &Heard, begin: impl AsyncFn(u64) -> Outcome<()>) -> Outcome<()> {
    let mut lines = lines();
    let mut wanted = 0;
    while let Some(line) = lines.recv().await {
        if line == "show" {
            say(&String::from_utf8_lossy(&heard.latest.lock().unwrap_or_else(PoisonError::into_inner)));
            continue;
        }
        let more: u64 = line.strip_prefix("hear ").ok_or("say `hear N` or `show`")?.parse()?;
        wanted += more;
        heard.wanted.store(wanted, Ordering::SeqCst);
        begin(more).await?;
        // Those that came before it was said are counted too.
        let mut reached = heard.reached.subscribe();
        while heard.count.load(Ordering::SeqCst) < wanted {
            reached.changed().await?;
        }
        if heard.count.load(Ordering::SeqCst) > wanted {
            return Err("more came than was sent".into());
        }
        say("heard");
    }
    Ok(())
}
