//! Writers and readers through the Service: what they were told is done, and what went wrong.

use crate::support::client::{Answer, Call, Client};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// Clients that write and read, one connection each.
const CLIENTS: usize = 6;

/// How long a patient client tries again.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pause before it tries again, and between two rows, which leaves the processor to others.
const PAUSE: Duration = Duration::from_millis(20);

static NEXT_ID: AtomicI64 = AtomicI64::new(1);

/// What clients make of an answer that does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// It is a failure.
    None,
    /// They ask again, with the same idempotency key.
    Some,
}

#[derive(Default)]
struct Shared {
    done: AtomicBool,
    requests: AtomicUsize,
    again: AtomicUsize,
    written: Mutex<BTreeSet<i64>>,
    failures: Mutex<Vec<String>>,
}

/// Clients at work.
pub(super) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

/// What they have done.
pub(super) struct Done {
    /// The rows whose creation was acknowledged.
    pub(super) written: BTreeSet<i64>,
    pub(super) requests: usize,
    /// How often one was sent again.
    pub(super) again: usize,
}

impl Load {
    pub(super) fn start(entrance: SocketAddr, patience: Patience) -> Self {
        let (shared, tasks) = (Arc::new(Shared::default()), TaskTracker::new());
        let begin = |_| tasks.spawn(work(Client::new(entrance), patience, Arc::clone(&shared)));
        let clients = (0..CLIENTS).map(begin).collect();
        Self { shared, clients }
    }

    /// Waits until so many more rows are written.
    pub(super) async fn goes_on(&self, rows: usize) {
        let length = || self.shared.written.lock().expect("no panic").len();
        let (enough, since) = (length() + rows, Instant::now());
        while length() < enough {
            assert!(since.elapsed() < Duration::from_mins(1), "writing does not go on: {:?}", self.failures());
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn failures(&self) -> Vec<String> {
        self.shared.failures.lock().expect("no panic").clone()
    }

    /// Ends the work; none of it may have failed.
    pub(super) async fn ended(mut self) -> Done {
        self.shared.done.store(true, Ordering::Relaxed);
        for client in std::mem::take(&mut self.clients) {
            client.await.expect("a client does not panic");
        }
        let failures = self.failures();
        let requests = self.shared.requests.load(Ordering::Relaxed);
        assert!(failures.is_empty(), "{} of {requests} requests failed: {failures:#?}", failures.len());
        let written = std::mem::take(&mut *self.shared.written.lock().expect("no panic"));
        Done { written, requests, again: self.shared.again.load(Ordering::Relaxed) }
    }
}

/// Writes row after row and reads each through the same door.
async fn work(client: Client, patience: Patience, shared: Arc<Shared>) {
    while !shared.done.load(Ordering::Relaxed) {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let row = json!({"id": id, "body": format!("note {id}")});
        let create = Call::post("/api/public/notes", &json!({"operation": "create", "data": row}));
        let create = create.header("idempotency-key", format!("note-{id}"));
        let read = Call::post(format!("/api/public/notes/{id}"), &json!({"operation": "read"}));
        let created = ask(&client, &create, patience, &shared).await;
        if created.is_ok() {
            shared.written.lock().expect("no panic").insert(id);
        }
        let found = ask(&client, &read, patience, &shared).await.and_then(|answer| {
            let is_it = answer.body["data"]["body"] == row["body"];
            if is_it { Ok(answer) } else { Err(format!("row {id} is read as {}", answer.body)) }
        });
        shared.failures.lock().expect("no panic").extend([created, found].into_iter().filter_map(Result::err));
        tokio::time::sleep(PAUSE).await;
    }
}

/// Has the answer, or what came instead of a good one.
async fn ask(client: &Client, call: &Call, patience: Patience, shared: &Shared) -> Result<Answer, String> {
    let since = Instant::now();
    loop {
        shared.requests.fetch_add(1, Ordering::Relaxed);
        let answer = tokio::time::timeout(PATIENCE, client.send(call)).await;
        let failure = match answer {
            Ok(Ok(answer)) if answer.status.as_u16() == 200 => return Ok(answer),
            Ok(Ok(answer)) if [502, 503, 504].contains(&answer.status.as_u16()) => format!("{}: {}", answer.status, answer.body),
            Ok(Ok(answer)) => return Err(format!("{call:?}: {}: {}", answer.status, answer.body)),
            Ok(Err(error)) => error,
            Err(_) => "no answer in time".to_owned(),
        };
        if patience == Patience::None || since.elapsed() > PATIENCE {
            return Err(failure);
        }
        shared.again.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
}
