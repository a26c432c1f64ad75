//! Where a connection is at home: the runtime that opened it, by which it is woken.
//!
//! Pools and lanes ask, so that a core is served by what is its own. Nothing here starts a runtime.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};
use tokio::runtime::{Handle, Id};

/// Threads that can run at the same time.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The number of this thread's runtime, counted from the first that asked.
pub(super) fn here() -> usize {
    static RUNTIMES: Mutex<Vec<Id>> = Mutex::new(Vec::new());
    thread_local!(static LAST: Cell<Option<(Id, usize)>> = const { Cell::new(None) });
    // Whoever is on no runtime opens nothing.
    let Ok(id) = Handle::try_current().map(|handle| handle.id()) else { return 0 };
    if let Some((_, number)) = LAST.get().filter(|(last, _)| *last == id) {
        return number;
    }
    let mut all = RUNTIMES.lock().unwrap_or_else(PoisonError::into_inner);
    let number = all.iter().position(|known| *known == id).unwrap_or_else(|| {
        all.push(id);
        all.len() - 1
    });
    LAST.set(Some((id, number)));
    number
}
