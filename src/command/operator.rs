//! `operator`: makes the resources of a Kubernetes cluster the catalog of its replicas.

use crate::cli::Error;
use crate::config::{NatsConfig, OperatorArgs, OperatorConfig, Webhook};
use crate::operator::{self, Cluster, OwnSecret, Settings, Shared, admission as judging};
use crate::telemetry::{self, Metrics, OperatorMetrics};
use crate::transport::{admin, admission};
use crate::{cluster, drain};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long the API server is still answered when the end has come: it takes that long to know that this one is not to be asked.
const LINGER: Duration = Duration::from_secs(5);

/// Works until the process is told to end.
pub async fn operator(args: OperatorArgs) -> Result<(), Error> {
    let mut signals = drain::Signals::listen()?;
    let OperatorConfig { admin_listen, webhook, operator: settings, nats, log, log_format } = args.resolve()?;
    let _traces = telemetry::init(&telemetry::TracingSettings::new(log_format, &log, None))?;
    let metrics = Metrics::new()?;
    let listener = bind(admin_listen).await?;
    tracing::info!(identity = settings.identity, admin = %listener.local_addr()?, "starting");
    let (end, is_ready) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
    let telling = axum::serve(listener, admin::process_router(metrics.clone(), Arc::clone(&is_ready)));
    // Whether this one leads, and whether NATS is there, makes no difference to what is said of a resource by itself.
    let (over, lingers) = (CancellationToken::new(), webhook.is_some());
    let asked = answer(webhook, settings.own_secret(), metrics.operator(), &over);
    let mut asked = std::pin::pin!(asked);
    let working = work(&nats, settings, metrics.operator(), &is_ready, &end);
    let mut working = std::pin::pin!(working);
    tokio::select! {
        ended = async { telling.await } => return ended.map_err(Error::from),
        outcome = &mut asked => return outcome,
        outcome = &mut working => return outcome,
        signal = signals.received() => signal?,
    }
    is_ready.store(false, Ordering::Relaxed);
    end.cancel();
    let lingering = async {
        if lingers {
            tokio::time::sleep(LINGER).await;
        }
        over.cancel();
    };
    let (worked, answered, ()) = tokio::join!(working, asked, lingering);
    worked.and(answered)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| Error::new(format!("{address} can't be listened on: {error}; choose another port")))
}

/// Answers the API server until the end, if it asks here.
async fn answer(
    webhook: Option<Webhook>,
    own: Option<OwnSecret>,
    metrics: OperatorMetrics,
    end: &CancellationToken,
) -> Result<(), Error> {
    let Some(Webhook { listen, files }) = webhook else {
        end.cancelled().await;
        return Ok(());
    };
    let certificate = admission::Certificate::read(files).await?;
    let listener = bind(listen).await?;
    tracing::info!(address = %listener.local_addr()?, path = admission::PATH, "the API server can ask");
    let judge: admission::Judge = Arc::new(move |body| {
        let reviewed = judging::review(body, own.as_ref());
        let (kind, outcome) = reviewed.as_ref().map_or(("other", "malformed"), |reviewed| (reviewed.kind, reviewed.outcome));
        metrics.admission(kind, outcome);
        reviewed.map(|reviewed| reviewed.body)
    });
    Ok(admission::serve(listener, certificate, judge, end.clone()).await?)
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
