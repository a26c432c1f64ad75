//! PostgreSQL: an advisory lock and a `listen` on one session.

use super::error::Error;
use super::postgres::{Manager, classify};
use super::watch::REST_KEY;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client};

/// How long the server may take to say that it is still there.
const ANSWER_TIME: Duration = Duration::from_secs(5);

pub(super) struct Session {
    client: Client,
    messages: Messages,
}

/// What the server sends beside its answers.
struct Messages {
    stream: BoxStream<'static, Result<AsyncMessage, tokio_postgres::Error>>,
    notified: bool,
    ended: bool,
}

/// Opens a session and takes the lock, unless somebody holds it.
pub(super) async fn open(manager: &Manager, name: &str) -> Result<Option<Session>, Error> {
    let (client, mut connection) = manager.open().await?;
    let stream = stream::poll_fn(move |context| connection.poll_message(context)).boxed();
    let mut session = Session { client, messages: Messages { stream, notified: false, ended: false } };
    let text = format!("select pg_try_advisory_lock(hashtextextended('{name}', 0))::text");
    let answer = session.ask(&text).await?;
    if answer.as_deref() != Some("true") {
        return Ok(None);
    }
    session.ask(&format!("listen {name}")).await?;
    Ok(Some(session))
}

impl Session {
    /// Waits for a notification. A silent server is asked whether it is still there.
    pub(super) async fn changed(&mut self, at_most: Duration) -> Result<(), Error> {
        let heard = timeout(at_most, poll_fn(|context| self.messages.poll_notified(context))).await;
        if heard.is_err() {
            self.ask("select '1'").await?;
        }
        if self.messages.ended {
            return Err(Error::Unavailable("the session that waits for changes has ended".to_owned()));
        }
        self.messages.notified = false;
        Ok(())
    }

    /// Takes the lock that lets writers notify.
    pub(super) async fn rest(&mut self) -> Result<bool, Error> {
        let answer = self.ask(&format!("select pg_try_advisory_lock({REST_KEY})::text")).await?;
        Ok(answer.as_deref() == Some("true"))
    }

    /// Gives it back.
    pub(super) async fn rise(&mut self) -> Result<(), Error> {
        self.ask(&format!("select pg_advisory_unlock({REST_KEY})::text")).await.map(|_| ())
    }

    async fn ask(&mut self, text: &str) -> Result<Option<String>, Error> {
        let Session { client, messages } = self;
        let answer = messages.drive(client.simple_query(text));
        let answer = timeout(ANSWER_TIME, answer).await.map_err(|_| Error::Unavailable("no answer in time".to_owned()))?;
        let rows = answer.map_err(|error| classify(&error))?;
        Ok(rows.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
            _ => None,
        }))
    }
}

impl Messages {
    /// Ready when there is a reason to look: a notification, or the end of the session.
    fn poll_notified(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.receive(context);
        if self.notified || self.ended { Poll::Ready(()) } else { Poll::Pending }
    }

    fn receive(&mut self, context: &mut Context<'_>) {
        while !self.ended {
            match self.stream.poll_next_unpin(context) {
                Poll::Ready(Some(Ok(AsyncMessage::Notification(_)))) => self.notified = true,
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "a PostgreSQL session ended");
                    self.ended = true;
                }
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => return,
            }
        }
    }

    /// Moves bytes while an operation waits for its answer.
    async fn drive<T>(&mut self, operation: impl Future<Output = T>) -> T {
        let mut operation = pin!(operation);
        poll_fn(|context| {
            if let Poll::Ready(output) = operation.as_mut().poll(context) {
                return Poll::Ready(output);
            }
            self.receive(context);
            // What was just received may be what the operation waits for.
            operation.as_mut().poll(context)
        })
        .await
    }
}
