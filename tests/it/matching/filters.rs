//! Random filters over a table with every kind of column.

use super::columns::{Column, PATHS, Sort};
use proptest::collection::vec;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use serde_json::{Value, json};

const PATTERNS: [&str; 18] =
    ["a", "A%", "%b", "_", "a_b", "a\\%b", "%\\\\%", "é", "É%", "%ñ%", "", "%", "1%", "%-%", "2024%", "日_", "jun%", "ÉA Ñ"];

/// A filter as the wire has it.
pub(super) fn filter(columns: &[Column]) -> impl Strategy<Value = Value> {
    test(columns).prop_recursive(3, 6, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..3).prop_map(|parts| json!({"and": parts})),
            vec(inner.clone(), 1..3).prop_map(|parts| json!({"or": parts})),
            inner.prop_map(|part| json!({"not": part})),
        ]
    })
}

fn said(column: &str, operator: &str, value: &Value) -> Value {
    json!({"column": column, "operator": operator, "value": value})
}

/// One comparison.
pub(super) fn test(columns: &[Column]) -> BoxedStrategy<Value> {
    // What can be asked of JSON is the most.
    let often = columns.iter().filter(|column| column.sort == Sort::Json).flat_map(|column| std::iter::repeat_n(column, 3));
    let weighted: Vec<Column> = columns.iter().chain(often).cloned().collect();
    select(weighted).prop_flat_map(|column| of_column(&column)).boxed()
}

fn of_column(column: &Column) -> BoxedStrategy<Value> {
    let name = column.name;
    let value = || select(column.values.clone());
    let absent = select(&["is_null", "is_not_null", "empty", "notempty"][..])
        .prop_map(move |operator| json!({"column": name, "operator": operator}))
        .boxed();
    let equal = (select(&["eq", "neq"][..]), value()).prop_map(move |(operator, value)| said(name, operator, &value)).boxed();
    let list = vec(value(), 0..4).prop_map(move |values| said(name, "in", &values.into())).boxed();
    let ordered = (select(&["gt", "gte", "lt", "lte"][..]), value())
        .prop_map(move |(operator, value)| said(name, operator, &value))
        .boxed();
    let between = (select(&["between", "between_inclusive"][..]), value(), value())
        .prop_map(move |(operator, low, high)| said(name, operator, &json!([low, high])))
        .boxed();
    let pattern = pattern(name);
    match column.sort {
        Sort::Json => prop_oneof![1 => absent, 6 => of_place(name)].boxed(),
        Sort::Bytes | Sort::List => prop_oneof![absent, equal, list].boxed(),
        Sort::Truth | Sort::Float | Sort::Time => {
            prop_oneof![1 => absent, 3 => equal, 1 => list, 3 => ordered, 2 => between].boxed()
        }
        Sort::Integer | Sort::Decimal | Sort::Word | Sort::Text => {
            prop_oneof![1 => absent, 3 => equal, 1 => list, 3 => ordered, 2 => between, 3 => pattern].boxed()
        }
    }
}

fn pattern(name: &'static str) -> BoxedStrategy<Value> {
    let operators = select(&["like", "like", "ilike", "contains", "startswith", "endswith"][..]);
    let text = prop_oneof![
        3 => select(&PATTERNS[..]).prop_map(ToOwned::to_owned),
        1 => vec(select(&["a", "A", "%", "_", "é", "É", " ", "\\\\", "1", "Σ", "ж"][..]), 0..4).prop_map(|parts| parts.concat()),
    ];
    (operators, text).prop_map(move |(operator, text)| said(name, operator, &text.into())).boxed()
}

fn of_place(column: &'static str) -> BoxedStrategy<Value> {
    let path = select(&PATHS[..]).prop_map(move |path| path.replacen('j', column, 1));
    let texts = select(&["Ab", "ab", "ab ", "é", "", "1", "true", "v", "x", "zero", "deep", "{\"k\": 1}", "a%b"][..])
        .prop_map(Value::from);
    let numbers = select(&["1", "1.5", "100", "9007199254740993", "9007199254740992", "-7", "2.50"][..])
        .prop_map(|digits| serde_json::from_str(digits).expect("a number"));
    let value = prop_oneof![3 => texts.clone(), 3 => numbers.clone(), 1 => any::<bool>().prop_map(Value::from)];
    let ordered = prop_oneof![texts.clone(), numbers.clone()];
    let operator = select(&["eq", "neq"][..]);
    let order = select(&["gt", "gte", "lt", "lte"][..]);
    prop_oneof![
        2 => (path.clone(), select(&["is_null", "is_not_null", "empty", "notempty"][..]))
            .prop_map(|(path, operator)| json!({"column": path, "operator": operator})),
        4 => (path.clone(), operator, value).prop_map(|(path, operator, value)| said(&path, operator, &value)),
        4 => (path.clone(), order, ordered).prop_map(|(path, operator, value)| said(&path, operator, &value)),
        1 => (path.clone(), vec(texts, 0..3)).prop_map(|(path, values)| said(&path, "in", &values.into())),
        1 => (path.clone(), numbers.clone(), numbers).prop_map(|(path, low, high)| said(&path, "between", &json!([low, high]))),
        3 => (path, Just(())).prop_flat_map(|(path, ())| pattern("j").prop_map(move |mut filter| {
            filter["column"] = path.clone().into();
            filter
        })),
    ]
    .boxed()
}
