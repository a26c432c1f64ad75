//! A session outside the pool that holds one lock of the database and waits for commits.
//!
//! The lock tells who of many does what must be done once, such as telling changes. It belongs to the session: who dies
//! or is cut off gives it back without a word. How commits are noticed is the best that each database has.

use super::connect::{Database, Pools};
use super::error::Error;
use super::{mysql_watch, postgres_watch, sqlite_watch};
use std::time::Duration;
use tokio::time::timeout;

/// The advisory lock by which who waits on PostgreSQL and who writes agree on notifications: see [`Watch::rest`].
pub const REST_KEY: i64 = i64::from_be_bytes(*b"resolver");

/// A session that holds the lock.
pub struct Watch {
    session: Session,
}

enum Session {
    Postgres(postgres_watch::Session),
    Mysql(mysql_watch::Session),
    Sqlite(sqlite_watch::Session),
}

impl Database {
    /// Takes the lock of this name within this database, unless somebody holds it. On PostgreSQL the name is also the
    /// channel whose notifications are heard.
    pub async fn try_watch(&self, name: &'static str) -> Result<Option<Watch>, Error> {
        let committed = self.committed();
        let opened = async {
            Ok::<_, Error>(match self.pools() {
                Pools::Postgres(pool, _) => postgres_watch::open(pool.manage(), name).await?.map(Session::Postgres),
                Pools::Mysql(pool) => mysql_watch::open(pool.manage(), name, committed).await?.map(Session::Mysql),
                Pools::Sqlite(pool) => sqlite_watch::open(pool.manage(), name, committed).await?.map(Session::Sqlite),
            })
        };
        // A server that hangs takes connections, and says nothing.
        let session = timeout(self.settings().acquire_timeout, opened).await;
        let session = session.map_err(|_| Error::Unavailable("no answer in time".to_owned()))?;
        Ok(session?.map(|session| Watch { session }))
    }
}

impl Watch {
    /// Waits until something may have been committed, and at most so long. After an error the lock is lost.
    ///
    /// PostgreSQL tells what was notified and SQLite what any process has committed; MySQL tells only what this process
    /// has committed, so that the longest time is how late the changes of others are seen.
    pub async fn changed(&mut self, at_most: Duration) -> Result<(), Error> {
        match &mut self.session {
            Session::Postgres(session) => session.changed(at_most).await,
            Session::Mysql(session) => session.changed(at_most).await,
            Session::Sqlite(session) => session.changed(at_most).await,
        }
    }

    /// Asks writers to notify of their commits from now on; `false` says that somebody writes who will not.
    ///
    /// On PostgreSQL a transaction that notifies can't share its flush to disk with others, so that none should unless
    /// somebody sleeps. Who writes takes the lock `REST_KEY` shared until its commit, and notifies only if it can't. Who
    /// sleeps holds it alone: it gets it when nobody is writing who has not notified, and must then look once more.
    pub async fn rest(&mut self) -> Result<bool, Error> {
        match &mut self.session {
            Session::Postgres(session) => session.rest().await,
            Session::Mysql(_) | Session::Sqlite(_) => Ok(true),
        }
    }

    /// Asks writers to notify no more.
    pub async fn rise(&mut self) -> Result<(), Error> {
        match &mut self.session {
            Session::Postgres(session) => session.rise().await,
            Session::Mysql(_) | Session::Sqlite(_) => Ok(()),
        }
    }
}
