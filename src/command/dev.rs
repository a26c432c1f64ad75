//! `dev`: everything in one process on loopback, with what to try printed first.

#[cfg(feature = "embedded-broker")]
use super::broker::{self, OwnBroker};
use super::capture::install_embedded;
#[cfg(not(feature = "embedded-broker"))]
use super::no_broker::{self as broker, OwnBroker};
use super::watch::{Changes, watch};
use crate::catalog::Catalog;
use crate::cli::Error;
use crate::config::{BrokerArgs, Config, DevArgs, environment};
use crate::load::load;
use crate::{drain, serve as wiring, telemetry};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;

/// Serves until the process is told to end, and reloads manifests that change.
pub async fn dev(args: DevArgs, own: &BrokerArgs) -> Result<(), Error> {
    let mut signals = drain::Signals::listen()?;
    let mut config = Config::dev(&args);
    config.mqtt = args.mqtt.with_environment(environment).resolve(&config.replica_name)?;
    let place = own.place(config.mqtt.is_some())?;
    let _traces = telemetry::init(&telemetry::TracingSettings::new(config.log_format, &config.log, None))?;
    let served = load(&config.manifests, &HashMap::new(), true).await.map_err(Error::Manifests)?;
    let captured = install_embedded(&served).await?;
    let own = broker::open(place).await?;
    if let Some(own) = &own {
        config.mqtt = Some(own.settings());
    }
    let replica = wiring::bind(&config, served, Vec::new()).await?;
    let changes = Changes::of(&config.manifests)?;
    print_welcome(replica.address(), &replica.engine().served().catalog, &captured, own.as_ref())?;
    let engine = replica.engine().clone();
    let metrics = replica.metrics().clone();
    let brokering = async {
        match own {
            Some(own) => own.run().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = replica.run(signals.received()) => ended,
        failed = brokering => failed,
        failed = watch(changes, &config.manifests, &engine, &metrics) => failed,
    }
}

fn print_welcome(address: SocketAddr, catalog: &Catalog, captured: &[String], own: Option<&OwnBroker>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ResolveSpec serves {} entities at http://{address}", catalog.entities().len())?;
    writeln!(out, "It is open to every program on this machine; use `resolvespec serve` for others.\n")?;
    let (closed, open): (Vec<_>, Vec<_>) = catalog.entities().iter().partition(|entity| entity.is_closed);
    for entity in &open {
        writeln!(out, "  {}", try_it(address, &entity.schema, &entity.name))?;
    }
    for entity in closed {
        writeln!(out, "  nobody may use {}: it has an AccessPolicy, which can't be enforced yet", entity.full_name())?;
    }
    writeln!(out, "\nLive changes are told at ws://{address}/ws.")?;
    if let (Some(own), Some(entity)) = (own, open.first()) {
        own.welcome(&mut out, entity)?;
    }
    captured.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    writeln!(out, "Manifests are reloaded when they change. Ctrl-C ends it.")?;
    out.flush()
}

/// What neither a URL nor a shell takes for anything else.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A command that reads an entity.
fn try_it(address: SocketAddr, schema: &str, name: &str) -> String {
    let (schema, name) = (utf8_percent_encode(schema, PLAIN), utf8_percent_encode(name, PLAIN));
    format!("curl -s http://{address}/api/{schema}/{name} -d '{{\"operation\":\"read\",\"options\":{{\"limit\":3}}}}'")
}

#[cfg(test)]
mod tests {
    use super::try_it;

    #[test]
    fn names_are_encoded_for_urls_and_shells() {
        let command = try_it(([127, 0, 0, 1], 8080).into(), "public", "order $(l)ines'\"é");
        assert!(
            command.starts_with("curl -s http://127.0.0.1:8080/api/public/order%20%24%28l%29ines%27%22%C3%A9 -d '{"),
            "{command}"
        );
    }
}
