//! The settings of the operator.

use super::{environment, random_name};
use crate::cli::Error;
use crate::config::NatsConfig;
use crate::config::nats::NatsArgs;
use crate::operator::Settings;
use crate::telemetry::LogFormat;
use crate::transport::admission::Files;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Every setting of the operator, as flag and variable.
#[derive(Debug, Args)]
pub struct OperatorArgs {
    /// Where health, readiness and metrics are.
    #[arg(long, env = "RESOLVESPEC_ADMIN_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:9090")]
    admin_listen: SocketAddr,
    /// Where the API server asks, over HTTPS, whether a resource may be applied (`POST /admit`); nowhere unless given.
    #[arg(long, env = "RESOLVESPEC_WEBHOOK_LISTEN", value_name = "ADDRESS")]
    webhook_listen: Option<SocketAddr>,
    /// The certificate for that, PEM, with those of who signed it. It is read again when the file changes.
    #[arg(long, env = "RESOLVESPEC_WEBHOOK_CERT", value_name = "FILE")]
    webhook_cert: Option<PathBuf>,
    /// The key of the certificate, PEM.
    #[arg(long, env = "RESOLVESPEC_WEBHOOK_KEY", value_name = "FILE")]
    webhook_key: Option<PathBuf>,
    /// The namespace of the Lease and of the Secret with the URLs; the one that the operator runs in unless given.
    #[arg(long, env = "RESOLVESPEC_NAMESPACE", value_name = "NAME")]
    namespace: Option<String>,
    /// A namespace whose resources are served; can be repeated. All of them unless given.
    #[arg(long = "watch-namespace", env = "RESOLVESPEC_WATCH_NAMESPACES", value_name = "NAME", value_delimiter = ',')]
    watch_namespaces: Vec<String>,
    /// The Lease that lets one of several operators lead.
    #[arg(long, env = "RESOLVESPEC_LEASE", value_name = "NAME", default_value = "resolvespec-operator")]
    lease: String,
    /// The name of this operator in the Lease; unique, such as its pod's. A random one unless given.
    #[arg(long, env = "RESOLVESPEC_IDENTITY", value_name = "NAME")]
    identity: Option<String>,
    /// The Secret in which replicas get the URLs of databases.
    #[arg(long, env = "RESOLVESPEC_DATABASES_SECRET", value_name = "NAME", default_value = "resolvespec-databases")]
    databases_secret: String,
    /// The folder where replicas have that Secret.
    #[arg(long, env = "RESOLVESPEC_DATABASES_PATH", value_name = "FOLDER", default_value = "/run/resolvespec/databases")]
    databases_path: String,
    /// Seconds between two looks at each database.
    #[arg(long, env = "RESOLVESPEC_SURVEY_SECONDS", value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    survey_seconds: u64,
    /// Seconds that the deletion of a DataSource waits for a database that is away; what captured changes is left there then.
    #[arg(long, env = "RESOLVESPEC_GIVE_UP_SECONDS", value_name = "SECONDS", default_value_t = 60)]
    give_up_seconds: u64,
    /// What is logged, such as `info,resolvespec=debug`.
    #[arg(long, env = "RESOLVESPEC_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
    /// How logs are written. [default: text]
    #[arg(long, env = "RESOLVESPEC_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    #[command(flatten)]
    nats: NatsArgs,
}

/// The settings of the operator, complete.
pub struct OperatorConfig {
    /// Where health, readiness and metrics are.
    pub admin_listen: SocketAddr,
    /// Where the API server asks whether a resource may be applied, if it does.
    pub webhook: Option<Webhook>,
    /// How it works.
    pub operator: Settings,
    /// Where NATS is.
    pub nats: NatsConfig,
    /// What is logged.
    pub log: String,
    /// How logs are written.
    pub log_format: LogFormat,
}

/// A listener for the API server.
pub struct Webhook {
    /// Where it is.
    pub listen: SocketAddr,
    /// Its certificate.
    pub files: Files,
}

impl OperatorArgs {
    /// The settings; NATS is where the catalog is published, so there has to be one.
    pub fn resolve(self) -> Result<OperatorConfig, Error> {
        let nats = self.nats.with_environment(environment).resolve()?;
        let nats = nats.ok_or_else(|| {
            Error::new("the operator publishes to NATS: name its servers with --nats-server or RESOLVESPEC_NATS_SERVERS")
        })?;
        let webhook = webhook(self.webhook_listen, self.webhook_cert, self.webhook_key)?;
        let operator = Settings {
            namespace: self.namespace,
            watched: self.watch_namespaces,
            lease: self.lease,
            identity: self.identity.filter(|name| !name.is_empty()).unwrap_or_else(random_name),
            databases_secret: self.databases_secret,
            databases_path: self.databases_path.trim_end_matches('/').to_owned(),
            survey: Duration::from_secs(self.survey_seconds),
            give_up: Duration::from_secs(self.give_up_seconds),
        };
        let log_format = self.log_format.unwrap_or_default();
        Ok(OperatorConfig { admin_listen: self.admin_listen, webhook, operator, nats, log: self.log, log_format })
    }
}

fn webhook(listen: Option<SocketAddr>, certificate: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<Webhook>, Error> {
    match (listen, certificate, key) {
        (None, None, None) => Ok(None),
        (Some(listen), Some(certificate), Some(key)) => Ok(Some(Webhook { listen, files: Files { certificate, key } })),
        (Some(_), ..) => {
            Err(Error::new("API servers speak HTTPS with webhooks: --webhook-listen needs --webhook-cert and --webhook-key"))
        }
        (None, ..) => Err(Error::new("--webhook-cert and --webhook-key are of no use without --webhook-listen")),
    }
}
