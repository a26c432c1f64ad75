//! How fast a change finds its subscriptions, and what a subscription takes: `cargo bench --bench matcher`.
//!
//! Each subscription is an equality on one column with a value of its own; each event is an update of one row, both of
//! whose images are read and matched. The rate should not depend on how many subscriptions there are.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]
#![expect(clippy::cast_precision_loss, reason = "counts of this size lose nothing")]

use resolvespec::auth::Principal;
use resolvespec::catalog::compile::{Settings, compile};
use resolvespec::catalog::facts::{ColumnFacts, TableFacts, Writable};
use resolvespec::catalog::{Catalog, Collation, Facts, Kind, Lowering, TextComparison};
use resolvespec::database::Dialect;
use resolvespec::engine::plan::{Predicate, Scope};
use resolvespec::event::matcher::{Filter, Image, Index};
use resolvespec::manifest::read;
use resolvespec::protocol::{Condition, Leaf, Operator};
use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [u64; 4] = [100, 10_000, 100_000, 1_000_000];
const EVENTS: u64 = 200_000;

/// Each figure is taken in a process of its own, whose memory holds nothing else.
fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, column, size] = arguments.as_slice() {
        return measure(column, size.parse().expect("a number of subscriptions"));
    }
    let program = std::env::current_exe().expect("the program knows itself");
    for column in ["customer_id", "customer"] {
        for size in SIZES {
            let status = Command::new(&program).args([column, &size.to_string()]).status().expect("the program can be run");
            assert!(status.success(), "{column} {size}: {status}");
        }
    }
}

fn value(column: &str, number: u64) -> serde_json::Value {
    if column == "customer_id" { number.into() } else { format!("customer-{number:012}").into() }
}

fn measure(column: &str, size: u64) {
    let catalog = &catalog();
    let entity = &catalog.entities()[0];
    let principal = Principal::anonymous();
    let before = resident_bytes();
    let began = Instant::now();
    let index = Index::new(catalog);
    for number in 0..size {
        let condition = Condition::Leaf(Leaf { column: column.to_owned(), operator: Operator::Eq, value: value(column, number) });
        let predicate = Predicate::resolve(&mut Scope::new(catalog, &principal, entity), entity, &condition);
        let filter = Filter::compile(entity, &predicate.expect("the filter fits")).expect("the filter can be mirrored");
        drop(index.insert(filter, number));
    }
    let subscribing = began.elapsed().as_secs_f64() / size as f64;
    let bytes = resident_bytes().saturating_sub(before) as f64 / size as f64;
    let rows: Vec<(String, String)> = (0..1_000).map(|number| row(number * 7_919 % size)).collect();
    let mut told = 0;
    let began = Instant::now();
    for number in 0..EVENTS {
        let (before, after) = &rows[usize::try_from(number % 1_000).expect("it is small")];
        let before = Image::read(entity, before).expect("it is a row");
        let after = Image::read(entity, after).expect("it is a row");
        told += black_box(index.concerned(Some(&before), Some(&after)).expect("the images are whole")).len();
    }
    let rate = EVENTS as f64 / began.elapsed().as_secs_f64();
    println!(
        "{column:12} {size:>9} subscriptions: {rate:>9.0} events/s, {:.2} told an event, {:.2} µs a subscription, {bytes:.0} bytes each",
        told as f64 / EVENTS as f64,
        subscribing * 1e6,
    );
}

/// An order that changes its amount.
fn row(customer: u64) -> (String, String) {
    let image = |amount: u64| {
        format!(
            r#"{{"id":{customer},"customer_id":{customer},"customer":"customer-{customer:012}","amount":{amount}.50,"note":"as always"}}"#
        )
    };
    (image(1), image(2))
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("this is Linux");
    let pages: u64 =
        status.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("the second number is the resident pages");
    pages * 4096
}

fn catalog() -> Catalog {
    let column = |name: &str, kind: Kind, declared: &str| ColumnFacts {
        name: name.to_owned(),
        declared_type: declared.to_owned(),
        kind,
        nullable: true,
        has_default: false,
        auto_increment: false,
        generated: false,
        collation: Collation { comparison: TextComparison::Bytes, lowering: Lowering::Ascii },
        comment: None,
    };
    let table = TableFacts {
        schema: "public".to_owned(),
        name: "orders".to_owned(),
        columns: vec![
            column("id", Kind::Integer, "bigint"),
            column("customer_id", Kind::Integer, "bigint"),
            column("customer", Kind::Text, "text"),
            column("amount", Kind::Decimal, "numeric"),
            column("note", Kind::Text, "text"),
        ],
        primary_key: vec!["id".to_owned()],
        writable: Writable::FULLY,
        ..TableFacts::default()
    };
    let manifests = "apiVersion: resolvespec.dev/v1alpha1\nkind: DataSource\nmetadata: {name: shop}\n\
                     spec: {engine: postgres, connection: {url: 'postgres://localhost/shop'}}\n---\n\
                     apiVersion: resolvespec.dev/v1alpha1\nkind: Entity\nmetadata: {name: orders}\nspec: {source: shop}\n";
    let manifests = read::text(Path::new("shop.yaml"), manifests).expect("the manifests are good");
    let facts = Facts::new(Dialect::Postgres, "public", [table]);
    compile(&manifests, &HashMap::from([("shop".to_owned(), facts)]), &Settings::default()).expect("they fit the facts")
}
