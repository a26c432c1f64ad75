//! Those who make rows over MQTT, and ask again with the same words until they are answered: each row is there once.

use super::world::SOURCES;
use crate::support::mqtt::{Beside, Entry, Spoken, Station};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long an answer may take before the question is asked again.
const ANSWER: Duration = Duration::from_secs(3);

/// The pause before a connection is tried again.
const AGAIN: Duration = Duration::from_millis(50);

/// The pause between two rows: short, so that whoever is killed has requests in its hands.
const NEXT: Duration = Duration::from_millis(5);

/// Makes rows.
pub(super) struct Maker {
    broker: String,
    id: String,
    spoken: Spoken,
}

/// What a maker has made.
pub(super) struct Made {
    /// The marks of rows that were acknowledged.
    pub(super) done: Vec<String>,
    /// The one that may be there or not.
    pub(super) open: Option<String>,
    /// How often it asked again.
    pub(super) again: usize,
}

impl Maker {
    pub(super) fn new(number: usize, broker: String) -> Self {
        let spoken = if number.is_multiple_of(2) { Spoken::V5 } else { Spoken::V4 };
        Self { broker, id: format!("maker-{number}"), spoken }
    }

    pub(super) async fn run(self, writing: Arc<AtomicBool>) -> Made {
        let mut made = Made { done: Vec::new(), open: None, again: 0 };
        let mut station = None;
        while writing.load(Ordering::Relaxed) {
            let mark = made.open.take().unwrap_or_else(|| format!("{} {}", self.id, made.done.len()));
            let is_there = match &mut station {
                Some(station) => self.make(station, &mark, &mut made.again).await,
                None => false,
            };
            if is_there {
                made.done.push(mark);
                tokio::time::sleep(NEXT).await;
            } else {
                made.open = Some(mark);
                station = self.enter().await;
                tokio::time::sleep(AGAIN).await;
            }
        }
        made
    }

    async fn enter(&self) -> Option<Station> {
        let entry = Entry { url: &self.broker, id: &self.id, prefix: "spec", spoken: self.spoken, stays: true };
        let station = Station::enter(entry).await.ok()?;
        station.subscribe(&format!("spec/{}/response", self.id)).await.ok()?;
        Some(station)
    }

    /// Whether the row is there.
    async fn make(&self, station: &mut Station, mark: &str, again: &mut usize) -> bool {
        let message = json!({"id": mark, "type": "request", "operation": "create", "schema": SOURCES[0], "entity": "entries",
            "data": {"mark": mark}});
        let topic = format!("spec/{}/request", self.id);
        if station.publish(&topic, message.to_string().into_bytes(), Beside::default()).await.is_err() {
            *again += 1;
            return false;
        }
        let until = Instant::now() + ANSWER;
        while Instant::now() < until && !station.is_cut() {
            let Some(heard) = station.hears(ANSWER).await else { continue };
            if heard.body["id"] != mark {
                continue;
            }
            if heard.body["success"] == true {
                assert_eq!(heard.body["data"]["mark"], mark, "{}", heard.body);
                return true;
            }
            let code = heard.body["error"]["code"].as_str().unwrap_or_default();
            assert!(["unavailable", "deadline_exceeded", "serialization_failure"].contains(&code), "{}", heard.body);
            break;
        }
        *again += 1;
        false
    }
}
