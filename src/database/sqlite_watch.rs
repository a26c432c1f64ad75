//! SQLite: a locked file beside the database, and the counter that SQLite keeps of commits.
//!
//! The file is another one than the database, since closing any handle of that would drop the locks that SQLite itself
//! holds on it in this process.

use super::error::Error;
use super::sqlite::{Manager, blocking, classify, open as open_connection};
use rusqlite::Connection;
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// How often another process's commits are looked for; it costs a few microseconds.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) struct Session {
    connection: Option<Connection>,
    seen: i64,
    committed: Arc<Notify>,
    // Dropped last, after the file is removed.
    _lock: LockFile,
}

/// The lock is the kernel's and ends with the process; the file is removed for tidiness. Somebody may have opened it just
/// before, and then two hold a lock: those who use it must bear that.
struct LockFile {
    path: PathBuf,
    _file: File,
}

impl Drop for LockFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "a lock file could not be removed");
        }
    }
}

/// Takes the lock, unless somebody holds it.
pub(super) async fn open(manager: &Manager, name: &str, committed: Arc<Notify>) -> Result<Option<Session>, Error> {
    let database = manager.path().to_owned();
    let path = PathBuf::from(format!("{database}-{name}"));
    blocking(move || {
        let unusable = |error: std::io::Error| Error::Unavailable(format!("{} can't be locked: {error}", path.display()));
        let file = File::options().create(true).append(true).open(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        let lock = LockFile { path, _file: file };
        let connection = open_connection(&database).map_err(|error| classify(&error))?;
        let seen = version(&connection)?;
        Ok(Some(Session { connection: Some(connection), seen, committed, _lock: lock }))
    })
    .await
}

impl Session {
    pub(super) async fn changed(&mut self, at_most: Duration) -> Result<(), Error> {
        let latest = Instant::now() + at_most;
        loop {
            let wait = LOOK_EVERY.min(latest.saturating_duration_since(Instant::now()));
            // A commit of this process is known at once.
            let told = timeout(wait, self.committed.notified()).await.is_ok();
            if self.look().await? || told || Instant::now() >= latest {
                return Ok(());
            }
        }
    }

    /// Whether another connection, of any process, has committed since the last look.
    async fn look(&mut self) -> Result<bool, Error> {
        let gone = || Error::Unavailable("the connection that waits for changes is gone".to_owned());
        let connection = self.connection.take().ok_or_else(gone)?;
        let (connection, version) = blocking(move || version(&connection).map(|version| (connection, version))).await?;
        self.connection = Some(connection);
        Ok(std::mem::replace(&mut self.seen, version) != version)
    }
}

fn version(connection: &Connection) -> Result<i64, Error> {
    connection.query_row("pragma data_version", [], |row| row.get(0)).map_err(|error| classify(&error))
}
