//! Subscribers over WebSocket through the Service: each is told of every note, comes back when it is told to or cut off, with
//! its session, and keeps what it was told.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::task::TaskTracker;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// How long until everyone knows everything.
const DEADLINE: Duration = Duration::from_mins(1);

/// The pause before a connection is tried again.
const AGAIN: Duration = Duration::from_millis(50);

/// What a subscriber was told, for others to look at.
#[derive(Default)]
struct Heard(Mutex<BTreeSet<i64>>);

impl Heard {
    fn ids(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        self.0.lock().expect("no panic with the ids in hand")
    }
}

/// What happened to their connections.
#[derive(Default)]
struct Events {
    begun: AtomicUsize,
    connected: AtomicUsize,
    /// Told to come again.
    sent_away: AtomicUsize,
    /// The connection broke without a word, or none came about.
    cut: AtomicUsize,
    /// Told what should never be told.
    odd: Mutex<Vec<String>>,
}

pub(super) struct Listeners {
    heard: Vec<Arc<Heard>>,
    events: Arc<Events>,
    tasks: Vec<JoinHandle<()>>,
}

impl Listeners {
    /// So many, each with its subscription.
    pub(super) async fn start(entrance: SocketAddr, count: usize) -> Self {
        let (events, tracker) = (Arc::new(Events::default()), TaskTracker::new());
        let heard: Vec<Arc<Heard>> = (0..count).map(|_| Arc::default()).collect();
        let listen = |heard: &Arc<Heard>| {
            let listener = Listener { entrance, heard: Arc::clone(heard), events: Arc::clone(&events), subscription: None };
            tracker.spawn(listener.listen())
        };
        let tasks = heard.iter().map(listen).collect();
        let since = Instant::now();
        while events.begun.load(Ordering::Relaxed) < count {
            assert!(since.elapsed() < DEADLINE, "only {} have begun", events.begun.load(Ordering::Relaxed));
            tokio::time::sleep(AGAIN).await;
        }
        Self { heard, events, tasks }
    }

    /// Waits until each was told of all of these.
    pub(super) async fn know(&self, ids: &BTreeSet<i64>) {
        let since = Instant::now();
        for (number, heard) in self.heard.iter().enumerate() {
            loop {
                let missing: Vec<i64> = ids.difference(&heard.ids()).copied().collect();
                if missing.is_empty() {
                    break;
                }
                let (first, count) = (missing[0], missing.len());
                assert!(since.elapsed() < DEADLINE, "listener {number} was not told of {count} notes, such as {first}");
                tokio::time::sleep(AGAIN).await;
            }
        }
        let odd = self.events.odd.lock().expect("no panic").clone();
        assert!(odd.is_empty(), "{odd:#?}");
    }

    /// How many connections broke without a word until now.
    pub(super) fn cut(&self) -> usize {
        self.events.cut.load(Ordering::Relaxed)
    }

    /// How many were told to come again until now.
    pub(super) fn sent_away(&self) -> usize {
        self.events.sent_away.load(Ordering::Relaxed)
    }

    pub(super) fn connections(&self) -> usize {
        self.events.connected.load(Ordering::Relaxed)
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A subscription and the session that it belongs to.
struct Subscription {
    id: String,
    session: String,
}

struct Listener {
    entrance: SocketAddr,
    heard: Arc<Heard>,
    events: Arc<Events>,
    subscription: Option<Subscription>,
}

/// How a connection ends.
enum End {
    /// By a word of the replica.
    SentAway,
    Cut,
}

impl Listener {
    async fn listen(mut self) {
        loop {
            let counted = match self.follow().await {
                End::SentAway => &self.events.sent_away,
                End::Cut => &self.events.cut,
            };
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn odd(&self, what: impl Into<String>) {
        self.events.odd.lock().expect("no panic").push(what.into());
    }

    /// One connection, to its end.
    async fn follow(&mut self) -> End {
        let query = self.subscription.as_ref().map(|has| format!("?session={}", has.session)).unwrap_or_default();
        let connecting = timeout(ANSWER, connect_async(format!("ws://{}/ws{query}", self.entrance))).await;
        let Ok(Ok((mut socket, _))) = connecting else { return End::Cut };
        self.events.connected.fetch_add(1, Ordering::Relaxed);
        if self.subscription.is_none() {
            let asked = json!({"id": "s", "type": "subscription", "operation": "subscribe", "entity": "notes"});
            if socket.send(Message::text(asked.to_string())).await.is_err() {
                return End::Cut;
            }
        }
        loop {
            match hear(&mut socket).await {
                Ok(message) => {
                    if let Some(end) = self.take(&message) {
                        return end;
                    }
                }
                Err(Some(code)) if [1012, 4004].contains(&code) => return End::SentAway,
                Err(Some(code)) => {
                    self.odd(format!("closed with {code}"));
                    return End::Cut;
                }
                Err(None) => return End::Cut,
            }
        }
    }

    fn take(&mut self, message: &Value) -> Option<End> {
        match (message["type"].as_str().unwrap_or_default(), message["operation"].as_str()) {
            ("response", _) => self.begin(message),
            ("session", _) => return self.go_on(message),
            ("notification", Some("create")) if message["data"]["id"].is_i64() => {
                self.heard.ids().extend(message["data"]["id"].as_i64());
            }
            _ => self.odd(message.to_string()),
        }
        None
    }

    /// The answer to `subscribe`.
    fn begin(&mut self, message: &Value) {
        let text = |name: &str| message["data"][name].as_str().map(ToOwned::to_owned);
        let (Some(id), Some(session)) = (text("subscription_id"), text("session")) else {
            self.odd(message.to_string());
            return;
        };
        self.subscription = Some(Subscription { id, session });
        self.events.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// What came back with the session.
    fn go_on(&self, message: &Value) -> Option<End> {
        // While NATS or the database is away a session can't be given back, and is asked for again.
        let failed = message["failed"].as_array().into_iter().flatten().map(|one| &one["error"]["code"]);
        if [&message["error"]["code"]].into_iter().chain(failed).any(|code| code == "unavailable" || code == "deadline_exceeded")
        {
            return Some(End::Cut);
        }
        let id = self.subscription.as_ref().map(|has| has.id.as_str());
        let restored = message["restored"].as_array().into_iter().flatten();
        if !restored.into_iter().any(|one| one["subscription_id"].as_str() == id) {
            self.odd(format!("the subscription did not come back: {message}"));
        }
        None
    }
}

/// The next message, or the end with its code if it has one.
async fn hear(socket: &mut Socket) -> Result<Value, Option<u16>> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).expect("JSON")),
            Some(Ok(Message::Close(frame))) => return Err(frame.map(|frame| frame.code.into())),
            Some(Err(_)) | None => return Err(None),
            Some(Ok(_)) => {}
        }
    }
}
