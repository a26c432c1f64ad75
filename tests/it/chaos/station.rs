//! Subscribers over MQTT: what they were told is kept as the others keep it, though notifications can come twice, and those of
//! different records come in any order among each other.
//!
//! A broker that is killed forgets what it has acknowledged since it wrote last, and says nothing of that. So a client that was
//! cut off begins its subscription anew, from a position that it heard a moment before, and takes nothing more of the earlier one:
//! what that says after the gap may come before what was lost in it is told again.

use super::ledger::{Ledger, Row};
use super::subscriber::{Figures, Knowledge, Wanted, may_succeed_later, until_ended};
use super::world::SOURCES;
use crate::support::mqtt::{Beside, Entry, Spoken, Station};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long an answer may take before the question is asked again.
const ANSWER: Duration = Duration::from_secs(3);

/// How long those who were asked again may take once one has answered.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// The pause before a connection is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// What a broker has acknowledged for so long is written down.
const LATE: Duration = Duration::from_secs(1);

/// A subscriber.
pub(super) struct Listener {
    knowledge: Arc<Knowledge>,
    ledger: Arc<Ledger>,
    broker: String,
    id: String,
    /// Half of them speak each version.
    spoken: Spoken,
    /// Whether the broker has a session for it, with its topics.
    stays: bool,
    figures: Figures,
    questions: u64,
    /// Positions that were told, and when; the first is the one to begin at after a cut.
    positions: VecDeque<(Instant, Value)>,
    /// That one, from a cut until the subscription stands again.
    from: Option<Value>,
    /// The subscription that stands; none from a cut on.
    subscription: Option<Value>,
    /// The version of each row in the snapshot.
    begun: BTreeMap<i64, i64>,
    /// The offset of what was told last of each row.
    offsets: HashMap<i64, u64>,
    gone: HashSet<i64>,
}

/// Why a connection is given up.
struct Cut;

impl Listener {
    pub(super) fn new(source: usize, number: usize, wanted: Wanted, broker: String, ledger: Arc<Ledger>) -> Self {
        let id = format!("listener-{}-{number}", SOURCES[source]);
        Self {
            knowledge: Arc::new(Knowledge::new(source, number, wanted)),
            ledger,
            broker,
            id,
            spoken: if number.is_multiple_of(2) { Spoken::V5 } else { Spoken::V4 },
            stays: false,
            figures: Figures::default(),
            questions: 0,
            positions: VecDeque::new(),
            from: None,
            subscription: None,
            begun: BTreeMap::new(),
            offsets: HashMap::new(),
            gone: HashSet::new(),
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
            if let Ok(mut station) = self.connect().await {
                self.knowledge.does(format!("listens to {:?} from {:?} on", self.subscription, self.positions.front()));
                self.figures.connections += 1;
                while self.hear(&mut station).await.is_ok() {}
                self.subscription = None;
                self.from = self.positions.front().map(|(_, position)| position.clone());
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// A connection with the subscription on it.
    async fn connect(&mut self) -> Result<Station, Cut> {
        let entry = Entry { url: &self.broker, id: &self.id, prefix: "spec", spoken: self.spoken, stays: true };
        let mut station = Station::enter(entry).await.map_err(|_| Cut)?;
        if self.stays {
            // Whatever was killed meanwhile. Who speaks 3.1.1 hears nothing any more unless its topics were kept as well.
            assert!(station.is_kept, "the broker has forgotten the session of {}", self.knowledge.name());
        }
        if self.spoken == Spoken::V5 || !self.stays {
            for topic in ["response", "notify/+"] {
                station.subscribe(&format!("spec/{}/{topic}", self.id)).await.map_err(|_| Cut)?;
            }
        }
        let all = json!({"type": "subscription", "operation": "unsubscribe_all"});
        self.ask(&mut station, all).await?;
        self.subscribe(&mut station).await?;
        // By the answers, of which the broker has kept what goes with them.
        self.stays = true;
        Ok(station)
    }

    async fn subscribe(&mut self, station: &mut Station) -> Result<(), Cut> {
        let mut options = json!({"filters": self.knowledge.filters()});
        match &self.from {
            Some(position) => options["resume"] = position.clone(),
            None => options["snapshot"] = json!(true),
        }
        let asked = json!({"type": "subscription", "operation": "subscribe", "schema": SOURCES[self.knowledge.source],
            "entity": "marks", "options": options});
        let answer = self.ask(station, asked).await?;
        if answer["success"] != true {
            if answer["error"]["code"] == "resync_required" {
                self.forget();
            }
            return Err(Cut);
        }
        self.subscription = Some(answer["data"]["subscription_id"].clone());
        self.positions.clear();
        if let Some(from) = self.from.take() {
            self.positions.push_back((Instant::now(), from));
        } else {
            self.positions.push_back((Instant::now(), answer["data"]["position"].clone()));
            self.begin(&answer["data"]["snapshot"]);
        }
        Ok(())
    }

    /// Something is lost: everything has to be read again.
    fn forget(&mut self) {
        self.figures.resyncs += 1;
        self.positions.clear();
        self.from = None;
    }

    /// Takes a snapshot for what is true.
    fn begin(&mut self, snapshot: &Value) {
        self.figures.snapshots += 1;
        let rows: BTreeMap<i64, Row> = snapshot.as_array().expect("a list of rows").iter().map(Row::read).collect();
        self.begun = rows.iter().map(|(id, row)| (*id, row.version)).collect();
        self.offsets.clear();
        self.gone.clear();
        self.knowledge.begin(rows, self.ledger.length());
    }

    /// Asks until it is answered; what is told meanwhile is taken.
    async fn ask(&mut self, station: &mut Station, mut message: Value) -> Result<Value, Cut> {
        self.questions += 1;
        let id = format!("{}-{}", self.id, self.questions);
        message["id"] = json!(id);
        let text = message.to_string().into_bytes();
        let mut said = Value::Null;
        let (mut asked, mut answered, mut answer) = (0, 0, None);
        loop {
            self.knowledge.does(format!("asks {message}, and was told {said} before"));
            let topic = format!("spec/{}/request", self.id);
            station.publish(&topic, text.clone(), Beside::default()).await.map_err(|_| Cut)?;
            asked += 1;
            let mut until = Instant::now() + ANSWER;
            while Instant::now() < until && answered < asked {
                match station.hears(AGAIN).await {
                    Some(heard) if heard.body["id"] == id.as_str() => {
                        answered += 1;
                        let code = &heard.body["error"]["code"];
                        if code.is_null() || code == "resync_required" {
                            // Whatever is still worked on must not come after what is said next.
                            until = Instant::now() + LAST_ANSWERS;
                            answer = Some(heard.body);
                        } else {
                            assert!(may_succeed_later(code), "{}: {}", self.knowledge.name(), heard.body);
                            said = heard.body;
                        }
                    }
                    Some(heard) => self.take(&heard.body)?,
                    None if station.is_cut() => return Err(Cut),
                    None => {}
                }
            }
            match answer {
                Some(answer) if answered >= asked => return Ok(answer),
                // Whoever was asked was killed, or is later than anyone may be.
                Some(_) => return Err(Cut),
                None => {}
            }
            if station.is_cut() {
                return Err(Cut);
            }
        }
    }

    async fn hear(&mut self, station: &mut Station) -> Result<(), Cut> {
        match station.hears(AGAIN).await {
            Some(heard) => self.take(&heard.body),
            None if station.is_cut() => Err(Cut),
            None => Ok(()),
        }
    }

    fn take(&mut self, message: &Value) -> Result<(), Cut> {
        if message["type"] != "notification" {
            return Ok(());
        }
        self.check(message);
        if self.subscription.as_ref() != Some(&message["subscription_id"]) {
            return Ok(());
        }
        if message["operation"] == "resync_required" {
            self.forget();
            return Err(Cut);
        }
        assert_ne!(message["operation"], "ended", "{}: {message}", self.knowledge.name());
        self.figures.told += 1;
        let position = &message["position"];
        assert_eq!(position["epoch"], self.positions[0].1["epoch"], "{}: another epoch", self.knowledge.name());
        self.positions.push_back((Instant::now(), position.clone()));
        while self.positions.get(1).is_some_and(|(at, _)| at.elapsed() > LATE) {
            self.positions.pop_front();
        }
        self.fold(message, position["offset"].as_u64().expect("an offset"));
        Ok(())
    }

    /// Whatever it is told of, it has happened.
    fn check(&self, message: &Value) {
        let (id, row) = match message["operation"].as_str() {
            Some("create" | "update") => {
                let (id, row) = Row::read(&message["data"]);
                (id, Some(row))
            }
            Some("delete") if message["reason"] != "leave" => (message["key"]["id"].as_i64().expect("a key"), None),
            _ => return,
        };
        assert_eq!(self.ledger.objection(self.knowledge.source, id, row), None, "{}: {message}", self.knowledge.name());
    }

    /// What comes after something later of the same record has to be something that was told before.
    fn fold(&mut self, message: &Value, offset: u64) {
        let name = || self.knowledge.name();
        let id = message["key"]["id"].as_i64().expect("a key");
        let is_new = self.offsets.get(&id).is_none_or(|last| offset > *last);
        if is_new {
            self.offsets.insert(id, offset);
        }
        if message["operation"] == "delete" {
            let is_gone = message["reason"] != "leave";
            if is_gone {
                assert!(is_new || self.gone.contains(&id), "{}: the end of {id} comes late: {message}", name());
                self.gone.insert(id);
            }
            if is_new {
                self.knowledge.removed(id, is_gone);
            }
            return;
        }
        let (id, row) = Row::read(&message["data"]);
        let in_snapshot = self.begun.get(&id).is_some_and(|version| row.version <= *version);
        let known = in_snapshot || self.knowledge.was_told(id, row.version);
        assert!(is_new || known, "{}: {message} comes after what happened later", name());
        if is_new && !in_snapshot {
            assert!(!self.gone.contains(&id), "{}: {message} after its end", name());
            self.knowledge.written(id, row);
        }
    }
}
