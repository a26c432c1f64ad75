//! Rows as fast as their reader takes them, and not as slowly as it likes.
//!
//! A large result holds its connection until its last row. Its reader is somebody at the other end of a network, so a
//! task takes the rows from the database: it ends with the reader, and gives a reader up that takes nothing for too long.

use super::error::Error;
use crate::protocol::RowText;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Rows on their way from a database.
pub(super) type Rows = BoxStream<'static, Result<RowText, Error>>;

/// The task that takes the rows, and the rows as their reader gets them.
pub(super) fn paced(rows: Rows, stall: Duration) -> (impl Future<Output = ()> + Send, Rows) {
    let (sender, receiver) = mpsc::channel(1);
    let whole = Arc::new(AtomicBool::new(false));
    (hand_on(rows, sender, Arc::clone(&whole), stall), received(receiver, whole))
}

/// Ends with the last row, whenever that is taken: whoever closes the database waits for this.
async fn hand_on(mut rows: Rows, sender: mpsc::Sender<Result<RowText, Error>>, whole: Arc<AtomicBool>, stall: Duration) {
    loop {
        let next = tokio::select! {
            next = rows.next() => next,
            () = sender.closed() => return,
        };
        let Some(item) = next else { break };
        match timeout(stall, sender.send(item)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                tracing::info!("a reader took no rows for {stall:?}; its statement is given up");
                return;
            }
        }
    }
    // Whoever learns that these were all finds their connection given back.
    drop(rows);
    whole.store(true, Ordering::Release);
}

fn received(receiver: mpsc::Receiver<Result<RowText, Error>>, whole: Arc<AtomicBool>) -> Rows {
    let rows = stream::unfold(Some(receiver), move |receiver| {
        let whole = Arc::clone(&whole);
        async move {
            let mut receiver = receiver?;
            match receiver.recv().await {
                Some(item) => Some((item, Some(receiver))),
                None if whole.load(Ordering::Acquire) => None,
                // The rows that came are not all.
                None => Some((Err(Error::Stalled), None)),
            }
        }
    });
    rows.boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn rows(count: usize) -> Rows {
        let row = |_| Ok(RowText { joined: Bytes::from_static(b"{}"), count: 1 });
        stream::iter(0..count).map(row).boxed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_of_the_last_row_may_take_its_time_and_holds_nobody_up() {
        let (task, mut read) = paced(rows(1), Duration::from_secs(1));
        task.await;
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(matches!(read.next().await, Some(Ok(RowText { count: 1, .. }))));
        assert!(read.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_for_too_long_learns_that_it_has_not_got_all() {
        let (task, mut read) = paced(rows(2), Duration::from_secs(1));
        task.await;
        assert!(matches!(read.next().await, Some(Ok(RowText { count: 1, .. }))));
        assert!(matches!(read.next().await, Some(Err(Error::Stalled))));
        assert!(read.next().await.is_none());
    }
}
