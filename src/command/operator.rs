//! `operator`: makes the resources of a Kubernetes cluster the catalog of its replicas.

use crate::cli::Error;
use crate::config::{NatsConfig, OperatorArgs, OperatorConfig};
use crate::operator::{self, Cluster, Settings, Shared};
use crate::telemetry::{self, Metrics, OperatorMetrics};
use crate::transport::admin;
use crate::{cluster, drain};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Works until the process is told to end.
pub async fn operator(args: OperatorArgs) -> Result<(), Error> {
    let mut signals = drain::Signals::listen()?;
    let OperatorConfig { admin_listen, operator: settings, nats, log, log_format } = args.resolve()?;
    let _traces = telemetry::init(&telemetry::TracingSettings::new(log_format, &log, None))?;
    let metrics = Metrics::new()?;
    let listener = TcpListener::bind(admin_listen)
        .await
        .map_err(|error| Error::new(format!("{admin_listen} can't be listened on: {error}; choose another port")))?;
    tracing::info!(identity = settings.identity, admin = %listener.local_addr()?, "starting");
    let (end, is_ready) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
    let telling = axum::serve(listener, admin::process_router(metrics.clone(), Arc::clone(&is_ready)));
    let working = work(&nats, settings, metrics.operator(), &is_ready, &end);
    let mut working = std::pin::pin!(working);
    tokio::select! {
        ended = async { telling.await } => return ended.map_err(Error::from),
        outcome = &mut working => return outcome,
        signal = signals.received() => signal?,
    }
    is_ready.store(false, Ordering::Relaxed);
    end.cancel();
    working.await
}

/// Waits for NATS, then works; until it is told to end.
async fn work(
    nats: &NatsConfig,
    settings: Settings,
    metrics: OperatorMetrics,
    is_ready: &AtomicBool,
    end: &CancellationToken,
) -> Result<(), Error> {
    let found = Cluster::find().await?;
    let Some(joined) = end.run_until_cancelled(cluster::generations(nats)).await else { return Ok(()) };
    let (catalog, replicas) = joined?;
    // One that does not lead is ready to.
    is_ready.store(true, Ordering::Relaxed);
    Box::pin(operator::run(found, Shared { catalog, replicas }, settings, metrics, end.clone())).await;
    Ok(())
}
