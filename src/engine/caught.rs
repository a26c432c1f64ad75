//! What panics is caught where the engine is asked, so that on every transport whoever asked is told of an internal error, and
//! nobody else notices. A panic is a fault of a hook, or of this program; the log has where it was.

use super::Engine;
use crate::protocol::Error;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;

impl Engine {
    /// Does what can be refused. A transaction in it is rolled back, as where a client goes away.
    pub(super) fn caught<T>(
        &self,
        method: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = Result<T, Error>> {
        // What others share is behind locks that nobody takes for broken, and swapped as a whole.
        AssertUnwindSafe(work).catch_unwind().map(|outcome| {
            outcome.unwrap_or_else(|_| {
                self.tell_of_panic(method);
                Err(Error::internal())
            })
        })
    }

    /// Tells one hook what has happened already. The others are told all the same.
    pub(super) async fn told(&self, method: &str, work: impl Future<Output = ()>) {
        if AssertUnwindSafe(work).catch_unwind().await.is_err() {
            self.tell_of_panic(method);
        }
    }

    fn tell_of_panic(&self, method: &str) {
        tracing::error!(method, "it panicked");
        self.observe.panicked(method);
    }
}
