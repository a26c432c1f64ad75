//! Where brokers are, who we are there, and how much we take, as the configuration says them.

use super::durable;
use super::wire::Version;
use crate::auth::Secret;
use std::sync::Arc;
use std::time::Duration;

/// Everything about MQTT.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The brokers; each has a connection of its own.
    pub servers: Vec<Server>,
    /// Where clients reach each of them; nothing if that is where we do.
    pub public: Vec<Address>,
    /// Who we are there; every replica has its own.
    pub client_id: String,
    /// What every topic begins with.
    pub prefix: String,
    /// Who gets a request.
    pub sharing: Sharing,
    /// The version that is spoken; without it, 5 and then 3.1.1.
    pub version: Option<Version>,
    /// Seconds of silence after which a connection is tried.
    pub keep_alive: u16,
    /// How long it may take to connect.
    pub connect_timeout: Duration,
    /// The longest pause between two attempts to connect.
    pub max_pause: Duration,
    /// The largest payload, of requests and of answers.
    pub max_message_bytes: usize,
    /// Requests that are worked on, and messages that wait for the broker's acknowledgement, each.
    pub max_in_flight: u16,
    /// Requests of one client that may wait for long, behind the one that is worked on.
    pub max_queued: usize,
    /// How long the broker keeps our session after a connection is lost; nothing for not at all.
    pub session_expiry: Duration,
    /// The claim of a token that names the client that may use it.
    pub client_claim: Option<String>,
    /// Limits and times of subscriptions.
    pub durable: durable::Settings,
}

/// Who gets a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sharing {
    /// One of a group whose name the replicas agree on, and that no client can guess.
    Agreed,
    /// One of this group.
    Group(String),
    /// Every replica, so that there can be one only.
    Nobody,
}

/// Where clients reach a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host and port.
    pub host: String,
    /// Whether connections are encrypted.
    pub secure: bool,
}

/// A broker.
#[derive(Debug, Clone)]
pub struct Server {
    /// Host and port, for people.
    pub name: String,
    /// Where it is.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted, if it is.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Who we are there.
    pub user: Option<User>,
}

/// A user of a broker.
#[derive(Debug, Clone)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Secret,
}

impl Settings {
    /// The defaults for brokers.
    #[must_use]
    pub fn new(servers: Vec<Server>, client_id: String) -> Self {
        Self {
            servers,
            public: Vec::new(),
            client_id,
            prefix: "spec".to_owned(),
            sharing: Sharing::Agreed,
            version: None,
            keep_alive: 30,
            connect_timeout: Duration::from_secs(5),
            max_pause: Duration::from_secs(10),
            max_message_bytes: 1 << 20,
            max_in_flight: 200,
            // With the one before them fewer than any usual broker sends without an acknowledgement: 20 of Mosquitto in 3.1.1.
            max_queued: 16,
            session_expiry: Duration::ZERO,
            client_claim: None,
            durable: durable::Settings::default(),
        }
    }
}

impl User {
    /// Whether these are the name and the password, in a time that tells nothing of either.
    pub(super) fn is(&self, name: &str, password: &str) -> bool {
        let same = |left: &[u8], right: &[u8]| {
            left.len() == right.len() && left.iter().zip(right).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
        };
        same(self.name.as_bytes(), name.as_bytes())
            & self.password.text().is_some_and(|own| same(own.as_bytes(), password.as_bytes()))
    }
}
