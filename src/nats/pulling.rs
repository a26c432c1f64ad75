//! How a stream is followed: a consumer in the memory of one server that acknowledges nothing, and is made again whenever
//! something is odd about it.

use super::Connection;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use std::time::Duration;

/// The fewest bytes of messages that are asked for at once.
const PULL_BYTES: usize = 8 << 20;
/// How long a request for messages stands at the server.
const PULL_LIFETIME: Duration = Duration::from_secs(30);
/// How often the server tells that it is still there; twice of it without a word, and the consumer is made again.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a consumer that nobody pulls from stays.
const INACTIVE_THRESHOLD: Duration = Duration::from_secs(15);

/// Before it is made again: at first, and at most.
pub const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What such a consumer is, but for where it begins.
#[must_use]
pub fn consumer() -> pull::Config {
    pull::Config {
        ack_policy: AckPolicy::None,
        inactive_threshold: INACTIVE_THRESHOLD,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    }
}

/// Its messages, so many of them asked for at once.
pub async fn messages(
    connection: &Connection,
    consumer: &Consumer<pull::Config>,
    at_once: usize,
) -> Result<pull::Stream, async_nats::jetstream::consumer::StreamError> {
    // A request for fewer bytes than the next message has would never be answered.
    let bytes = PULL_BYTES.max(2 * connection.client().max_payload());
    let pulling = consumer.stream().max_messages_per_batch(at_once).max_bytes_per_batch(bytes);
    pulling.expires(PULL_LIFETIME).heartbeat(HEARTBEAT).messages().await
}
