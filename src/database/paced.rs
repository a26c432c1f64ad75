//! Rows as fast as their reader takes them, and not as slowly as it likes.
//!
//! A large result holds its connection until its last row. Its reader is somebody at the other end of a network, so a
//! task takes the rows from the database: it ends with the reader, and gives a reader up that takes nothing for too long.

use super::error::Error;
use crate::protocol::RowText;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Rows on their way from a database.
pub(super) type Rows = BoxStream<'static, Result<RowText, Error>>;

/// Rows, and at last the word that there are no more.
type Item = Option<Result<RowText, Error>>;

/// The task that takes the rows, and the rows as their reader gets them.
pub(super) fn paced(rows: Rows, stall: Duration) -> (impl Future<Output = ()> + Send, Rows) {
    let (sender, receiver) = mpsc::channel(1);
    (hand_on(rows, sender, stall), received(receiver))
}

async fn hand_on(mut rows: Rows, sender: mpsc::Sender<Item>, stall: Duration) {
    loop {
        let next = tokio::select! {
            next = rows.next() => next,
            () = sender.closed() => return,
        };
        let Some(item) = next else { break };
        match timeout(stall, sender.send(Some(item))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                tracing::info!("a reader took no rows for {stall:?}; its statement is given up");
                return;
            }
        }
    }
    // No connection is held any more, so the reader may take its time.
    drop(rows);
    _ = sender.send(None).await;
}

fn received(receiver: mpsc::Receiver<Item>) -> Rows {
    let rows = stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Some(item)) => Some((item, Some(receiver))),
            Some(None) => None,
            // Without that word the rows that came are not all.
            None => Some((Err(Error::Stalled), None)),
        }
    });
    rows.boxed()
}
