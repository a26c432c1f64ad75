//! What replicas share: one connection to NATS, the bus of changes and the buckets, made from the settings.
//!
//! Joining waits for as long as NATS can't be reached, since it may start later than its replicas do; settings that can't
//! work are an error at once.

use crate::cli::Error;
use crate::config::NatsConfig;
use crate::event::bus::{self, Bus, NatsBus};
use crate::nats::{ConnectError, Connection};
use crate::store::{self, Bucket, BucketSettings, NatsBucket};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{info, warn};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often it is told again that NATS is waited for.
const TELL_AGAIN: Duration = Duration::from_secs(30);

/// What replicas share. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    /// The connection, for readiness.
    pub connection: Connection,
    /// The changes.
    pub bus: Arc<dyn Bus>,
    /// Generations of the catalog.
    pub catalog: Arc<dyn Bucket>,
    /// Sessions of clients.
    pub sessions: Arc<dyn Bucket>,
    /// Who the clients of MQTT brokers are.
    pub clients: Arc<dyn Bucket>,
    /// Subscriptions of MQTT clients.
    pub mqtt: Arc<dyn Bucket>,
    /// Who tells of them, and which replicas can.
    pub leases: Arc<dyn Bucket>,
    /// What replicas tell of themselves.
    pub replicas: Arc<dyn Bucket>,
}

/// Why joining has to be tried again, or can't succeed.
enum Failure {
    Away(String),
    Wrong(String),
}

/// Connects, and makes the stream and the buckets or adapts them; waits until NATS is there.
pub async fn join(config: &NatsConfig) -> Result<Cluster, Error> {
    let mut waiting = Waiting::default();
    let connection = waiting.until(|| connect(config)).await?;
    let cluster = waiting.until(|| open(&connection, config)).await?;
    info!(stream = config.stream.name, catalog = config.catalog.name, "NATS is there");
    Ok(cluster)
}

/// Connects and takes the catalog's bucket as the replicas have made it; for who publishes, and doesn't wait.
pub async fn catalog(config: &NatsConfig) -> Result<Arc<dyn Bucket>, Error> {
    let connection = Connection::open(&config.connection).await?;
    Ok(Arc::new(NatsBucket::find(&connection, config.catalog.clone()).await?))
}

/// Connects and makes the buckets of the catalog and of the replicas, or adapts them; waits until NATS is there.
pub async fn generations(config: &NatsConfig) -> Result<(Arc<dyn Bucket>, Arc<dyn Bucket>), Error> {
    let mut waiting = Waiting::default();
    let connection = waiting.until(|| connect(config)).await?;
    let open = async |settings: &BucketSettings| {
        let bucket = NatsBucket::open(&connection, settings.clone()).await?;
        Ok::<Arc<dyn Bucket>, Failure>(Arc::new(bucket))
    };
    let catalog = waiting.until(|| open(&config.catalog)).await?;
    let replicas = waiting.until(|| open(&config.replicas)).await?;
    info!(catalog = config.catalog.name, "NATS is there");
    Ok((catalog, replicas))
}

async fn connect(config: &NatsConfig) -> Result<Connection, Failure> {
    Ok(Connection::open(&config.connection).await?)
}

async fn open(connection: &Connection, config: &NatsConfig) -> Result<Cluster, Failure> {
    let bucket = async |settings: &BucketSettings| {
        let bucket = NatsBucket::open(connection, settings.clone()).await?;
        Ok::<Arc<dyn Bucket>, Failure>(Arc::new(bucket))
    };
    Ok(Cluster {
        connection: connection.clone(),
        bus: Arc::new(NatsBus::open(connection, config.stream.clone()).await?),
        catalog: bucket(&config.catalog).await?,
        sessions: bucket(&config.sessions).await?,
        clients: bucket(&config.clients).await?,
        mqtt: bucket(&config.mqtt).await?,
        leases: bucket(&config.leases).await?,
        replicas: bucket(&config.replicas).await?,
    })
}

/// Tries again and again, and tells about it now and then.
struct Waiting {
    told: Option<(Instant, String)>,
    pause: Duration,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { told: None, pause: FIRST_PAUSE }
    }
}

impl Waiting {
    async fn until<T>(&mut self, attempt: impl AsyncFn() -> Result<T, Failure>) -> Result<T, Error> {
        loop {
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(Failure::Wrong(reason)) => return Err(Error::new(reason)),
                Err(Failure::Away(reason)) => self.tell(reason),
            }
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn tell(&mut self, reason: String) {
        if self.told.as_ref().is_none_or(|(at, told)| at.elapsed() >= TELL_AGAIN || *told != reason) {
            warn!("waiting for NATS: {reason}");
            self.told = Some((Instant::now(), reason));
        }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Settings(_) => Failure::Wrong(error.to_string()),
            ConnectError::Unreachable(_) => Failure::Away(error.to_string()),
        }
    }
}

impl From<bus::Error> for Failure {
    fn from(error: bus::Error) -> Self {
        match error {
            bus::Error::Unusable(_) => Failure::Wrong(error.to_string()),
            bus::Error::Unavailable(_) | bus::Error::Gone { .. } => Failure::Away(error.to_string()),
        }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Unusable(_) => Failure::Wrong(error.to_string()),
            store::Error::Unavailable(_) => Failure::Away(error.to_string()),
        }
    }
}
