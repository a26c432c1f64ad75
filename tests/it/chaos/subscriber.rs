//! Subscribers: each has a filter, keeps what it was told as a table, comes back when it is cut off, and objects to everything
//! that it should not have been told.

use super::ledger::{Ledger, Row};
use super::world::SOURCES;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How long a subscriber waits for an answer before it tries another connection.
const ANSWER: Duration = Duration::from_secs(20);

/// The pause before a connection is tried again.
const AGAIN: Duration = Duration::from_millis(50);

/// A filter, as it is sent and as it is held against a row here.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    All,
    Kind(i64),
    NotKind(i64),
    Stock(i64, i64),
    KindOrStock(i64, i64),
    KindAndStock(i64, i64),
}

impl Wanted {
    pub(super) fn any(random: &mut fastrand::Rng) -> Self {
        let (kind, stock) = (random.i64(0..5), random.i64(0..80));
        match random.u8(0..5) {
            0 => Self::Kind(kind),
            1 => Self::NotKind(kind),
            2 => Self::Stock(stock, stock + 30),
            3 => Self::KindOrStock(kind, stock),
            _ => Self::KindAndStock(kind, stock),
        }
    }

    fn filters(self) -> Value {
        let filter = |column: &str, operator: &str, value: Value| json!({"column": column, "operator": operator, "value": value});
        match self {
            Self::All => json!([]),
            Self::Kind(kind) => json!([filter("kind", "eq", json!(kind))]),
            Self::NotKind(kind) => json!([filter("kind", "neq", json!(kind))]),
            Self::Stock(low, high) => json!([filter("stock", "between_inclusive", json!([low, high]))]),
            Self::KindAndStock(kind, stock) => {
                json!([filter("kind", "eq", json!(kind)), filter("stock", "gte", json!(stock))])
            }
            Self::KindOrStock(kind, stock) => {
                let mut or = filter("stock", "lt", json!(stock));
                or["logic_operator"] = json!("OR");
                json!([filter("kind", "eq", json!(kind)), or])
            }
        }
    }

    fn holds(self, row: &Row) -> bool {
        match self {
            Self::All => true,
            Self::Kind(kind) => row.kind == kind,
            Self::NotKind(kind) => row.kind != kind,
            Self::Stock(low, high) => (low..=high).contains(&row.stock),
            Self::KindAndStock(kind, stock) => row.kind == kind && row.stock >= stock,
            Self::KindOrStock(kind, stock) => row.kind == kind || row.stock < stock,
        }
    }
}

/// What happened to subscribers.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) told: usize,
    pub(super) connections: usize,
    pub(super) snapshots: usize,
    pub(super) resyncs: usize,
    /// Sessions that went on from where their client was known to have heard, and not from where they had begun.
    pub(super) advanced: usize,
}

impl Figures {
    pub(super) fn add(&mut self, other: &Self) {
        self.told += other.told;
        self.connections += other.connections;
        self.snapshots += other.snapshots;
        self.resyncs += other.resyncs;
        self.advanced += other.advanced;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { told, connections, snapshots, resyncs, advanced } = self;
        write!(
            out,
            "{told} notifications on {connections} connections, {advanced} sessions that had advanced, {snapshots} snapshots, \
             {resyncs} told to read again"
        )
    }
}

#[derive(Default)]
struct Known {
    rows: BTreeMap<i64, Row>,
    told: HashSet<(i64, i64)>,
    deleted: HashSet<i64>,
    /// What was acknowledged before the latest snapshot came need not be told. None before the first.
    begun_at: Option<usize>,
    /// What it did last and when, and when it was told something, for whoever looks into a failure.
    does: Option<(Instant, String)>,
    told_at: Option<Instant>,
}

/// What a subscriber knows, for others to look at.
pub(super) struct Knowledge {
    pub(super) source: usize,
    number: usize,
    wanted: Wanted,
    known: Mutex<Known>,
}

impl Knowledge {
    pub(super) fn new(source: usize, number: usize, wanted: Wanted) -> Self {
        Self { source, number, wanted, known: Mutex::default() }
    }

    pub(super) fn filters(&self) -> Value {
        self.wanted.filters()
    }

    pub(super) fn does(&self, what: impl Into<String>) {
        self.known().does = Some((Instant::now(), what.into()));
    }

    pub(super) fn state(&self) -> String {
        let known = self.known();
        let (does, told) = (known.does.as_ref(), known.told_at.map(|at| at.elapsed().as_secs()));
        let does = does.map_or_else(String::new, |(at, what)| format!("for {} s it {what}", at.elapsed().as_secs()));
        format!("{does}; was told of a row {told:?} s ago")
    }

    /// Takes a snapshot for what is true, which came when so much was acknowledged.
    pub(super) fn begin(&self, rows: BTreeMap<i64, Row>, acknowledged: usize) {
        let mut known = self.known();
        known.rows = rows;
        known.begun_at = Some(acknowledged);
    }

    /// A row is there.
    pub(super) fn written(&self, id: i64, row: Row) {
        assert!(self.wanted.holds(&row), "{} did not want {row:?}", self.name());
        let mut known = self.known();
        known.told.insert((id, row.version));
        known.told_at = Some(Instant::now());
        known.rows.insert(id, row);
    }

    /// A row is out of sight, or gone.
    pub(super) fn removed(&self, id: i64, is_gone: bool) {
        let mut known = self.known();
        known.rows.remove(&id);
        if is_gone {
            known.deleted.insert(id);
        }
    }

    /// Whether a version of a row was told.
    pub(super) fn was_told(&self, id: i64, version: i64) -> bool {
        self.known().told.contains(&(id, version))
    }

    pub(super) fn name(&self) -> String {
        format!("subscriber {} of {} ({:?})", self.number, SOURCES[self.source], self.wanted)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().expect("no panic with the knowledge in hand")
    }

    /// Whether it has had a snapshot.
    pub(super) fn has_begun(&self) -> bool {
        self.known().begun_at.is_some()
    }

    /// Where it differs from what is true, if it does.
    pub(super) fn difference(&self, truth: &BTreeMap<i64, Row>) -> Option<String> {
        let known = self.known();
        let wanted: BTreeMap<i64, Row> =
            truth.iter().filter(|(_, row)| self.wanted.holds(row)).map(|(id, row)| (*id, *row)).collect();
        let ids = wanted.keys().chain(known.rows.keys());
        let id = ids.copied().find(|id| wanted.get(id) != known.rows.get(id))?;
        Some(format!("{} knows row {id} as {:?}, and it is {:?}", self.name(), known.rows.get(&id), wanted.get(&id)))
    }

    /// Objects if something that was acknowledged was not told.
    pub(super) fn check_told(&self, ledger: &Ledger) {
        let known = self.known();
        let begun_at = known.begun_at.expect("it has begun");
        let all = ledger.all();
        let mut latest: HashMap<i64, Row> = HashMap::new();
        for (number, done) in all.iter().enumerate().filter(|(_, done)| done.source == self.source) {
            let before = match done.row {
                Some(row) => latest.insert(done.id, row),
                None => latest.remove(&done.id),
            };
            let was_told = match done.row {
                Some(row) => !self.wanted.holds(&row) || known.told.contains(&(done.id, row.version)),
                // One that it did not see is not told to be gone.
                None => !before.is_some_and(|row| self.wanted.holds(&row)) || known.deleted.contains(&done.id),
            };
            assert!(was_told || number < begun_at, "{} was not told of {done:?}", self.name());
        }
    }
}

pub(super) struct Subscriber {
    knowledge: Arc<Knowledge>,
    ledger: Arc<Ledger>,
    entrance: SocketAddr,
    /// Whether it comes back with its session, or else with its position.
    by_session: bool,
    figures: Figures,
    session: Option<String>,
    subscription: Option<String>,
    position: Option<Value>,
    /// Where its session goes on from.
    kept: Option<u64>,
    /// The latest version of each row on this connection, and the rows that were deleted on it. What is replayed on the next
    /// begins earlier.
    versions: HashMap<i64, i64>,
    ended: HashSet<i64>,
}

/// Why a connection is given up. The network's reasons do not matter.
struct Cut;

/// Listens until it is said that this is the end.
pub(super) async fn until_ended(mut ended: watch::Receiver<bool>, listening: impl Future<Output = ()>) {
    tokio::select! {
        // The sender's end is as good as its word.
        _ = ended.wait_for(|ended| *ended) => {}
        () = listening => {}
    }
}

impl Subscriber {
    pub(super) fn new(
        source: usize,
        number: usize,
        random: &mut fastrand::Rng,
        entrance: SocketAddr,
        ledger: Arc<Ledger>,
    ) -> Self {
        // Two of each database want everything, one for each way to come back.
        let wanted = if number < 2 { Wanted::All } else { Wanted::any(random) };
        Self {
            knowledge: Arc::new(Knowledge::new(source, number, wanted)),
            ledger,
            entrance,
            by_session: number % 2 == 1,
            figures: Figures::default(),
            session: None,
            subscription: None,
            position: None,
            kept: None,
            versions: HashMap::new(),
            ended: HashSet::new(),
        }
    }

    pub(super) fn knowledge(&self) -> Arc<Knowledge> {
        Arc::clone(&self.knowledge)
    }

    pub(super) async fn run(mut self, ended: watch::Receiver<bool>) -> Figures {
        until_ended(ended, self.listen()).await;
        self.figures
    }

    async fn listen(&mut self) {
        loop {
            self.knowledge.does("connects");
            if let Ok(mut socket) = self.connect().await {
                self.knowledge.does(format!("listens from {:?} on", self.position));
                self.figures.connections += 1;
                while let Ok(message) = hear(&mut socket).await {
                    if self.take(&mut socket, &message).await.is_err() {
                        break;
                    }
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// A connection with the subscription on it.
    async fn connect(&mut self) -> Result<Socket, Cut> {
        let query = match &self.session {
            Some(session) if self.by_session => format!("?session={session}"),
            _ => String::new(),
        };
        let connecting = timeout(ANSWER, connect_async(format!("ws://{}/ws{query}", self.entrance))).await;
        let (mut socket, _) = connecting.map_err(|_| Cut)?.map_err(|_| Cut)?;
        self.versions.clear();
        self.ended.clear();
        if query.is_empty() {
            self.subscribe(&mut socket, self.position.clone()).await?;
            return Ok(socket);
        }
        let said = timeout(ANSWER, hear(&mut socket)).await.map_err(|_| Cut)??;
        assert_eq!(said["type"], "session", "{}: {said}", self.knowledge.name());
        // While NATS or a database is away a session can't be given back, and is asked for again.
        let failed = said["failed"].as_array().into_iter().flatten().map(|one| &one["error"]["code"]);
        if [&said["error"]["code"]].into_iter().chain(failed).any(may_succeed_later) {
            return Err(Cut);
        }
        let restored = said["restored"].as_array().unwrap_or_else(|| panic!("{}: {said}", self.knowledge.name()));
        let back = restored.iter().find(|one| one["subscription_id"].as_str() == self.subscription.as_deref());
        let back = back.unwrap_or_else(|| panic!("{} did not get its subscription back: {said}", self.knowledge.name()));
        let kept = back["position"]["offset"].as_u64();
        self.figures.advanced += usize::from(kept > self.kept);
        self.kept = kept;
        Ok(socket)
    }

    async fn subscribe(&mut self, socket: &mut Socket, resume: Option<Value>) -> Result<(), Cut> {
        let mut options = json!({"filters": self.knowledge.wanted.filters()});
        match &resume {
            Some(position) => options["resume"] = position.clone(),
            None => options["snapshot"] = json!(true),
        }
        let asked = json!({"id": "s", "type": "subscription", "operation": "subscribe",
            "schema": SOURCES[self.knowledge.source], "entity": "marks", "options": options});
        socket.send(Message::text(asked.to_string())).await.map_err(|_| Cut)?;
        let answer = loop {
            let message = timeout(ANSWER, hear(socket)).await.map_err(|_| Cut)??;
            // What an earlier subscription of the connection is told still comes before its end.
            if message["id"] == "s" {
                break message;
            }
        };
        if answer["success"] != true {
            let code = answer["error"]["code"].as_str().expect("a code").to_owned();
            match code.as_str() {
                "resync_required" => {
                    self.figures.resyncs += 1;
                    self.position = None;
                }
                _ if may_succeed_later(&answer["error"]["code"]) => {}
                _ => panic!("{}: {answer}", self.knowledge.name()),
            }
            return Err(Cut);
        }
        let data = &answer["data"];
        self.subscription = data["subscription_id"].as_str().map(ToOwned::to_owned);
        self.session = data["session"].as_str().map(ToOwned::to_owned);
        self.position = Some(data["position"].clone());
        self.kept = data["position"]["offset"].as_u64();
        if resume.is_none() {
            self.begin(&data["snapshot"]);
        }
        Ok(())
    }

    /// Takes a snapshot for what is true.
    fn begin(&mut self, snapshot: &Value) {
        self.figures.snapshots += 1;
        let rows: BTreeMap<i64, Row> = snapshot.as_array().expect("a list of rows").iter().map(Row::read).collect();
        self.versions = rows.iter().map(|(id, row)| (*id, row.version)).collect();
        self.ended.clear();
        self.knowledge.begin(rows, self.ledger.length());
    }

    async fn take(&mut self, socket: &mut Socket, message: &Value) -> Result<(), Cut> {
        if message["type"] != "notification" || message["subscription_id"].as_str() != self.subscription.as_deref() {
            return Ok(());
        }
        if message["operation"] == "resync_required" {
            self.figures.resyncs += 1;
            let asked = json!({"id": "u", "type": "subscription", "operation": "unsubscribe",
                "subscription_id": self.subscription});
            socket.send(Message::text(asked.to_string())).await.map_err(|_| Cut)?;
            return self.subscribe(socket, None).await;
        }
        self.figures.told += 1;
        self.advance(message);
        self.fold(message);
        Ok(())
    }

    /// Positions only rise.
    fn advance(&mut self, message: &Value) {
        let position = &message["position"];
        let offset = |position: &Value| position["offset"].as_u64().expect("an offset");
        if let Some(last) = &self.position
            && !self.by_session
        {
            assert_eq!(position["epoch"], last["epoch"], "{}: another epoch without a word", self.knowledge.name());
            assert!(offset(position) > offset(last), "{}: {message} after {last}", self.knowledge.name());
        }
        self.position = Some(position.clone());
    }

    fn fold(&mut self, message: &Value) {
        let name = || self.knowledge.name();
        let operation = message["operation"].as_str().expect("a word");
        if operation == "delete" {
            let id = message["key"]["id"].as_i64().expect("a key");
            let is_gone = message["reason"] != "leave";
            if is_gone {
                let objection = self.ledger.objection(self.knowledge.source, id, None);
                assert_eq!(objection, None, "{}: {message}", name());
                self.ended.insert(id);
            }
            self.knowledge.removed(id, is_gone);
            return;
        }
        let (id, row) = Row::read(&message["data"]);
        assert_eq!(self.ledger.objection(self.knowledge.source, id, Some(row)), None, "{}: {message}", name());
        assert!(!self.ended.contains(&id), "{}: {message} after its end", name());
        let last = self.versions.insert(id, row.version);
        assert!(last <= Some(row.version), "{}: {message} after version {last:?}", name());
        self.knowledge.written(id, row);
    }
}

/// Whether a request that failed with this code can be sent again.
pub(super) fn may_succeed_later(code: &Value) -> bool {
    code == "unavailable" || code == "deadline_exceeded"
}

/// The next message of the service.
async fn hear(socket: &mut Socket) -> Result<Value, Cut> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).expect("JSON")),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Cut),
            Some(Ok(_)) => {}
        }
    }
}
