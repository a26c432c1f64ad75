//! From a lease that is taken to one that is handed over or lost: renewed with the progress while the part is told.

use super::Shared;
use super::lease::{Held, Progress, Unit};
use super::serve::{Duty, LAST_ACKNOWLEDGEMENTS, serve};
use crate::transport::mqtt::Broker;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Before a renewal that failed is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// Tells of a part until it is released or lost.
pub(super) async fn tenure(
    shared: Arc<Shared>,
    broker: Broker,
    unit: Unit,
    mut held: Held,
    progress: Progress,
    release: CancellationToken,
) {
    let (until, usable) = watch::channel(held.until);
    let (reached, told) = watch::channel(progress);
    let duty = Duty { shared: &shared, broker: &broker, unit: &unit, reached: &reached, usable: &usable };
    let serving = serve(duty, &release);
    tokio::select! {
        biased;
        () = renew(&mut held, shared.settings.lease, &told, &until) => {
            warn!(part = unit.part.number(), broker = broker.name(), "the lease of a part is lost; another replica tells of it");
            return;
        }
        () = serving => {}
    }
    let last = reached.borrow().clone();
    match timeout(LAST_ACKNOWLEDGEMENTS, held.release(&last)).await {
        Ok(Ok(_)) => debug!(part = unit.part.number(), "a part is handed over"),
        Ok(Err(error)) => warn!(%error, "a part can't be handed over; it is free when its lease is over"),
        Err(_) => warn!("a part can't be handed over in time; it is free when its lease is over"),
    }
}

/// Renews until the lease is lost.
async fn renew(held: &mut Held, time: Duration, told: &watch::Receiver<Progress>, until: &watch::Sender<Instant>) {
    loop {
        let mut pause = time / 4;
        if Instant::now() >= held.until {
            return;
        }
        let progress = told.borrow().clone();
        match timeout_at(held.until, held.renew(&progress)).await {
            Ok(Ok(true)) => _ = until.send_replace(held.until),
            Ok(Ok(false)) | Err(_) => return,
            Ok(Err(error)) => {
                debug!(%error, "a lease can't be renewed for now");
                pause = RETRY;
            }
        }
        sleep_until((Instant::now() + pause).min(held.until)).await;
    }
}
