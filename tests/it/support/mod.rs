//! What integration tests stand on: databases of their own, the real replica, and a plain HTTP client.

pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod clients;
pub(crate) mod database;
pub(crate) mod grpc;
pub(crate) mod mqtt;
pub(crate) mod nats;
pub(crate) mod own;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod processor;
pub(crate) mod replica;
pub(crate) mod server;
pub(crate) mod session;
pub(crate) mod shop;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// An empty folder that nobody else has, whoever has the same name for one.
pub(crate) fn folder(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("resolvespec-{name}-{}-{number}", std::process::id()));
    std::fs::create_dir(&folder).expect("the folder is new");
    folder
}
