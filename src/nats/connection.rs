//! The connection itself: made once, made again by itself, and watched.
//!
//! What is lost with a connection is not made good here; whoever sent it repeats it.

use super::settings::{Credentials, Settings, Storage};
use async_nats::connection::State;
use async_nats::jetstream::{self, context::ContextBuilder, stream::StorageType};
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use percent_encoding::percent_decode_str;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tracing::{info, warn};

/// The first pause between two attempts to connect again; it doubles with each.
const FIRST_RECONNECT_DELAY: Duration = Duration::from_millis(20);

/// A connection to NATS. Cheap to clone; clones are the same connection.
#[derive(Clone)]
pub struct Connection {
    client: Client,
    jetstream: jetstream::Context,
    request_timeout: Duration,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A setting that can't work.
    #[error("the NATS settings can't be used: {0}")]
    Settings(String),
    /// No server answers, or none lets us in.
    #[error("NATS can't be reached: {0}")]
    Unreachable(String),
}

impl Connection {
    /// Connects once. From then on a connection that is lost is made again for as long as the process lives.
    pub async fn open(settings: &Settings) -> Result<Self, ConnectError> {
        let servers = addresses(&settings.servers)?;
        let options = entering(options(settings), &credentials(settings, &servers)?).await?;
        let client = options.connect(servers).await.map_err(|error| ConnectError::Unreachable(error.to_string()))?;
        let jetstream = ContextBuilder::new().timeout(settings.request_timeout).build(client.clone());
        Ok(Self { client, jetstream, request_timeout: settings.request_timeout })
    }

    /// Whether it stands at this moment.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// How often it was made until now; another number means that NATS can be another one since.
    pub(crate) fn times_made(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// How long an answer may take.
    pub(crate) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }
}

impl From<Storage> for StorageType {
    fn from(storage: Storage) -> Self {
        match storage {
            Storage::File => StorageType::File,
            Storage::Memory => StorageType::Memory,
        }
    }
}

fn addresses(servers: &[String]) -> Result<Vec<ServerAddr>, ConnectError> {
    if servers.is_empty() {
        return Err(ConnectError::Settings("no server is named".to_owned()));
    }
    // The text can have a password in it, so an error tells which one it is by its number only.
    let parse = |(index, server): (usize, &String)| {
        server.parse().map_err(|error| ConnectError::Settings(format!("server {}: {error}", index + 1)))
    };
    servers.iter().enumerate().map(parse).collect()
}

/// Who we say we are: as the settings say, or else as the servers' URLs do, which the library does not look at.
fn credentials(settings: &Settings, servers: &[ServerAddr]) -> Result<Credentials, ConnectError> {
    if settings.credentials != Credentials::None {
        return Ok(settings.credentials.clone());
    }
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut users = servers.iter().filter_map(|server| {
        let name = decoded(server.username()?);
        // As everywhere with NATS, a user without a password is a token.
        Some(match server.password() {
            Some(password) => Credentials::User { name, password: decoded(password) },
            None => Credentials::Token(name),
        })
    });
    let Some(first) = users.next() else { return Ok(Credentials::None) };
    if users.any(|other| other != first) {
        return Err(ConnectError::Settings("the URLs of the servers name different users".to_owned()));
    }
    Ok(first)
}

fn options(settings: &Settings) -> ConnectOptions {
    let longest = settings.max_reconnect_delay;
    let mut options = ConnectOptions::new()
        .name(&settings.name)
        .connection_timeout(settings.connect_timeout)
        .request_timeout(Some(settings.request_timeout))
        .ping_interval(settings.ping_interval)
        .require_tls(settings.tls.required)
        .reconnect_delay_callback(move |attempts| reconnect_delay(attempts, longest))
        .event_callback(|event| async move { tell(&event) });
    for authority in &settings.tls.authorities {
        options = options.add_root_certificates(authority.clone());
    }
    match &settings.tls.certificate {
        Some(own) => options.add_client_certificate(own.certificate.clone(), own.key.clone()),
        None => options,
    }
}

async fn entering(options: ConnectOptions, credentials: &Credentials) -> Result<ConnectOptions, ConnectError> {
    Ok(match credentials {
        Credentials::None => options,
        Credentials::File(path) => {
            let read = options.credentials_file(path).await;
            read.map_err(|error| ConnectError::Settings(format!("{}: {error}", path.display())))?
        }
        Credentials::Nkey(seed) => options.nkey(seed.clone()),
        Credentials::User { name, password } => options.user_and_password(name.clone(), password.clone()),
        Credentials::Token(token) => options.token(token.clone()),
    })
}

fn reconnect_delay(attempts: usize, longest: Duration) -> Duration {
    if attempts <= 1 {
        return Duration::ZERO;
    }
    let doublings = u32::try_from(attempts - 2).unwrap_or(u32::MAX).min(16);
    FIRST_RECONNECT_DELAY.saturating_mul(1 << doublings).min(longest)
}

/// The library calls this once for each transition.
fn tell(event: &Event) {
    match event {
        Event::Connected => info!("connected to NATS"),
        Event::Disconnected => warn!("the connection to NATS is lost; it is being made again"),
        Event::LameDuckMode => info!("the NATS server is about to stop; another is looked for"),
        Event::Draining | Event::Closed => info!(%event, "the connection to NATS ends"),
        Event::SlowConsumer(_) => warn!(%event, "messages of NATS were dropped, since they were not taken fast enough"),
        Event::ServerError(error) => warn!(%error, "NATS tells of an error"),
        Event::ClientError(error) => warn!(%error, "the connection to NATS has an error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let longest = Duration::from_secs(2);
        let delays: Vec<_> =
            [1, 2, 3, 4, 9, 1000].iter().map(|attempts| reconnect_delay(*attempts, longest).as_millis()).collect();
        assert_eq!(delays, [0, 20, 40, 80, 2000, 2000]);
    }

    #[test]
    fn a_bad_address_is_told_without_itself() {
        let error = addresses(&["nats://a".to_owned(), "http://me:hush@b".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("server 2") && !error.contains("hush"), "{error}");
        assert!(addresses(&[]).is_err());
    }

    #[test]
    fn users_come_from_the_urls_unless_the_settings_name_one() {
        let told = |servers: &[&str], own: Credentials| {
            let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
            let mut settings = Settings::new(servers.clone());
            settings.credentials = own;
            credentials(&settings, &addresses(&servers).unwrap())
        };
        let user = Credentials::User { name: "me".to_owned(), password: "a/b".to_owned() };
        assert_eq!(told(&["nats://a", "nats://me:a%2Fb@b"], Credentials::None).unwrap(), user);
        assert_eq!(told(&["nats://t0k@a"], Credentials::None).unwrap(), Credentials::Token("t0k".to_owned()));
        assert_eq!(told(&["nats://a"], Credentials::None).unwrap(), Credentials::None);
        assert_eq!(told(&["nats://you:x@a"], user.clone()).unwrap(), user);
        assert!(told(&["nats://me:x@a", "nats://you:x@b"], Credentials::None).is_err());
    }
}
