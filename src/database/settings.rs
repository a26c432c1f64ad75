//! How a database is reached: its URL, its connections and its times.

use super::dialect::{Dialect, Flavour};
use super::error::Error;
use std::time::Duration;
use url::Url;

/// Everything needed to reach one database.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// The source's name, for logs and metrics.
    pub name: String,
    /// `postgres://…`, `mysql://…` or `sqlite:path`.
    pub url: String,
    /// Connections at most.
    pub max_connections: usize,
    /// How long a request waits for a connection.
    pub acquire_timeout: Duration,
    /// How long one statement may take.
    pub statement_timeout: Duration,
    /// How long the reader of a large result may take none of it.
    pub stall_timeout: Duration,
    /// How long the answers of writes with idempotency keys are kept.
    pub idempotency_lifetime: Duration,
}

/// A few for each core of this machine. With more, the sessions of a database on a machine like it bring neither reads by key nor
/// pages faster, and where Linux schedules by sessions (autogroups) one in a hundred waits for long.
fn usual_connections() -> usize {
    std::thread::available_parallelism().map_or(8, |cores| (4 * cores.get()).clamp(8, 16))
}

impl Settings {
    /// The defaults for a URL.
    pub fn new(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            max_connections: usual_connections(),
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(10),
            idempotency_lifetime: Duration::from_hours(24),
        }
    }

    /// The dialect that the URL's scheme names; MySQL's flavour is known only after connecting.
    pub fn dialect(&self) -> Result<Dialect, Error> {
        // What has no scheme is not shown: it can be anything, such as a password that was set in the URL's place.
        match self.url.split_once(':').map_or("", |(scheme, _)| scheme) {
            "postgres" | "postgresql" => Ok(Dialect::Postgres),
            "mysql" | "mariadb" => Ok(Dialect::Mysql(Flavour::Mariadb)),
            "sqlite" | "file" => Ok(Dialect::Sqlite),
            other => Err(Error::Configuration(format!(
                "the database URL of '{}' begins with '{other}:'; it must begin with postgres:, mysql: or sqlite:",
                self.name
            ))),
        }
    }

    /// The file of a `sqlite:` URL.
    #[must_use]
    pub fn sqlite_path(&self) -> &str {
        sqlite_path(&self.url)
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("name", &self.name)
            .field("url", &redact(&self.url))
            .field("max_connections", &self.max_connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("stall_timeout", &self.stall_timeout)
            .field("idempotency_lifetime", &self.idempotency_lifetime)
            .finish()
    }
}

fn sqlite_path(url: &str) -> &str {
    let rest = url.split_once(':').map_or("", |(_, rest)| rest);
    rest.strip_prefix("//").unwrap_or(rest)
}

/// Which database a URL leads to, as far as it says so itself: who enters it, and how, makes no difference. Two names of one server do.
#[must_use]
pub fn place_of(url: &str) -> String {
    let usual_port = match url.split_once(':').map_or("", |(scheme, _)| scheme) {
        "postgres" | "postgresql" => 5432,
        "mysql" | "mariadb" => 3306,
        _ => {
            let path = sqlite_path(url);
            // One file has many paths.
            return std::fs::canonicalize(path).map_or_else(|_| path.to_owned(), |path| path.display().to_string());
        }
    };
    let Ok(parsed) = Url::parse(url) else { return url.to_owned() };
    match (parsed.host_str().unwrap_or_default(), parsed.path().trim_matches('/')) {
        // What the driver takes instead depends on the rest of the URL.
        ("", _) | (_, "") => url.to_owned(),
        (host, database) => format!("{}:{}/{database}", host.to_ascii_lowercase(), parsed.port().unwrap_or(usual_port)),
    }
}

/// The URL without its password, wherever it stands.
#[must_use]
pub fn redact(url: &str) -> String {
    let Ok(mut parsed) = Url::parse(url) else { return "***".to_owned() };
    if parsed.password().is_some() && parsed.set_password(Some("***")).is_err() {
        return "***".to_owned();
    }
    if parsed.query_pairs().any(|(name, _)| name.contains("password")) {
        parsed.set_query(None);
    }
    parsed.to_string()
}

#[cfg(test)]
mod tests {
    use super::place_of;

    #[test]
    fn urls_of_one_database_lead_to_one_place() {
        let shop = "postgres://db:5432/shop";
        for same in ["postgresql://db/shop", "postgres://ada:secret@DB/shop?sslmode=require"] {
            assert_eq!(place_of(same), place_of(shop), "{same}");
        }
        for other in ["postgres://db/shops", "postgres://db:5433/shop", "postgres://other/shop", "mysql://db/shop", "sqlite:shop"]
        {
            assert_ne!(place_of(other), place_of(shop), "{other}");
        }
        assert_eq!(place_of("mariadb://db:3306/shop"), place_of("mysql://me@db/shop"));
        assert_ne!(place_of("postgres://one@db/"), place_of("postgres://two@db/"), "each has a database of its own name");
    }
}
