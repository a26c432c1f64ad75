//! The operator: makes the resources of a Kubernetes cluster the catalog of its replicas, and tells each resource how it is.
//!
//! In reading order: `watch` has what the cluster has, `database` what databases have, `replicas` what replicas serve; `turn` takes one
//! turn over all of it (dereference → validate → build → apply → status) whenever any of it changes; `lease` lets one operator of
//! several do so. `admission` judges what is about to be applied, and all operators answer alike; `release` lets sources go where no
//! operator is left. The catalog is one thing that all entities share, so there is one turn over everything and none for each
//! resource. The data path needs nothing of this: replicas follow what is published.

pub mod admission;
mod beside;
mod build;
mod capture;
mod condition;
mod database;
mod dereference;
mod finalizer;
mod grant;
mod handing;
mod illegible;
mod lease;
pub mod release;
mod replicas;
mod seen;
mod status;
mod tell;
#[cfg(test)]
mod test_cluster;
mod trial;
mod turn;
mod validate;
mod verdict;
mod watch;

use crate::cli::Error;
use crate::store::Bucket;
use crate::telemetry::OperatorMetrics;
use handing::Handing;
pub use handing::OwnSecret;
use kube::{Client, Config};
use lease::Lease;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch as channel};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};
use turn::Turns;

/// Who the operator is to the API server.
const FIELD_MANAGER: &str = "resolvespec-operator";

/// What comes together is done together.
const GATHERING: Duration = Duration::from_millis(50);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How the operator works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The namespace of its own resources.
    pub namespace: Option<String>,
    /// The namespaces that are watched; all of them if none is named.
    pub watched: Vec<String>,
    /// The Lease of whoever leads.
    pub lease: String,
    /// The name of this candidate.
    pub identity: String,
    /// The Secret in which replicas get the URLs of databases.
    pub databases_secret: String,
    /// The folder where replicas have that Secret.
    pub databases_path: String,
    /// How often databases are looked at.
    pub survey: Duration,
    /// How long a deletion waits for a database that is away.
    pub give_up: Duration,
}

impl Settings {
    /// The Secret that no DataSource may name, if it is set where it is.
    #[must_use]
    pub fn own_secret(&self) -> Option<OwnSecret> {
        let namespace = self.namespace.clone()?;
        Some(OwnSecret { namespace, name: self.databases_secret.clone() })
    }
}

/// What the operator shares with the replicas.
pub struct Shared {
    /// Generations of the catalog.
    pub catalog: Arc<dyn Bucket>,
    /// What replicas tell of themselves.
    pub replicas: Arc<dyn Bucket>,
}

/// The interface to the API server, as the environment says: a kubeconfig or the pod's own account.
pub struct Cluster {
    client: Client,
    namespace: String,
}

impl Cluster {
    /// Finds the API server; nothing is asked of it yet.
    pub async fn find() -> Result<Self, Error> {
        let mut config = Config::infer().await?;
        // Longer than the API server lets a watch go on; a connection that is dead without a word ends by it.
        config.read_timeout = Some(Duration::from_mins(6));
        let namespace = config.default_namespace.clone();
        Ok(Self { client: Client::try_from(config)?, namespace })
    }
}

/// Works until it is told to end.
pub async fn run(cluster: Cluster, shared: Shared, settings: Settings, metrics: OperatorMetrics, end: CancellationToken) {
    let tasks = TaskTracker::new();
    let changed = Arc::new(Notify::new());
    let namespace = settings.namespace.clone().unwrap_or_else(|| cluster.namespace.clone());
    let world = watch::World::watch(&cluster.client, &settings.watched, &changed, &tasks);
    let (told, replicas) = channel::channel(replicas::Replicas::new());
    tasks.spawn(replicas::follow(Arc::clone(&shared.replicas), told, Arc::clone(&changed)));
    let mut lease = Lease::new(cluster.client.clone(), &namespace, &settings.lease, &settings.identity);
    let working = async {
        loop {
            lease.acquired().await;
            metrics.leads(true);
            let leading = Leading {
                cluster: &cluster,
                shared: &shared,
                settings: &settings,
                namespace: &namespace,
                world: &world,
                changed: &changed,
                tasks: &tasks,
                metrics: &metrics,
            };
            tokio::select! {
                // One that was frozen looks at its lease before it goes on.
                biased;
                () = lease.lost() => {}
                () = leading.run(replicas.clone()) => {}
            }
            metrics.leads(false);
        }
    };
    end.run_until_cancelled(working).await;
    metrics.leads(false);
    lease.release().await;
}

/// What whoever leads does.
struct Leading<'o> {
    cluster: &'o Cluster,
    shared: &'o Shared,
    settings: &'o Settings,
    namespace: &'o str,
    world: &'o watch::World,
    changed: &'o Arc<Notify>,
    tasks: &'o TaskTracker,
    metrics: &'o OperatorMetrics,
}

impl Leading<'_> {
    async fn run(self, replicas: channel::Receiver<replicas::Replicas>) {
        if !self.world.is_known().await {
            error!("the watches have ended");
            return;
        }
        let mut turns = self.begin(replicas).await;
        let mut pause = FIRST_PAUSE;
        let mut recalled = Instant::now();
        loop {
            let began = Instant::now();
            let outcome = Box::pin(turns.take()).await;
            self.metrics.turn(began.elapsed(), outcome.is_ok());
            let again = match outcome {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    let soonest = turns.again_at().unwrap_or(began + self.settings.survey);
                    soonest.min(began + self.settings.survey).max(began + FIRST_PAUSE)
                }
                Err(error) => {
                    warn!(%error, "a turn has failed; it is tried again");
                    let again = Instant::now() + pause;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    // What has changed meanwhile does not make it succeed.
                    sleep_until(again.min(Instant::now() + FIRST_PAUSE)).await;
                    again
                }
            };
            _ = timeout_at(again, self.changed.notified()).await;
            sleep(GATHERING).await;
            if recalled.elapsed() >= self.settings.survey {
                recalled = Instant::now();
                if let Err(error) = turns.recall().await {
                    warn!(%error, "what is published can't be looked at");
                }
                if let Err(error) = turns.look_at_handed().await {
                    warn!(%error, "the Secret of the databases can't be looked at");
                }
            }
        }
    }

    /// Looks at what was handed over before.
    async fn begin(&self, replicas: channel::Receiver<replicas::Replicas>) -> Turns {
        let Self { cluster, shared, settings, .. } = self;
        let client = cluster.client.clone();
        loop {
            let handing =
                Handing::begin(client.clone(), self.namespace, &settings.databases_secret, &settings.databases_path).await;
            match handing {
                Ok(handing) => {
                    return Turns {
                        client: client.clone(),
                        world: self.world.clone(),
                        looks: database::Looks::new(
                            client.clone(),
                            settings.survey,
                            Arc::clone(self.changed),
                            self.tasks.clone(),
                        ),
                        replicas: replicas.clone(),
                        catalog: Arc::clone(&shared.catalog),
                        handing,
                        captures: capture::Captures::new(settings.give_up, Arc::clone(self.changed), self.tasks.clone()),
                        trials: trial::Trials::new(Arc::clone(self.changed), self.tasks.clone()),
                        teller: tell::Teller::new(client.clone(), &settings.identity, self.metrics.clone()),
                        memory: turn::Memory::default(),
                    };
                }
                Err(error) => warn!(%error, "the Secret of the databases can't be looked at yet"),
            }
            sleep(FIRST_PAUSE).await;
        }
    }
}
