//! MySQL and MariaDB: a named lock of a session, and the commits of this process.
//!
//! Neither server tells a session of others' commits, so who waits must look again by itself.

use super::error::Error;
use super::mysql::Manager;
use super::mysql_error::classify;
use sqlx::mysql::MySqlConnection;
use sqlx::{Connection as _, Row};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// How often the server is asked whether the session is still there.
const ASK_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Session {
    connection: MySqlConnection,
    committed: Arc<Notify>,
    asked_at: Instant,
}

/// Opens a session and takes the lock, unless somebody holds it. Locks are the server's and not a database's, so the
/// database's name is part of theirs; its hash, since a lock's name is short.
pub(super) async fn open(manager: &Manager, name: &str, committed: Arc<Notify>) -> Result<Option<Session>, Error> {
    let mut connection = manager.open().await?;
    let lock = sqlx::query("select get_lock(concat(?, md5(database())), 0)").bind(name);
    let row = lock.fetch_one(&mut connection).await.map_err(|error| classify(&error))?;
    let taken: Option<i64> = row.try_get_unchecked(0).map_err(|error| classify(&error))?;
    Ok((taken == Some(1)).then(|| Session { connection, committed, asked_at: Instant::now() }))
}

impl Session {
    pub(super) async fn changed(&mut self, at_most: Duration) -> Result<(), Error> {
        // Either end is a reason to look.
        _ = timeout(at_most, self.committed.notified()).await;
        if self.asked_at.elapsed() >= ASK_EVERY {
            let answer = timeout(ASK_EVERY, self.connection.ping()).await;
            let answer = answer.map_err(|_| Error::Unavailable("no answer in time".to_owned()))?;
            answer.map_err(|error| Error::Unavailable(format!("the session that holds the lock has ended: {error}")))?;
            self.asked_at = Instant::now();
        }
        Ok(())
    }
}
