//! The one filter language: what a filter finds in the database is what it matches in memory, on every database.

mod columns;
mod every;
mod filters;

use crate::support::database::{Fresh, Kind};
use crate::support::server::{load, unobserved};
use columns::{Column, columns};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use resolvespec::auth::Principal;
use resolvespec::catalog::{Collation, Entity, Lowering, TextComparison};
use resolvespec::engine::plan::{Predicate, Scope};
use resolvespec::engine::{Engine, Served};
use resolvespec::event::matcher::{Error, Filter, Image};
use resolvespec::protocol::{Code, Operation, Options, Request, Response, Target};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

const ROWS: usize = 200;
const CASES: u32 = 400;

/// Of a hundred filters with one comparison, how many may be refused; the tables are full of columns for which they are.
const MAX_REFUSED: usize = 20;

fn script(kind: Kind, columns: &[Column]) -> String {
    let mut script = String::new();
    if kind == Kind::Postgres {
        script.push_str("create type level as enum ('junior', 'senior', 'lead');\n");
    }
    if kind == Kind::Mariadb {
        script.push_str("set session sql_mode = '';\n");
    }
    let definitions: Vec<String> = columns.iter().map(|column| format!("{} {}", column.name, column.declared)).collect();
    _ = writeln!(script, "create table things ({});", definitions.join(", "));
    let mut state = 7_usize;
    for id in 1..=ROWS {
        let mut value = |column: &Column| {
            // A plain generator: the rows are the same in every run.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let place = (state >> 33) % (column.literals.len() + 1);
            column.literals.get(place).cloned().unwrap_or_else(|| "null".to_owned())
        };
        let values: Vec<String> = columns.iter().skip(1).map(&mut value).collect();
        _ = writeln!(script, "insert into things values ({id}, {});", values.join(", "));
    }
    script
}

const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: things}
spec:
  source: conformance
  apiSchema: public
  columns:
    - {name: tag, type: enum, values: [junior, senior, lead]}
";

/// What happened to filters.
#[derive(Debug, Default)]
struct Tally {
    compared: usize,
    refused: usize,
    matched: usize,
    undecided: usize,
    reasons: BTreeMap<String, usize>,
}

impl Tally {
    fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Senseless => {}
            Verdict::Refused(reason) => {
                self.refused += 1;
                *self.reasons.entry(reason).or_default() += 1;
            }
            Verdict::Compared(rows) => {
                self.compared += 1;
                self.matched += rows.matched;
                self.undecided += rows.undecided;
            }
        }
    }
}

/// What came of a filter.
enum Verdict {
    /// No read takes it either.
    Senseless,
    /// It can't be mirrored, for this reason.
    Refused(String),
    Compared(Rows),
}

/// Rows about which memory and database agree, and those that only the database can decide.
#[derive(Debug, Default, Clone, Copy)]
struct Rows {
    matched: usize,
    passed: usize,
    undecided: usize,
}

struct Bench {
    engine: Engine,
    served: Arc<Served>,
    rows: Vec<String>,
    kind: Kind,
}

/// A row in memory, and how it is answered by its key alone.
type Row<'b> = (String, Image<'b>);

impl Bench {
    async fn over(kind: Kind, fresh: &Fresh, columns: &[Column]) -> Self {
        let engine = Engine::new(load(kind, fresh, &script(kind, columns), ENTITIES).await, Vec::new(), unobserved());
        let rows = read(&engine, &json!([]), &[]).await.expect("the rows can be read");
        assert_eq!(rows.len(), ROWS);
        Self { served: engine.served(), engine, rows, kind }
    }

    fn entity(&self) -> &Entity {
        &self.served.catalog.entities()[0]
    }

    /// The rows as changes tell them.
    fn images(&self) -> Vec<Row<'_>> {
        let entity = self.entity();
        let mut images = Vec::new();
        for row in &self.rows {
            let image = Image::read(entity, row).expect("it is a row");
            images.push((format!("{{\"id\":{}}}", image.raw(entity.primary_key[0]).expect("it has a key")), image));
        }
        images
    }

    async fn close(self) {
        for database in self.engine.served().databases.values() {
            database.close().await;
        }
    }

    async fn read(&self, filters: &Value, columns: &[&str]) -> Result<Vec<String>, String> {
        read(&self.engine, filters, columns).await.map_err(|reason| format!("{}: {reason}", self.kind.name()))
    }

    /// Holds what the database finds against what matches in memory.
    async fn agrees(&self, images: &[Row<'_>], filter: &Value) -> Result<Verdict, String> {
        let entity = self.entity();
        let filters = json!([filter]);
        let Ok(predicate) = resolve(&self.served.catalog, entity, &filters) else { return Ok(Verdict::Senseless) };
        let compiled = match Filter::compile(entity, &predicate) {
            Ok(compiled) => compiled,
            Err(refusal) => {
                assert_eq!(refusal.code, Code::UnmatchableFilter);
                return Ok(Verdict::Refused(refusal.message));
            }
        };
        let found: BTreeSet<String> = self.read(&filters, &["id"]).await?.into_iter().collect();
        let mut rows = Rows::default();
        for ((id, image), row) in images.iter().zip(&self.rows) {
            let expected = found.contains(id);
            match compiled.matches(image) {
                Ok(matches) if matches == expected => *(if matches { &mut rows.matched } else { &mut rows.passed }) += 1,
                Ok(matches) => {
                    return Err(format!("{}: {matches} in memory, {expected} in the database: {row}", self.kind.name()));
                }
                Err(Error::Undecided(_)) => rows.undecided += 1,
                Err(malformed) => return Err(format!("{}: {malformed}: {row}", self.kind.name())),
            }
        }
        Ok(Verdict::Compared(rows))
    }
}

fn resolve(catalog: &resolvespec::catalog::Catalog, entity: &Entity, filters: &Value) -> Result<Predicate, String> {
    let options: Options = serde_json::from_value(json!({"filters": filters})).map_err(|error| error.to_string())?;
    let principal = Principal::anonymous();
    let mut scope = Scope::new(catalog, &principal, entity);
    Predicate::resolve(&mut scope, entity, &options.filters).map_err(|error| error.to_string())
}

async fn read(engine: &Engine, filters: &Value, columns: &[&str]) -> Result<Vec<String>, String> {
    let options = json!({"filters": filters, "columns": columns, "skip_count": true});
    let target = Target { schema: Some("public".to_owned()), entity: "things".to_owned() };
    let options: Options = serde_json::from_value(options).map_err(|error| error.to_string())?;
    let request = Request { options: Box::new(options), ..Request::new(Operation::Read, target) };
    let response = engine.handle(&Principal::anonymous(), &request).await.map_err(|error| error.to_string())?;
    let Response::Page(page) = response else { return Err("the answer is no list".to_owned()) };
    assert!(page.more.is_none(), "the rows fit into one buffer");
    let text = format!("[{}]", String::from_utf8_lossy(&page.rows.joined));
    let rows: Vec<Box<RawValue>> = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    Ok(rows.into_iter().map(|row| row.get().to_owned()).collect())
}

async fn any_filter_matches_what_it_finds(kind: Kind) {
    let fresh = Fresh::create(kind).await;
    let columns = columns(kind);
    let bench = Bench::over(kind, &fresh, &columns).await;
    let images = bench.images();
    let runtime = tokio::runtime::Handle::current();
    let single = RefCell::new(Tally::default());
    let nested = RefCell::new(Tally::default());
    let outcome = tokio::task::block_in_place(|| {
        let run = |tally: &RefCell<Tally>, filter: Value| {
            let outcome = runtime.block_on(bench.agrees(&images, &filter));
            outcome
                .map(|verdict| tally.borrow_mut().count(verdict))
                .map_err(|reason| TestCaseError::fail(format!("{reason}\n{filter}")))
        };
        let config = || Config { cases: CASES, failure_persistence: None, ..Config::default() };
        TestRunner::new(config())
            .run(&filters::test(&columns), |filter| run(&single, filter))
            .and_then(|()| TestRunner::new(config()).run(&filters::filter(&columns), |filter| run(&nested, filter)))
    });
    drop(images);
    bench.close().await;
    fresh.remove().await;
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let (single, nested) = (single.into_inner(), nested.into_inner());
    let refused = single.refused * 100 / (single.compared + single.refused);
    assert!(refused <= MAX_REFUSED, "{refused} % of single comparisons are refused on {}: {:#?}", kind.name(), single.reasons);
    for tally in [&single, &nested] {
        assert!(tally.matched > 2_000, "filters match too few rows to say anything: {tally:#?}");
        assert!(tally.undecided * 20 < tally.compared * ROWS, "too many rows are undecided: {tally:#?}");
    }
}

/// What is known of the columns that hold texts.
async fn collations(kind: Kind, names: &[&str]) -> Vec<Collation> {
    let fresh = Fresh::create(kind).await;
    let served = load(kind, &fresh, &script(kind, &columns(kind)), ENTITIES).await;
    let entity = &served.catalog.entities()[0];
    let of = |name: &&str| entity.column(entity.find_column(name).expect("the column is there")).collation;
    let found = names.iter().map(of).collect();
    for database in served.databases.values() {
        database.close().await;
    }
    fresh.remove().await;
    found
}

#[tokio::test]
async fn databases_say_how_they_compare_texts() {
    use Lowering::{Ascii, Process, Simple, Unknown};
    use TextComparison::{Bytes, BytesUnordered, Nocase, Padded, Trimmed, Unknown as Other};
    let known = |pairs: &[(TextComparison, Lowering)]| -> Vec<Collation> {
        pairs.iter().map(|(comparison, lowering)| Collation { comparison: *comparison, lowering: *lowering }).collect()
    };
    // The test's database has the order of C and the letters of C.UTF-8.
    assert_eq!(
        collations(Kind::Postgres, &["t", "tc", "ti", "ch", "j"]).await,
        known(&[(Bytes, Simple), (Bytes, Ascii), (BytesUnordered, Unknown), (Trimmed, Simple), (Bytes, Simple)])
    );
    assert_eq!(
        collations(Kind::Mariadb, &["t", "tn", "ti", "ch", "j"]).await,
        known(&[(Padded, Simple), (Bytes, Simple), (Other, Simple), (Padded, Simple), (Padded, Simple)])
    );
    assert_eq!(
        collations(Kind::Sqlite, &["t", "tn", "tr", "any"]).await,
        known(&[(Bytes, Process), (Nocase, Process), (Trimmed, Process), (Bytes, Process)])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn any_filter_matches_in_memory_what_it_finds_on_postgres() {
    any_filter_matches_what_it_finds(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_filter_matches_in_memory_what_it_finds_on_mariadb() {
    any_filter_matches_what_it_finds(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_filter_matches_in_memory_what_it_finds_on_sqlite() {
    any_filter_matches_what_it_finds(Kind::Sqlite).await;
}
