//! Random queries over the table of things, and how they are said in JSON.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use serde_json::{Value, json};

pub(crate) const INTEGERS: [i64; 9] = [0, 1, -1, 7, 42, 100, 40_000, i64::MAX, i64::MIN + 1];
pub(super) const DECIMALS: [&str; 7] = ["0.00", "0.10", "-0.10", "1.50", "99999.99", "12.34", "-7.00"];
pub(crate) const TEXTS: [&str; 22] = [
    "",
    "a",
    "A",
    "ab",
    "AB",
    "a%b",
    "a_b",
    "axb",
    r"a\b",
    r"\",
    "%",
    "_",
    "it's",
    "\"quoted\"",
    "é",
    "É",
    "Éa ñÑ",
    "日本",
    "💡 idea",
    "x -- y",
    "a'; drop table things; --",
    "line\nbreak",
];
pub(super) const MOMENTS: [&str; 5] =
    ["1970-01-01 00:00:00", "2013-07-04 12:00:00", "2013-07-04 12:00:01", "2024-02-29 23:59:59", "2026-01-01 00:00:00"];

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Column {
    N,
    D,
    T,
    At,
    Ok,
}

impl Column {
    pub(super) fn name(self) -> &'static str {
        match self {
            Column::N => "n",
            Column::D => "d",
            Column::T => "t",
            Column::At => "at",
            Column::Ok => "ok",
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Operand {
    Integer(i64),
    Decimal(String),
    Text(String),
    Moment(String),
    Truth(bool),
}

impl Operand {
    fn json(&self) -> Value {
        match self {
            Operand::Integer(number) => json!(number),
            Operand::Decimal(digits) => serde_json::from_str(digits).expect("the digits are a number"),
            Operand::Text(text) => json!(text),
            Operand::Moment(text) => json!(format!("{}Z", text.replace(' ', "T"))),
            Operand::Truth(truth) => json!(truth),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Test {
    /// With the SQL of the operator.
    Compare(Column, &'static str, Operand),
    In(Column, Vec<Operand>),
    Between(Column, Operand, Operand, bool),
    /// `is_null`, `is_not_null`, `empty` or `notempty`.
    Absent(Column, &'static str),
    /// `like`, `contains`, `startswith` or `endswith`.
    Text(Column, &'static str, String),
}

#[derive(Debug, Clone)]
pub(super) enum Filter {
    One(Test),
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
}

#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) column: &'static str,
    pub(super) descending: bool,
    pub(super) nulls_first: Option<bool>,
}

#[derive(Debug, Clone)]
pub(super) struct Query {
    /// Each with whether it joins the one before by OR.
    pub(super) filters: Vec<(bool, Filter)>,
    pub(super) sort: Vec<Key>,
    pub(super) limit: usize,
    pub(super) offset: usize,
}

impl Query {
    pub(super) fn options(&self) -> Value {
        let filter = |(or, filter): &(bool, Filter)| {
            let mut json = filter.json();
            if *or {
                json["logic_operator"] = json!("OR");
            }
            json
        };
        let key = |key: &Key| {
            let mut json = json!({"column": key.column, "direction": if key.descending { "desc" } else { "asc" }});
            if let Some(first) = key.nulls_first {
                json["nulls"] = json!(if first { "first" } else { "last" });
            }
            json
        };
        json!({
            "columns": ["id"], "limit": self.limit, "offset": self.offset,
            "filters": self.filters.iter().map(filter).collect::<Vec<_>>(),
            "sort": self.sort.iter().map(key).collect::<Vec<_>>(),
        })
    }
}

impl Filter {
    fn json(&self) -> Value {
        let each = |parts: &[Filter]| parts.iter().map(Filter::json).collect::<Vec<_>>();
        match self {
            Filter::One(test) => test.json(),
            Filter::All(parts) => json!({"and": each(parts)}),
            Filter::Any(parts) => json!({"or": each(parts)}),
            Filter::Not(part) => json!({"not": part.json()}),
        }
    }
}

impl Test {
    fn json(&self) -> Value {
        let said = |column: &Column, operator: &str, value: Value| json!({"column": column.name(), "operator": operator, "value": value});
        match self {
            Test::Compare(column, operator, value) => said(column, operator, value.json()),
            Test::In(column, values) => said(column, "in", values.iter().map(Operand::json).collect()),
            Test::Between(column, low, high, inclusive) => {
                said(column, if *inclusive { "between_inclusive" } else { "between" }, json!([low.json(), high.json()]))
            }
            Test::Absent(column, operator) => json!({"column": column.name(), "operator": operator}),
            Test::Text(column, operator, text) => said(column, operator, json!(text)),
        }
    }
}

fn operand(column: Column) -> BoxedStrategy<Operand> {
    match column {
        Column::N => prop_oneof![select(&INTEGERS[..]), -50..50_i64, any::<i64>()].prop_map(Operand::Integer).boxed(),
        Column::D => prop_oneof![
            select(&DECIMALS[..]).prop_map(ToOwned::to_owned),
            (-9_999..9_999_i64).prop_map(|cents| format!(
                "{}{}.{:02}",
                if cents < 0 { "-" } else { "" },
                cents.abs() / 100,
                cents.abs() % 100
            )),
        ]
        .prop_map(Operand::Decimal)
        .boxed(),
        Column::T => prop_oneof![select(&TEXTS[..]).prop_map(ToOwned::to_owned), text()].prop_map(Operand::Text).boxed(),
        Column::At => prop_oneof![
            select(&MOMENTS[..]).prop_map(ToOwned::to_owned),
            (1..=12_u8, 1..=28_u8, 0..24_u8).prop_map(|(month, day, hour)| format!("2013-{month:02}-{day:02} {hour:02}:00:00")),
        ]
        .prop_map(Operand::Moment)
        .boxed(),
        Column::Ok => any::<bool>().prop_map(Operand::Truth).boxed(),
    }
}

/// Short texts of what patterns, quotes and cases are made of.
fn text() -> impl Strategy<Value = String> {
    let parts = ["a", "A", "b", "%", "_", "\\", "'", "\"", "é", "É", "ñ", "日", "💡", " ", "-", "?", "$1", "1", "."];
    vec(select(parts.to_vec()).prop_map(ToOwned::to_owned), 0..4).prop_map(|parts| parts.concat())
}

fn test() -> impl Strategy<Value = Test> {
    let any_column = || select(&[Column::N, Column::D, Column::T, Column::At, Column::Ok][..]);
    let ordered = select(&[Column::N, Column::D, Column::T, Column::At][..]);
    let textual = select(&[Column::T, Column::T, Column::T, Column::N][..]);
    prop_oneof![
        3 => (any_column(), select(&["=", "<>"][..])).prop_flat_map(|(column, operator)| {
            operand(column).prop_map(move |value| Test::Compare(column, operator, value))
        }),
        3 => (ordered.clone(), select(&["<", "<=", ">", ">="][..])).prop_flat_map(|(column, operator)| {
            operand(column).prop_map(move |value| Test::Compare(column, operator, value))
        }),
        2 => any_column().prop_flat_map(|column| vec(operand(column), 0..5).prop_map(move |values| Test::In(column, values))),
        2 => (ordered, any::<bool>()).prop_flat_map(|(column, inclusive)| {
            (operand(column), operand(column)).prop_map(move |(low, high)| Test::Between(column, low, high, inclusive))
        }),
        2 => (any_column(), select(&["is_null", "is_not_null", "empty", "notempty"][..]))
            .prop_map(|(column, operator)| Test::Absent(column, operator)),
        3 => (textual, select(&["contains", "startswith", "endswith"][..]), text())
            .prop_map(|(column, operator, text)| Test::Text(column, operator, text)),
        2 => text().prop_map(|pattern| Test::Text(Column::T, "like", whole_pattern(&pattern))),
    ]
}

/// A pattern must not end within an escape.
fn whole_pattern(pattern: &str) -> String {
    let trailing = pattern.bytes().rev().take_while(|byte| *byte == b'\\').count();
    if trailing % 2 == 1 { format!("{pattern}\\") } else { pattern.to_owned() }
}

fn filter() -> impl Strategy<Value = Filter> {
    test().prop_map(Filter::One).prop_recursive(3, 10, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..4).prop_map(Filter::All),
            vec(inner.clone(), 1..4).prop_map(Filter::Any),
            inner.prop_map(|part| Filter::Not(Box::new(part))),
        ]
    })
}

pub(super) fn query() -> impl Strategy<Value = Query> {
    let key = (select(&["n", "d", "t", "at", "ok", "id"][..]), any::<bool>(), option::of(any::<bool>()))
        .prop_map(|(column, descending, nulls_first)| Key { column, descending, nulls_first });
    let filters = vec((prop_oneof![2 => Just(false), 1 => Just(true)], filter()), 0..4);
    (filters, vec(key, 0..3), 1..100_usize, prop_oneof![3 => Just(0), 1 => 0..20_usize])
        .prop_map(|(filters, sort, limit, offset)| Query { filters, sort, limit, offset })
}
