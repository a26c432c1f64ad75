//! The settings of MQTT: where brokers are, who we are there, and how much we take.
//!
//! As those of NATS, a word that is secret is taken from the environment or from a file and never from a flag. Without
//! brokers there is no MQTT, and any other setting of it is a mistake that is told.

use super::nats::word;
use crate::auth::Secret;
use crate::cli::Error;
use crate::transport::mqtt::{Address, DurableSettings, Server, Settings, Sharing, TlsFiles, User, Version, configure_tls};
use clap::Args;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Every setting of MQTT, as flag and variable, and as key below `mqtt` in the file.
#[derive(Default, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
#[command(next_help_heading = "MQTT")]
pub struct MqttArgs {
    /// An MQTT broker, such as mqtt://host:1883 or mqtts://host:8883; can be repeated, and then each is a broker of its own.
    #[arg(
        id = "mqtt-brokers",
        long = "mqtt-broker",
        env = "RESOLVESPEC_MQTT_BROKERS",
        value_name = "URL",
        value_delimiter = ',',
        hide_env_values = true
    )]
    brokers: Vec<String>,
    /// Where clients reach the broker, as the document at /asyncapi tells it, such as mqtts://broker.example:8883; one for each
    /// broker, in their order. The brokers' own addresses unless given.
    #[arg(
        id = "mqtt-public-urls",
        long = "mqtt-public-url",
        env = "RESOLVESPEC_MQTT_PUBLIC_URLS",
        value_name = "URL",
        value_delimiter = ','
    )]
    public_urls: Vec<String>,
    /// What topics begin with. [default: spec]
    #[arg(id = "mqtt-prefix", long = "mqtt-prefix", env = "RESOLVESPEC_MQTT_PREFIX", value_name = "TOPIC")]
    prefix: Option<String>,
    /// The group whose members share the requests; `none` for brokers without shared subscriptions, with one replica only.
    /// [default: a name that the replicas agree on in NATS and nobody can guess]
    #[arg(id = "mqtt-group", long = "mqtt-group", env = "RESOLVESPEC_MQTT_GROUP", value_name = "NAME")]
    group: Option<String>,
    /// Our client id; every replica needs its own. [default: resolvespec-<replica name>]
    #[arg(id = "mqtt-client-id", long = "mqtt-client-id", env = "RESOLVESPEC_MQTT_CLIENT_ID", value_name = "ID")]
    client_id: Option<String>,
    /// The version of MQTT: auto, 5 or 3.1.1. Auto is 5, and 3.1.1 where a broker does not know it. [default: auto]
    #[arg(id = "mqtt-version", long = "mqtt-version", env = "RESOLVESPEC_MQTT_VERSION", value_name = "VERSION")]
    version: Option<String>,
    /// A PEM file with authorities to trust; can be repeated. The web's unless given.
    #[arg(id = "mqtt-ca", long = "mqtt-ca", env = "RESOLVESPEC_MQTT_CA", value_name = "FILE", value_delimiter = ',')]
    ca: Vec<PathBuf>,
    /// A PEM file with the certificate to show to brokers that ask for one; needs its key.
    #[arg(id = "mqtt-cert", long = "mqtt-cert", env = "RESOLVESPEC_MQTT_CERT", value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The PEM file with the certificate's key.
    #[arg(id = "mqtt-key", long = "mqtt-key", env = "RESOLVESPEC_MQTT_KEY", value_name = "FILE")]
    key: Option<PathBuf>,
    /// A user to enter as; needs a password.
    #[arg(id = "mqtt-user", long = "mqtt-user", env = "RESOLVESPEC_MQTT_USER", value_name = "NAME")]
    user: Option<String>,
    /// A file with the user's password, or set RESOLVESPEC_MQTT_PASSWORD to the password.
    #[arg(id = "mqtt-password-file", long = "mqtt-password-file", env = "RESOLVESPEC_MQTT_PASSWORD_FILE", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Seconds of silence after which a connection is tried. [default: 30]
    #[arg(
        id = "mqtt-keep-alive-seconds",
        long = "mqtt-keep-alive-seconds",
        env = "RESOLVESPEC_MQTT_KEEP_ALIVE_SECONDS",
        value_name = "SECONDS"
    )]
    keep_alive_seconds: Option<u16>,
    /// The largest message that is taken or sent, in bytes. [default: 1048576]
    #[arg(
        id = "mqtt-max-message-bytes",
        long = "mqtt-max-message-bytes",
        env = "RESOLVESPEC_MQTT_MAX_MESSAGE_BYTES",
        value_name = "BYTES"
    )]
    max_message_bytes: Option<usize>,
    /// Requests of a broker that are worked on at once; MQTT 5 brokers hold back what comes beyond. [default: 200]
    #[arg(id = "mqtt-max-in-flight", long = "mqtt-max-in-flight", env = "RESOLVESPEC_MQTT_MAX_IN_FLIGHT", value_name = "COUNT")]
    max_in_flight: Option<u16>,
    /// Requests of one client that may wait behind the one that is worked on for more than five seconds; what is beyond is answered
    /// 'unavailable'. [default: 16]
    #[arg(id = "mqtt-max-queued", long = "mqtt-max-queued", env = "RESOLVESPEC_MQTT_MAX_QUEUED", value_name = "COUNT")]
    max_queued: Option<usize>,
    /// Seconds that a broker keeps our session when the connection is lost. Needs a client id that lasts. [default: 0]
    #[arg(
        id = "mqtt-session-seconds",
        long = "mqtt-session-seconds",
        env = "RESOLVESPEC_MQTT_SESSION_SECONDS",
        value_name = "SECONDS"
    )]
    session_seconds: Option<u32>,
    /// The claim of a token that names the clients that may use it, one or a list; or `none`, for brokers that ask us who each client
    /// is, or that bind client ids to users by themselves. Has to be said where tokens are checked.
    #[arg(id = "mqtt-client-claim", long = "mqtt-client-claim", env = "RESOLVESPEC_MQTT_CLIENT_CLAIM", value_name = "NAME")]
    client_claim: Option<String>,
    /// Milliseconds after which another replica tells what one that has died was to tell. [default: 3000]
    #[arg(id = "mqtt-lease-ms", long = "mqtt-lease-ms", env = "RESOLVESPEC_MQTT_LEASE_MS", value_name = "MILLISECONDS")]
    lease_ms: Option<u64>,
    /// Seconds that a subscription is kept after its client was heard last. [default: 604800]
    #[arg(
        id = "mqtt-subscription-seconds",
        long = "mqtt-subscription-seconds",
        env = "RESOLVESPEC_MQTT_SUBSCRIPTION_SECONDS",
        value_name = "SECONDS"
    )]
    subscription_seconds: Option<u64>,
    /// Subscriptions of all MQTT clients together. [default: 100000]
    #[arg(
        id = "mqtt-max-subscriptions",
        long = "mqtt-max-subscriptions",
        env = "RESOLVESPEC_MQTT_MAX_SUBSCRIPTIONS",
        value_name = "COUNT"
    )]
    max_subscriptions: Option<usize>,
    #[arg(skip)]
    #[serde(skip)]
    password: Option<Secret>,
}

impl std::fmt::Debug for MqttArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Brokers can have passwords in them.
        f.debug_struct("MqttArgs").field("brokers", &self.brokers.len()).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl MqttArgs {
    /// Takes what is secret from the environment.
    pub(crate) fn with_environment(mut self, environment: impl Fn(&str) -> Option<String>) -> Self {
        self.password = environment("RESOLVESPEC_MQTT_PASSWORD").filter(|text| !text.is_empty()).map(Secret::new);
        self
    }

    /// These settings, and for what they leave out those of the file.
    pub(super) fn over(self, file: MqttArgs) -> MqttArgs {
        MqttArgs {
            brokers: if self.brokers.is_empty() { file.brokers } else { self.brokers },
            public_urls: if self.public_urls.is_empty() { file.public_urls } else { self.public_urls },
            prefix: self.prefix.or(file.prefix),
            group: self.group.or(file.group),
            client_id: self.client_id.or(file.client_id),
            version: self.version.or(file.version),
            ca: if self.ca.is_empty() { file.ca } else { self.ca },
            cert: self.cert.or(file.cert),
            key: self.key.or(file.key),
            user: self.user.or(file.user),
            password_file: self.password_file.or(file.password_file),
            keep_alive_seconds: self.keep_alive_seconds.or(file.keep_alive_seconds),
            max_message_bytes: self.max_message_bytes.or(file.max_message_bytes),
            max_in_flight: self.max_in_flight.or(file.max_in_flight),
            max_queued: self.max_queued.or(file.max_queued),
            session_seconds: self.session_seconds.or(file.session_seconds),
            client_claim: self.client_claim.or(file.client_claim),
            lease_ms: self.lease_ms.or(file.lease_ms),
            subscription_seconds: self.subscription_seconds.or(file.subscription_seconds),
            max_subscriptions: self.max_subscriptions.or(file.max_subscriptions),
            password: self.password,
        }
    }

    /// Whether nothing is said of which clients may use a token.
    pub(super) fn leaves_tokens_unbound(&self) -> bool {
        !self.brokers.is_empty() && self.client_claim.as_deref().is_none_or(str::is_empty)
    }

    /// The settings, complete; nothing if there are no brokers.
    pub(crate) fn resolve(self, replica: &str) -> Result<Option<Settings>, Error> {
        if self.brokers.is_empty() {
            let named = [&self.prefix, &self.group, &self.user, &self.client_id];
            let stray = named.iter().any(|one| one.is_some()) || !self.public_urls.is_empty();
            let advice = "MQTT has settings and no brokers: name them with --mqtt-broker or RESOLVESPEC_MQTT_BROKERS";
            return if stray { Err(Error::new(advice)) } else { Ok(None) };
        }
        if self.session_seconds.unwrap_or(0) > 0 && self.client_id.is_none() {
            return Err(Error::new(
                "--mqtt-session-seconds needs --mqtt-client-id, which a replica has again when it starts anew",
            ));
        }
        let client_id = self.client_id.clone().unwrap_or_else(|| format!("resolvespec-{replica}"));
        let usual = Settings::new(self.servers()?, client_id);
        let prefix = self.prefix.clone().unwrap_or_else(|| usual.prefix.clone());
        if prefix.is_empty() || prefix.starts_with(['/', '$']) || prefix.ends_with('/') || prefix.contains(['+', '#', '\0']) {
            return Err(Error::new(format!("--mqtt-prefix '{prefix}' must be a topic without wildcards, and not end in '/'")));
        }
        Ok(Some(Settings {
            public: self.public()?,
            prefix,
            sharing: self.sharing()?,
            version: self.version()?,
            keep_alive: self.keep_alive_seconds.unwrap_or(usual.keep_alive),
            max_message_bytes: positive("mqtt-max-message-bytes", self.max_message_bytes)?.unwrap_or(usual.max_message_bytes),
            max_in_flight: positive("mqtt-max-in-flight", self.max_in_flight)?.unwrap_or(usual.max_in_flight),
            max_queued: positive("mqtt-max-queued", self.max_queued)?.unwrap_or(usual.max_queued),
            session_expiry: Duration::from_secs(u64::from(self.session_seconds.unwrap_or(0))),
            client_claim: self.client_claim.clone().filter(|claim| !claim.is_empty() && claim != "none"),
            durable: self.durable()?,
            ..usual
        }))
    }

    fn public(&self) -> Result<Vec<Address>, Error> {
        let (given, brokers) = (self.public_urls.len(), self.brokers.len());
        if given > 0 && given != brokers {
            return Err(Error::new(format!("--mqtt-public-url is given {given} times for {brokers} brokers; give one for each")));
        }
        let address = |text: &String| {
            let Place { encrypted, name, .. } = place("--mqtt-public-url", text)?;
            Ok(Address { host: name, secure: encrypted })
        };
        self.public_urls.iter().map(address).collect()
    }

    fn durable(&self) -> Result<DurableSettings, Error> {
        let usual = DurableSettings::default();
        let lease = self.lease_ms.map_or(usual.lease, Duration::from_millis);
        if lease < Duration::from_millis(500) {
            return Err(Error::new("--mqtt-lease-ms must be at least 500"));
        }
        let lifetime = self.subscription_seconds.map_or(usual.lifetime, Duration::from_secs);
        if lifetime.is_zero() {
            return Err(Error::new("--mqtt-subscription-seconds must be at least 1"));
        }
        let max_subscriptions = self.max_subscriptions.unwrap_or(usual.max_subscriptions);
        Ok(DurableSettings { lease, lifetime, max_subscriptions, ..usual })
    }

    fn sharing(&self) -> Result<Sharing, Error> {
        match self.group.as_deref() {
            None => Ok(Sharing::Agreed),
            Some("none") => Ok(Sharing::Nobody),
            Some(group) if !group.is_empty() && !group.contains(['/', '+', '#', '\0']) => Ok(Sharing::Group(group.to_owned())),
            Some(group) => Err(Error::new(format!("--mqtt-group '{group}' must be a word without '/', '+' and '#', or none"))),
        }
    }

    fn version(&self) -> Result<Option<Version>, Error> {
        match self.version.as_deref() {
            None | Some("auto") => Ok(None),
            Some("5") => Ok(Some(Version::V5)),
            Some("3.1.1") => Ok(Some(Version::V4)),
            Some(other) => Err(Error::new(format!("--mqtt-version is auto, 5 or 3.1.1, and not '{other}'"))),
        }
    }

    fn servers(&self) -> Result<Vec<Server>, Error> {
        let password = word("password", "MQTT", self.password.as_ref(), self.password_file.as_deref())?;
        let user = match (&self.user, password) {
            (Some(name), Some(password)) => Some(User { name: name.clone(), password: Secret::new(password) }),
            (None, None) => None,
            (Some(_), None) => {
                return Err(Error::new("--mqtt-user needs a password: set RESOLVESPEC_MQTT_PASSWORD or --mqtt-password-file"));
            }
            (None, Some(_)) => return Err(Error::new("a password for MQTT needs a user: name it with --mqtt-user")),
        };
        let certificate = match (&self.cert, &self.key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            _ => return Err(Error::new("--mqtt-cert and --mqtt-key go together")),
        };
        let tls = configure_tls(&TlsFiles { authorities: self.ca.clone(), certificate })?;
        let server = |text: &String| server(text, user.as_ref(), &tls);
        let servers: Vec<Server> = self.brokers.iter().map(server).collect::<Result<_, _>>()?;
        for (place, server) in servers.iter().enumerate() {
            if servers[..place].iter().any(|other| other.name == server.name) {
                return Err(Error::new(format!("the broker {} is named twice", server.name)));
            }
        }
        Ok(servers)
    }
}

/// What a URL of a broker says.
struct Place {
    url: Url,
    encrypted: bool,
    host: String,
    port: u16,
    /// Host and port.
    name: String,
}

/// Reads a URL. What can be in it that is secret is not told.
fn place(flag: &str, text: &str) -> Result<Place, Error> {
    let refused = |reason: &str| Error::new(format!("a URL of {flag} {reason}; write for example mqtt://host:1883"));
    let url = Url::parse(text).map_err(|error| refused(&format!("can't be read ({error})")))?;
    let (encrypted, usual) = match url.scheme() {
        "mqtt" | "tcp" => (false, 1883),
        "mqtts" | "ssl" | "tls" => (true, 8883),
        _ => return Err(refused("begins neither with mqtt:// nor with mqtts://")),
    };
    if !matches!(url.path(), "" | "/") || url.query().is_some() {
        return Err(refused("has more than a host and a port"));
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| refused("has no host"))?.to_owned();
    let port = url.port().unwrap_or(usual);
    Ok(Place { name: format!("{host}:{port}"), url, encrypted, host, port })
}

fn server(text: &str, user: Option<&User>, tls: &Arc<rustls::ClientConfig>) -> Result<Server, Error> {
    let Place { url, encrypted, host, port, name } = place("--mqtt-broker", text)?;
    let plain = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let own = (!url.username().is_empty())
        .then(|| User { name: plain(url.username()), password: Secret::new(plain(url.password().unwrap_or_default())) });
    Ok(Server {
        name,
        host: host.trim_matches(['[', ']']).to_owned(),
        port,
        tls: encrypted.then(|| Arc::clone(tls)),
        user: own.or_else(|| user.cloned()),
    })
}

fn positive<N: PartialEq + From<u8>>(name: &str, value: Option<N>) -> Result<Option<N>, Error> {
    match value {
        Some(number) if number == N::from(0) => Err(Error::new(format!("--{name} must be at least 1"))),
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(brokers: &[&str], change: impl FnOnce(&mut MqttArgs)) -> Result<Option<Settings>, String> {
        let mut args = MqttArgs { brokers: brokers.iter().map(ToString::to_string).collect(), ..MqttArgs::default() };
        change(&mut args);
        args.resolve("r1").map_err(|error| match error {
            Error::Other(text) => text,
            Error::Manifests(_) => "manifests".to_owned(),
        })
    }

    #[test]
    fn a_url_says_where_and_who() {
        let settings = resolved(&["mqtt://ann:a%40b@host", "mqtts://other:99"], |_| {}).unwrap().unwrap();
        assert_eq!((settings.client_id.as_str(), settings.prefix.as_str()), ("resolvespec-r1", "spec"));
        let [first, second] = &settings.servers[..] else { panic!("two servers") };
        assert_eq!((first.name.as_str(), first.tls.is_some()), ("host:1883", false));
        let user = first.user.as_ref().unwrap();
        assert_eq!((user.name.as_str(), user.password.text()), ("ann", Some("a@b")));
        assert_eq!((second.name.as_str(), second.tls.is_some()), ("other:99", true));
    }

    #[test]
    fn clients_can_have_other_addresses_one_for_each_broker() {
        let public = |urls: &[&str]| {
            resolved(&["mqtt://a", "mqtt://b"], |args| args.public_urls = urls.iter().map(ToString::to_string).collect())
        };
        assert!(public(&[]).unwrap().unwrap().public.is_empty());
        let told = public(&["mqtts://broker.example", "mqtt://broker.example:1884"]).unwrap().unwrap().public;
        let told: Vec<(&str, bool)> = told.iter().map(|address| (address.host.as_str(), address.secure)).collect();
        assert_eq!(told, [("broker.example:8883", true), ("broker.example:1884", false)]);
        assert!(public(&["mqtt://broker.example"]).unwrap_err().contains("one for each"));
        assert!(public(&["http://x", "mqtt://y"]).unwrap_err().contains("--mqtt-public-url"));
    }

    #[test]
    fn which_clients_may_use_a_token_is_said_aloud() {
        for (given, claim, unbound) in
            [(None, None, true), (Some(""), None, true), (Some("none"), None, false), (Some("sub"), Some("sub"), false)]
        {
            let args = || MqttArgs {
                brokers: vec!["mqtt://host".to_owned()],
                client_claim: given.map(ToOwned::to_owned),
                ..MqttArgs::default()
            };
            assert_eq!(args().leaves_tokens_unbound(), unbound, "{given:?}");
            assert_eq!(args().resolve("r1").ok().flatten().and_then(|settings| settings.client_claim).as_deref(), claim);
        }
        assert!(!MqttArgs::default().leaves_tokens_unbound(), "there is no MQTT");
    }

    #[test]
    fn what_can_not_work_is_told() {
        for (brokers, text) in [
            (&["http://host"][..], "neither with mqtt:// nor"),
            (&["mqtt://host/path"], "more than a host"),
            (&["mqtt://a", "mqtt://a:1883"], "named twice"),
        ] {
            let told = resolved(brokers, |_| {}).unwrap_err();
            assert!(told.contains(text), "{told}");
        }
        for (change, text) in [
            (Box::new(|args: &mut MqttArgs| args.prefix = Some("a/#".to_owned())) as Box<dyn FnOnce(&mut MqttArgs)>, "wildcards"),
            (Box::new(|args| args.group = Some("a/b".to_owned())), "--mqtt-group"),
            (Box::new(|args| args.version = Some("4".to_owned())), "--mqtt-version"),
            (Box::new(|args| args.max_in_flight = Some(0)), "--mqtt-max-in-flight"),
            (Box::new(|args| args.max_queued = Some(0)), "--mqtt-max-queued"),
            (Box::new(|args| args.session_seconds = Some(9)), "--mqtt-client-id"),
            (Box::new(|args| args.user = Some("ann".to_owned())), "needs a password"),
        ] {
            let told = resolved(&["mqtt://host"], change).unwrap_err();
            assert!(told.contains(text), "{told}");
        }
        assert!(resolved(&[], |args| args.prefix = Some("x".to_owned())).unwrap_err().contains("no brokers"));
        assert!(resolved(&[], |_| {}).unwrap().is_none());
    }
}
