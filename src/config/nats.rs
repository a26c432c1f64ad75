//! The settings of NATS: where it is, who we are there, and what is kept there.
//!
//! A word that is secret is taken from the environment or from a file and never from a flag, since command lines can be
//! seen. Without servers there is no NATS, and any other setting of it is a mistake that is told.

use crate::auth::Secret;
use crate::cli::Error;
use crate::event::bus::StreamSettings;
use crate::nats::{ClientCertificate, Credentials, Settings, Storage, Tls};
use crate::store::BucketSettings;
use clap::Args;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every setting of NATS, as flag and variable, and as key below `nats` in the file.
#[derive(Default, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[command(next_help_heading = "NATS")]
pub struct NatsArgs {
    /// A NATS server, such as nats://host:4222 or tls://host:4222; can be repeated. One that answers is enough. It has to be
    /// 2.12.1 or newer, with JetStream.
    #[arg(
        id = "nats-servers",
        long = "nats-server",
        env = "RESOLVESPEC_NATS_SERVERS",
        value_name = "URL",
        value_delimiter = ',',
        hide_env_values = true
    )]
    servers: Vec<String>,
    /// What everything in NATS is named after: the stream `<NAME>_events`, subjects `<NAME>.>`, and the buckets
    /// `<NAME>_catalog`, `<NAME>_sessions`, `<NAME>_clients`, `<NAME>_mqtt`, `<NAME>_leases` and `<NAME>_replicas`. [default: resolvespec]
    #[arg(id = "nats-name", long = "nats-name", env = "RESOLVESPEC_NATS_NAME", value_name = "NAME")]
    name: Option<String>,
    /// Refuses servers without TLS, whatever their URL says.
    #[arg(id = "nats-tls", long = "nats-tls", env = "RESOLVESPEC_NATS_TLS", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    tls: Option<bool>,
    /// A PEM file with authorities to trust; can be repeated. Those of the machine unless given.
    #[arg(id = "nats-ca", long = "nats-ca", env = "RESOLVESPEC_NATS_CA", value_name = "FILE", value_delimiter = ',')]
    ca: Vec<PathBuf>,
    /// A PEM file with the certificate to show to servers that ask for one; needs its key.
    #[arg(id = "nats-cert", long = "nats-cert", env = "RESOLVESPEC_NATS_CERT", value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The PEM file with the certificate's key.
    #[arg(id = "nats-key", long = "nats-key", env = "RESOLVESPEC_NATS_KEY", value_name = "FILE")]
    key: Option<PathBuf>,
    /// A `.creds` file to enter with.
    #[arg(id = "nats-creds", long = "nats-creds", env = "RESOLVESPEC_NATS_CREDS", value_name = "FILE")]
    creds: Option<PathBuf>,
    /// A file with the seed of an nkey to enter with, or set RESOLVESPEC_NATS_NKEY to the seed.
    #[arg(id = "nats-nkey-file", long = "nats-nkey-file", env = "RESOLVESPEC_NATS_NKEY_FILE", value_name = "FILE")]
    nkey_file: Option<PathBuf>,
    /// A user to enter as; needs a password.
    #[arg(id = "nats-user", long = "nats-user", env = "RESOLVESPEC_NATS_USER", value_name = "NAME")]
    user: Option<String>,
    /// A file with the user's password, or set RESOLVESPEC_NATS_PASSWORD to the password.
    #[arg(id = "nats-password-file", long = "nats-password-file", env = "RESOLVESPEC_NATS_PASSWORD_FILE", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// A file with a token to enter with, or set RESOLVESPEC_NATS_TOKEN to the token.
    #[arg(id = "nats-token-file", long = "nats-token-file", env = "RESOLVESPEC_NATS_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// On how many servers each message and each value is kept: 1, 3 or 5. [default: 1]
    #[arg(id = "nats-replicas", long = "nats-replicas", env = "RESOLVESPEC_NATS_REPLICAS", value_name = "COUNT")]
    replicas: Option<usize>,
    /// For how many seconds changes are kept for subscribers who resume. [default: 86400]
    #[arg(
        id = "nats-events-seconds",
        long = "nats-events-seconds",
        env = "RESOLVESPEC_NATS_EVENTS_SECONDS",
        value_name = "SECONDS"
    )]
    events_seconds: Option<u64>,
    /// How many bytes of changes are kept at most, as long as they are not older. [default: 1073741824]
    #[arg(id = "nats-events-bytes", long = "nats-events-bytes", env = "RESOLVESPEC_NATS_EVENTS_BYTES", value_name = "BYTES")]
    events_bytes: Option<u64>,
    /// For how many seconds a change that is published again is recognized; longer than a relay takes to start again.
    /// [default: 600]
    #[arg(
        id = "nats-duplicate-seconds",
        long = "nats-duplicate-seconds",
        env = "RESOLVESPEC_NATS_DUPLICATE_SECONDS",
        value_name = "SECONDS"
    )]
    duplicate_seconds: Option<u64>,
    /// How many bytes the buckets of the catalog and of sessions take at most, each. [default: 268435456]
    #[arg(id = "nats-bucket-bytes", long = "nats-bucket-bytes", env = "RESOLVESPEC_NATS_BUCKET_BYTES", value_name = "BYTES")]
    bucket_bytes: Option<u64>,
    #[arg(skip)]
    #[serde(skip)]
    password: Option<Secret>,
    #[arg(skip)]
    #[serde(skip)]
    token: Option<Secret>,
    #[arg(skip)]
    #[serde(skip)]
    nkey: Option<Secret>,
}

impl std::fmt::Debug for NatsArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Servers can have passwords in them.
        f.debug_struct("NatsArgs").field("servers", &self.servers.len()).field("name", &self.name).finish_non_exhaustive()
    }
}

const REPLICAS_BYTES: u64 = 8 << 20;
const LEASES_BYTES: u64 = 8 << 20;

/// NATS as a replica uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsConfig {
    /// Where it is, and who we are there.
    pub connection: Settings,
    /// The stream of changes.
    pub stream: StreamSettings,
    /// Where generations of the catalog are.
    pub catalog: BucketSettings,
    /// Where sessions are.
    pub sessions: BucketSettings,
    /// Where it is kept who the clients of MQTT brokers are.
    pub clients: BucketSettings,
    /// Where subscriptions of MQTT clients are.
    pub mqtt: BucketSettings,
    /// Where it is kept who tells of them, and which replicas can.
    pub leases: BucketSettings,
    /// Where replicas tell what they serve.
    pub replicas: BucketSettings,
}

impl NatsArgs {
    /// Takes what is secret from the environment.
    pub(super) fn with_environment(mut self, environment: impl Fn(&str) -> Option<String>) -> Self {
        let secret = |name: &str| environment(name).filter(|text| !text.is_empty()).map(Secret::new);
        self.password = secret("RESOLVESPEC_NATS_PASSWORD");
        self.token = secret("RESOLVESPEC_NATS_TOKEN");
        self.nkey = secret("RESOLVESPEC_NATS_NKEY");
        self
    }

    /// These settings, and for what they leave out those of the file.
    pub(super) fn over(self, file: NatsArgs) -> NatsArgs {
        // Somebody is entered as by one way only, so that one of ours sets aside those of the file.
        let file = if self.credentials_given() == 0 { file } else { file.without_credentials() };
        NatsArgs {
            servers: if self.servers.is_empty() { file.servers } else { self.servers },
            name: self.name.or(file.name),
            tls: self.tls.or(file.tls),
            ca: if self.ca.is_empty() { file.ca } else { self.ca },
            cert: self.cert.or(file.cert),
            key: self.key.or(file.key),
            creds: self.creds.or(file.creds),
            nkey_file: self.nkey_file.or(file.nkey_file),
            user: self.user.or(file.user),
            password_file: self.password_file.or(file.password_file),
            token_file: self.token_file.or(file.token_file),
            replicas: self.replicas.or(file.replicas),
            events_seconds: self.events_seconds.or(file.events_seconds),
            events_bytes: self.events_bytes.or(file.events_bytes),
            duplicate_seconds: self.duplicate_seconds.or(file.duplicate_seconds),
            bucket_bytes: self.bucket_bytes.or(file.bucket_bytes),
            password: self.password,
            token: self.token,
            nkey: self.nkey,
        }
    }

    /// The settings, complete; nothing if there is no NATS.
    pub(super) fn resolve(self) -> Result<Option<NatsConfig>, Error> {
        if self.servers.is_empty() {
            let stray = self.tls.is_some() || self.cert.is_some() || self.name.is_some() || self.credentials_given() > 0;
            let advice = "NATS has settings and no servers: name them with --nats-server or RESOLVESPEC_NATS_SERVERS";
            return if stray { Err(Error::new(advice)) } else { Ok(None) };
        }
        let name = self.name.as_deref().unwrap_or("resolvespec");
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            return Err(Error::new(format!("--nats-name '{name}' must be of letters, digits, - and _")));
        }
        let replicas = self.replicas.unwrap_or(1);
        if !matches!(replicas, 1 | 3 | 5) {
            return Err(Error::new(format!("--nats-replicas is 1, 3 or 5, and not {replicas}")));
        }
        let bucket = |what: &str| {
            let usual = BucketSettings::new(format!("{name}_{what}"));
            BucketSettings { max_bytes: self.bucket_bytes.unwrap_or(usual.max_bytes), replicas, ..usual }
        };
        let (catalog, sessions, clients, mqtt) = (bucket("catalog"), bucket("sessions"), bucket("clients"), bucket("mqtt"));
        Ok(Some(NatsConfig {
            catalog,
            sessions,
            clients,
            mqtt,
            // A line for each part of each broker, and for each replica.
            leases: BucketSettings { max_bytes: LEASES_BYTES, ..bucket("leases") },
            // A few lines for each replica.
            replicas: BucketSettings { max_bytes: REPLICAS_BYTES, ..bucket("replicas") },
            stream: self.stream(name, replicas)?,
            connection: self.connection()?,
        }))
    }

    fn stream(&self, name: &str, replicas: usize) -> Result<StreamSettings, Error> {
        let usual = StreamSettings::default();
        let max_age = self.events_seconds.map_or(usual.max_age, Duration::from_secs);
        let duplicate_window = self.duplicate_seconds.map_or(usual.duplicate_window.min(max_age), Duration::from_secs);
        if max_age.is_zero() || duplicate_window.is_zero() || duplicate_window > max_age {
            return Err(Error::new("--nats-events-seconds must be positive, and --nats-duplicate-seconds not more than it"));
        }
        Ok(StreamSettings {
            name: format!("{name}_events"),
            prefix: name.to_owned(),
            max_age,
            max_bytes: self.events_bytes.unwrap_or(usual.max_bytes),
            replicas,
            storage: Storage::File,
            duplicate_window,
            ..usual
        })
    }

    fn connection(self) -> Result<Settings, Error> {
        let credentials = self.credentials()?;
        let certificate = match (self.cert, self.key) {
            (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
            (None, None) => None,
            _ => return Err(Error::new("--nats-cert and --nats-key go together")),
        };
        let files = self.ca.iter().chain(certificate.iter().flat_map(|own| [&own.certificate, &own.key]));
        files.into_iter().try_for_each(|file| readable(file))?;
        let tls = Tls { required: self.tls.unwrap_or(false), authorities: self.ca, certificate };
        Ok(Settings { credentials, tls, ..Settings::new(self.servers) })
    }

    fn credentials(&self) -> Result<Credentials, Error> {
        if self.credentials_given() > 1 {
            return Err(Error::new("NATS is entered with a creds file, an nkey, a user or a token; several are given, name one"));
        }
        if let Some(file) = &self.creds {
            readable(file)?;
            return Ok(Credentials::File(file.clone()));
        }
        if let Some(seed) = word("nkey", "NATS", self.nkey.as_ref(), self.nkey_file.as_deref())? {
            return Ok(Credentials::Nkey(seed));
        }
        if let Some(token) = word("token", "NATS", self.token.as_ref(), self.token_file.as_deref())? {
            return Ok(Credentials::Token(token));
        }
        let password = word("password", "NATS", self.password.as_ref(), self.password_file.as_deref())?;
        match (&self.user, password) {
            (Some(name), Some(password)) => Ok(Credentials::User { name: name.clone(), password }),
            (None, None) => Ok(Credentials::None),
            (Some(_), None) => {
                Err(Error::new("--nats-user needs a password: set RESOLVESPEC_NATS_PASSWORD or --nats-password-file"))
            }
            (None, Some(_)) => Err(Error::new("a password for NATS needs a user: name it with --nats-user")),
        }
    }

    /// In how many ways it is said who we are.
    fn credentials_given(&self) -> usize {
        let user = self.user.is_some() || self.password.is_some() || self.password_file.is_some();
        let nkey = self.nkey.is_some() || self.nkey_file.is_some();
        let token = self.token.is_some() || self.token_file.is_some();
        [self.creds.is_some(), nkey, user, token].into_iter().filter(|given| *given).count()
    }

    fn without_credentials(self) -> Self {
        Self { creds: None, nkey_file: None, user: None, password_file: None, token_file: None, ..self }
    }
}

/// A secret word, from the environment or else from its file.
pub(super) fn word(what: &str, place: &str, given: Option<&Secret>, file: Option<&Path>) -> Result<Option<String>, Error> {
    if let Some(secret) = given {
        return secret
            .text()
            .map(|text| Some(text.trim().to_owned()))
            .ok_or_else(|| Error::new(format!("the {what} for {place} is no text")));
    }
    let Some(file) = file else { return Ok(None) };
    let text = std::fs::read_to_string(file).map_err(|error| Error::new(format!("{} can't be read: {error}", file.display())))?;
    match text.trim() {
        "" => Err(Error::new(format!("{} is empty; it should hold the {what} for {place}", file.display()))),
        text => Ok(Some(text.to_owned())),
    }
}

fn readable(file: &Path) -> Result<(), Error> {
    std::fs::File::open(file).map(|_| ()).map_err(|error| Error::new(format!("{} can't be read: {error}", file.display())))
}

#[cfg(test)]
mod tests;
