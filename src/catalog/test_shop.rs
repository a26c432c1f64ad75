//! A small shop for tests that need a catalog: facts written by hand, manifests as text.

use super::collation::{Collation, Lowering, TextComparison};
use super::compile::{Settings, compile};
use super::facts::{ColumnFacts, Facts, ForeignKey, Index, TableFacts, Writable};
use super::kind::Kind;
use super::lookup::Catalog;
use crate::database::Dialect;
use crate::manifest::{Manifests, Problem, read};
use std::collections::HashMap;
use std::path::Path;

/// `name kind` with `?` for NULL, `+` for counted up, `!` for generated.
fn column(text: &str) -> ColumnFacts {
    let (name, declared) = text.split_once(' ').expect("a name and a kind");
    let word = declared.trim_end_matches(['?', '+', '!']);
    let kind = match word {
        "integer" => Kind::Integer,
        "decimal" => Kind::Decimal,
        "boolean" => Kind::Boolean,
        "json" => Kind::Json,
        "enum" => Kind::Enum(vec!["sad".to_owned(), "glad".to_owned()]),
        "other" => Kind::Other,
        _ => Kind::Text,
    };
    ColumnFacts {
        name: name.to_owned(),
        declared_type: word.to_owned(),
        kind,
        nullable: declared.contains('?'),
        has_default: declared.contains('+'),
        auto_increment: declared.contains('+'),
        generated: declared.contains('!'),
        collation: Collation { comparison: TextComparison::Bytes, lowering: Lowering::Process },
        comment: None,
    }
}

fn names(text: &str) -> Vec<String> {
    text.split_whitespace().map(ToOwned::to_owned).collect()
}

/// A table; `keys` are `columns > table columns`.
pub(super) fn table(name: &str, columns: &[&str], primary_key: &str, keys: &[&str]) -> TableFacts {
    let key = |text: &&str| {
        let (columns, target) = text.split_once(" > ").expect("two sides");
        let (table, target_columns) = target.split_once(' ').expect("a table and columns");
        ForeignKey {
            name: Some(format!("{name}_{}", columns.replace(' ', "_"))),
            columns: names(columns),
            target_schema: "main".to_owned(),
            target_table: table.to_owned(),
            target_columns: names(target_columns),
        }
    };
    TableFacts {
        schema: "main".to_owned(),
        name: name.to_owned(),
        columns: columns.iter().map(|text| column(text)).collect(),
        primary_key: names(primary_key),
        foreign_keys: keys.iter().map(key).collect(),
        writable: Writable::FULLY,
        ..TableFacts::default()
    }
}

fn unique(mut table: TableFacts, columns: &str) -> TableFacts {
    let index = Index { name: format!("{}_{columns}", table.name), columns: names(columns), unique: true, plain: true };
    table.indexes.push(index);
    table
}

/// Customers, their orders and profile, lines of products, tags through a link table, and a view.
pub(super) fn facts() -> Facts {
    let tables = [
        table(
            "customers",
            &["id integer+", "name text", "age integer?", "mood text?", "secret text?", "password text?", "mentor_id integer?"],
            "id",
            &["mentor_id > customers id"],
        ),
        table(
            "orders",
            &[
                "id integer+",
                "customer_id integer",
                "payer integer?",
                "note text?",
                "amount decimal",
                "state enum",
                "double decimal!",
            ],
            "id",
            &["customer_id > customers id", "payer > customers id"],
        ),
        unique(
            table("profiles", &["id integer+", "customer_id integer", "data text?"], "id", &["customer_id > customers id"]),
            "customer_id",
        ),
        table("products", &["id integer+", "label text"], "id", &[]),
        table(
            "order_products",
            &["order_id integer", "product_id integer"],
            "order_id product_id",
            &["order_id > orders id", "product_id > products id"],
        ),
        table("friends", &["who integer", "whom integer"], "who whom", &["who > customers id", "whom > customers id"]),
        table("log", &["at text", "line text?", "anything other?"], "", &[]),
        TableFacts {
            is_view: true,
            writable: Writable::default(),
            ..table("totals", &["customer_id integer?", "total decimal?"], "", &[])
        },
    ];
    Facts::new(Dialect::Sqlite, "main", tables)
}

/// The manifest of an entity; `spec` is indented by two spaces.
pub(crate) fn entity(name: &str, spec: &str) -> String {
    let table = if name.contains('_') { format!("  table: {name}\n") } else { String::new() };
    let (name, spec) = (name.replace('_', "-"), table + spec);
    format!("---\napiVersion: resolvespec.dev/v1alpha1\nkind: Entity\nmetadata:\n  name: {name}\nspec:\n  source: shop\n{spec}\n")
}

/// The shop's DataSource and some entities.
pub(super) fn manifests(entities: &[String]) -> Manifests {
    let source = "apiVersion: resolvespec.dev/v1alpha1\nkind: DataSource\nmetadata:\n  name: shop\nspec:\n  engine: sqlite\n  \
                  connection:\n    url: sqlite:shop.db\n";
    read::text(Path::new("shop.yaml"), &format!("{}---\n{source}", entities.concat()))
        .unwrap_or_else(|problems| panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}

pub(super) fn try_catalog(entities: &[String]) -> Result<Catalog, Vec<Problem>> {
    compile(&manifests(entities), &HashMap::from([("shop".to_owned(), facts())]), &Settings::default())
}

pub(crate) fn catalog(entities: &[String]) -> Catalog {
    try_catalog(entities)
        .unwrap_or_else(|problems| panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}
