//! `resolvespec capture` as people run it.

use crate::support::database::{Fresh, Kind};
use crate::support::process::Finish;
use resolvespec::database::{Database, Settings, Statement};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use url::Url;

const MANIFEST: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {name: shop}
spec: {engine: sqlite, connection: {url: 'sqlite:shop.db'}, capture: {mode: MODE}}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: items}
spec: {source: shop}
";

/// Runs the binary on a folder's manifests: whether it succeeded, and what it said.
fn run(arguments: &[&str], folder: &Path, url: &str) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resolvespec"));
    let output = command.args(arguments).arg(folder).env("SHOP_URL", url).finished();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// A folder with a shop, removed at the end.
struct Shop(PathBuf);

impl Shop {
    fn new(mode: &str) -> Self {
        let folder = crate::support::folder(&format!("capture-{mode}"));
        std::fs::write(folder.join("shop.yaml"), MANIFEST.replace("MODE", mode)).expect("a manifest");
        let shop = Self(folder);
        shop.database().execute_batch("create table items (id integer primary key, name text)").expect("a table");
        shop
    }

    fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.0.join("shop.db")).expect("the file can be opened")
    }

    /// Whether it succeeded, and what it said.
    fn capture(&self, arguments: &[&str]) -> (bool, String) {
        run(&[&["capture"][..], arguments].concat(), &self.0, "")
    }

    #[track_caller]
    fn says(&self, arguments: &[&str], expected: &str) {
        let (succeeded, said) = self.capture(arguments);
        assert!(succeeded && said == expected, "{arguments:?}: {said}");
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn capture_is_shown_installed_and_removed() {
    let shop = Shop::new("trigger");
    shop.says(&["status"], "missing      main.items (shop)\n");
    let (_, shown) = shop.capture(&["install", "--dry-run"]);
    assert_eq!(shown.matches("create trigger").count(), 3, "{shown}");
    shop.says(&["status"], "missing      main.items (shop)\n");
    shop.database().execute_batch(&shown).expect("what is shown can be run");
    shop.says(&["status"], "installed    main.items (shop)\n");
    shop.says(&["install"], "shop: 1 table is captured\n");
    shop.says(&["install", "--dry-run"], "-- shop\n");
    shop.database().execute_batch("insert into items values (1, 'pen')").expect("a row");
    let (succeeded, said) = shop.capture(&["remove"]);
    assert!(!succeeded && said.contains("1 change waits in 'shop' to be told"), "{said}");
    shop.says(&["remove", "--discard"], "shop: nothing is captured\n");
    let left = "select count(*) from sqlite_schema where name not in ('items', 'sqlite_sequence')";
    let left: i64 = shop.database().query_row(left, [], |row| row.get(0)).expect("a count");
    assert_eq!(left, 0);
    shop.says(&["status"], "missing      main.items (shop)\n");
}

#[test]
fn a_mode_that_the_database_does_not_have_is_refused() {
    let shop = Shop::new("wal");
    let (succeeded, said) = shop.capture(&["install"]);
    assert!(
        !succeeded && said.contains("spec.capture.mode: `wal` is PostgreSQL's logical replication, which sqlite does not have"),
        "{said}"
    );
}

/// Whoever tells a database's changes tells those of one source; the other's subscribers would wait for ever.
#[test]
fn a_database_is_captured_by_one_source_alone() {
    let shop = Shop::new("trigger");
    let twin = |mode: &str| {
        let source = MANIFEST.split("---").next().expect("the first").replace("{name: shop}", "{name: twin}");
        let source = source.replace("sqlite:shop.db", "sqlite:./shop.db").replace("MODE", mode);
        std::fs::write(shop.0.join("twin.yaml"), source).expect("a manifest");
    };
    twin("trigger");
    for arguments in [&["check"][..], &["capture", "install"]] {
        let (succeeded, said) = run(arguments, &shop.0, "");
        let reason = "spec.capture.mode: 'shop' captures the same database, which only one DataSource can";
        assert!(!succeeded && said.contains(reason), "{arguments:?}: {said}");
    }
    twin("none");
    shop.says(&["install"], "shop: 1 table is captured\n");
}

const REMOTE: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {name: shop}
spec: {engine: ENGINE, connection: {env: SHOP_URL}, capture: {mode: MODE}}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: items}
spec: {source: shop}
";

/// A shop whose database is a server's.
struct Remote {
    kind: Kind,
    folder: PathBuf,
    fresh: Fresh,
    /// Another program.
    database: Database,
}

impl Remote {
    async fn new(kind: Kind, mode: &str) -> Self {
        let folder = crate::support::folder(&format!("capture-{mode}-{}", kind.name()));
        let manifest = REMOTE.replace("ENGINE", kind.engine()).replace("MODE", mode);
        std::fs::write(folder.join("shop.yaml"), manifest).expect("a manifest");
        let fresh = Fresh::create(kind).await;
        let database = Database::connect(&Settings::new("writer", &fresh.url)).await.expect("the database answers");
        database.run_script("create table items (id integer primary key, name varchar(50))").await.expect("a table");
        Self { kind, folder, fresh, database }
    }

    /// What one of the subcommands says, which must succeed.
    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        let (succeeded, said) = run(arguments, &self.folder, &self.fresh.url);
        assert!(succeeded, "{arguments:?}: {said}");
        said
    }

    /// How far the table is, of which nothing else is to be said.
    #[track_caller]
    fn is(&self, state: &str) {
        let said = self.says(&["capture", "status"]);
        assert!(said.starts_with(&format!("{state:<12} ")) && said.ends_with(".items (shop)\n"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }

    /// Gives SQL to the server's own program, as a person does.
    #[track_caller]
    fn give(&self, sql: &str) {
        let url = Url::parse(&self.fresh.url).expect("a URL");
        let mut program = if self.kind == Kind::Postgres {
            let mut psql = Command::new("psql");
            psql.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1"]).arg(url.as_str());
            psql
        } else {
            let mut mariadb = Command::new("mariadb");
            mariadb.args(["--no-defaults", "--default-character-set=utf8mb4", "--host", url.host_str().expect("a host")]);
            mariadb.args(["--port", &url.port().expect("a port").to_string(), "--user", url.username()]);
            mariadb.arg(url.path().trim_start_matches('/')).env("MYSQL_PWD", url.password().expect("a password"));
            mariadb
        };
        let output = program.fed(sql);
        assert!(output.status.success(), "{}\n{sql}", String::from_utf8_lossy(&output.stderr));
    }

    async fn texts(&self, sql: &str) -> Vec<String> {
        self.database.fetch_texts(Statement::new(sql)).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    async fn close(self) {
        self.database.close().await;
        self.fresh.remove().await;
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Everything of a PostgreSQL database that has our name.
const OURS_ON_POSTGRES: &str = "select to_json(name) from (
  select relname::text from pg_class union all select proname::text from pg_proc union all select tgname::text from pg_trigger
) named(name) where name like '%resolvespec%'";

const OURS_ON_MARIADB: &str = "select name from (
  select table_name as name from information_schema.tables where table_schema = database()
  union all select trigger_name from information_schema.triggers where trigger_schema = database()
) named where name like '%resolvespec%'";

/// An administrator who lets nobody else change the schema runs what is shown.
async fn shown_is_run(kind: Kind, ours: &str) {
    let remote = Remote::new(kind, "trigger").await;
    remote.is("missing");
    let shown = remote.says(&["capture", "install", "--dry-run"]);
    assert!(shown.starts_with("-- shop\n") && shown.contains("create trigger"), "{shown}");
    remote.is("missing");
    assert_eq!(remote.texts(ours).await, [""; 0], "what is shown is not run");
    remote.give(&shown);
    remote.is("installed");
    assert_eq!(remote.says(&["capture", "install", "--dry-run"]), "-- shop\n", "there is nothing left to do");

    remote.give("insert into items values (1, 'pen \u{1f58a}'); update items set name = null; delete from items;");
    let cast = if kind == Kind::Postgres { "text" } else { "char" };
    let told = format!(
        "select cast(concat('[', coalesce(cast(before_image as {cast}), 'null'), ',', coalesce(cast(after_image as {cast}), 'null'), \
         ']') as {cast}) from resolvespec_outbox order by id"
    );
    let told: Vec<Value> = remote.texts(&told).await.iter().map(|text| serde_json::from_str(text).expect("JSON")).collect();
    let (pen, bare) = (json!({"id": 1, "name": "pen \u{1f58a}"}), json!({"id": 1, "name": null}));
    assert_eq!(told, [json!([null, pen]), json!([pen, bare]), json!([bare, null])]);

    let shown = remote.says(&["capture", "remove", "--dry-run"]);
    assert!(shown.starts_with("-- shop\n") && shown.contains("drop trigger"), "{shown}");
    remote.is("installed");
    remote.give(&shown);
    remote.is("missing");
    assert_eq!(remote.texts(ours).await, [""; 0]);
    assert_eq!(remote.says(&["capture", "remove", "--dry-run"]), "-- shop\n", "there is nothing left to remove");
    remote.give("insert into items values (2, 'ink');");
    remote.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_can_be_given_to_psql() {
    shown_is_run(Kind::Postgres, OURS_ON_POSTGRES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_can_be_given_to_mariadb() {
    shown_is_run(Kind::Mariadb, OURS_ON_MARIADB).await;
}

/// A server's log has no limit unless somebody sets one.
#[tokio::test(flavor = "multi_thread")]
async fn every_subcommand_warns_of_a_log_without_limit() {
    let remote = Remote::new(Kind::Postgres, "wal").await;
    let warning = "the server's max_slot_wal_keep_size is -1";
    for (arguments, lead) in [
        (&["capture", "install", "--dry-run"][..], "-- warning: "),
        (&["capture", "status"][..], "warning      "),
        (&["check"][..], "warning  changes of shop: "),
    ] {
        let said = remote.says(arguments);
        assert!(said.lines().any(|line| line.starts_with(&format!("{lead}{warning}"))), "{arguments:?}: {said}");
    }
    remote.close().await;
}
