//! A connection on loan, and its way back into the pool.
//!
//! One that is dropped in the middle of a statement is never lent again: its statement is cancelled and its connection
//! closed, so that nobody gets another's rows. One that is always borrowed by another runtime than its own is opened anew
//! by that one, which then needs nobody else to be woken. Nothing here decides who gets one.

use super::{Manage, Open, Shared};
use crate::database::home::here;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

/// Loans in a row to other runtimes after which a connection moves: opening one costs as much as some hundred wake-ups.
pub(super) const MOVES_AFTER: u32 = 256;

/// A connection on loan.
pub(in crate::database) struct Lease<M: Manage> {
    shared: Arc<Shared<M>>,
    loan: Option<Loan<M::Connection>>,
    finished: bool,
}

struct Loan<C> {
    open: Open<C>,
    permit: OwnedSemaphorePermit,
}

impl<M: Manage> Lease<M> {
    pub(super) fn new(shared: &Arc<Shared<M>>, open: Open<M::Connection>, permit: OwnedSemaphorePermit) -> Self {
        Self { shared: Arc::clone(shared), loan: Some(Loan { open, permit }), finished: true }
    }

    /// Says that a statement or transaction runs on it; a drop now gives the connection up.
    pub(in crate::database) fn begin(&mut self) {
        self.finished = false;
    }

    /// Says that nothing runs on it any more.
    pub(in crate::database) fn finish(&mut self) {
        self.finished = true;
    }
}

impl<M: Manage> Deref for Lease<M> {
    type Target = M::Connection;

    fn deref(&self) -> &M::Connection {
        match &self.loan {
            Some(loan) => &loan.open.connection,
            None => unreachable!("a lease has its connection until it is dropped"),
        }
    }
}

impl<M: Manage> DerefMut for Lease<M> {
    fn deref_mut(&mut self) -> &mut M::Connection {
        match &mut self.loan {
            Some(loan) => &mut loan.open.connection,
            None => unreachable!("a lease has its connection until it is dropped"),
        }
    }
}

impl<M: Manage> Drop for Lease<M> {
    fn drop(&mut self) {
        let Some(Loan { open, permit }) = self.loan.take() else { return };
        let on_a_runtime = Handle::try_current().is_ok();
        if !self.finished {
            if on_a_runtime {
                abandon(&self.shared, open.connection);
            }
        } else if self.shared.manage.is_usable(&open.connection) {
            if on_a_runtime && open.away >= MOVES_AFTER && open.home != here() {
                move_here(&self.shared, open, permit);
            } else {
                self.shared.keep(open);
            }
        }
    }
}

/// Cancels what runs on a connection, and closes it.
fn abandon<M: Manage>(shared: &Arc<Shared<M>>, connection: M::Connection) {
    let pool = Arc::clone(shared);
    shared.tasks.spawn(async move {
        // A database that hangs must not keep the process from ending.
        let abandoned = tokio::time::timeout(pool.acquire_timeout, pool.manage.abandon(connection)).await;
        if abandoned.is_err() {
            tracing::debug!("a statement could not be cancelled in time; its connection is closed");
        }
    });
}

/// Opens a connection here in the place of one that is at home elsewhere. The permit is kept meanwhile: whoever has one
/// finds a connection, or room for it.
fn move_here<M: Manage>(shared: &Arc<Shared<M>>, open: Open<M::Connection>, permit: OwnedSemaphorePermit) {
    let Open { connection, seat, .. } = open;
    drop(connection);
    let pool = Arc::clone(shared);
    shared.tasks.spawn(async move {
        match tokio::time::timeout(pool.acquire_timeout, pool.open(seat)).await {
            Ok(Ok(open)) => pool.keep(open),
            // The next one to need it opens it, and hears why it can't be.
            Ok(Err(error)) => tracing::debug!(%error, "a connection could not be moved to another core"),
            Err(_) => tracing::debug!("a connection could not be moved to another core in time"),
        }
        drop(permit);
    });
}
