//! One for each thread that serves connections: is handed those that have something before them, and wakes them there.
//!
//! To wake a task of another thread costs a system call; of its own thread, next to nothing. So a burst to a thousand
//! connections costs the hub one wake a thread.

use super::mailbox::Mailbox;
use futures_util::task::AtomicWaker;
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread::{self, ThreadId};
use tokio_util::task::TaskTracker;

/// Wakes the connections of one thread.
#[derive(Default)]
pub(super) struct Courier {
    handed: Mutex<Vec<Arc<Mailbox>>>,
    waker: AtomicWaker,
    /// Whether its runtime has ended.
    ended: AtomicBool,
}

/// Says that a courier has ended, however it does.
struct Ends(Arc<Courier>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
    }
}

impl Courier {
    /// Takes connections to be woken.
    pub(super) fn hand(&self, mailboxes: &mut Vec<Arc<Mailbox>>) {
        let mut handed = self.handed();
        let first = handed.is_empty();
        handed.append(mailboxes);
        drop(handed);
        if first {
            self.waker.wake();
        }
    }

    /// Wakes whoever it is handed, for ever.
    async fn run(&self) {
        loop {
            let handed = poll_fn(|context| {
                self.waker.register(context.waker());
                let handed = std::mem::take(&mut *self.handed());
                if handed.is_empty() { Poll::Pending } else { Poll::Ready(handed) }
            });
            for mailbox in handed.await {
                mailbox.wake();
            }
        }
    }

    fn handed(&self) -> MutexGuard<'_, Vec<Arc<Mailbox>>> {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The couriers of all threads. Each ends with the runtime of its thread.
#[derive(Default)]
pub(super) struct Couriers {
    by_thread: Mutex<HashMap<ThreadId, Arc<Courier>>>,
    tasks: TaskTracker,
}

impl Couriers {
    /// The courier of this thread, on whose runtime it is started if it is not there yet.
    pub(super) fn here(&self) -> Arc<Courier> {
        let mut all = self.by_thread.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(&thread::current().id()).filter(|courier| !courier.ended.load(Ordering::Acquire));
        if let Some(courier) = known {
            return Arc::clone(courier);
        }
        let courier = Arc::new(Courier::default());
        let running = Ends(Arc::clone(&courier));
        self.tasks.spawn(async move { running.0.run().await });
        all.insert(thread::current().id(), Arc::clone(&courier));
        courier
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::Builder;

    #[test]
    fn a_thread_has_one_courier_and_another_with_another_runtime() {
        let couriers = Couriers::default();
        let here = || async { couriers.here() };
        let first = Builder::new_current_thread().build().unwrap();
        let (one, same) = first.block_on(async { (here().await, here().await) });
        assert!(Arc::ptr_eq(&one, &same));
        drop(first);
        let second = Builder::new_current_thread().build().unwrap();
        let other = second.block_on(here());
        assert!(!Arc::ptr_eq(&one, &other), "the first has ended with its runtime");
    }
}
