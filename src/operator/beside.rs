//! Work that is done beside the turns, one piece for each key: a database that hangs delays no turn.
//!
//! What came of a piece is read by the turn that began it, if that is a matter of a moment, and by a later one otherwise, which
//! a word begins. What is still being done when all of this is dropped is left off.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

/// For how long a turn waits for what it has begun: most databases answer by then, and nothing has to be judged twice.
const MOMENT: Duration = Duration::from_millis(250);

/// What is being done.
pub(super) struct Beside<T> {
    pieces: HashMap<String, Piece>,
    /// How many were begun, so that none is taken for another one of its key.
    begun: u64,
    sender: mpsc::UnboundedSender<(String, u64, T)>,
    results: mpsc::UnboundedReceiver<(String, u64, T)>,
    changed: Arc<Notify>,
    tasks: TaskTracker,
}

struct Piece {
    number: u64,
    task: AbortHandle,
    /// It was begun by this turn, which waits for it a moment.
    is_new: bool,
}

impl<T: Send + 'static> Beside<T> {
    pub(super) fn new(changed: Arc<Notify>, tasks: TaskTracker) -> Self {
        let (sender, results) = mpsc::unbounded_channel();
        Self { pieces: HashMap::new(), begun: 0, sender, results, changed, tasks }
    }

    /// Begins a piece, unless one of the key is not over yet.
    pub(super) fn begin(&mut self, key: &str, work: impl Future<Output = T> + Send + 'static) {
        if self.is_running(key) {
            return;
        }
        self.begun += 1;
        let (number, sender, changed) = (self.begun, self.sender.clone(), Arc::clone(&self.changed));
        let name = key.to_owned();
        let task = self.tasks.spawn(async move {
            // Whoever would read it is gone together with this task.
            _ = sender.send((name, number, work.await));
            changed.notify_one();
        });
        self.pieces.insert(key.to_owned(), Piece { number, task: task.abort_handle(), is_new: true });
    }

    /// Whether a piece of the key is not over, or what came of it was not read yet.
    pub(super) fn is_running(&self, key: &str) -> bool {
        self.pieces.contains_key(key)
    }

    /// What has come to an end, after a moment for what was begun since the last time.
    pub(super) async fn gather(&mut self) -> Vec<T> {
        let last = Instant::now() + MOMENT;
        let mut gathered = self.ended();
        while self.pieces.values().any(|piece| piece.is_new)
            && let Ok(Some((key, number, result))) = timeout_at(last, self.results.recv()).await
        {
            gathered.extend(self.taken(&key, number, result));
        }
        self.pieces.values_mut().for_each(|piece| piece.is_new = false);
        gathered
    }

    /// What has come to an end by now.
    pub(super) fn ended(&mut self) -> Vec<T> {
        // Before results are read, so that one that is over by now has told.
        let over: Vec<String> =
            self.pieces.iter().filter(|(_, piece)| piece.task.is_finished()).map(|(key, _)| key.clone()).collect();
        let mut ended = Vec::new();
        while let Ok((key, number, result)) = self.results.try_recv() {
            ended.extend(self.taken(&key, number, result));
        }
        // One that has failed tells nothing, and is not to be waited for.
        self.pieces.retain(|key, _| !over.contains(key));
        ended
    }

    fn taken(&mut self, key: &str, number: u64, result: T) -> Option<T> {
        let is_it = self.pieces.get(key).is_some_and(|piece| piece.number == number);
        is_it.then(|| {
            self.pieces.remove(key);
            result
        })
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn one_that_hangs_delays_no_other_and_is_read_when_it_is_over() {
        let changed = Arc::new(Notify::new());
        let mut beside = Beside::new(Arc::clone(&changed), TaskTracker::new());
        let (thaw, frozen) = oneshot::channel();
        beside.begin("slow", async move { frozen.await.expect("thawed") });
        beside.begin("quick", async { "quick" });
        assert_eq!(beside.gather().await, ["quick"]);
        assert!(beside.is_running("slow") && !beside.is_running("quick"));
        // It is begun once, and waited for by no turn that has not begun it.
        beside.begin("slow", async { "another" });
        let since = Instant::now();
        assert!(beside.gather().await.is_empty() && since.elapsed() < MOMENT);
        changed.notified().await;
        thaw.send("slow").expect("it waits");
        changed.notified().await;
        assert_eq!(beside.gather().await, ["slow"]);
        assert!(!beside.is_running("slow"));
    }

    #[tokio::test]
    async fn what_fails_or_is_dropped_is_waited_for_by_nobody() {
        let mut beside = Beside::<()>::new(Arc::default(), TaskTracker::new());
        beside.begin("failing", async { panic!("as a test of it") });
        assert!(beside.gather().await.is_empty());
        assert!(beside.gather().await.is_empty() && !beside.is_running("failing"), "it can be begun again");
        let (held, dropped) = oneshot::channel::<()>();
        beside.begin("endless", async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        drop(beside);
        assert!(dropped.await.is_err(), "it is left off");
    }
}
