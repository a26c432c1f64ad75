//! `release`: lets DataSources go that no operator is there for.

use crate::cli::Error;
use crate::config::ReleaseArgs;
use crate::operator::Cluster;
use crate::operator::release::{Place, Released, release as let_go};
use crate::telemetry;
use std::io::Write;

/// Takes the operator's finalizer off DataSources, and says of which.
pub async fn release(args: ReleaseArgs) -> Result<(), Error> {
    let ReleaseArgs { namespaces, all_namespaces, log, log_format } = args;
    let _traces = telemetry::init(&telemetry::TracingSettings::new(log_format.unwrap_or_default(), &log, None))?;
    let cluster = Cluster::find().await?;
    let place = if all_namespaces { Place::Everywhere } else { Place::In(namespaces) };
    let Released { sources, faults } = let_go(&cluster, place).await;
    let mut out = std::io::stdout().lock();
    for (namespace, name) in &sources {
        writeln!(out, "released: DataSource {namespace}/{name}; what captures its changes is left in its database")?;
    }
    if !faults.is_empty() {
        return Err(Error::new(faults.join("\n")));
    }
    if sources.is_empty() {
        writeln!(out, "no DataSource is held")?;
    }
    Ok(())
}
