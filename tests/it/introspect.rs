//! What introspection says of real databases: the same shop on all three, with what is peculiar to each.
//!
//! `TEST_POSTGRES_URL` and `TEST_MARIADB_URL` name the servers; without them only SQLite is asked.

use resolvespec::catalog::compile::{self, compile};
use resolvespec::catalog::facts::{TableFacts, Writable};
use resolvespec::catalog::{Catalog, Facts, Kind, Scope, introspect, metadata};
use resolvespec::database::{Database, Settings, Statement};
use resolvespec::manifest::{read, write};
use std::collections::HashMap;
use std::path::Path;

async fn run(database: &Database, script: &str) {
    let mut transaction = database.begin(database.deadline(None)).await.expect("a transaction begins");
    for statement in script.split(";;").map(str::trim).filter(|statement| !statement.is_empty()) {
        transaction.execute(Statement::new(statement)).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    transaction.commit().await.expect("the transaction commits");
}

fn named(schema: &str) -> Scope {
    Scope::Schemas { default: false, named: [schema.to_owned()].into() }
}

fn table<'a>(facts: &'a Facts, schema: &str, name: &str) -> &'a TableFacts {
    facts.table(schema, name).unwrap_or_else(|| panic!("there is a table {schema}.{name}"))
}

/// A column in one line: its kind, then what is special about it.
fn column(table: &TableFacts, name: &str) -> String {
    let column = table.column(name).unwrap_or_else(|| panic!("there is a column {name}"));
    let kind = match &column.kind {
        Kind::Timestamp { zoned: true } => "timestamptz".to_owned(),
        Kind::Array(inner) => format!("{}[]", inner.as_str()),
        Kind::Enum(values) => format!("enum({})", values.join(",")),
        kind => kind.as_str().to_owned(),
    };
    let words = [
        (column.nullable, "null"),
        (column.has_default, "default"),
        (column.auto_increment, "counted"),
        (column.generated, "generated"),
        (table.is_unique(&[name.to_owned()]), "unique"),
        (table.is_indexed(name), "indexed"),
    ];
    let words = words.iter().filter(|(holds, _)| *holds).map(|(_, word)| *word);
    std::iter::once(kind.as_str()).chain(words).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn columns(table: &TableFacts, expected: &[(&str, &str)]) {
    let said: Vec<(&str, String)> = table.columns.iter().map(|one| (one.name.as_str(), column(table, &one.name))).collect();
    let expected: Vec<(&str, String)> = expected.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
    assert_eq!(said, expected);
}

fn foreign_keys(table: &TableFacts) -> Vec<String> {
    let text = |key: &resolvespec::catalog::facts::ForeignKey| {
        format!("{} -> {}({})", key.columns.join(","), key.target_table, key.target_columns.join(","))
    };
    let mut keys: Vec<String> = table.foreign_keys.iter().map(text).collect();
    keys.sort();
    keys
}

/// What introspection writes is read back and fits the database that it came from.
fn catalog(facts: &Facts, url: &str) -> Catalog {
    let yaml = write::manifests(facts, url, None);
    let said =
        |problems: Vec<resolvespec::manifest::Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let manifests = read::text(Path::new("written.yaml"), &yaml).map_err(said).unwrap_or_else(|said| panic!("{said}\n{yaml}"));
    let by_source = HashMap::from([(manifests.sources[0].key(), facts.clone())]);
    let catalog = compile(&manifests, &by_source, &compile::Settings::default()).map_err(said);
    catalog.unwrap_or_else(|said| panic!("{said}\n{yaml}"))
}

/// The relations of an entity, as metadata names them.
fn relations(catalog: &Catalog, name: &str) -> Vec<String> {
    let entity = catalog.entities().iter().find(|entity| entity.name == name).expect("the entity is there");
    let names = metadata::describe(catalog, entity)["relations"].as_array().cloned().unwrap_or_default();
    names.iter().filter_map(|name| name.as_str().map(ToOwned::to_owned)).collect()
}

#[track_caller]
fn check_links(table: &TableFacts) {
    assert_eq!(table.primary_key, ["order_id", "line"]);
    assert_eq!(foreign_keys(table), ["order_id,line -> order_lines(order_id,line)", "tag_id -> tags(id)"]);
    assert_eq!(table.writable, Writable::FULLY);
    assert!(table.is_unique(&["order_id".to_owned(), "line".to_owned()]));
    assert!(!table.is_unique(&["order_id".to_owned()]));
}

const LINKS: &str = "
create table order_lines (order_id integer not null, line integer not null, primary key (order_id, line));;
create table tags (id integer not null primary key);;
create table links (line integer not null, order_id integer not null, tag_id integer,
  primary key (order_id, line),
  constraint links_line foreign key (order_id, line) references order_lines (order_id, line),
  constraint links_tag foreign key (tag_id) references tags (id))";

#[tokio::test]
async fn sqlite_says_what_it_has() {
    let folder = crate::support::folder("introspect");
    let file = folder.join("shop.db");
    std::fs::write(&file, "").expect("the file can be made");
    let settings = Settings::new("it", format!("sqlite:{}", file.display()));
    let database = Database::connect(&settings).await.expect("the file can be opened");
    run(&database, LINKS).await;
    run(
        &database,
        "create table Customers (
           id integer primary key, email varchar(200) not null unique, active boolean default true, born date,
           note text default null, price decimal(10,2) not null check (price > 0), doubled integer as (id * 2) stored,
           manager integer references customers, seen datetime, anything);;
         create unique index customers_note on Customers (lower(note));;
         create unique index customers_partial on Customers (born) where active;;
         create table codes (code text primary key, other int) without rowid;;
         create view names as select id, email, 1 as one from Customers;;
         create view editable as select id from Customers;;
         create trigger edit instead  of update on editable begin select 1; end",
    )
    .await;
    let facts = introspect(&database, &named("main")).await.expect("the database answers");
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
    let customers = table(&facts, "main", "Customers");
    columns(
        customers,
        &[
            ("id", "integer default counted unique indexed"),
            ("email", "text unique indexed"),
            ("active", "boolean null default"),
            ("born", "date null"),
            ("note", "text null"),
            ("price", "decimal"),
            ("doubled", "integer null generated"),
            ("manager", "integer null"),
            ("seen", "timestamp null"),
            ("anything", "other null"),
        ],
    );
    assert_eq!(foreign_keys(customers), ["manager -> Customers(id)"]);
    assert_eq!((customers.checks[0].name.as_str(), &customers.checks[0].columns[..]), ("price > 0", &["price".to_owned()][..]));
    let index = |name: &str| customers.indexes.iter().find(|index| index.name == name).expect("the index is there");
    assert_eq!((&index("customers_note").columns[..], index("customers_note").plain), (&["note".to_owned()][..], false));
    assert_eq!((&index("customers_partial").columns[..], index("customers_partial").plain), (&["born".to_owned()][..], false));
    columns(table(&facts, "main", "codes"), &[("code", "text unique indexed"), ("other", "integer null")]);
    check_links(table(&facts, "main", "links"));
    let view = table(&facts, "main", "names");
    assert!(view.is_view && view.writable == Writable::default());
    assert_eq!(column(view, "one"), "other null");
    assert_eq!(table(&facts, "main", "editable").writable, Writable { update: true, ..Writable::default() });
    assert_eq!(facts.tables().count(), 7);
    let catalog = catalog(&facts, "sqlite:shop.db");
    assert_eq!(catalog.entities().len(), 7);
    assert_eq!(relations(&catalog, "Customers"), ["Customers", "children"]);
    assert_eq!(relations(&catalog, "links"), ["order_lines", "tag"]);
}

#[tokio::test]
async fn postgres_says_what_it_has() {
    let Ok(url) = std::env::var("TEST_POSTGRES_URL") else { return };
    let database = Database::connect(&Settings::new("it", url)).await.expect("the server answers");
    let schema = format!("introspect_{}", std::process::id());
    run(&database, &format!("create schema {schema};; set local search_path = {schema};; {LINKS}")).await;
    run(
        &database,
        &format!(
            "set local search_path = {schema};;
             create type mood as enum ('sad', 'it''s ok');;
             create domain positive as integer not null check (value > 0);;
             create table \"Customers\" (
               id bigint generated always as identity primary key, number serial, by_default int generated by default as identity,
               email text not null, amount numeric(10,2) default 0, mood mood, moods mood[], points positive, pointed positive[],
               twice int generated always as (2) stored, seen timestamptz, at timestamp, data jsonb, raw bytea, ip inet,
               code uuid default gen_random_uuid(), manager_id bigint, gone int,
               constraint amount_positive check (amount >= 0), constraint manager foreign key (manager_id) references \"Customers\");;
             alter table \"Customers\" drop column gone;;
             comment on table \"Customers\" is 'who buys';;
             comment on column \"Customers\".email is 'where to write';;
             create unique index email_once on \"Customers\" (lower(email));;
             create index by_mood on \"Customers\" (mood, points);;
             create unique index seen_once on \"Customers\" (seen) where mood is null;;
             create unique index at_once on \"Customers\" (at) include (data);;
             create view names as select id, email from \"Customers\";;
             create view counted as select count(*) as n from \"Customers\";;
             create materialized view kept as select 1 as one;;
             create table parted (id int primary key, other int references tags) partition by range (id);;
             create table part_1 partition of parted for values from (1) to (10)"
        ),
    )
    .await;
    let facts = introspect(&database, &named(&schema)).await;
    let everything = introspect(&database, &Scope::Everything).await;
    run(&database, &format!("drop schema {schema} cascade")).await;
    let facts = facts.expect("the database answers");
    assert!(everything.expect("the database answers").table(&schema, "Customers").is_some());

    let customers = table(&facts, &schema, "Customers");
    columns(
        customers,
        &[
            ("id", "integer default counted generated unique indexed"),
            ("number", "integer default counted"),
            ("by_default", "integer default counted"),
            ("email", "text"),
            ("amount", "decimal null default"),
            ("mood", "enum(sad,it's ok) null indexed"),
            ("moods", "enum[] null"),
            ("points", "integer"),
            ("pointed", "integer[] null"),
            ("twice", "integer null generated"),
            ("seen", "timestamptz null"),
            ("at", "timestamp null unique indexed"),
            ("data", "json null"),
            ("raw", "bytes null"),
            ("ip", "other null"),
            ("code", "uuid null default"),
            ("manager_id", "integer null"),
        ],
    );
    assert_eq!(foreign_keys(customers), ["manager_id -> Customers(id)"]);
    assert_eq!(customers.foreign_keys[0].name.as_deref(), Some("manager"));
    assert_eq!(
        (customers.checks[0].name.as_str(), &customers.checks[0].columns[..]),
        ("amount_positive", &["amount".to_owned()][..])
    );
    let once = customers.indexes.iter().find(|index| index.name == "email_once").expect("the index is there");
    assert_eq!((once.unique, once.plain, &once.columns[..]), (true, false, &["email".to_owned()][..]));
    assert_eq!(customers.comment.as_deref(), Some("who buys"));
    assert_eq!(customers.column("email").and_then(|email| email.comment.as_deref()), Some("where to write"));
    assert_eq!(customers.column("amount").map(|amount| amount.declared_type.as_str()), Some("numeric(10,2)"));
    check_links(table(&facts, &schema, "links"));
    assert_eq!(table(&facts, &schema, "names").writable, Writable::FULLY);
    assert_eq!(table(&facts, &schema, "counted").writable, Writable::default());
    assert!(table(&facts, &schema, "kept").is_view);
    assert_eq!(foreign_keys(table(&facts, &schema, "parted")), ["other -> tags(id)"]);
    assert!(facts.table(&schema, "part_1").is_none());
    let catalog = catalog(&facts, "postgres://me@host/shop");
    assert_eq!(catalog.entities().len(), 8);
    assert_eq!(relations(&catalog, "Customers"), ["manager", "children"]);
    assert_eq!(relations(&catalog, "tags"), ["links", "parted"]);
    let customers = catalog.entities().iter().find(|entity| entity.name == "Customers").expect("the entity is there");
    assert_eq!(customers.constraint_columns("email_once"), ["email"]);
    assert_eq!(customers.constraint_columns("amount_positive"), ["amount"]);
}

#[tokio::test]
async fn mariadb_says_what_it_has() {
    let Ok(url) = std::env::var("TEST_MARIADB_URL") else { return };
    let server = Database::connect(&Settings::new("it", url.clone())).await.expect("the server answers");
    let schema = format!("introspect_{}", std::process::id());
    run(&server, &format!("create database {schema}")).await;
    let (address, _) = url.rsplit_once('/').expect("the URL names a database");
    let database = Database::connect(&Settings::new("it", format!("{address}/{schema}"))).await.expect("the server answers");
    run(&database, LINKS).await;
    run(
        &database,
        "create table Customers (
           id bigint unsigned primary key auto_increment, email varchar(200) not null comment 'where to write',
           amount decimal(10,2) default 0 check (amount >= 0), mood enum('sad', 'it''s ok'), active boolean not null default true,
           bit1 bit(1), data json, code uuid default uuid(), made timestamp not null default current_timestamp, at datetime,
           twice int as (2), raw varbinary(16), note text null default null, manager bigint unsigned, word varchar(10) default 'NULL',
           constraint manager foreign key (manager) references Customers (id), unique key email_once (email),
           constraint both_given check (note is null or word is not null), key by_mood (mood, active)) comment 'who buys';;
         create view names as select id, email from Customers;;
         create view counted as select count(*) as n from Customers;;
         create sequence numbers",
    )
    .await;
    let facts = introspect(&database, &Scope::Schemas { default: true, named: [].into() }).await;
    run(&server, &format!("drop database {schema}")).await;
    let facts = facts.expect("the database answers");
    assert_eq!(facts.default_schema, schema);
    let customers = table(&facts, &schema, "Customers");
    columns(
        customers,
        &[
            ("id", "decimal default counted unique indexed"),
            ("email", "text unique indexed"),
            ("amount", "decimal null default"),
            ("mood", "enum(sad,it's ok) null indexed"),
            ("active", "boolean default"),
            ("bit1", "boolean null"),
            ("data", "json null"),
            ("code", "uuid null default"),
            ("made", "timestamptz default"),
            ("at", "timestamp null"),
            ("twice", "integer null generated"),
            ("raw", "bytes null"),
            ("note", "text null"),
            ("manager", "decimal null indexed"),
            ("word", "text null default"),
        ],
    );
    assert_eq!(customers.foreign_keys[0].name.as_deref(), Some("manager"));
    assert_eq!(foreign_keys(customers), ["manager -> Customers(id)"]);
    let check = |name: &str| customers.checks.iter().find(|check| check.name == name).map(|check| check.columns.join(","));
    assert_eq!(check("Customers.amount").as_deref(), Some("amount"));
    assert_eq!(check("both_given").as_deref(), Some("note,word"));
    assert_eq!(customers.comment.as_deref(), Some("who buys"));
    check_links(table(&facts, &schema, "links"));
    assert_eq!(table(&facts, &schema, "names").writable, Writable::FULLY);
    assert_eq!(table(&facts, &schema, "counted").writable, Writable::default());
    assert_eq!(facts.tables().count(), 6);
    let catalog = catalog(&facts, "mysql://me@host/shop");
    assert_eq!(relations(&catalog, "Customers"), ["Customers", "children"]);
}
