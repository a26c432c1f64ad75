//! Where NATS is and how it is entered.
//!
//! Plain data with the defaults; whether it can work is found out when the connection is made.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Everything needed to reach NATS.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Servers as `nats://host:port` or `tls://host:port`; one that answers is enough, and it tells of the others. A user
    /// and a password can stand in the URL.
    pub servers: Vec<String>,
    /// Who we say we are; what stands in the URLs is used where this is `None`.
    pub credentials: Credentials,
    /// How the connection is encrypted.
    pub tls: Tls,
    /// The name of the connection, as NATS shows it in its lists.
    pub name: String,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// How long an answer of NATS may take, acknowledgements among them.
    pub request_timeout: Duration,
    /// How often a silent connection is tried; after three times without an answer it is made anew.
    pub ping_interval: Duration,
    /// The longest pause between two attempts to connect again.
    pub max_reconnect_delay: Duration,
}

/// Who we say we are.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody in particular, or whom the URL names.
    #[default]
    None,
    /// A `.creds` file with a JWT and its seed.
    File(PathBuf),
    /// The seed of an nkey.
    Nkey(String),
    /// A user and a password.
    User {
        /// The user.
        name: String,
        /// Its password.
        password: String,
    },
    /// A token.
    Token(String),
}

/// How the connection is encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Whether a server without TLS is refused, whatever its URL says.
    pub required: bool,
    /// Files with the authorities to trust, PEM; without any, those of the machine.
    pub authorities: Vec<PathBuf>,
    /// What we show to a server that asks for a certificate.
    pub certificate: Option<ClientCertificate>,
}

/// A certificate of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The file with the certificate and its chain, PEM.
    pub certificate: PathBuf,
    /// The file with its key, PEM.
    pub key: PathBuf,
}

/// Where NATS keeps messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// In files: they outlive the server.
    File,
    /// In memory: they outlive it on other servers only.
    Memory,
}

impl Settings {
    /// The defaults for some servers.
    #[must_use]
    pub fn new(servers: Vec<String>) -> Self {
        Self {
            servers,
            credentials: Credentials::None,
            tls: Tls::default(),
            name: "resolvespec".to_owned(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(10),
            max_reconnect_delay: Duration::from_secs(2),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Servers can have passwords in them.
        f.debug_struct("Settings")
            .field("servers", &self.servers.len())
            .field("credentials", &self.credentials)
            .field("tls", &self.tls)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::None => f.write_str("None"),
            Credentials::File(path) => f.debug_tuple("File").field(path).finish(),
            Credentials::Nkey(_) => f.write_str("Nkey(***)"),
            Credentials::User { name, password: _ } => f.debug_struct("User").field("name", name).finish_non_exhaustive(),
            Credentials::Token(_) => f.write_str("Token(***)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let mut settings = Settings::new(vec!["nats://me:hush@localhost".to_owned()]);
        for credentials in [
            Credentials::Nkey("hush".to_owned()),
            Credentials::Token("hush".to_owned()),
            Credentials::User { name: "me".to_owned(), password: "hush".to_owned() },
        ] {
            settings.credentials = credentials;
            assert!(!format!("{settings:?}").contains("hush"));
        }
    }
}
