//! What introspection writes, read back.

use super::{database_name, dns_name, manifests, shown};
use crate::catalog::facts::{ColumnFacts, Facts, ForeignKey, TableFacts, Writable};
use crate::catalog::{Catalog, Collation, Kind, Relation, compile};
use crate::database::Dialect;
use crate::manifest::read;
use std::collections::HashMap;
use std::path::Path;

fn table(schema: &str, name: &str, columns: &[&str], key: &[&str], keys: &[(&[&str], &str, &str, &[&str])]) -> TableFacts {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let column = |name: &&str| ColumnFacts {
        name: (*name).to_owned(),
        declared_type: "bigint".to_owned(),
        kind: Kind::Integer,
        nullable: false,
        has_default: false,
        auto_increment: false,
        generated: false,
        collation: Collation::default(),
        comment: None,
    };
    let foreign_key = |(columns, schema, table, target): &(&[&str], &str, &str, &[&str])| ForeignKey {
        name: None,
        columns: names(columns),
        target_schema: (*schema).to_owned(),
        target_table: (*table).to_owned(),
        target_columns: names(target),
    };
    TableFacts {
        schema: schema.to_owned(),
        name: name.to_owned(),
        columns: columns.iter().map(column).collect(),
        primary_key: names(key),
        foreign_keys: keys.iter().map(foreign_key).collect(),
        writable: Writable::FULLY,
        ..TableFacts::default()
    }
}

/// Odd names, two schemas, a link table, keys that need both sides, a view and a table of ours.
fn odd() -> Facts {
    let users = ("public", "Users");
    Facts::new(
        Dialect::Postgres,
        "public",
        [
            table("public", "Users", &["id", "no", "boss_id", "e mail"], &["id"], &[(&["boss_id"], users.0, users.1, &["id"])]),
            table("public", "users", &["id"], &["id"], &[]),
            table("audit", "users", &["id", "user_id"], &["id"], &[(&["user_id"], users.0, users.1, &["id"])]),
            table(
                "public",
                "Order Items",
                &["order", "Users"],
                &["order", "Users"],
                &[(&["Users"], users.0, users.1, &["id"]), (&["order"], "public", "null", &["id"])],
            ),
            table("public", "null", &["id", "other"], &["id"], &[(&["other"], "public", "null", &["id"])]),
            table(
                "public",
                "twice",
                &["id", "at"],
                &["id"],
                &[(&["at"], users.0, users.1, &["id"]), (&["at"], "public", "null", &["id"])],
            ),
            table("public", "resolvespec_idempotency", &["id"], &["id"], &[]),
            table("public", "keyless", &["at"], &[], &[]),
            TableFacts { is_view: true, ..table("public", "1e3", &["id"], &[], &[]) },
        ],
    )
}

fn catalog(yaml: &str, facts: Facts) -> Catalog {
    let said = |problems: Vec<crate::manifest::Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let manifests = read::text(Path::new("written.yaml"), yaml).map_err(said).unwrap_or_else(|said| panic!("{said}\n{yaml}"));
    let facts = HashMap::from([(manifests.sources[0].key(), facts)]);
    let settings = compile::Settings::default();
    compile::compile(&manifests, &facts, &settings).map_err(said).unwrap_or_else(|said| panic!("{said}\n{yaml}"))
}

#[test]
fn what_is_written_compiles_to_what_would_be_derived() {
    let yaml = manifests(&odd(), "postgres://me@host/shop", None);
    let written = catalog(&yaml, odd());
    let is_relations = |line: &&str| line.starts_with("  relations:");
    assert_eq!(yaml.lines().filter(is_relations).count(), 8, "{yaml}");
    let bare: String = yaml
        .split("---\n")
        .map(|document| document.split("  relations:").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("---\n");
    let derived = catalog(&bare, odd());
    assert_eq!(written.entities().len(), 8);
    for (left, right) in written.entities().iter().zip(derived.entities()) {
        let text = |relation: &Relation| format!("{relation:?}");
        let texts = |relations: &[Relation]| relations.iter().map(text).collect::<Vec<_>>();
        assert_eq!(left.full_name(), right.full_name());
        assert_eq!(texts(&left.relations), texts(&right.relations), "{}", left.full_name());
    }
    let relations: usize = written.entities().iter().map(|entity| entity.relations.len()).sum();
    assert_eq!(relations, 16, "{yaml}");
}

#[test]
fn resources_have_unique_names_that_kubernetes_takes() {
    let yaml = manifests(&odd(), "postgres://me@host/shop", None);
    let names: Vec<&str> = yaml.lines().filter_map(|line| line.strip_prefix("  name: ")).collect();
    assert_eq!(names, ["shop", "audit-users", "\"1e3\"", "order-items", "users", "keyless", "\"null\"", "twice", "public-users"]);
    assert!(yaml.contains("# A view: to read single rows"));
    assert!(yaml.contains("# No primary key: to change single rows"));
    assert!(!yaml.contains("resolvespec_idempotency"));
}

#[test]
fn a_password_is_never_written() {
    let facts = || Facts::new(Dialect::Postgres, "public", [table("public", "a", &["id"], &["id"], &[])]);
    for url in [
        "postgres://me:s3cret@host:5432/shop?sslmode=disable",
        "postgres://me@host/shop?password=s3cret",
        "postgres://me:s3cret@ho st/shop",
    ] {
        let yaml = manifests(&facts(), url, Some("My Shop"));
        assert!(!yaml.contains("s3cret"), "{yaml}");
        assert!(yaml.contains("    env: RESOLVESPEC_DATABASE_URL\n"), "{yaml}");
        assert!(yaml.contains("# First set RESOLVESPEC_DATABASE_URL"), "{yaml}");
        assert!(yaml.contains("  name: my-shop\n"), "{yaml}");
    }
    assert_eq!(shown("postgres://me:s3cret@host:5432/shop?sslmode=disable").as_deref(), Some("postgres://me@host:5432/shop"));
}

#[test]
fn the_smallest_manifest_is_small() {
    let facts = Facts::new(Dialect::Sqlite, "main", [table("main", "a", &["id"], &["id"], &[])]);
    let yaml = manifests(&facts, "sqlite:/data/shop.db", None);
    let documents = yaml.split_once("apiVersion").map(|(_, rest)| format!("apiVersion{rest}"));
    assert_eq!(
        documents.as_deref(),
        Some(
            "apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata:
  name: shop
spec:
  engine: sqlite
  connection:
    url: sqlite:/data/shop.db
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata:
  name: a
spec:
  source: shop
  relations: []
"
        )
    );
}

#[test]
fn names_are_made_of_urls() {
    for (url, name) in [
        ("postgres://me@host/shop?x=/y", "shop"),
        ("postgres://host", "database"),
        ("mysql://host/", "database"),
        ("sqlite:data/my.shop.db", "my"),
        ("sqlite:///data/shop.db", "shop"),
        ("sqlite:shop", "shop"),
    ] {
        assert_eq!(database_name(url), name, "{url}");
    }
    for (name, dns) in [("Order_Items", "order-items"), ("__", "unnamed"), ("äöü x", "x"), ("a--b_", "a-b")] {
        assert_eq!(dns_name(name), dns);
    }
    assert_eq!(dns_name(&"long_".repeat(20)).len(), 63);
}
