//! What the fuzz targets share: catalogs without a database, one for each SQL, and what holds for every statement.

use resolvespec::auth::Principal;
use resolvespec::catalog::facts::{ColumnFacts, TableFacts};
use resolvespec::catalog::{Catalog, Facts, Kind, compile};
use resolvespec::database::{Dialect, Flavour, Statement};
use resolvespec::engine::authorize::authorize;
use resolvespec::engine::plan::{Scope, Shape, plan_read};
use resolvespec::engine::sql;
use resolvespec::manifest::read;
use resolvespec::protocol::{Operation, Options, Selector, Target};
use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

const MANIFESTS: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {name: shop}
spec: {engine: postgres, connection: {env: UNUSED}}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: lines}
spec:
  source: shop
  relations: [{name: order, kind: belongsTo, target: orders}]
  computed: [{name: twice, expression: amount * 2, type: decimal}]
  operators: [{name: over, condition: 'amount > {low}', parameters: [{name: low, type: decimal}]}]
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: orders}
spec:
  source: shop
  relations: [{name: lines, kind: hasMany, target: lines}, {name: parent, kind: belongsTo, target: orders}]
";

/// Every kind of value.
#[must_use]
pub fn kinds() -> Vec<Kind> {
    let plain = [
        Kind::Boolean,
        Kind::Integer,
        Kind::Decimal,
        Kind::Float,
        Kind::Text,
        Kind::Uuid,
        Kind::Date,
        Kind::Time,
        Kind::Timestamp { zoned: true },
        Kind::Timestamp { zoned: false },
        Kind::Bytes,
        Kind::Json,
        Kind::Enum(vec!["sad".to_owned(), "glad".to_owned()]),
        Kind::Other,
    ];
    let arrays = plain.iter().cloned().map(|kind| Kind::Array(Box::new(kind)));
    let nested = Kind::Array(Box::new(Kind::Array(Box::new(Kind::Text))));
    plain.iter().cloned().chain(arrays).chain([nested]).collect()
}

fn column(name: &str, kind: Kind, nullable: bool) -> ColumnFacts {
    let declared_type = if kind == Kind::Integer { "bigint" } else { kind.as_str() }.to_owned();
    ColumnFacts {
        name: name.to_owned(),
        declared_type,
        kind,
        nullable,
        has_default: false,
        auto_increment: false,
        generated: false,
        collation: resolvespec::catalog::Collation::default(),
        comment: None,
    }
}

fn table(name: &str, columns: Vec<ColumnFacts>, primary_key: &[&str]) -> TableFacts {
    let primary_key = primary_key.iter().map(ToString::to_string).collect();
    let schema = "public".to_owned();
    TableFacts { schema, name: name.to_owned(), columns, primary_key, ..TableFacts::default() }
}

fn catalog(dialect: Dialect) -> Catalog {
    let amount = column("amount", Kind::Decimal, true);
    let order = column("order_id", Kind::Integer, false);
    let mut lines = vec![order, column("code", Kind::Text, false), column("at", Kind::Timestamp { zoned: true }, false), amount];
    lines.extend(kinds().into_iter().enumerate().map(|(place, kind)| column(&format!("c{place}"), kind, true)));
    let mut lines = table("lines", lines, &["order_id", "code", "at"]);
    lines.foreign_keys.push(key("order_id", "id"));
    let orders = vec![column("id", Kind::Integer, false), column("parent_id", Kind::Integer, true)];
    let mut orders = table("orders", orders, &["id"]);
    orders.foreign_keys.push(key("parent_id", "id"));
    let facts = HashMap::from([("shop".to_owned(), Facts::new(dialect, "public", [lines, orders]))]);
    let engine = match dialect {
        Dialect::Postgres => "postgres",
        Dialect::Mysql(_) => "mysql",
        Dialect::Sqlite => "sqlite",
    };
    let manifests = read::text(Path::new("shop.yaml"), &MANIFESTS.replace("engine: postgres", &format!("engine: {engine}")));
    let manifests = manifests.unwrap_or_else(|problems| panic!("{problems:?}"));
    compile(&manifests, &facts, &compile::Settings::default()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn key(column: &str, target: &str) -> resolvespec::catalog::facts::ForeignKey {
    resolvespec::catalog::facts::ForeignKey {
        name: None,
        columns: vec![column.to_owned()],
        target_schema: "public".to_owned(),
        target_table: "orders".to_owned(),
        target_columns: vec![target.to_owned()],
    }
}

static CATALOGS: LazyLock<Vec<Catalog>> = LazyLock::new(|| {
    let mysql = [Flavour::Mariadb, Flavour::Mysql].map(Dialect::Mysql);
    [Dialect::Postgres, Dialect::Sqlite].into_iter().chain(mysql).map(catalog).collect()
});

/// Plans a read of lines on every database, and holds its statements against what must be true of any.
pub fn read(selector: &Selector, options: &Options) {
    let target = Target { schema: None, entity: "lines".to_owned() };
    let principal = Principal::anonymous();
    for catalog in &*CATALOGS {
        let entity = catalog.find(&target).expect("the catalog has lines");
        let grant = authorize(&principal, entity, Operation::Read).expect("everyone may read");
        let mut scope = Scope::new(catalog, &principal, entity);
        let Ok(plan) = plan_read(&mut scope, grant, selector, options) else { continue };
        let statement = if plan.shape == Shape::List { sql::page(&plan) } else { sql::record(&plan) };
        holds(entity.dialect, &statement);
    }
}

/// As many placeholders as binds, and every quote closed.
fn holds(dialect: Dialect, statement: &Statement) {
    let mut placeholders = 0;
    let mut open: Option<char> = None;
    let mut characters = statement.text.chars();
    while let Some(character) = characters.next() {
        match (open, character) {
            (Some('\''), '\\') if matches!(dialect, Dialect::Mysql(_)) => _ = characters.next(),
            (Some(quote), character) if quote == character => open = None,
            (Some(_), _) => {}
            (None, '\'' | '"' | '`') => open = Some(character),
            (None, '?' | '$') => placeholders += 1,
            (None, _) => {}
        }
    }
    assert_eq!(open, None, "{}", statement.text);
    assert_eq!(placeholders, statement.binds.len(), "{}", statement.text);
}
