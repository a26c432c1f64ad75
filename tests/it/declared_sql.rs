//! SQL that a manifest declares is read by the database before it is served: a fault is told with its place.

use crate::support::database::{Fresh, Kind};
use crate::support::process::Finish;
use resolvespec::database::{Database, Settings};
use std::process::{Command, Output};

/// The lines that are at fault end with the reason that the databases have for it.
fn manifest(kind: Kind) -> String {
    format!(
        "apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {{name: shop}}
spec: {{engine: {}, connection: {{env: DECLARED_DATABASE}}}}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {{name: items}}
spec:
  source: shop
  apiSchema: public
  computed:
    - {{name: doubled, expression: price * 2, type: decimal}}
    - {{name: shout, expression: upper(name), type: text}}
    - {{name: details, expression: \"'{{}}'\", type: json}}
    - {{name: lost, expression: nonexistent + 1, type: decimal}}
  operators:
    - {{name: cheap, condition: 'price < {{most}}', parameters: [{{name: most, type: decimal}}]}}
    - {{name: called, condition: 'name = {{name}} or upper(name) = {{name}}', parameters: [{{name: name, type: text}}]}}
    - {{name: odd, condition: no_such_function(price) = 1}}
",
        kind.engine()
    )
}

struct Tried {
    fresh: Fresh,
    folder: std::path::PathBuf,
}

impl Tried {
    async fn new(kind: Kind, manifest: &str) -> Self {
        let fresh = Fresh::create(kind).await;
        let database = Database::connect(&Settings::new("fill", &fresh.url)).await.expect("the database answers");
        let table = "create table items (id integer primary key, name varchar(50) not null, price decimal(10,2) not null)";
        database.run_script(table).await.expect("a table can be made");
        database.close().await;
        let folder = crate::support::folder(&format!("declared-{}", kind.name()));
        std::fs::write(folder.join("shop.yaml"), manifest).expect("a manifest");
        Self { fresh, folder }
    }

    fn run(&self, command: &str) -> Output {
        let mut process = Command::new(env!("CARGO_BIN_EXE_resolvespec"));
        process.arg(command).arg(&self.folder).env("DECLARED_DATABASE", &self.fresh.url).finished()
    }

    async fn end(self) {
        std::fs::remove_dir_all(&self.folder).expect("the folder can be removed");
        self.fresh.remove().await;
    }
}

async fn faults_are_told(kind: Kind) {
    let tried = Tried::new(kind, &manifest(kind)).await;
    for command in ["check", "dev"] {
        let output = tried.run(command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        let about = |line: u32, name: &str, reason: &str| {
            let wanted = [&format!("shop.yaml:{line}:"), "public.items", name, reason].map(ToOwned::to_owned);
            said.lines().any(|line| wanted.iter().all(|part| line.contains(part.as_str())))
        };
        assert!(about(16, "'lost'", "nonexistent"), "{command}: {said}");
        assert!(about(20, "'odd'", "no_such_function"), "{command}: {said}");
        for good in ["'doubled'", "'shout'", "'details'", "'cheap'", "'called'"] {
            assert!(!said.contains(good), "{command}: {said}");
        }
    }
    let without = manifest(kind);
    let without: Vec<&str> = without.lines().filter(|line| !line.contains("lost") && !line.contains("name: odd")).collect();
    std::fs::write(tried.folder.join("shop.yaml"), without.join("\n")).expect("a manifest");
    let output = tried.run("check");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    tried.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_that_the_database_does_not_understand_is_refused_on_postgres() {
    faults_are_told(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_that_the_database_does_not_understand_is_refused_on_mariadb() {
    faults_are_told(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_that_the_database_does_not_understand_is_refused_on_sqlite() {
    faults_are_told(Kind::Sqlite).await;
}

/// Only PostgreSQL has types before there are rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_declared_type_that_the_expression_does_not_have_is_refused_on_postgres() {
    let wrong = manifest(Kind::Postgres)
        .replace("nonexistent + 1, type: decimal", "upper(name), type: integer")
        .replace("no_such_function(price) = 1", "price");
    let tried = Tried::new(Kind::Postgres, &wrong).await;
    let output = tried.run("check");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.lines().any(|line| line.contains("shop.yaml:16:") && line.contains("'lost'") && line.contains("text = bigint")));
    assert!(
        said.lines().any(|line| line.contains("shop.yaml:20:") && line.contains("'odd'") && line.contains("boolean")),
        "{said}"
    );
    tried.end().await;
}
