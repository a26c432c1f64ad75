//! From a DataSource to the settings of its connections.
//!
//! Secrets are by reference only: a URL with a password in a manifest is refused. The environment is read through a
//! function that the caller gives, once.

use super::data_source::{DataSource, Engine};
use super::declared::Declared;
use super::problem::Problem;
use crate::database::{Dialect, Settings};
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

/// Resolves a source's connection, times and pool.
pub fn settings(source: &Declared<DataSource>, environment: impl Fn(&str) -> Option<String>) -> Result<Settings, Vec<Problem>> {
    let mut problems = Vec::new();
    let url = connection_url(source, environment).map_err(|problem| problems.push(problem)).unwrap_or_default();
    let mut settings = Settings::new(source.key(), url);
    bounds(source, &mut settings, &mut problems);
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

/// The same for a source whose URL is known from elsewhere.
pub fn settings_at(source: &Declared<DataSource>, url: &str) -> Result<Settings, Vec<Problem>> {
    let mut problems: Vec<Problem> = check_engine(source, url).err().into_iter().collect();
    let mut settings = Settings::new(source.key(), url);
    bounds(source, &mut settings, &mut problems);
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

/// Whether a text is the URL of such a database, as far as its beginning tells.
#[must_use]
pub fn is_url_of(engine: Engine, text: &str) -> bool {
    let schemes: &[&str] = match engine {
        Engine::Postgres => &["postgres://", "postgresql://"],
        Engine::Mysql => &["mysql://", "mariadb://"],
        Engine::Sqlite => &["sqlite:", "file:"],
    };
    schemes.iter().any(|scheme| text.starts_with(scheme))
}

/// What keeps a source from being resolved on another machine, and without any machine's environment: everything that
/// `settings` would refuse there, paths that are relative to the manifest, and passwords above all.
#[must_use]
pub fn obstacles(source: &Declared<DataSource>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let is_sqlite = source.resource.spec.engine == Engine::Sqlite;
    let elsewhere = |path: &str, what: &str| {
        let reason = format!("the path '{what}' is relative to the manifest, and a replica has no manifest");
        source.problem(path, reason).advise("write it from the root, or use `env`")
    };
    match reference(source) {
        Err(problem) => problems.push(problem),
        Ok(Reference::Env(_)) => {}
        Ok(Reference::File(file)) if Path::new(file).is_absolute() => {}
        Ok(Reference::File(file)) => problems.push(elsewhere("spec.connection.file", file)),
        Ok(Reference::Url(url)) => {
            let checked = written_url(source, url).and_then(|_| check_engine(source, url));
            problems.extend(checked.err());
            let sqlite = Settings::new("", url);
            if is_sqlite && !sqlite.sqlite_path().starts_with([':', '/']) {
                problems.push(elsewhere("spec.connection.url", sqlite.sqlite_path()));
            }
        }
    }
    bounds(source, &mut Settings::new("", ""), &mut problems);
    problems
}

fn bounds(source: &Declared<DataSource>, settings: &mut Settings, problems: &mut Vec<Problem>) {
    let spec = &source.resource.spec;
    let mut duration = |path: &str, text: Option<&String>, target: &mut Duration| match text.map(|text| parse(text)) {
        Some(Some(duration)) => *target = duration,
        Some(None) => {
            let reason = format!("'{}' is not a duration", text.map_or("", String::as_str));
            problems.push(source.problem(path, reason).advise("write a positive number with ms, s, m or h, as in `30s`"));
        }
        None => {}
    };
    duration("spec.statementTimeout", spec.statement_timeout.as_ref(), &mut settings.statement_timeout);
    duration("spec.stallTimeout", spec.stall_timeout.as_ref(), &mut settings.stall_timeout);
    duration("spec.idempotencyLifetime", spec.idempotency_lifetime.as_ref(), &mut settings.idempotency_lifetime);
    duration("spec.pool.acquireTimeout", spec.pool.acquire_timeout.as_ref(), &mut settings.acquire_timeout);
    if settings.idempotency_lifetime < Duration::from_secs(1) {
        let problem = source.problem("spec.idempotencyLifetime", "idempotency keys live in seconds");
        problems.push(problem.advise("write `1s` or more"));
    }
    match spec.pool.max_connections {
        Some(most @ 1..=1000) => settings.max_connections = most as usize,
        Some(other) => {
            let reason = format!("{other} connections are out of range");
            problems.push(source.problem("spec.pool.maxConnections", reason).advise("use 1 to 1000"));
        }
        None => {}
    }
}

/// The files of `seed`, which are relative to the manifest.
#[must_use]
pub fn seed_files(source: &Declared<DataSource>) -> Vec<PathBuf> {
    source.resource.spec.seed.iter().map(|file| folder(source).join(file)).collect()
}

fn folder(source: &Declared<DataSource>) -> &Path {
    source.place.file.parent().unwrap_or(Path::new(""))
}

/// Where a connection's URL stands.
enum Reference<'s> {
    Url(&'s str),
    Env(&'s str),
    File(&'s str),
}

fn reference(source: &Declared<DataSource>) -> Result<Reference<'_>, Problem> {
    let connection = &source.resource.spec.connection;
    match (&connection.url, &connection.env, &connection.file, &connection.secret_key_ref) {
        (Some(url), None, None, None) => Ok(Reference::Url(url)),
        (None, Some(name), None, None) => Ok(Reference::Env(name)),
        (None, None, Some(file), None) => Ok(Reference::File(file)),
        (None, None, None, Some(_)) => {
            let reason = "a Secret can be read in a cluster only";
            let advice = "use `env` with the name of an environment variable that holds the URL";
            Err(source.problem("spec.connection.secretKeyRef", reason).advise(advice))
        }
        _ => {
            let reason = "a connection must have exactly one of url, env, file and secretKeyRef";
            Err(source.problem("spec.connection", reason))
        }
    }
}

fn connection_url(source: &Declared<DataSource>, environment: impl Fn(&str) -> Option<String>) -> Result<String, Problem> {
    let url = match reference(source)? {
        Reference::Url(url) => written_url(source, url)?,
        Reference::Env(name) => environment(name).filter(|url| !url.is_empty()).ok_or_else(|| {
            let reason = format!("the environment variable {name} is not set");
            source.problem("spec.connection.env", reason).advise("set it to the database's URL")
        })?,
        Reference::File(file) => {
            let path = folder(source).join(file);
            let text = std::fs::read_to_string(&path).map_err(|error| {
                let reason = format!("{} can't be read: {error}", path.display());
                source.problem("spec.connection.file", reason).advise("write the database's URL into it")
            })?;
            text.trim().to_owned()
        }
    };
    check_engine(source, &url)?;
    Ok(url)
}

fn written_url(source: &Declared<DataSource>, url: &str) -> Result<String, Problem> {
    if has_password(url) {
        let reason = "the URL holds a password, which must not be in a manifest";
        let advice = "use `env` with the name of an environment variable that holds the URL";
        return Err(source.problem("spec.connection.url", reason).advise(advice));
    }
    Ok(match url.strip_prefix("sqlite:") {
        Some(rest) => match rest.strip_prefix("//").unwrap_or(rest) {
            path if path.is_empty() || path.starts_with(':') => url.to_owned(),
            path => format!("sqlite:{}", folder(source).join(path).display()),
        },
        None => url.to_owned(),
    })
}

/// Whether a URL tells a password, at its usual place or among its parameters.
pub(super) fn has_password(url: &str) -> bool {
    if let Ok(url) = Url::parse(url) {
        return url.password().is_some() || url.query_pairs().any(|(name, _)| is_secret(&name));
    }
    // One that this library can't read, such as one with several hosts, can well be one that a driver reads.
    let (before, query) = url.split_once('?').unwrap_or((url, ""));
    let user = before.rsplit_once('@').map_or("", |(user, _)| user);
    let user = user.split_once("://").map_or(user, |(_, user)| user);
    user.contains(':') || query.split('&').any(|pair| is_secret(pair.split('=').next().unwrap_or_default()))
}

fn is_secret(parameter: &str) -> bool {
    matches!(parameter.to_ascii_lowercase().as_str(), "password" | "sslpassword" | "ssl-password")
}

fn check_engine(source: &Declared<DataSource>, url: &str) -> Result<(), Problem> {
    let engine = source.resource.spec.engine;
    let dialect = Settings::new(source.key(), url).dialect();
    let dialect = dialect.map_err(|error| source.problem("spec.connection", error.to_string()))?;
    match (engine, dialect) {
        (Engine::Postgres, Dialect::Postgres) | (Engine::Mysql, Dialect::Mysql(_)) | (Engine::Sqlite, Dialect::Sqlite) => Ok(()),
        (engine, _) => {
            let scheme = url.split(':').next().unwrap_or_default();
            let reason = format!("the engine is {}, but the URL begins with {scheme}:", engine.as_str());
            Err(source.problem("spec.engine", reason).advise("change one of them"))
        }
    }
}

/// Reads `500ms`, `30s`, `2m`, `1h`.
fn parse(text: &str) -> Option<Duration> {
    let digits = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::{obstacles, parse, seed_files, settings};
    use crate::database::Settings;
    use crate::manifest::read;
    use std::path::Path;
    use std::time::Duration;

    fn resolve(spec: &str) -> Result<Settings, Vec<String>> {
        let yaml = format!("apiVersion: resolvespec.dev/v1alpha1\nkind: DataSource\nmetadata: {{name: shop}}\nspec: {spec}\n");
        let manifests = read::text(Path::new("folder/shop.yaml"), &yaml).expect("the manifest is good");
        let environment = |name: &str| (name == "SHOP_URL").then(|| "mysql://root:secret@localhost/shop".to_owned());
        settings(&manifests.sources[0], environment).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[track_caller]
    fn refuses(spec: &str, expected: &str) {
        let problems = resolve(spec).expect_err("the source has problems");
        assert_eq!(problems, [expected]);
    }

    #[test]
    fn a_source_becomes_settings() {
        let spec = "{engine: mysql, connection: {env: SHOP_URL}, pool: {maxConnections: 3, acquireTimeout: 500ms}, statementTimeout: 2m, stallTimeout: 3s, idempotencyLifetime: 48h}";
        let settings = resolve(spec).expect("the source is good");
        assert_eq!(settings.name, "shop");
        assert_eq!(settings.url, "mysql://root:secret@localhost/shop");
        assert_eq!(settings.max_connections, 3);
        assert_eq!(settings.acquire_timeout, Duration::from_millis(500));
        assert_eq!(settings.statement_timeout, Duration::from_mins(2));
        assert_eq!(settings.stall_timeout, Duration::from_secs(3));
        assert_eq!(settings.idempotency_lifetime, Duration::from_hours(48));
    }

    #[test]
    fn sqlite_files_are_relative_to_the_manifest() {
        let url = |spec| resolve(spec).expect("the source is good").url;
        assert_eq!(url("{engine: sqlite, connection: {url: 'sqlite:shop.db'}}"), "sqlite:folder/shop.db");
        assert_eq!(url("{engine: sqlite, connection: {url: 'sqlite:///data/shop.db'}}"), "sqlite:/data/shop.db");
        assert_eq!(url("{engine: sqlite, connection: {url: 'sqlite::memory:'}}"), "sqlite::memory:");
    }

    #[test]
    fn a_url_can_stand_in_a_file() {
        let path = std::env::temp_dir().join(format!("resolvespec-url-{}", std::process::id()));
        std::fs::write(&path, "postgres://me:secret@host/db\n").expect("a file");
        let spec = format!("{{engine: postgres, connection: {{file: {}}}}}", path.display());
        assert_eq!(resolve(&spec).expect("the source is good").url, "postgres://me:secret@host/db");
        std::fs::remove_file(&path).expect("removed");
        assert!(resolve(&spec).expect_err("the file is gone")[0].contains("spec.connection.file"));
    }

    #[test]
    fn what_cannot_be_resolved_elsewhere_is_told() {
        let elsewhere = |spec: &str| {
            let yaml =
                format!("apiVersion: resolvespec.dev/v1alpha1\nkind: DataSource\nmetadata: {{name: shop}}\nspec: {spec}\n");
            let manifests = read::text(Path::new("folder/shop.yaml"), &yaml).expect("the manifest is good");
            obstacles(&manifests.sources[0]).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        for good in [
            "{engine: postgres, connection: {env: NONE}}",
            "{engine: postgres, connection: {file: /run/secrets/url}}",
            "{engine: postgres, connection: {url: 'postgres://me@host/db'}}",
            "{engine: sqlite, connection: {url: 'sqlite:///data/shop.db'}}",
        ] {
            assert_eq!(elsewhere(good), "", "{good}");
        }
        for (bad, told) in [
            ("{engine: postgres, connection: {file: url}}", "is relative to the manifest"),
            ("{engine: sqlite, connection: {url: 'sqlite:shop.db'}}", "'shop.db' is relative to the manifest"),
            ("{engine: postgres, connection: {url: 'postgres://me:secret@host/db'}}", "holds a password"),
            ("{engine: postgres, connection: {url: 'postgres://me:secret@one:1,two:2/db'}}", "holds a password"),
            ("{engine: postgres, connection: {url: 'postgres://one:1,two:2/db?user=me&Password=x'}}", "holds a password"),
            ("{engine: mysql, connection: {url: 'postgres://me@host/db'}}", "the engine is mysql"),
            ("{engine: postgres, connection: {secretKeyRef: {name: a, key: b}}}", "in a cluster only"),
            ("{engine: postgres, connection: {env: A}, statementTimeout: soon}", "not a duration"),
        ] {
            assert!(elsewhere(bad).contains(told), "{bad}: {}", elsewhere(bad));
        }
    }

    #[test]
    fn seeds_are_relative_to_the_manifest() {
        let yaml = "apiVersion: resolvespec.dev/v1alpha1\nkind: DataSource\nmetadata: {name: shop}\n\
                    spec: {engine: sqlite, connection: {url: 'sqlite:x'}, seed: [a.sql, /b.sql]}\n";
        let manifests = read::text(Path::new("folder/shop.yaml"), yaml).expect("the manifest is good");
        assert_eq!(seed_files(&manifests.sources[0]), [Path::new("folder/a.sql"), Path::new("/b.sql")]);
    }

    #[test]
    fn what_cannot_work_is_refused_with_advice() {
        refuses(
            "{engine: postgres, connection: {url: 'postgres://me:secret@host/db'}}",
            "folder/shop.yaml:4:39: spec.connection.url: the URL holds a password, which must not be in a manifest; \
             use `env` with the name of an environment variable that holds the URL",
        );
        refuses(
            "{engine: postgres, connection: {env: NONE}}",
            "folder/shop.yaml:4:39: spec.connection.env: the environment variable NONE is not set; set it to the database's URL",
        );
        refuses(
            "{engine: postgres, connection: {env: SHOP_URL}}",
            "folder/shop.yaml:4:8: spec.engine: the engine is postgres, but the URL begins with mysql:; change one of them",
        );
        refuses(
            "{engine: postgres, connection: {secretKeyRef: {name: a, key: b}}}",
            "folder/shop.yaml:4:39: spec.connection.secretKeyRef: a Secret can be read in a cluster only; \
             use `env` with the name of an environment variable that holds the URL",
        );
        refuses(
            "{engine: postgres, connection: {}}",
            "folder/shop.yaml:4:26: spec.connection: a connection must have exactly one of url, env, file and secretKeyRef",
        );
    }

    #[test]
    fn several_faults_are_told_together() {
        let spec =
            "{engine: mysql, connection: {env: NONE}, statementTimeout: soon, pool: {maxConnections: 0, acquireTimeout: 5}}";
        let spec = spec.replace("acquireTimeout: 5", "acquireTimeout: '5'");
        assert_eq!(resolve(&spec).expect_err("the source has problems").len(), 4);
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse("1h"), Some(Duration::from_hours(1)));
        for text in ["", "5", "0s", "s", "-1s", "1.5s", "5 s", "1d", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
