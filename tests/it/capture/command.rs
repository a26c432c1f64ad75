//! `resolvespec capture` as people run it.

use std::path::PathBuf;
use std::process::Command;

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
        let mut command = Command::new(env!("CARGO_BIN_EXE_resolvespec"));
        let output = command.arg("capture").args(arguments).arg(&self.0).output().expect("the binary runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
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
