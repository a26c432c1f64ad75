//! Reloading: manifests that change are compiled and served; those that can't be leave what is served as it is.

use super::capture::install_embedded;
use crate::cli::Error;
use crate::engine::Engine;
use crate::load::load;
use crate::telemetry::Metrics;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

/// An editor writes a file in several steps; they count as one change.
const SETTLE: Duration = Duration::from_millis(150);

/// Changes of manifest files, from the moment that this is made.
pub(super) struct Changes {
    receiver: mpsc::Receiver<()>,
    // Watching ends when it is dropped.
    _watcher: RecommendedWatcher,
}

impl Changes {
    /// Begins to watch files and folders.
    pub(super) fn of(paths: &[PathBuf]) -> Result<Self, Error> {
        let (sender, receiver) = mpsc::channel(1);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let manifests = event.is_ok_and(|event| !event.kind.is_access() && event.paths.iter().any(|path| is_manifest(path)));
            if manifests {
                // A full channel already says that something changed.
                _ = sender.try_send(());
            }
        })?;
        for path in paths {
            // A file's folder is watched, since editors replace files.
            let folder = if path.is_dir() { path.clone() } else { path.parent().map_or_else(PathBuf::new, PathBuf::from) };
            let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
            watcher.watch(&folder, RecursiveMode::Recursive)?;
        }
        Ok(Self { receiver, _watcher: watcher })
    }
}

/// Reloads what changes until watching fails.
pub(super) async fn watch(mut changes: Changes, paths: &[PathBuf], engine: &Engine, metrics: &Metrics) -> Result<(), Error> {
    while changes.receiver.recv().await.is_some() {
        tokio::time::sleep(SETTLE).await;
        while changes.receiver.try_recv().is_ok() {}
        reload(paths, engine, metrics).await;
    }
    Err(Error::new("watching the manifests ended"))
}

fn is_manifest(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

async fn reload(paths: &[PathBuf], engine: &Engine, metrics: &Metrics) {
    let before = engine.served();
    match load(paths, &before.databases, true).await {
        Ok(served) => {
            let count = served.catalog.entities().len();
            match install_embedded(&served).await {
                Ok(lines) => lines.iter().for_each(|line| say(line)),
                Err(error) => error.print(),
            }
            engine.switch(served);
            metrics.catalog(Some(count));
            say(&format!("reloaded: {count} entities"));
        }
        Err(problems) => {
            metrics.catalog(None);
            Error::Manifests(problems).print();
            say("the manifests before this change are still served");
        }
    }
}

#[expect(clippy::print_stderr, reason = "dev talks to whoever typed it")]
fn say(text: &str) {
    eprintln!("{text}");
}
