//! `serve`: one replica.

use crate::cli::Error;
use crate::config::{Config, ServeArgs};
use crate::load::load;
use crate::{drain, serve as wiring, telemetry};
use std::collections::HashMap;

/// Serves until the process is told to end.
pub async fn serve(args: ServeArgs) -> Result<(), Error> {
    let signals = drain::Signals::listen()?;
    let config = Config::serve(args)?;
    let _traces =
        telemetry::init(&telemetry::TracingSettings::new(config.log_format, &config.log, config.otlp_endpoint.as_deref()))?;
    let served = load(&config.manifests, &HashMap::new(), false).await.map_err(Error::Manifests)?;
    let entities = served.catalog.entities().len();
    let replica = wiring::bind(&config, served, Vec::new()).await?;
    tracing::info!(listen = %replica.address(), entities, "serving");
    replica.run(signals.received()).await
}
