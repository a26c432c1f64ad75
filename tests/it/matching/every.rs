//! Every operator on every column and place: each is held against the database row by row, or is known to be refused.
//!
//! Random filters could miss one for ever; these are listed. What is refused is compared with what this file says of each
//! database, so that nothing gets refused unseen, and nothing is taken unseen that is refused today.

use super::columns::{Column, PATHS, Sort, columns};
use super::{Bench, Rows, Verdict};
use crate::support::database::{Fresh, Kind};
use resolvespec::protocol::Operator;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Values of one column that each operator is tried with.
const VALUES: usize = 5;

/// What is refused on each database, and what no read takes either: columns, and operators on them.
struct Expected {
    refused: &'static [(&'static str, &'static str)],
    senseless: &'static [(&'static str, &'static str)],
}

const POSTGRES: Expected = Expected {
    refused: &[
        // The order and the lower case of a locale.
        ("ti", "gt gte lt lte ilike contains startswith endswith between between_inclusive"),
        // Where its numbering begins is not answered.
        ("l", "eq neq in"),
    ],
    senseless: &[
        ("ok f single tm at ts", "like ilike contains startswith endswith"),
        ("b l", "gt gte lt lte like ilike contains startswith endswith between between_inclusive"),
    ],
};

const MARIADB: Expected = Expected {
    refused: &[
        // Their order is the database's own.
        ("u", "gt gte lt lte between between_inclusive"),
        // It compares more digits than it answers.
        ("single", "eq neq gt gte lt lte in between between_inclusive"),
        ("ti", "eq neq gt gte lt lte in between between_inclusive empty notempty"),
    ],
    senseless: &[
        ("ok f single tm at ts", "like ilike contains startswith endswith"),
        ("b", "gt gte lt lte like ilike contains startswith endswith between between_inclusive"),
        // A key that begins with a minus sign can't be looked for there.
        ("j->'-1'", ALL),
    ],
};

const SQLITE: Expected = Expected {
    refused: &[
        // What a decimal is as a text, and bytes from a text.
        ("d m", "like ilike contains startswith endswith"),
        ("b", "eq neq in"),
    ],
    senseless: &[
        ("ok f tm at", "like ilike contains startswith endswith"),
        ("b", "gt gte lt lte like ilike contains startswith endswith between between_inclusive"),
    ],
};

/// Every operator.
const ALL: &str = "eq neq gt gte lt lte like ilike contains startswith endswith in between between_inclusive is_null \
     is_not_null empty notempty";

/// What came of the filters with one operator on one column or place.
#[derive(Debug, Default, Clone, Copy)]
struct Outcome {
    refused: usize,
    compared: usize,
    rows: Rows,
}

/// Every column or place with every operator, each with a few values.
pub(super) fn filters(columns: &[Column]) -> Vec<((String, Operator), Vec<Value>)> {
    let places = columns.iter().flat_map(|column| match column.sort {
        Sort::Json => PATHS.iter().map(|path| (path.replacen('j', column.name, 1), of_places())).collect::<Vec<_>>(),
        _ => vec![(column.name.to_owned(), spread(&column.values))],
    });
    let with_operators = |(name, values): (String, Vec<Value>)| {
        Operator::ALL.iter().map(move |operator| {
            let said = arguments(*operator, &values).into_iter();
            let filters = said.map(|value| json!({"column": name, "operator": operator.as_str(), "value": value})).collect();
            ((name.clone(), *operator), filters)
        })
    };
    places.flat_map(with_operators).collect()
}

/// What an operator is asked with.
fn arguments(operator: Operator, values: &[Value]) -> Vec<Value> {
    match operator {
        Operator::Eq | Operator::Neq | Operator::Gt | Operator::Gte | Operator::Lt | Operator::Lte => values.to_vec(),
        Operator::Like | Operator::ILike => ["%", "a%", "%1%", "A_", "é"].map(Value::from).to_vec(),
        Operator::Contains | Operator::StartsWith | Operator::EndsWith => ["", "a", "1", "É", "b "].map(Value::from).to_vec(),
        Operator::In => vec![values.to_vec().into(), values[..1].to_vec().into(), json!([])],
        Operator::Between | Operator::BetweenInclusive => {
            let few = &values[..values.len().min(3)];
            few.iter().flat_map(|low| few.iter().map(move |high| json!([low, high]))).collect()
        }
        _ => vec![Value::Null],
    }
}

/// A few values from everywhere in the list.
fn spread(values: &[Value]) -> Vec<Value> {
    let step = values.len().div_ceil(VALUES).max(1);
    values.iter().step_by(step).cloned().collect()
}

/// Values that are somewhere in the documents, of each kind that JSON has.
fn of_places() -> Vec<Value> {
    vec![json!("Ab"), json!("x"), json!(1), json!(2.5), json!(true)]
}

/// Tries them all.
async fn every_operator_on_every_column(kind: Kind, expected: &Expected) {
    let fresh = Fresh::create(kind).await;
    let columns = columns(kind);
    let bench = Bench::over(kind, &fresh, &columns).await;
    let images = bench.images();
    let mut outcomes = BTreeMap::new();
    for ((name, operator), filters) in filters(&columns) {
        let mut outcome = Outcome::default();
        for filter in filters {
            match bench.agrees(&images, &filter).await.unwrap_or_else(|reason| panic!("{reason}\n{filter}")) {
                Verdict::Senseless => {}
                Verdict::Refused(_) => outcome.refused += 1,
                Verdict::Compared(Rows { matched, passed, undecided }) => {
                    outcome.compared += 1;
                    outcome.rows.matched += matched;
                    outcome.rows.passed += passed;
                    outcome.rows.undecided += undecided;
                }
            }
        }
        outcomes.insert((name, operator.as_str()), outcome);
    }
    drop(images);
    bench.close().await;
    fresh.remove().await;

    let untaken = |is_refused: bool| -> BTreeSet<(&str, &str)> {
        let untaken = outcomes.iter().filter(|(_, outcome)| outcome.compared == 0 && (outcome.refused > 0) == is_refused);
        untaken.map(|((name, operator), _)| (name.as_str(), *operator)).collect()
    };
    assert_eq!(untaken(true), pairs(expected.refused), "what is refused on {}", kind.name());
    assert_eq!(untaken(false), pairs(expected.senseless), "what no read takes on {}", kind.name());
    let mut places: BTreeMap<(&str, &str), Rows> = BTreeMap::new();
    for ((name, operator), Outcome { rows, .. }) in outcomes.iter().filter(|(_, outcome)| outcome.compared > 0) {
        if let Some((column, _)) = name.split_once("->") {
            let all = places.entry((column, operator)).or_default();
            (all.matched, all.passed) = (all.matched + rows.matched, all.passed + rows.passed);
            continue;
        }
        let has_nulls = outcomes[&(name.clone(), "is_null")].rows.matched > 0;
        let tells_one = match *operator {
            "is_null" | "is_not_null" | "empty" | "notempty" => !has_nulls,
            // Nothing is between two truth values, nor between the whole numbers that SQLite's odd column is asked with.
            "between" => name == "ok" || name == "x",
            _ => false,
        };
        let tells = rows.matched > 0 && rows.passed > 0;
        assert!(tells || tells_one, "{operator} on {name} of {} says nothing: {rows:?}", kind.name());
    }
    assert_eq!(places.len(), Operator::ALL.len() * if kind == Kind::Postgres { 2 } else { 1 }, "of jsonb, and of json");
    for (of, rows) in places {
        assert!(rows.matched > 0 && rows.passed > 0, "{of:?} of {} says nothing: {rows:?}", kind.name());
    }
}

fn pairs(listed: &[(&'static str, &'static str)]) -> BTreeSet<(&'static str, &'static str)> {
    let of = |(names, operators): &(&'static str, &'static str)| {
        let operators = *operators;
        names.split(' ').flat_map(move |name| operators.split_whitespace().map(move |operator| (name, operator)))
    };
    listed.iter().flat_map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operator_on_every_column_of_postgres() {
    every_operator_on_every_column(Kind::Postgres, &POSTGRES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operator_on_every_column_of_mariadb() {
    every_operator_on_every_column(Kind::Mariadb, &MARIADB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operator_on_every_column_of_sqlite() {
    every_operator_on_every_column(Kind::Sqlite, &SQLITE).await;
}
