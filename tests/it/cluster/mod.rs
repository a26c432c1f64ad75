//! Replicas that share a NATS, as processes: what is published is served, whatever is killed or replaced meanwhile.

mod away;
mod bulk;
mod catalog;
pub(crate) mod deployment;
mod durable;
mod entering;
mod given_up;
mod idle;
mod lifetime;
mod live;
mod outage;
mod owning;
mod rolling;
mod sharing;
mod subscriber;
mod takeover;

use std::time::{Duration, Instant};

/// Longer than anything that is waited for may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(90);

/// Asks again and again until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !is_so().await {
        assert!(since.elapsed() < DEADLINE, "{what} did not come about in time");
        // The pause of asking again.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
