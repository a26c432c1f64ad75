//! How fast a change finds its subscriptions, and what a subscription takes: `cargo bench --bench matcher`.
//!
//! Each subscription is an equality on one column with a value of its own; each event is an update of one row, both of
//! whose images are read and matched, as many at once as the hub matches when so many are there. The rate should not depend
//! on how many subscriptions there are: the fastest and the slowest are within a factor of 1.5, which is told at the end.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]
#![expect(clippy::cast_precision_loss, reason = "counts of this size lose nothing")]

use resolvespec::auth::Principal;
use resolvespec::catalog::compile::{Settings, compile};
use resolvespec::catalog::facts::{ColumnFacts, TableFacts, Writable};
use resolvespec::catalog::{Catalog, Collation, Facts, Kind, Lowering, TextComparison};
use resolvespec::database::Dialect;
use resolvespec::engine::plan::{Predicate, Scope};
use resolvespec::event::matcher::{BATCH, Filter, Image, Images, Index};
use resolvespec::manifest::read;
use resolvespec::protocol::{Condition, Leaf, Operator};
use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [u64; 3] = [100, 10_000, 1_000_000];
const EVENTS: u64 = 200_000;

/// Each figure is the best of so many: whatever else the machine does only makes it worse. The sizes take turns, so that they
/// meet the same machine.
const ROUNDS: usize = 5;

/// How many times as fast the fastest size may be as the slowest.
const BOUND: f64 = 1.5;

/// What was measured with one number of subscriptions.
struct Figures {
    /// Events a second.
    rate: f64,
    told: f64,
    /// To subscribe once.
    seconds: f64,
    /// Of a subscription, with what removes it again.
    bytes: f64,
}

/// Each figure is taken in a process of its own, whose memory holds nothing else.
fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, column, size] = arguments.as_slice() {
        let Figures { rate, told, seconds, bytes } = measure(column, size.parse().expect("a number of subscriptions"));
        return println!("{rate} {told} {seconds} {bytes}");
    }
    for column in ["customer_id", "customer"] {
        let mut best = SIZES.map(|size| in_a_process(column, size));
        for _ in 1..ROUNDS {
            for (best, size) in best.iter_mut().zip(SIZES) {
                let figures = in_a_process(column, size);
                if figures.rate > best.rate {
                    *best = figures;
                }
            }
        }
        for (Figures { rate, told, seconds, bytes }, size) in best.iter().zip(SIZES) {
            println!(
                "{column:12} {size:>9} subscriptions: {rate:>9.0} events/s, {told:.2} told an event, {:.2} µs a subscription, \
                 {bytes:.0} bytes each",
                seconds * 1e6,
            );
        }
        let rates = best.map(|figures| figures.rate);
        let (slowest, fastest) = (rates.into_iter().fold(f64::INFINITY, f64::min), rates.into_iter().fold(0.0, f64::max));
        let ratio = fastest / slowest;
        let verdict = if ratio <= BOUND { "within" } else { "NOT within" };
        println!("{column:12} from {} to {} subscriptions: a factor of {ratio:.2}, {verdict} {BOUND}", SIZES[0], SIZES[2]);
    }
}

fn in_a_process(column: &str, size: u64) -> Figures {
    let program = std::env::current_exe().expect("the program knows itself");
    let output = Command::new(&program).args([column, &size.to_string()]).output().expect("the program can be run");
    let said = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = said.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [rate, told, seconds, bytes] = numbers[..] else {
        panic!("{column} {size}: {}: {said}{}", output.status, String::from_utf8_lossy(&output.stderr));
    };
    Figures { rate, told, seconds, bytes }
}

fn value(column: &str, number: u64) -> serde_json::Value {
    if column == "customer_id" { number.into() } else { format!("customer-{number:012}").into() }
}

fn measure(column: &str, size: u64) -> Figures {
    let catalog = &catalog();
    let entity = &catalog.entities()[0];
    let principal = Principal::anonymous();
    let before = resident_bytes();
    let began = Instant::now();
    let index = Index::new(catalog);
    let subscribe = |number: u64| {
        let condition = Condition::Leaf(Leaf { column: column.to_owned(), operator: Operator::Eq, value: value(column, number) });
        let predicate = Predicate::resolve(&mut Scope::new(catalog, &principal, entity), entity, &condition);
        let filter = Filter::compile(entity, &predicate.expect("the filter fits")).expect("the filter can be mirrored");
        index.insert(filter, number)
    };
    let tickets: Vec<_> = (0..size).map(subscribe).collect();
    let seconds = began.elapsed().as_secs_f64() / size as f64;
    let bytes = resident_bytes().saturating_sub(before) as f64 / size as f64;
    // One for each event, so that no few subscriptions are met again and again while the others stay where they are.
    let rows: Vec<(String, String)> = (0..EVENTS).map(|number| row(number * 7_919 % size)).collect();
    let mut told = 0;
    let began = Instant::now();
    for rows in rows.chunks(BATCH) {
        let image = |text| Some(Image::read(entity, text).expect("it is a row"));
        let changes: Vec<Images<'_>> = rows.iter().map(|(before, after)| [image(before), image(after)]).collect();
        let concerned = black_box(index.concerned(&changes));
        told += concerned.iter().map(|concerned| concerned.as_ref().expect("the images are whole").len()).sum::<usize>();
    }
    let rate = EVENTS as f64 / began.elapsed().as_secs_f64();
    black_box(tickets);
    Figures { rate, told: told as f64 / EVENTS as f64, seconds, bytes }
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
