//! The wiring of a replica: engine, transports and listeners, from start to drain.

use crate::auth::Authenticator;
use crate::cli::Error;
use crate::config::{Config, Pages};
use crate::drain::Drain;
use crate::engine::{Engine, Hook, Served};
use crate::event::hub::{self, Hub};
use crate::live::{Handles, Running};
use crate::observed::Observed;
use crate::ports::Ports;
use crate::readiness::Needs;
use crate::telemetry::Metrics;
use crate::transport::admin;
use crate::transport::asyncapi;
use crate::transport::conversation::{self, Conversations};
use crate::transport::cores::Cores;
use crate::transport::grpc::{self, Grpc, Health};
use crate::transport::http::{self, Door, Http};
use crate::transport::mqtt::{self, Durable, DurableParts, Mqtt};
use crate::transport::origin::Origins;
use crate::transport::rest::{Parts, Rest};
use crate::transport::routes::{Routes, for_operators};
use crate::transport::ws::Ws;
use axum::http::HeaderValue;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// A replica that has its ports and does not serve yet.
pub struct Replica {
    rest: Rest,
    ws: Ws,
    mqtt: Option<(Mqtt, Durable)>,
    grpc: grpc::Enter,
    health: Health,
    hub: Hub,
    handles: Handles,
    listener: TcpListener,
    admin: Option<TcpListener>,
    address: SocketAddr,
    http: http::Settings,
    leave_time: Duration,
    drain_time: Duration,
}

/// Puts the parts together for one replica alone, and takes the ports.
pub async fn bind(config: &Config, served: Served, hooks: Vec<Arc<dyn Hook>>) -> Result<Replica, Error> {
    bind_with(config, served, hooks, Handles::memory()).await
}

/// Puts the parts together with what is shared by replicas, and takes the ports.
pub async fn bind_with(config: &Config, served: Served, hooks: Vec<Arc<dyn Hook>>, handles: Handles) -> Result<Replica, Error> {
    open(Ports::take(config, Needs::default()).await?, config, served, hooks, handles).await
}

/// Puts the parts together, on ports that were taken before.
pub async fn open(
    ports: Ports,
    config: &Config,
    served: Served,
    hooks: Vec<Arc<dyn Hook>>,
    handles: Handles,
) -> Result<Replica, Error> {
    let Ports { listener, admin, address, readiness, metrics } = ports;
    metrics.catalog(Some(served.catalog.entities().len()));
    let origins = config.cors_origins.iter().map(|origin| {
        HeaderValue::from_str(origin)
            .map_err(|_| Error::new(format!("'{origin}' is no origin; write for example https://example.com")))
    });
    let origins: Arc<[HeaderValue]> = origins.collect::<Result<_, _>>()?;
    let engine = Engine::new(served, hooks, Arc::new(Observed(metrics.clone())));
    let hub = Hub::new(hub::Parts {
        engine: engine.clone(),
        bus: Arc::clone(&handles.bus),
        sessions: Arc::clone(&handles.sessions),
        metrics: metrics.live(),
        settings: config.live,
    });
    let authenticator = Authenticator::new(config.authentication.clone()).await?;
    let conversations = Conversations::from(conversation::Parts {
        engine: engine.clone(),
        hub: hub.clone(),
        authenticator: authenticator.clone(),
        settings: config.ws.clone(),
    });
    let pages = match config.pages {
        Pages::Listed => Origins::listed(Arc::clone(&origins)),
        Pages::ListedAndLoopback => Origins::listed(Arc::clone(&origins)).with_loopback(),
    };
    let ws = Ws { conversations: conversations.clone(), metrics: metrics.sessions(), origins: pages.clone() };
    let brokers = |settings: &mqtt::Settings| {
        let durable = Durable::from(DurableParts {
            engine: engine.clone(),
            hub: hub.clone(),
            of_client: config.live,
            bucket: Arc::clone(&handles.subscriptions),
            leases: Arc::clone(&handles.leases),
            replica: config.replica_name.clone(),
            prefix: settings.prefix.clone(),
            metrics: metrics.durable(),
            settings: settings.durable.clone(),
        });
        let mqtt = Mqtt::from(mqtt::Parts {
            engine: engine.clone(),
            authenticator: authenticator.clone(),
            clients: Arc::clone(&handles.clients),
            agreements: Arc::clone(&handles.subscriptions),
            subscriptions: Arc::new(durable.clone()),
            readiness: readiness.clone(),
            metrics: metrics.clone(),
            settings: settings.clone(),
        });
        (mqtt, durable)
    };
    let mqtt = config.mqtt.as_ref().map(brokers);
    let (calls, streams) = (metrics.calls(), metrics.streams());
    let rest = Rest::from(Parts {
        engine,
        authenticator,
        drain: Drain::default(),
        readiness,
        metrics,
        max_body_bytes: config.max_body_bytes,
        body_time: config.http.body_time,
        mqtt: config.mqtt.as_ref().map(described),
        cors_origins: origins,
        origins: pages,
        hosts: config.hosts,
    });
    let health = Health::new(rest.clone());
    let grpc = grpc::services(&Grpc { conversations, rest: rest.clone(), calls, streams }, health.clone())
        .map_err(|error| Error::new(format!("gRPC can't be described: {error}")))?;
    let (http, leave_time, drain_time) = (config.http, config.leave_time, config.drain_time);
    Ok(Replica { rest, ws, mqtt, grpc, health, hub, handles, listener, admin, address, http, leave_time, drain_time })
}

/// Where MQTT is spoken, as the document tells it: unless something else is said, clients reach the brokers as the service does.
fn described(settings: &mqtt::Settings) -> asyncapi::Mqtt {
    let of_clients = |address: &mqtt::Address| asyncapi::Broker { host: address.host.clone(), secure: address.secure };
    let ours = |server: &mqtt::Server| asyncapi::Broker { host: server.name.clone(), secure: server.tls.is_some() };
    let brokers = if settings.public.is_empty() {
        settings.servers.iter().map(ours).collect()
    } else {
        settings.public.iter().map(of_clients).collect()
    };
    asyncapi::Mqtt { brokers, prefix: settings.prefix.clone() }
}

impl Replica {
    /// Where requests are taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What answers.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.rest.engine
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.rest.metrics
    }

    /// Serves until `end` is ready, then leaves, drains and closes.
    pub async fn run(self, end: impl Future<Output = std::io::Result<()>>) -> Result<(), Error> {
        let drain = self.rest.drain.clone();
        let engine = self.rest.engine.clone();
        let conversations = self.ws.conversations.clone();
        let live = Running::start(self.hub, engine.clone(), self.handles.bus, self.rest.metrics.clone());
        if let Some((mqtt, durable)) = &self.mqtt {
            mqtt.start();
            durable.start(mqtt.brokers());
        }
        let (rest, has_admin) = (self.rest.clone(), self.admin.is_none());
        let routes = Routes { rest, ws: self.ws, grpc: self.grpc, mqtt: self.mqtt.clone(), has_admin };
        let connections = self.rest.metrics.http_connections();
        let http = Http::new(self.http, connections.clone(), drain.clone());
        let each = http.clone();
        let mut cores = Cores::start(move |connections| {
            let (http, service) = (each.clone(), routes.of_core());
            async move { http.serve(connections, service).await }
        })?;
        let seats = self.http.max_connections;
        let door = Door::new(self.listener, seats, connections.clone());
        let served = async {
            let admin_router = admin::router(self.rest.clone()).merge(for_operators(conversations.clone(), self.mqtt.clone()));
            let admin = async {
                if let Some(listener) = self.admin {
                    http.serve(Door::new(listener, seats, connections), admin_router).await;
                }
                Ok(())
            };
            tokio::try_join!(cores.run(door, drain.closed()), admin)?;
            conversations.closed().await;
            if let Some((mqtt, _)) = &self.mqtt {
                mqtt.closed().await;
            }
            Ok(())
        };
        let ended = async {
            end.await?;
            drain.leave();
            tokio::time::sleep(self.leave_time).await;
            drain.close();
            // Whoever still waits at the end is cut off.
            let end = tokio::time::Instant::now() + self.drain_time;
            if let Some((mqtt, durable)) = &self.mqtt {
                // Handed over while there is still a connection for what is on its way.
                if tokio::time::timeout(self.drain_time / 3, durable.leave()).await.is_err() {
                    tracing::warn!("not every part could be handed over in time");
                }
                mqtt.leave();
            }
            conversations.leave(self.drain_time / 3).await;
            tokio::time::sleep_until(end).await;
            Ok::<_, std::io::Error>(())
        };
        let outcome = tokio::select! {
            outcome = served => outcome,
            outcome = ended => outcome,
            () = live.failed() => Err(std::io::Error::other("changes can't be told any more")),
            never = engine.forget_keys() => match never {},
            never = self.health.observe() => match never {},
        };
        if let Some((_, durable)) = &self.mqtt {
            durable.close().await;
        }
        live.end().await;
        for database in engine.served().databases.values() {
            database.close().await;
        }
        outcome.map_err(Error::from)
    }
}
