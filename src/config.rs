//! Settings: what was typed, what the environment and the file say, and what follows from it.
//!
//! A flag comes before its variable, that before the file, and that before the default. After this nobody reads the
//! environment.

mod broker;
mod connections;
mod mqtt;
mod nats;
mod operator;
mod release;

pub use broker::{BrokerArgs, Place};
pub use mqtt::MqttArgs;
pub use nats::{NatsArgs, NatsConfig};
pub use operator::{OperatorArgs, OperatorConfig, Webhook};
pub use release::ReleaseArgs;

use crate::auth::{Authentication, JwksLocation, JwksSettings, JwtSettings, KeySource, Secret};
use crate::cli::Error;
use crate::event::hub;
use crate::telemetry::tracing::LogFormat;
use crate::transport::origin::Hosts;
use crate::transport::{http, mqtt as brokers, ws};
use clap::Args;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// What `dev` takes.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Manifest files, or folders with them.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The port on loopback.
    #[arg(long, env = "RESOLVESPEC_PORT", default_value_t = 8080)]
    pub port: u16,
    /// What is logged, such as `info,resolvespec=debug`.
    #[arg(long, env = "RESOLVESPEC_LOG", default_value = DEV_LOG, value_name = "FILTER")]
    pub log: String,
    /// Brokers.
    #[command(flatten)]
    pub mqtt: MqttArgs,
}

/// Warnings, with the id of the request that they belong to.
const DEV_LOG: &str = "warn,resolvespec::transport::rest::enter=info";

/// What `serve` takes.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// A YAML file with these settings, named as the flags are, those of NATS below `nats` and without their `nats-`; flags and
    /// variables come before it.
    #[arg(long, env = "RESOLVESPEC_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// What `publish` takes.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// Manifest files, or folders with them.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Does not hold them against their databases. What can't be served is refused by the replicas, which keep what they have.
    #[arg(long)]
    offline: bool,
    /// The YAML file of `serve`, whose settings of NATS are taken; flags and variables come before it.
    #[arg(long, env = "RESOLVESPEC_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    nats: NatsArgs,
}

impl PublishArgs {
    /// The paths, whether no database is asked, and where to publish.
    pub fn resolve(self) -> Result<(Vec<PathBuf>, bool, NatsConfig), Error> {
        let given = self.nats.with_environment(environment);
        let nats = match &self.config {
            None => given,
            Some(file) => given.over(read_file(file)?.nats),
        };
        let nats = nats.resolve()?.ok_or_else(|| {
            Error::new("publish needs to know where: name a NATS server with --nats-server or RESOLVESPEC_NATS_SERVERS")
        })?;
        Ok((self.paths, self.offline, nats))
    }
}

pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// Every setting of `serve`, as flag, variable and key of the file.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// Manifest files, or folders with them. Without any, the catalog comes from NATS, where `publish` puts it.
    #[arg(value_name = "PATH", env = "RESOLVESPEC_MANIFESTS", value_delimiter = ':')]
    manifests: Vec<PathBuf>,
    /// Where requests are taken. [default: 0.0.0.0:8080]
    #[arg(long, env = "RESOLVESPEC_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where health, readiness and metrics are. [default: 0.0.0.0:9090]
    #[arg(long, env = "RESOLVESPEC_ADMIN_LISTEN", value_name = "ADDRESS")]
    admin_listen: Option<SocketAddr>,
    /// Lets callers without a token in, as anonymous.
    #[arg(long, env = "RESOLVESPEC_ALLOW_ANONYMOUS", num_args = 0..=1, default_missing_value = "true")]
    allow_anonymous: Option<bool>,
    /// A file with the secret that HS256 tokens are signed with, at least 32 bytes; or set RESOLVESPEC_JWT_SECRET to it.
    #[arg(long, env = "RESOLVESPEC_JWT_SECRET_FILE", value_name = "FILE")]
    jwt_secret_file: Option<PathBuf>,
    /// The secret itself; only from the environment, since command lines can be seen.
    #[arg(skip)]
    #[serde(skip)]
    jwt_secret: Option<Secret>,
    /// The key set that tokens are checked with: a URL, or a file.
    #[arg(long, env = "RESOLVESPEC_JWKS", value_name = "URL|FILE")]
    jwks: Option<String>,
    /// The issuer that tokens must have.
    #[arg(long, env = "RESOLVESPEC_JWT_ISSUER", value_name = "TEXT")]
    jwt_issuer: Option<String>,
    /// An audience that tokens may have; can be repeated.
    #[arg(long, env = "RESOLVESPEC_JWT_AUDIENCE", value_name = "TEXT", value_delimiter = ',')]
    jwt_audience: Vec<String>,
    /// The claim with the caller's roles, a dotted path. [default: roles]
    #[arg(long, env = "RESOLVESPEC_JWT_ROLES_CLAIM", value_name = "PATH")]
    jwt_roles_claim: Option<String>,
    /// An origin whose pages may call, over HTTP and WebSocket; can be repeated. None unless given.
    #[arg(long = "cors-origin", env = "RESOLVESPEC_CORS_ORIGINS", value_name = "ORIGIN", value_delimiter = ',')]
    cors_origins: Vec<String>,
    /// The largest body in bytes. [default: 10485760]
    #[arg(long, env = "RESOLVESPEC_MAX_BODY_BYTES", value_name = "BYTES")]
    max_body_bytes: Option<usize>,
    /// HTTP connections that may be open at once; those beyond are answered 503. WebSocket has its own. [default: 10000]
    #[arg(long, env = "RESOLVESPEC_HTTP_MAX_CONNECTIONS", value_name = "COUNT")]
    http_max_connections: Option<usize>,
    /// Seconds from the first byte of a request to the end of its headers. [default: 10]
    #[arg(long, env = "RESOLVESPEC_HTTP_HEADER_SECONDS", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    http_header_seconds: Option<u64>,
    /// Seconds in which nothing of a body may come, or nothing of an answer be taken. [default: 30]
    #[arg(long, env = "RESOLVESPEC_HTTP_BODY_SECONDS", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    http_body_seconds: Option<u64>,
    /// Seconds that an HTTP connection may wait for a request. [default: 75]
    #[arg(long, env = "RESOLVESPEC_HTTP_IDLE_SECONDS", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    http_idle_seconds: Option<u64>,
    /// Requests that may be open at once on a connection over HTTP/2, streams of gRPC among them. [default: 200]
    #[arg(long, env = "RESOLVESPEC_HTTP2_MAX_STREAMS", value_name = "COUNT")]
    http2_max_streams: Option<u32>,
    /// Seconds between two pings of a connection over HTTP/2. [default: 60]
    #[arg(long, env = "RESOLVESPEC_HTTP2_PING_SECONDS", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    http2_ping_seconds: Option<u64>,
    /// Seconds that the answer to one may take; then the connection is gone. [default: 20]
    #[arg(long, env = "RESOLVESPEC_HTTP2_PONG_SECONDS", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    http2_pong_seconds: Option<u64>,
    /// Pings of a client over HTTP/2 in ten seconds in which nothing but their answers is sent; after more it is sent away. [default: 100]
    #[arg(long, env = "RESOLVESPEC_HTTP2_MAX_PINGS", value_name = "COUNT")]
    http2_max_pings: Option<u32>,
    /// WebSocket connections and streams of gRPC that may be open at once. Every limit of WebSocket holds for gRPC as well. [default: 50000]
    #[arg(long, env = "RESOLVESPEC_WS_MAX_CONNECTIONS", value_name = "COUNT")]
    ws_max_connections: Option<usize>,
    /// The largest WebSocket message that is taken, in bytes. [default: 4194304]
    #[arg(long, env = "RESOLVESPEC_WS_MAX_MESSAGE_BYTES", value_name = "BYTES")]
    ws_max_message_bytes: Option<usize>,
    /// The largest WebSocket answer, in bytes; a read beyond it fails with `limit_exceeded`. [default: 16777216]
    #[arg(long, env = "RESOLVESPEC_WS_MAX_ANSWER_BYTES", value_name = "BYTES")]
    ws_max_answer_bytes: Option<usize>,
    /// Subscriptions that a WebSocket connection may have. [default: 1000]
    #[arg(long, env = "RESOLVESPEC_WS_MAX_SUBSCRIPTIONS", value_name = "COUNT")]
    ws_max_subscriptions: Option<usize>,
    /// Bytes in which a subscription may be said, its filters above all. [default: 65536]
    #[arg(long, env = "RESOLVESPEC_WS_MAX_SUBSCRIPTION_BYTES", value_name = "BYTES")]
    ws_max_subscription_bytes: Option<usize>,
    /// Bytes in which all subscriptions of a WebSocket connection may be said. [default: 1048576]
    #[arg(long, env = "RESOLVESPEC_WS_MAX_SESSION_BYTES", value_name = "BYTES")]
    ws_max_session_bytes: Option<usize>,
    /// Notifications that may wait for a WebSocket connection; beyond it the client is told to resume. [default: 10000]
    #[arg(long, env = "RESOLVESPEC_WS_MAX_WAITING", value_name = "COUNT")]
    ws_max_waiting: Option<usize>,
    /// Bytes of notifications that may wait for a WebSocket connection. [default: 8388608]
    #[arg(long, env = "RESOLVESPEC_WS_MAX_WAITING_BYTES", value_name = "BYTES")]
    ws_max_waiting_bytes: Option<usize>,
    /// Seconds that a WebSocket session's subscriptions are kept for its client to come back. [default: 600]
    #[arg(long, env = "RESOLVESPEC_WS_SESSION_SECONDS", value_name = "SECONDS")]
    ws_session_seconds: Option<u64>,
    /// Seconds between two pings of a WebSocket connection; one that is silent until the next is closed. [default: 25]
    #[arg(long, env = "RESOLVESPEC_WS_PING_SECONDS", value_name = "SECONDS")]
    ws_ping_seconds: Option<u64>,
    /// Seconds in which a WebSocket client may take nothing of what is written to it; beyond it, it is told to resume. [default: 10]
    #[arg(long, env = "RESOLVESPEC_WS_WRITE_SECONDS", value_name = "SECONDS")]
    ws_write_seconds: Option<u64>,
    /// WebSocket messages that may wait behind the one that is worked on; more are read when there is room. [default: 32]
    #[arg(long, env = "RESOLVESPEC_WS_MAX_QUEUED", value_name = "COUNT")]
    ws_max_queued: Option<usize>,
    /// Seconds between "not ready" and the end of new requests, for load balancers to notice. [default: 3]
    #[arg(long, env = "RESOLVESPEC_LEAVE_SECONDS", value_name = "SECONDS")]
    leave_seconds: Option<u64>,
    /// Seconds that requests have to finish after that. [default: 25]
    #[arg(long, env = "RESOLVESPEC_DRAIN_SECONDS", value_name = "SECONDS")]
    drain_seconds: Option<u64>,
    /// What is logged, such as `info,resolvespec=debug`. [default: info]
    #[arg(long, env = "RESOLVESPEC_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// How logs are written. [default: text]
    #[arg(long, env = "RESOLVESPEC_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// An OTLP collector for traces, over gRPC, such as http://127.0.0.1:4317. None unless given.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// The name of this replica in what it tells of itself; unique. A random one unless given.
    #[arg(long, env = "RESOLVESPEC_REPLICA_NAME", value_name = "NAME")]
    replica_name: Option<String>,
    /// The folder with URLs of databases that an operator hands over, such as a mounted Secret. None unless given.
    #[arg(long, env = "RESOLVESPEC_DATABASES_PATH", value_name = "FOLDER")]
    databases_path: Option<PathBuf>,
    #[command(flatten)]
    nats: NatsArgs,
    #[command(flatten)]
    mqtt: MqttArgs,
}

/// Which web pages may open WebSocket connections, and call without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    /// Those of the listed origins.
    Listed,
    /// Those, and every one of this machine.
    ListedAndLoopback,
}

/// The settings of a replica, complete.
#[derive(Debug)]
pub struct Config {
    /// Manifest files and folders; without any, the catalog comes from NATS.
    pub manifests: Vec<PathBuf>,
    /// Where requests are taken.
    pub listen: SocketAddr,
    /// Where health, readiness and metrics are; none in `dev`, where they are on the main port.
    pub admin_listen: Option<SocketAddr>,
    /// Who may enter.
    pub authentication: Authentication,
    /// Origins of pages that may call.
    pub cors_origins: Vec<String>,
    /// Which pages may open WebSocket connections, and call without a token.
    pub pages: Pages,
    /// By which names it may be called.
    pub hosts: Hosts,
    /// Limits and times of HTTP connections.
    pub http: http::Settings,
    /// Limits and times of WebSocket connections.
    pub ws: ws::Settings,
    /// Limits and times of subscriptions.
    pub live: hub::Settings,
    /// The largest body in bytes.
    pub max_body_bytes: usize,
    /// Between "not ready" and the end of new requests.
    pub leave_time: Duration,
    /// For requests to finish after that.
    pub drain_time: Duration,
    /// What is logged.
    pub log: String,
    /// How logs are written.
    pub log_format: LogFormat,
    /// Where traces go.
    pub otlp_endpoint: Option<String>,
    /// The name of this replica.
    pub replica_name: String,
    /// Where an operator hands over the URLs of databases.
    pub databases_path: Option<PathBuf>,
    /// Where NATS is, if it is used.
    pub nats: Option<NatsConfig>,
    /// Where MQTT brokers are, if there are any.
    pub mqtt: Option<brokers::Settings>,
}

const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

impl Config {
    /// The settings of `dev`: loopback, open, everything on one port.
    #[must_use]
    pub fn dev(args: &DevArgs) -> Self {
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        Self {
            manifests: args.paths.clone(),
            listen: SocketAddr::from((loopback, args.port)),
            admin_listen: None,
            authentication: Authentication::Anonymous,
            cors_origins: Vec::new(),
            pages: Pages::ListedAndLoopback,
            hosts: Hosts::OfThisMachine(loopback),
            http: http::Settings::default(),
            ws: ws::Settings::default(),
            live: hub::Settings::default(),
            max_body_bytes: MAX_BODY_BYTES,
            leave_time: Duration::ZERO,
            drain_time: Duration::from_secs(5),
            log: args.log.clone(),
            log_format: LogFormat::Text,
            otlp_endpoint: None,
            replica_name: random_name(),
            databases_path: None,
            nats: None,
            mqtt: None,
        }
    }

    /// The settings of `serve`; refuses to go without a word on authentication.
    pub fn serve(args: ServeArgs) -> Result<Self, Error> {
        let mut given = args.settings;
        given.jwt_secret = environment("RESOLVESPEC_JWT_SECRET").map(Secret::new);
        given.nats = given.nats.with_environment(environment);
        given.mqtt = given.mqtt.with_environment(environment);
        let settings = match &args.config {
            None => given,
            Some(file) => given.over(read_file(file)?),
        };
        settings.resolve()
    }
}

fn read_file(file: &PathBuf) -> Result<Settings, Error> {
    let text = std::fs::read_to_string(file).map_err(|error| Error::new(format!("{} can't be read: {error}", file.display())))?;
    serde_saphyr::from_str(&text).map_err(|error| Error::new(format!("{}: {error}", file.display())))
}

impl Settings {
    /// These settings, and for what they leave out those of the file.
    fn over(self, file: Settings) -> Settings {
        fn list<T>(own: Vec<T>, file: Vec<T>) -> Vec<T> {
            if own.is_empty() { file } else { own }
        }
        Settings {
            manifests: list(self.manifests, file.manifests),
            listen: self.listen.or(file.listen),
            admin_listen: self.admin_listen.or(file.admin_listen),
            allow_anonymous: self.allow_anonymous.or(file.allow_anonymous),
            jwt_secret_file: self.jwt_secret_file.or(file.jwt_secret_file),
            jwt_secret: self.jwt_secret,
            jwks: self.jwks.or(file.jwks),
            jwt_issuer: self.jwt_issuer.or(file.jwt_issuer),
            jwt_audience: list(self.jwt_audience, file.jwt_audience),
            jwt_roles_claim: self.jwt_roles_claim.or(file.jwt_roles_claim),
            cors_origins: list(self.cors_origins, file.cors_origins),
            max_body_bytes: self.max_body_bytes.or(file.max_body_bytes),
            http_max_connections: self.http_max_connections.or(file.http_max_connections),
            http_header_seconds: self.http_header_seconds.or(file.http_header_seconds),
            http_body_seconds: self.http_body_seconds.or(file.http_body_seconds),
            http_idle_seconds: self.http_idle_seconds.or(file.http_idle_seconds),
            http2_max_streams: self.http2_max_streams.or(file.http2_max_streams),
            http2_ping_seconds: self.http2_ping_seconds.or(file.http2_ping_seconds),
            http2_pong_seconds: self.http2_pong_seconds.or(file.http2_pong_seconds),
            http2_max_pings: self.http2_max_pings.or(file.http2_max_pings),
            ws_max_connections: self.ws_max_connections.or(file.ws_max_connections),
            ws_max_message_bytes: self.ws_max_message_bytes.or(file.ws_max_message_bytes),
            ws_max_answer_bytes: self.ws_max_answer_bytes.or(file.ws_max_answer_bytes),
            ws_max_subscriptions: self.ws_max_subscriptions.or(file.ws_max_subscriptions),
            ws_max_subscription_bytes: self.ws_max_subscription_bytes.or(file.ws_max_subscription_bytes),
            ws_max_session_bytes: self.ws_max_session_bytes.or(file.ws_max_session_bytes),
            ws_max_waiting: self.ws_max_waiting.or(file.ws_max_waiting),
            ws_max_waiting_bytes: self.ws_max_waiting_bytes.or(file.ws_max_waiting_bytes),
            ws_session_seconds: self.ws_session_seconds.or(file.ws_session_seconds),
            ws_ping_seconds: self.ws_ping_seconds.or(file.ws_ping_seconds),
            ws_write_seconds: self.ws_write_seconds.or(file.ws_write_seconds),
            ws_max_queued: self.ws_max_queued.or(file.ws_max_queued),
            leave_seconds: self.leave_seconds.or(file.leave_seconds),
            drain_seconds: self.drain_seconds.or(file.drain_seconds),
            log: self.log.or(file.log),
            log_format: self.log_format.or(file.log_format),
            otlp_endpoint: self.otlp_endpoint.or(file.otlp_endpoint),
            replica_name: self.replica_name.or(file.replica_name),
            databases_path: self.databases_path.or(file.databases_path),
            nats: self.nats.over(file.nats),
            mqtt: self.mqtt.over(file.mqtt),
        }
    }

    fn resolve(self) -> Result<Config, Error> {
        self.check()?;
        let authentication = self.authentication()?;
        let (http, ws, live) = (self.http(), self.ws(), self.live());
        let nats = self.nats.resolve()?;
        let replica_name = self.replica_name.filter(|name| !name.is_empty()).unwrap_or_else(random_name);
        let leaves_tokens_unbound = self.mqtt.leaves_tokens_unbound();
        let mqtt = self.mqtt.resolve(&replica_name)?;
        // Only a claim, or the broker, knows whether a token is of the client by whose topic it comes.
        if leaves_tokens_unbound && matches!(authentication, Authentication::Jwt(_)) {
            return Err(Error::new(
                "serve needs to know which clients of MQTT may use a token: name the claim that has the client's id with --mqtt-client-claim, or say --mqtt-client-claim none where brokers ask /mqtt/auth or bind client ids to users by themselves",
            ));
        }
        let agreed = |mqtt: &brokers::Settings| mqtt.sharing == brokers::Sharing::Agreed && !mqtt.session_expiry.is_zero();
        if nats.is_none() && mqtt.as_ref().is_some_and(agreed) {
            return Err(Error::new(
                "--mqtt-session-seconds needs --mqtt-group, or NATS to keep its name: a broker that keeps our session tells requests to the group of before",
            ));
        }
        if self.manifests.is_empty() && nats.is_none() {
            return Err(Error::new(
                "serve needs manifests: name files or folders, or set RESOLVESPEC_MANIFESTS; or --nats-server, to take what was published there",
            ));
        }
        Ok(Config {
            authentication,
            manifests: self.manifests,
            listen: self.listen.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 8080))),
            admin_listen: Some(self.admin_listen.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 9090)))),
            http,
            ws,
            live,
            cors_origins: self.cors_origins,
            pages: Pages::Listed,
            hosts: Hosts::Any,
            max_body_bytes: self.max_body_bytes.unwrap_or(MAX_BODY_BYTES),
            leave_time: Duration::from_secs(self.leave_seconds.unwrap_or(3)),
            drain_time: Duration::from_secs(self.drain_seconds.unwrap_or(25)),
            log: self.log.unwrap_or_else(|| "info".to_owned()),
            log_format: self.log_format.unwrap_or_default(),
            otlp_endpoint: self.otlp_endpoint,
            replica_name,
            databases_path: self.databases_path,
            nats,
            mqtt,
        })
    }

    fn authentication(&self) -> Result<Authentication, Error> {
        let anonymous = self.allow_anonymous.unwrap_or(false);
        let secret = match (&self.jwt_secret, &self.jwt_secret_file) {
            (Some(secret), _) => Some(secret.clone()),
            (None, Some(file)) => {
                let text = std::fs::read_to_string(file);
                let text = text.map_err(|error| Error::new(format!("the secret {} can't be read: {error}", file.display())))?;
                Some(Secret::new(text.trim().to_owned()))
            }
            (None, None) => None,
        };
        let key = match (secret, &self.jwks) {
            (Some(_), Some(_)) => {
                return Err(Error::new("tokens are checked with a secret or with a key set; both are given, name one"));
            }
            (Some(secret), None) => KeySource::Secret(secret),
            (None, Some(place)) => KeySource::Jwks(JwksSettings::new(location(place)?)),
            (None, None) if anonymous => return Ok(Authentication::Anonymous),
            (None, None) => {
                return Err(Error::new(
                    "serve needs to know who may enter: set RESOLVESPEC_JWT_SECRET, --jwt-secret-file or --jwks, or say --allow-anonymous",
                ));
            }
        };
        let mut settings = JwtSettings::new(key);
        settings.issuer.clone_from(&self.jwt_issuer);
        settings.audience = (!self.jwt_audience.is_empty()).then(|| self.jwt_audience.clone());
        if let Some(claim) = &self.jwt_roles_claim {
            settings.roles_claim.clone_from(claim);
        }
        settings.allow_anonymous = anonymous;
        Ok(Authentication::Jwt(settings))
    }
}

fn random_name() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn location(place: &str) -> Result<JwksLocation, Error> {
    if place.contains("://") {
        let url = place.parse().map_err(|error| Error::new(format!("the key set's URL '{place}' can't be read: {error}")))?;
        return Ok(JwksLocation::Url(url));
    }
    Ok(JwksLocation::File(PathBuf::from(place)))
}
