//! Laws that hold for any request: random filters and sorts answer what plain SQL answers, and nonsense is refused politely.
//!
//! Cases come from a seed, which a failure prints; set PROPERTY_SEED to see it again.

use crate::support::client::Call;
use crate::support::database::Kind;
use crate::support::server::Server;
use axum::http::Method;
use resolvespec::database::{Database, Settings, Statement};
use serde_json::{Value, json};
use std::fmt::Write;

const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: things}
spec: {source: conformance, apiSchema: public}
";

const CASES: usize = 250;

/// A small generator; the tests need variety and not secrecy.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("smaller than the bound")
    }

    fn one<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    fn text(&mut self) -> String {
        let length = self.below(4);
        (0..length).map(|_| self.one(&['a', 'A', 'b', 'B', '%', '_', '\'', '"', '\\', 'é', ' ', '日'])).collect()
    }
}

fn seed() -> u64 {
    std::env::var("PROPERTY_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()) * 2_654_435_761 + 1)
}

fn literal(kind: Kind, text: &str) -> String {
    let text = text.replace('\'', "''");
    if matches!(kind, Kind::Mariadb) { format!("'{}'", text.replace('\\', "\\\\")) } else { format!("'{text}'") }
}

fn script(kind: Kind, chance: &mut Chance) -> String {
    let (text, time) = match kind {
        Kind::Postgres => ("text collate \"C\"", "timestamptz"),
        Kind::Mariadb => ("varchar(20) character set utf8mb4 collate utf8mb4_nopad_bin", "datetime"),
        Kind::Sqlite => ("text", "timestamp"),
    };
    let mut script = format!(
        "create table things (id integer primary key, n integer, t {text}, d decimal(10,2), b boolean, m {time} not null);\n"
    );
    for id in 1..=120 {
        let mut or_null = |value: String| if chance.below(5) == 0 { "null".to_owned() } else { value };
        let n = or_null((id % 7 - 3).to_string());
        let b = or_null(if id % 3 == 0 { "true" } else { "false" }.to_owned());
        let d = or_null(format!("{}.{}5", id % 5 - 2, id % 10));
        let t = if chance.below(5) == 0 { "null".to_owned() } else { literal(kind, &chance.text()) };
        _ = writeln!(script, "insert into things values ({id}, {n}, {t}, {d}, {b}, '2024-01-{:02} 00:00:00');", id % 28 + 1);
    }
    script
}

/// A filter as the API takes it, and as SQL written another way.
fn filter(kind: Kind, chance: &mut Chance, depth: usize) -> (Value, String) {
    if depth > 0 && chance.below(3) == 0 {
        let parts: Vec<_> = (0..=chance.below(3)).map(|_| filter(kind, chance, depth - 1)).collect();
        let (values, texts): (Vec<Value>, Vec<String>) = parts.into_iter().unzip();
        return match chance.below(3) {
            0 => (json!({"and": values}), format!("({})", texts.join(" and "))),
            1 => (json!({"or": values}), format!("({})", texts.join(" or "))),
            _ => (json!({"not": values[0]}), format!("not ({})", texts[0])),
        };
    }
    let leaf = |column: &str, operator: &str, value: Value| json!({"column": column, "operator": operator, "value": value});
    let compare = [("eq", "="), ("neq", "<>"), ("gt", ">"), ("gte", ">="), ("lt", "<"), ("lte", "<=")];
    let (word, sign) = chance.one(&compare);
    match chance.below(8) {
        0 => {
            let number = chance.below(8).cast_signed() - 4;
            (leaf("n", word, json!(number)), format!("n {sign} {number}"))
        }
        1 => {
            let number = format!("{}.{}5", chance.below(4), chance.below(10));
            (leaf("d", word, json!(number)), format!("d {sign} {number}"))
        }
        2 => {
            let text = chance.text();
            let sql = format!("t {sign} {}", literal(kind, &text));
            (leaf("t", word, json!(text)), sql)
        }
        3 => {
            let column = chance.one(&["n", "t", "d", "b"]);
            let (word, test) = chance.one(&[("is_null", "is null"), ("is_not_null", "is not null")]);
            (leaf(column, word, Value::Null), format!("{column} {test}"))
        }
        4 => {
            let numbers: Vec<isize> = (0..chance.below(4)).map(|_| chance.below(8).cast_signed() - 4).collect();
            let any: Vec<String> = numbers.iter().map(|number| format!("n = {number}")).collect();
            let sql = if any.is_empty() { "1 = 0".to_owned() } else { format!("({})", any.join(" or ")) };
            (leaf("n", "in", json!(numbers)), sql)
        }
        5 => {
            let (low, high) = (chance.below(5).cast_signed() - 3, chance.below(5).cast_signed());
            let inclusive = chance.below(2) == 0;
            let (word, equal) = if inclusive { ("between_inclusive", "=") } else { ("between", "") };
            (leaf("n", word, json!([low, high])), format!("(n >{equal} {low} and n <{equal} {high})"))
        }
        6 => {
            let text = chance.text();
            let found = match kind {
                Kind::Postgres => format!("position(lower({0}) in lower(t)) > 0", literal(kind, &text)),
                Kind::Mariadb | Kind::Sqlite => format!("instr(lower(t), lower({0})) > 0", literal(kind, &text)),
            };
            (leaf("t", "contains", json!(text)), found)
        }
        _ => {
            let day = chance.below(28) + 1;
            let moment = format!("2024-01-{day:02}T00:00:00Z");
            let stored =
                if matches!(kind, Kind::Postgres) { format!("'{moment}'") } else { format!("'2024-01-{day:02} 00:00:00'") };
            (leaf("m", word, json!(moment)), format!("m {sign} {stored}"))
        }
    }
}

/// Sort keys as the API takes them, and as SQL with NULLs written out.
fn order(chance: &mut Chance) -> (Vec<Value>, String) {
    let mut sql = String::new();
    let keys = (0..chance.below(3)).map(|_| {
        let column = chance.one(&["n", "t", "d", "b", "m"]);
        let direction = chance.one(&["asc", "desc"]);
        let nulls = chance.one(&["first", "last"]);
        _ = write!(
            sql,
            "case when {column} is null then 1 else 0 end {}, {column} {direction}, ",
            if nulls == "last" { "asc" } else { "desc" }
        );
        json!({"column": column, "direction": direction, "nulls": nulls})
    });
    (keys.collect(), format!("{sql}id"))
}

async fn random_requests_equal_plain_sql(kind: Kind) {
    let seed = seed();
    let mut chance = Chance(seed);
    let script = script(kind, &mut chance);
    let server = Server::start(kind, &script, ENTITIES).await;
    let database = Database::connect(&Settings::new("plain", server.url())).await.expect("the database answers");
    for case in 0..CASES {
        let (condition, sql) = filter(kind, &mut chance, 3);
        let (sort, by) = order(&mut chance);
        let (limit, offset) = (chance.below(40) + 1, chance.below(3) * 10);
        let array = if matches!(kind, Kind::Postgres) { "json_build_array" } else { "json_array" };
        let plain = format!("select {array}(id) from things where {sql} order by {by} limit {limit} offset {offset}");
        let expected = database.fetch_texts(Statement::new(&plain)).await.unwrap_or_else(|error| panic!("{plain}: {error}"));
        let expected: Vec<Value> =
            expected.iter().map(|row| serde_json::from_str::<Value>(row).expect("JSON")[0].clone()).collect();
        let options = json!({"filters": [condition], "sort": sort, "limit": limit, "offset": offset, "columns": ["id"]});
        let call = Call::post("/api/public/things", &json!({"operation": "read", "options": options}));
        let answer = server.client.send(&call).await.expect("an answer");
        let found: Vec<Value> = answer.body["data"].as_array().into_iter().flatten().map(|row| row["id"].clone()).collect();
        assert!(
            answer.status.as_u16() == 200 && found == expected,
            "PROPERTY_SEED={seed}, case {case} on {}\n{options}\n{plain}\nexpected {expected:?}\ngot {} {}",
            kind.name(),
            answer.status,
            answer.body
        );
    }
    database.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_filters_and_sorts_equal_plain_sql_on_postgres() {
    random_requests_equal_plain_sql(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_filters_and_sorts_equal_plain_sql_on_mariadb() {
    random_requests_equal_plain_sql(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_filters_and_sorts_equal_plain_sql_on_sqlite() {
    random_requests_equal_plain_sql(Kind::Sqlite).await;
}

/// Text that a request should never have: quotes, comments, control characters, pieces of SQL and of JSON.
fn nonsense(chance: &mut Chance) -> String {
    let pieces = [
        "'",
        "\"",
        "`",
        ";",
        "--",
        "/*",
        "\\",
        "%",
        "$1",
        "?",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "null",
        "id",
        "->",
        "->>",
        "0",
        "-1",
        "1e999",
        "é",
        "日",
        "\u{1}",
        "\t",
        " or 1=1",
        "union select",
        "pg_sleep(9)",
        "all",
        "__",
        "ZIP_",
        "(",
        ")",
        "n",
        "t",
        "eq",
        "true",
    ];
    (0..=chance.below(6)).map(|_| chance.one(&pieces)).collect()
}

async fn nonsense_is_refused(kind: Kind) {
    let seed = seed();
    let mut chance = Chance(seed);
    let script = script(kind, &mut chance);
    let server = Server::start(kind, &script, ENTITIES).await;
    let headers = [
        "X-FieldFilter-t",
        "X-SearchOp-in-n",
        "X-SearchOp-between-d",
        "X-Sort",
        "X-Select-Fields",
        "X-Preload",
        "X-Files",
        "X-Limit",
        "X-Cursor-Forward",
        "X-Cursor-Backward",
        "X-Fetch-RowNumber",
        "X-Custom-SQL-W",
        "X-CQL-SEL-n",
        "If-Match",
        "Idempotency-Key",
    ];
    for case in 0..700 {
        let text = nonsense(&mut chance);
        let escaped: String = text.bytes().fold(String::new(), |mut path, byte| {
            _ = write!(path, "%{byte:02x}");
            path
        });
        let call = match chance.below(6) {
            0 => Call { body: Some(text.clone()), ..Call::new(Method::POST, "/api/public/things") },
            1 => Call::post(
                format!("/api/public/things/{escaped}"),
                &json!({"operation": chance.one(&["read", "update", "delete"]), "data": {"n": 1}}),
            ),
            2 => Call::post(
                "/api/public/things",
                &json!({"operation": "read", "options": {"filters": [{"column": text, "operator": "eq", "value": nonsense(&mut chance)}],
                    "sort": [{"column": nonsense(&mut chance)}]}}),
            ),
            3 => Call::post(
                "/api/public/things",
                &json!({"operation": "read", "options": {"filters": [{"column": "t", "operator": chance.one(&["like", "ilike", "contains", "in", "between"]),
                    "value": text}], "cursor_forward": nonsense(&mut chance)}}),
            ),
            4 => Call::new(Method::GET, format!("/rest/public/things/{escaped}?{escaped}={escaped}")),
            _ => {
                let value: String = text.chars().filter(|character| !character.is_control()).collect();
                Call::new(Method::GET, "/rest/public/things").header(chance.one(&headers), value.trim())
            }
        };
        let answer = server
            .client
            .send(&call)
            .await
            .unwrap_or_else(|error| panic!("PROPERTY_SEED={seed}, case {case}: {call:?}: {error}"));
        assert!(
            answer.status.as_u16() < 500,
            "PROPERTY_SEED={seed}, case {case} on {}: {call:?}\n{} {}",
            kind.name(),
            answer.status,
            answer.body
        );
        assert!(!answer.body.is_string() || answer.status.as_u16() == 304, "{call:?} got no JSON: {}", answer.body);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_never_gets_a_5xx_on_postgres() {
    nonsense_is_refused(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_never_gets_a_5xx_on_mariadb() {
    nonsense_is_refused(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_never_gets_a_5xx_on_sqlite() {
    nonsense_is_refused(Kind::Sqlite).await;
}
