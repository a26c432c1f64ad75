//! Clients that ask for rows by their keys, each answered on a topic of its own.

use super::Outcome;
use super::station::{Station, publish};
use bytes::Bytes;
use rumqttc_v5::AsyncClient;
use serde_json::Value;
use std::collections::HashMap;
use std::future::pending;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::task::TaskTracker;

/// How long the last answers may take.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct Load {
    pub(super) port: u16,
    pub(super) prefix: String,
    pub(super) clients: u32,
    pub(super) at_once: u32,
    /// Requests a second of all; 0 for as many as are answered.
    pub(super) rate: u32,
    pub(super) seconds: u32,
    pub(super) users: u64,
}

pub(super) async fn ask(load: Load) -> Outcome<String> {
    let mut stations = Vec::new();
    for number in 0..load.clients {
        let topics = [format!("{}/c{number}/response", load.prefix)];
        stations.push(Station::enter(load.port, format!("c{number}"), &topics).await?);
    }
    let end = Instant::now() + Duration::from_secs(load.seconds.into());
    let tasks = TaskTracker::new();
    let mut asking = Vec::new();
    for (number, station) in (0..load.clients).zip(stations) {
        let (told, heard) = unbounded_channel();
        let asker = Asker::new(number, load.clone(), station.client(), heard);
        tasks.spawn(listen(station, told));
        asking.push(tasks.spawn(asker.run(end)));
    }
    let mut took = Vec::new();
    for one in asking {
        took.append(&mut one.await??);
    }
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)].as_secs_f64() * 1000.0;
    Ok(format!("{} {:.3} {:.3}", took.len(), at(50), at(99)))
}

struct Asker {
    load: Load,
    client: AsyncClient,
    heard: UnboundedReceiver<Bytes>,
    topic: String,
    chance: fastrand::Rng,
    next: u64,
    asked: HashMap<String, Instant>,
    took: Vec<Duration>,
}

impl Asker {
    fn new(number: u32, load: Load, client: AsyncClient, heard: UnboundedReceiver<Bytes>) -> Self {
        let topic = format!("{}/c{number}/request", load.prefix);
        let chance = fastrand::Rng::with_seed(number.into());
        Self { load, client, heard, topic, chance, next: 0, asked: HashMap::new(), took: Vec::new() }
    }

    async fn run(mut self, end: Instant) -> Outcome<Vec<Duration>> {
        let mut clock =
            (self.load.rate > 0).then(|| tokio::time::interval(Duration::from_secs(1) * self.load.clients / self.load.rate));
        if clock.is_none() {
            for _ in 0..self.load.at_once {
                self.say().await?;
            }
        }
        while Instant::now() < end {
            tokio::select! {
                answer = self.heard.recv() => {
                    self.answered(answer)?;
                    if clock.is_none() {
                        self.say().await?;
                    }
                }
                () = async { match &mut clock { Some(clock) => _ = clock.tick().await, None => pending().await } } => {
                    self.say().await?;
                }
                () = tokio::time::sleep_until(end.into()) => {}
            }
        }
        let last = end + LAST_ANSWERS;
        while !self.asked.is_empty() {
            let answer = tokio::time::timeout_at(last.into(), self.heard.recv()).await;
            self.answered(answer.map_err(|_| format!("{} requests are not answered", self.asked.len()))?)?;
        }
        Ok(self.took)
    }

    async fn say(&mut self) -> Outcome<()> {
        self.next += 1;
        let (id, key) = (self.next.to_string(), self.chance.u64(1..=self.load.users));
        let text =
            format!(r#"{{"id":"{id}","type":"request","operation":"read","schema":"bench","entity":"users","record_id":{key}}}"#);
        self.asked.insert(id, Instant::now());
        publish(&self.client, &self.topic, text.into()).await
    }

    fn answered(&mut self, answer: Option<Bytes>) -> Outcome<()> {
        let answer: Value = serde_json::from_slice(&answer.ok_or("the broker is gone")?)?;
        if answer["success"] == false {
            return Err(answer.to_string().into());
        }
        let since = answer["id"].as_str().and_then(|id| self.asked.remove(id)).ok_or("an answer to no request")?;
        self.took.push(since.elapsed());
        Ok(())
    }
}

/// Hands on what a client hears.
async fn listen(mut station: Station, told: UnboundedSender<Bytes>) -> Outcome<()> {
    loop {
        told.send(station.message().await?)?;
    }
}
