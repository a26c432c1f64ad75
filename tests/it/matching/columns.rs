//! A table with every kind of column that a database has, what its rows hold, and what filters compare them with.

use crate::properties::filter::{INTEGERS, TEXTS};
use crate::properties::sql;
use crate::support::database::Kind;
use serde_json::{Value, json};

/// What can be asked of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Integer,
    Decimal,
    Float,
    Text,
    Truth,
    /// Texts of another meaning, for which there are patterns.
    Word,
    /// Ordered, without patterns.
    Time,
    Bytes,
    Json,
    List,
}

/// A column, literals for its rows and values for its filters.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) declared: String,
    pub(super) sort: Sort,
    pub(super) literals: Vec<String>,
    pub(super) values: Vec<Value>,
}

const ODD_TEXTS: [&str; 14] = ["a ", "A  ", " a", "a\t", "ab ", "ß", "ẞ", "İ", "ıI", "ΣΑΣ", "ς", "Жж", "Ⱥⱥ", "10"];
const DECIMALS: [&str; 12] =
    ["0", "0.10", "-0.10", "1.5", "99999.99", "12.34", "-7", "12.340", "1e3", "0.005", "100000", "12.3456789"];
const FLOATS: [&str; 12] =
    ["0", "0.1", "0.30000000000000004", "-1.5", "1e21", "2.5e-7", "123456.789", "1e15", "-0.0", "16777217", "5", "3.4028234e38"];
const DAYS: [&str; 6] = ["1970-01-01", "2013-07-04", "2024-02-29", "2026-01-01", "0999-12-31", "9999-12-31"];
const TIMES: [&str; 5] = ["00:00:00", "08:30:00", "08:30:00.5", "23:59:59", "12:00:00.25"];
const MOMENTS: [&str; 6] = [
    "1970-01-02 00:00:00",
    "2013-07-04 12:00:00",
    "2013-07-04 12:00:00.5",
    "2024-02-29 23:59:59",
    "2026-01-01 00:00:00.25",
    "2026-01-01 00:00:00",
];
const UUIDS: [&str; 4] = [
    "00000000-0000-4000-8000-000000000001",
    "123e4567-e89b-12d3-a456-426614174000",
    "ffffffff-ffff-4fff-bfff-ffffffffffff",
    "123e4567-e89b-12d3-a456-426614174001",
];
pub(super) const LEVELS: [&str; 3] = ["junior", "senior", "lead"];
const DOCUMENTS: [&str; 15] = [
    r#"{"a":1,"a":"2","s":"x","s":"y"}"#,
    r#"{"a":1,"s":"Ab","l":[1,2.5,{"k":"v"}],"t":true}"#,
    r#"{"a":1.50,"s":"ab ","o":{"k":1},"t":false,"0":"zero"}"#,
    r#"{"a":"1","s":null,"l":[],"n":-7}"#,
    r#"{"a":null,"s":"é","l":["x"]}"#,
    r#"{"a":1e2,"s":"","t":"true"}"#,
    r#"{"a":9007199254740993,"s":"a%b"}"#,
    r#"{"a":true,"s":1}"#,
    r#"{"s":"line\nbreak \"q\" \u00e9"}"#,
    r#"{"it's":1,"a b":{"c\"d":"deep"}}"#,
    "[1,2,3]",
    r#"[{"a":5}]"#,
    "\"text\"",
    "5",
    "{}",
];
pub(super) const PATHS: [&str; 15] = [
    "j->o",
    "j->>a",
    "j->>s",
    "j->>t",
    "j->l->0",
    "j->l->1",
    "j->l->2->k",
    "j->o->>k",
    "j->0",
    "j->'0'",
    "j->'-1'",
    "j->0->a",
    "j->it's",
    "j->a b->c\"d",
    "j->>nothing",
];

/// Every column of a database's table; the first is the key.
pub(super) fn columns(kind: Kind) -> Vec<Column> {
    let mut columns = common(kind);
    columns.extend(match kind {
        Kind::Postgres => of_postgres(),
        Kind::Mariadb => of_mariadb(),
        Kind::Sqlite => of_sqlite(),
    });
    columns
}

fn column(name: &'static str, declared: &str, sort: Sort, literals: Vec<String>, values: Vec<Value>) -> Column {
    Column { name, declared: declared.to_owned(), sort, literals, values }
}

fn texts(kind: Kind, name: &'static str, declared: &str) -> Column {
    let all: Vec<&str> = TEXTS.iter().chain(&ODD_TEXTS).copied().collect();
    let literals = all.iter().map(|text| sql::text(kind, text)).collect();
    column(name, declared, Sort::Text, literals, all.into_iter().map(Value::from).collect())
}

fn short_texts(kind: Kind, name: &'static str, declared: &str) -> Column {
    let all = ["", "a", "A", "ab", "a ", "é", "b", "aB", " a"];
    column(name, declared, Sort::Text, all.iter().map(|text| sql::text(kind, text)).collect(), all.map(Value::from).to_vec())
}

fn words(kind: Kind, name: &'static str, declared: &str, sort: Sort, all: &[&str]) -> Column {
    let literals = all.iter().map(|text| sql::text(kind, text)).collect();
    column(name, declared, sort, literals, all.iter().copied().map(Value::from).collect())
}

fn numbers(name: &'static str, declared: &str, sort: Sort, stored: &[&str], compared: &[&str]) -> Column {
    let values = stored.iter().chain(compared).map(|digits| serde_json::from_str(digits).expect("a number")).collect();
    column(name, declared, sort, stored.iter().map(ToString::to_string).collect(), values)
}

/// Numbers of all sizes, many of which take 17 digits.
fn doubles(declared: &str) -> Column {
    let mut state = 11_u64;
    let random = (0..60).map(|place| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mantissa = f64::from(u32::try_from(state >> 32).expect("32 bits")) / 3.0;
        format!("{:e}", mantissa * 10_f64.powi(place * 5 - 150))
    });
    let all: Vec<String> = random.collect();
    let all: Vec<&str> = all.iter().map(String::as_str).chain(FLOATS).collect();
    numbers("f", declared, Sort::Float, &all, &["0.2"])
}

fn moments(kind: Kind, name: &'static str, declared: &str) -> Column {
    let zone = if declared == "timestamptz" && kind == Kind::Postgres { "+00" } else { "" };
    let literals = MOMENTS.iter().map(|text| format!("'{text}{zone}'")).collect();
    let values = MOMENTS.iter().map(|text| json!(format!("{}Z", text.replace(' ', "T"))));
    column(name, declared, Sort::Time, literals, values.chain([json!("2013-07-04T14:00:00+02:00")]).collect())
}

fn common(kind: Kind) -> Vec<Column> {
    let integers: Vec<String> = INTEGERS.iter().map(ToString::to_string).collect();
    let integers: Vec<&str> = integers.iter().map(String::as_str).collect();
    let json_type = if kind == Kind::Postgres { "jsonb" } else { "json" };
    vec![
        column("id", "bigint primary key", Sort::Integer, Vec::new(), (1..=20).map(Value::from).collect()),
        numbers("n", "bigint", Sort::Integer, &integers, &["8"]),
        numbers("i", "smallint", Sort::Integer, &["0", "1", "-1", "7", "42"], &["40000", "9223372036854775807"]),
        numbers("d", "decimal(12,2)", Sort::Decimal, &["0.00", "0.10", "-0.10", "1.50", "99999.99", "12.34"], &DECIMALS),
        column("ok", "boolean", Sort::Truth, vec!["true".to_owned(), "false".to_owned()], vec![json!(true), json!(false)]),
        words(kind, "u", "uuid", Sort::Word, &UUIDS),
        words(kind, "day", "date", Sort::Word, &DAYS),
        words(kind, "tag", "varchar(20)", Sort::Word, &LEVELS),
        words(kind, "j", json_type, Sort::Json, &DOCUMENTS),
    ]
}

fn of_postgres() -> Vec<Column> {
    let kind = Kind::Postgres;
    let mut floats: Vec<Column> = vec![
        doubles("double precision"),
        numbers("single", "real", Sort::Float, &FLOATS, &["0.2", "16777216"]),
        numbers("m", "numeric", Sort::Decimal, &DECIMALS, &["12.34567890123456789"]),
    ];
    for column in &mut floats {
        column.literals.extend(["'NaN'".to_owned(), "'Infinity'".to_owned(), "'-Infinity'".to_owned()]);
    }
    floats[2].literals.truncate(DECIMALS.len() + 1);
    let mut endless = moments(kind, "at", "timestamptz");
    let far = ["'infinity'", "'-infinity'", "'10000-01-01 00:00:00+00'", "'0044-03-15 00:00:00+00 BC'"];
    endless.literals.extend(far.map(ToOwned::to_owned));
    let rest = vec![
        texts(kind, "t", "text"),
        texts(kind, "tc", "varchar(40) collate \"C\""),
        texts(kind, "ti", "text collate \"und-x-icu\""),
        short_texts(kind, "ch", "character(4)"),
        words(kind, "tm", "time", Sort::Time, &TIMES),
        endless,
        moments(kind, "ts", "timestamp"),
        column(
            "b",
            "bytea",
            Sort::Bytes,
            vec!["'\\x'".to_owned(), "'\\x00ff'".to_owned(), "'\\x6162'".to_owned()],
            vec![json!(""), json!("AP8="), json!("YWI="), json!("YQ==")],
        ),
        words(kind, "e", "level", Sort::Word, &LEVELS),
        words(kind, "js", "json", Sort::Json, &DOCUMENTS),
        column("l", "integer[]", Sort::List, vec!["'{1,2}'".to_owned(), "'{}'".to_owned()], vec![json!([1, 2]), json!([])]),
    ];
    floats.into_iter().chain(rest).collect()
}

fn of_mariadb() -> Vec<Column> {
    let kind = Kind::Mariadb;
    let mut odd = moments(kind, "ts", "datetime(6)");
    odd.literals.push("'0000-00-00 00:00:00'".to_owned());
    let mut spans = words(kind, "tm", "time(3)", Sort::Time, &TIMES);
    spans.literals.extend(["'-01:00:00'".to_owned(), "'100:00:00.5'".to_owned()]);
    vec![
        doubles("double"),
        numbers("single", "float", Sort::Float, &["0.1", "5"], &[]),
        numbers("m", "decimal(30,10)", Sort::Decimal, &DECIMALS, &["12.34567890123456789"]),
        numbers("w", "bigint unsigned", Sort::Decimal, &["0", "18446744073709551615", "7"], &["9223372036854775808", "0.5"]),
        texts(kind, "t", "varchar(40)"),
        texts(kind, "tn", "varchar(40) collate utf8mb4_nopad_bin"),
        texts(kind, "ti", "varchar(40) collate utf8mb4_general_ci"),
        short_texts(kind, "ch", "char(4)"),
        spans,
        moments(kind, "at", "timestamp(6) null"),
        odd,
        column(
            "b",
            "varbinary(10)",
            Sort::Bytes,
            vec!["x''".to_owned(), "x'00ff'".to_owned(), "x'6162'".to_owned(), "x'616220'".to_owned()],
            vec![json!(""), json!("AP8="), json!("YWI="), json!("YQ==")],
        ),
        words(kind, "e", "enum('junior','senior','lead')", Sort::Word, &LEVELS),
    ]
}

fn of_sqlite() -> Vec<Column> {
    let kind = Kind::Sqlite;
    let mut odd = numbers("x", "integer", Sort::Integer, &["1", "2.5", "-3"], &["2"]);
    odd.literals.extend(["'text'".to_owned(), "'7'".to_owned()]);
    let mut any = texts(kind, "any", "");
    any.literals.extend(["1".to_owned(), "10".to_owned()]);
    let mut floats = doubles("double");
    floats.literals.extend(["9e999".to_owned(), "-9e999".to_owned()]);
    vec![
        floats,
        numbers("m", "numeric", Sort::Decimal, &DECIMALS, &["12.34567890123456789"]),
        texts(kind, "t", "text"),
        texts(kind, "tn", "text collate nocase"),
        texts(kind, "tr", "varchar(40) collate rtrim"),
        any,
        odd,
        words(kind, "tm", "time", Sort::Time, &TIMES),
        moments(kind, "at", "timestamp"),
        column(
            "b",
            "blob",
            Sort::Bytes,
            vec!["x''".to_owned(), "x'00ff'".to_owned(), "x'6162'".to_owned()],
            vec![json!(""), json!("YWI=")],
        ),
    ]
}
