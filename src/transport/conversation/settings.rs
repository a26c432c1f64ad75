//! Limits and times of connections, as the configuration says them.

use std::time::Duration;

/// Limits and times of connections.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Connections that are open at once.
    pub max_connections: usize,
    /// The largest message that a client may send, in bytes. It is also what may wait to be worked on.
    pub max_message_bytes: usize,
    /// Messages that may wait to be worked on, behind the one that is.
    pub max_queued: usize,
    /// The largest answer, in bytes.
    pub max_answer_bytes: usize,
    /// The time between two pings. A client from which nothing came by the next one is gone.
    pub ping_interval: Duration,
    /// How long a client may take nothing of what is written to it.
    pub write_time: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: 50_000,
            max_message_bytes: 4 * 1024 * 1024,
            max_queued: 32,
            max_answer_bytes: 16 * 1024 * 1024,
            ping_interval: Duration::from_secs(25),
            write_time: Duration::from_secs(10),
        }
    }
}
