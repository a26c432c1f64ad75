//! A database of its own for each use, on each of the three servers.

use resolvespec::database::{Database, Dialect, Settings, Statement};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use url::Url;

/// The kinds of database that every behaviour is tried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    Mariadb,
    Sqlite,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Postgres, Kind::Mariadb, Kind::Sqlite];

    /// The word in test data.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Postgres => "postgres",
            Kind::Mariadb => "mariadb",
            Kind::Sqlite => "sqlite",
        }
    }

    /// The word in manifests.
    pub(crate) fn engine(self) -> &'static str {
        match self {
            Kind::Mariadb => "mysql",
            other => other.name(),
        }
    }
}

/// An empty database, removed by [`Fresh::remove`].
pub(crate) struct Fresh {
    pub url: String,
    admin: Option<(Database, String)>,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Fresh {
    pub(crate) async fn create(kind: Kind) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("it_{}_{number}", std::process::id());
        let (variable, create) = match kind {
            Kind::Sqlite => {
                let path = std::env::temp_dir().join(format!("{name}.db"));
                std::fs::File::create(&path).expect("the temporary folder can be written");
                return Self { url: format!("sqlite:{}", path.display()), admin: None };
            }
            Kind::Postgres => (
                "TEST_POSTGRES_URL",
                format!("create database {name} template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C.UTF-8'"),
            ),
            Kind::Mariadb => ("TEST_MARIADB_URL", format!("create database {name} character set utf8mb4 collate utf8mb4_bin")),
        };
        let server = std::env::var(variable)
            .unwrap_or_else(|_| panic!("{variable} is not set: run the tests with tests/run, or see tests/run --serve"));
        let mut settings = Settings::new("admin", &server);
        settings.max_connections = 1;
        let admin = Database::connect(&settings).await.expect("the test server answers");
        admin.run_script(&create).await.unwrap_or_else(|error| panic!("{create}: {error}"));
        let mut url = Url::parse(&server).expect("the test server's variable is a URL");
        url.set_path(&name);
        Self { url: url.into(), admin: Some((admin, name)) }
    }

    /// A database that somebody else made and removes.
    pub(crate) fn at(url: String) -> Self {
        Self { url, admin: None }
    }

    pub(crate) async fn remove(self) {
        if let Some((admin, name)) = self.admin {
            if admin.dialect() == Dialect::Postgres {
                // A relay's session that has just ended may still hold the database's slot, and then it can't be dropped.
                let held = format!("select to_json(slot_name) from pg_replication_slots where database = '{name}' and active");
                let free = async {
                    while !admin.fetch_texts(Statement::new(held.as_str())).await.expect("the server answers").is_empty() {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::time::timeout(Duration::from_secs(30), free).await.expect("nobody holds the slot");
            }
            admin.run_script(&format!("drop database {name}")).await.expect("the test's database can be dropped");
            admin.close().await;
            return;
        }
        let path = self.url.trim_start_matches("sqlite:");
        for suffix in ["", "-wal", "-shm"] {
            _ = std::fs::remove_file(format!("{path}{suffix}"));
        }
    }
}
