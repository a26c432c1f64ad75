//! `serve`: one replica, alone or as one of many that share a NATS.

use crate::cli::Error;
use crate::cluster::{self, Cluster};
use crate::config::{Config, NatsConfig, ServeArgs};
use crate::engine::Served;
use crate::generation::{Announcer, Follower};
use crate::live::Handles;
use crate::load::load;
use crate::ports::Ports;
use crate::readiness::Needs;
use crate::serve::{Replica, open};
use crate::{drain, telemetry};
use std::collections::HashMap;

/// Serves until the process is told to end.
pub async fn serve(args: ServeArgs) -> Result<(), Error> {
    let mut signals = drain::Signals::listen()?;
    let config = Config::serve(args)?;
    let _traces =
        telemetry::init(&telemetry::TracingSettings::new(config.log_format, &config.log, config.otlp_endpoint.as_deref()))?;
    let Some(nats) = &config.nats else { return alone(&config, &mut signals).await };
    let needs = Needs { nats: true, catalog: config.manifests.is_empty() };
    let ports = Ports::take(&config, needs).await?;
    tracing::info!(replica = config.replica_name, listen = %ports.address(), "starting");
    let started = tokio::select! {
        ended = signals.received() => return Ok(ended?),
        started = ports.meanwhile(Joined::join(&config, nats, &ports)) => started??,
    };
    let (served, handles, joined) = started;
    let replica = open(ports, &config, served, Vec::new(), handles).await?;
    tell(&replica);
    Box::pin(joined.run(replica, &mut signals)).await
}

async fn alone(config: &Config, signals: &mut drain::Signals) -> Result<(), Error> {
    let served = load(&config.manifests, &HashMap::new(), false).await.map_err(Error::Manifests)?;
    let ports = Ports::take(config, Needs::default()).await?;
    let replica = open(ports, config, served, Vec::new(), Handles::memory()).await?;
    tell(&replica);
    replica.run(signals.received()).await
}

fn tell(replica: &Replica) {
    let entities = replica.engine().served().catalog.entities().len();
    tracing::info!(listen = %replica.address(), entities, "serving");
}

/// What a replica does beside answering, where it has joined others.
struct Joined {
    /// The catalog's bucket is followed, unless the catalog is from files.
    following: Option<(Follower, Announcer)>,
}

impl Joined {
    /// Waits for NATS and for something to serve.
    async fn join(config: &Config, nats: &NatsConfig, ports: &Ports) -> Result<(Served, Handles, Self), Error> {
        let Cluster { connection, bus, catalog, sessions, clients, mqtt, leases, replicas } = cluster::join(nats).await?;
        let handles = Handles { bus, sessions, clients, subscriptions: mqtt, leases };
        ports.readiness.connected(connection);
        if !config.manifests.is_empty() {
            let served = load(&config.manifests, &HashMap::new(), false).await.map_err(Error::Manifests)?;
            return Ok((served, handles, Self { following: None }));
        }
        let mut follower = Follower::begin(&*catalog, ports.readiness.clone(), ports.metrics.clone()).await?;
        let replica = config.replica_name.clone();
        let (served_now, refused) = (follower.served(), follower.refusal());
        let databases = config.databases_path.clone();
        let mqtt_prefix = config.mqtt.as_ref().map(|mqtt| mqtt.prefix.clone());
        let mut announcer = Announcer { replica, replicas, catalog, served: served_now, refused, databases, mqtt_prefix };
        // What it waits for is told, to whoever publishes.
        let served = tokio::select! {
            served = follower.first() => served,
            never = announcer.run() => match never {},
        };
        Ok((served, handles, Self { following: Some((follower, announcer)) }))
    }

    async fn run(self, replica: Replica, signals: &mut drain::Signals) -> Result<(), Error> {
        let Some((follower, mut announcer)) = self.following else { return replica.run(signals.received()).await };
        let engine = replica.engine().clone();
        let outcome = tokio::select! {
            ended = replica.run(signals.received()) => ended,
            () = follower.follow(&engine) => Ok(()),
            never = announcer.run() => match never {},
        };
        announcer.leave().await;
        outcome
    }
}
