//! PostgreSQL's log by logical replication, through pgwire-replication: what a slot tells, and how far it is done with.
//!
//! The session is the only one that may hold the slot, so the slot elects who tells. Where the URL asks for TLS it is
//! made here, as for every other session of ours, and the library speaks through a pipe of this process: its own TLS would
//! bring a second library for cryptography, and its `sslmode` does not mean the same.

use super::connect::{Database, Pools};
use super::error::Error;
use super::postgres::Manager;
use super::settings::Settings;
use bytes::Bytes;
use futures_util::FutureExt;
use pgwire_replication::{Lsn, PgWireError, ReplicationClient, ReplicationConfig, ReplicationEvent};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::TaskTracker;

/// Events that wait between the socket and whoever takes them.
const BUFFERED_EVENTS: usize = 128;

/// How often the server is told how far we are, and how soon it gives up a session that says nothing.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
const OPTIONS: &str = "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=1 \
     -c bytea_output=hex -c wal_sender_timeout=20s";

/// Asks whether the server speaks TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A session that holds a slot.
pub struct Replication {
    client: ReplicationClient,
}

/// What a slot tells.
#[derive(Debug)]
pub enum Frame {
    /// A transaction follows; transactions come whole, in the order of their commits.
    Begin {
        /// Where its commit stands in the log.
        commit: u64,
        /// Its number, the lower half.
        transaction: u32,
        /// When it was committed, in microseconds since 2000.
        committed_at: i64,
    },
    /// A message of `pgoutput` about its rows.
    Row(Bytes),
    /// What somebody wrote into the log within it.
    Said {
        /// Whose message it is.
        prefix: String,
        /// What it says.
        content: Bytes,
    },
    /// It is complete; this is the end of it in the log.
    End(u64),
    /// Everything up to this place of the log was told.
    Idle(u64),
}

impl Database {
    /// Takes a slot, unless another session has it, and reads what the tables of a publication went through.
    pub async fn replicate(&self, slot: &str, publication: &str) -> Result<Option<Replication>, Error> {
        let Pools::Postgres(pool, _) = self.pools() else {
            return Err(Error::Configuration("only PostgreSQL has logical replication".to_owned()));
        };
        open(pool.manage(), self.settings(), slot, publication).await
    }
}

async fn open(manager: &Manager, settings: &Settings, slot: &str, publication: &str) -> Result<Option<Replication>, Error> {
    let (config, tls) = manager.session_settings();
    let mut unreachable = None;
    for endpoint in endpoints(config) {
        let wanted = wanted(config, &endpoint, slot, publication)?;
        let starting = start(config, tls, endpoint, wanted);
        let started = timeout(settings.acquire_timeout, starting).await;
        match started.unwrap_or_else(|_| Err(Error::Unavailable("no answer in time".to_owned()))) {
            Err(error @ Error::Unavailable(_)) => unreachable = Some(error),
            outcome => return outcome,
        }
    }
    Err(unreachable.unwrap_or_else(|| Error::Configuration(format!("the URL of '{}' names no host", settings.name))))
}

/// A server's address.
#[derive(Clone)]
struct Endpoint {
    host: String,
    port: u16,
}

fn endpoints(config: &Config) -> Vec<Endpoint> {
    let ports = config.get_ports();
    let port = |place: usize| ports.get(place).or(ports.first()).copied().unwrap_or(5432);
    let host = |host: &Host| match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    };
    config.get_hosts().iter().enumerate().map(|(place, named)| Endpoint { host: host(named), port: port(place) }).collect()
}

fn wanted(config: &Config, endpoint: &Endpoint, slot: &str, publication: &str) -> Result<ReplicationConfig, Error> {
    let user = config.get_user().ok_or_else(|| Error::Configuration("the database URL names no user".to_owned()))?;
    let password = String::from_utf8_lossy(config.get_password().unwrap_or_default());
    let database = config.get_dbname().unwrap_or(user);
    let mut wanted = ReplicationConfig::new(&endpoint.host, user, password, database, slot, publication);
    wanted.port = endpoint.port;
    wanted.status_interval = STATUS_INTERVAL;
    wanted.buffer_events = BUFFERED_EVENTS;
    wanted.options = Some(config.get_options().map_or_else(|| OPTIONS.to_owned(), |own| format!("{own} {OPTIONS}")));
    wanted.application_name = config.get_application_name().map(ToOwned::to_owned);
    Ok(wanted)
}

async fn start(
    config: &Config,
    tls: &MakeRustlsConnect,
    endpoint: Endpoint,
    mut wanted: ReplicationConfig,
) -> Result<Option<Replication>, Error> {
    if config.get_ssl_mode() != SslMode::Disable && !endpoint.host.starts_with('/') {
        match encrypted(tls.clone(), &endpoint).await? {
            Some(port) => (wanted.host, wanted.port) = ("127.0.0.1".to_owned(), port),
            None if config.get_ssl_mode() == SslMode::Prefer => {}
            None => return Err(Error::Configuration("the server does not speak TLS, which the URL asks for".to_owned())),
        }
    }
    let mut client = ReplicationClient::connect(wanted).await.map_err(|error| classify(&error))?;
    match client.wait_started().await {
        Ok(()) => Ok(Some(Replication { client })),
        Err(error) if is_held(&error) => Ok(None),
        Err(error) => Err(classify(&error)),
    }
}

/// Opens an encrypted connection, and a port of this machine that leads into it once; none if the server has no TLS.
async fn encrypted(mut tls: MakeRustlsConnect, endpoint: &Endpoint) -> Result<Option<u16>, Error> {
    let unavailable = |error: &dyn std::fmt::Display| Error::Unavailable(error.to_string());
    let mut plain = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(|error| unavailable(&error))?;
    plain.set_nodelay(true).map_err(|error| unavailable(&error))?;
    plain.write_all(&SSL_REQUEST).await.map_err(|error| unavailable(&error))?;
    if plain.read_u8().await.map_err(|error| unavailable(&error))? != b'S' {
        return Ok(None);
    }
    let connector = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls, &endpoint.host);
    let connector = connector.map_err(|error| Error::Configuration(error.to_string()))?;
    let mut secure = connector.connect(plain).await.map_err(|error| unavailable(&error))?;
    let entrance = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|error| unavailable(&error))?;
    let port = entrance.local_addr().map_err(|error| unavailable(&error))?.port();
    // It ends with the session at either end.
    TaskTracker::new().spawn(async move {
        let Ok(Ok((mut own, _))) = timeout(Duration::from_secs(10), entrance.accept()).await else { return };
        drop(entrance);
        if let Err(error) = copy_bidirectional(&mut own, &mut secure).await {
            tracing::debug!(%error, "an encrypted replication session ended");
        }
    });
    Ok(Some(port))
}

impl Replication {
    /// What is told next. It can be dropped at any moment without losing anything.
    pub async fn next(&mut self) -> Result<Frame, Error> {
        loop {
            let event = self.client.recv().await.map_err(|error| classify(&error))?;
            let event = event.ok_or_else(|| Error::Unavailable("the replication session has ended".to_owned()))?;
            if let Some(frame) = frame(event) {
                return Ok(frame);
            }
        }
    }

    /// What has been told already, if anything has.
    pub fn try_next(&mut self) -> Result<Option<Frame>, Error> {
        self.next().now_or_never().transpose()
    }

    /// Says that nothing up to this place of the log is needed any more.
    pub fn confirm(&self, place: u64) {
        self.client.update_applied_lsn(Lsn::from_u64(place));
    }
}

fn frame(event: ReplicationEvent) -> Option<Frame> {
    match event {
        ReplicationEvent::Begin { final_lsn, xid, commit_time_micros } => {
            Some(Frame::Begin { commit: final_lsn.as_u64(), transaction: xid, committed_at: commit_time_micros })
        }
        ReplicationEvent::XLogData { data, .. } => Some(Frame::Row(data)),
        ReplicationEvent::Commit { end_lsn, .. } => Some(Frame::End(end_lsn.as_u64())),
        ReplicationEvent::KeepAlive { wal_end, .. } => Some(Frame::Idle(wal_end.as_u64())),
        ReplicationEvent::Message { transactional: true, prefix, content, .. } => Some(Frame::Said { prefix, content }),
        ReplicationEvent::Message { .. } | ReplicationEvent::StoppedAt { .. } => None,
    }
}

/// Whether another session has the slot.
fn is_held(error: &PgWireError) -> bool {
    matches!(error, PgWireError::Server(text) if text.contains("SQLSTATE 55006"))
}

fn classify(error: &PgWireError) -> Error {
    let text = error.to_string();
    match error {
        PgWireError::Io(_) | PgWireError::Task(_) => Error::Unavailable(text),
        PgWireError::Auth(_) | PgWireError::Tls(_) => Error::Configuration(text),
        PgWireError::Server(told) if told.contains("SQLSTATE 42501") => Error::Permission(text),
        PgWireError::Server(told) if told.contains("SQLSTATE 28") => Error::Configuration(text),
        PgWireError::Server(told) if ["SQLSTATE 57", "SQLSTATE 08", "SQLSTATE 53"].iter().any(|code| told.contains(code)) => {
            Error::Unavailable(text)
        }
        _ => Error::Statement(text),
    }
}
