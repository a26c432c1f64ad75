//! A replica that runs in this process until it is told to end.

use resolvespec::config::Config;
use resolvespec::engine::{Engine, Hook, Served};
use resolvespec::live::Handles;
use resolvespec::serve::bind_with;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// How long its end may take.
const DEADLINE: Duration = Duration::from_mins(2);

/// A replica that serves.
pub(crate) struct Running {
    /// Where it takes requests.
    pub address: SocketAddr,
    /// What answers.
    pub engine: Engine,
    end: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(config: &Config, served: Served, hooks: Vec<Arc<dyn Hook>>) -> Self {
        Self::sharing(config, served, hooks, Handles::memory()).await
    }

    /// One that shares what replicas share.
    pub(crate) async fn sharing(config: &Config, served: Served, hooks: Vec<Arc<dyn Hook>>, handles: Handles) -> Self {
        print_errors();
        let replica = bind_with(config, served, hooks, handles).await.expect("a port is free");
        let (address, engine) = (replica.address(), replica.engine().clone());
        let (end, ended) = oneshot::channel::<()>();
        let task = TaskTracker::new().spawn(async move {
            let until = async {
                // The sender's end is as good as its word.
                _ = ended.await;
                Ok(())
            };
            replica.run(until).await.expect("the replica ends in order");
        });
        Self { address, engine, end: Some(end), task }
    }

    /// Begins the end.
    pub(crate) fn end(&mut self) {
        drop(self.end.take());
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends it, and waits until it has.
    pub(crate) async fn ended(&mut self) {
        self.end();
        timeout(DEADLINE, &mut self.task).await.expect("it ends in time").expect("the replica does not panic");
    }
}

/// Has what replicas log as an error printed with the test that fails: the answer to the client keeps it back.
fn print_errors() {
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR).with_ansi(false).with_test_writer();
    // Fails for all tests of the binary but the first.
    _ = subscriber.try_init();
}
