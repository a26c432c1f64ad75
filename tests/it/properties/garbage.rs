//! Random bytes in every place of a request: no panic, no 5xx, and nothing of them in the text of a statement.

use super::serve;
use crate::support::database::Kind;
use crate::support::server::Server;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use resolvespec::database::{Database, Settings};
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const INPUTS: u32 = 2_500;

/// Every name and value that is made up has this in it.
const MARK: &str = "zq7x";

/// A text that quotes, comments, patterns and placeholders are made of.
fn odd() -> impl Strategy<Value = String> {
    let parts = [
        "'",
        "\"",
        "`",
        "--",
        "/*",
        "*/",
        ";",
        "\\",
        "%",
        "_",
        "$1",
        "?",
        "{",
        "}",
        "(",
        ")",
        "->>",
        "->",
        ".",
        ",",
        " ",
        "\n",
        "\0",
        "é",
        "💡",
        "or 1=1",
        "union select",
        "null",
        "1",
        "9223372036854775808",
        "__",
        "ZIP_",
        "|",
        ":",
        "\u{202e}",
    ];
    vec(prop_oneof![3 => select(parts.to_vec()).prop_map(ToOwned::to_owned), 1 => any::<char>().prop_map(String::from)], 0..6)
        .prop_map(|parts| format!("{MARK}{}", parts.concat()))
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        odd().prop_map(Value::from),
        select(&["things", "id", "n", "t", "eq", "in", "like", "asc", "OR"][..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let keys =
            ["column", "operator", "value", "logic_operator", "and", "or", "not", "relation", "name", "direction", "_request"];
        let key = prop_oneof![4 => select(keys.to_vec()).prop_map(ToOwned::to_owned), 1 => odd()];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            vec((key, inner), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A well-formed request whose options, data or id are anything.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let options = [
        "columns",
        "omit_columns",
        "filters",
        "sort",
        "limit",
        "offset",
        "preload",
        "customOperators",
        "computedColumns",
        "parameters",
        "cursor_forward",
        "cursor_backward",
        "fetch_row_number",
    ];
    let filter = (prop_oneof![odd(), Just("t".to_owned()), Just("n".to_owned())], odd(), any_json())
        .prop_map(|(column, operator, value)| json!([{"column": column, "operator": operator, "value": value}]));
    let known = (
        select(&["eq", "like", "ilike", "contains", "in", "gt", "between"][..]),
        select(&["id", "n", "d", "t", "at", "ok"][..]),
        any_json(),
    )
        .prop_map(|(operator, column, value)| json!([{"column": column, "operator": operator, "value": value}]));
    let keyed = prop_oneof![filter, known].prop_map(|filters| json!({"filters": filters}));
    let named = vec((select(options.to_vec()), any_json()), 0..3)
        .prop_map(|pairs| pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    let columns = vec(odd(), 1..3).prop_map(|names| json!({"columns": names}));
    let cursor = odd().prop_map(|key| json!({"cursor_forward": key, "sort": [{"column": "t"}]}));
    let operation = select(&["read", "create", "update", "delete", "meta", "drop"][..]);
    (operation, prop_oneof![keyed, named, columns, cursor], any_json(), any_json(), any::<bool>()).prop_map(
        |(operation, options, data, id, keyed)| {
            let mut body = json!({"operation": operation, "options": options});
            if operation != "read" {
                body["data"] = data;
            }
            if keyed {
                body["id"] = id;
            }
            body.to_string().into_bytes()
        },
    )
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let cut = (request(), any::<usize>(), any::<u8>()).prop_map(|(mut bytes, place, byte)| {
        let place = place % bytes.len();
        if byte % 2 == 0 {
            bytes.truncate(place);
        } else {
            bytes[place] = byte;
        }
        bytes
    });
    prop_oneof![4 => request(), 2 => cut, 1 => vec(any::<u8>(), 0..200), 1 => any_json().prop_map(|json| json.to_string().into_bytes())]
}

/// What `X-Files` holds: its own keys, with anything in them.
fn files() -> impl Strategy<Value = Value> {
    let column = || prop_oneof![select(&["id", "n", "t", "at"][..]).prop_map(ToOwned::to_owned), odd()];
    let operator = prop_oneof![select(&["eq", "in", "contains", "between"][..]).prop_map(ToOwned::to_owned), odd()];
    let field = (column(), operator, any_json())
        .prop_map(|(field, operator, value)| json!({"field": field, "operator": operator, "value": value}));
    let plain = prop_oneof![
        vec(column(), 0..3).prop_map(|columns| ("columns", json!(columns))),
        vec(column(), 0..3).prop_map(|columns| ("omit_columns", json!(columns))),
        vec(column(), 0..3).prop_map(|columns| ("sort", json!(columns))),
        vec(odd(), 0..2).prop_map(|texts| ("sql_and", json!(texts))),
        vec(odd(), 0..2).prop_map(|texts| ("cql_columns", json!(texts))),
        vec(field, 0..3).prop_map(|fields| ("filter_fields", json!(fields))),
        odd().prop_map(|key| ("cursor_forward", json!(key))),
        (select(&["limit", "offset", "tablename", "prefix", "zq7x"][..]), any_json()),
    ];
    let object = |pairs: Vec<(&str, Value)>| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Value>();
    vec(plain, 0..4).prop_map(object).prop_recursive(3, 12, 3, move |inner| {
        (inner.clone(), vec((odd(), inner), 0..3)).prop_map(|(mut node, children)| {
            node["childtables"] = children
                .into_iter()
                .map(|(name, mut child)| {
                    child["tablename"] = json!(name);
                    child
                })
                .collect();
            node
        })
    })
}

fn header() -> impl Strategy<Value = Vec<u8>> {
    let of_files = files().prop_map(|files| format!("x-files: ZIP_{}\r\n", STANDARD.encode(files.to_string())).into_bytes());
    prop_oneof![4 => plain_header(), 1 => of_files]
}

fn plain_header() -> impl Strategy<Value = Vec<u8>> {
    let names = [
        "x-select-fields",
        "x-not-select-fields",
        "x-sort",
        "x-limit",
        "x-offset",
        "x-cursor-forward",
        "x-cursor-backward",
        "x-preload",
        "x-preload-1-where",
        "x-expand",
        "x-files",
        "x-fetch-rownumber",
        "x-fieldfilter-t",
        "x-searchfilter-n",
        "x-searchop-in-id",
        "x-searchop-between-at",
        "x-searchop-zq7x-t",
        "x-searchor-eq-zq7x",
        "x-custom-sql-w",
        "x-cql-sel-zq7x",
        "x-advsql-t",
        "x-zq7x",
        "if-match",
        "idempotency-key",
        "accept-encoding",
        "authorization",
        "x-request-id",
        "if-none-match",
    ];
    let value = prop_oneof![3 => odd().prop_map(String::into_bytes), 1 => vec(any::<u8>(), 0..60)];
    (select(names.to_vec()), value).prop_map(|(name, mut value)| {
        value.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
        [name.as_bytes(), b": ", &value, b"\r\n"].concat()
    })
}

fn segment() -> impl Strategy<Value = String> {
    let encoded = |bytes: &[u8]| percent_encoding::percent_encode(bytes, percent_encoding::NON_ALPHANUMERIC).to_string();
    prop_oneof![
        2 => Just("things".to_owned()),
        2 => Just("public".to_owned()),
        2 => odd().prop_map(move |text| encoded(text.as_bytes())),
        1 => vec(any::<u8>(), 1..20).prop_map(move |bytes| encoded(&bytes)),
        1 => Just("1".to_owned()),
    ]
}

/// A request as it goes over the wire.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let known = prop_oneof![
        Just("public/things".to_owned()),
        (Just("public/things/".to_owned()), segment()).prop_map(|(path, id)| path + &id)
    ];
    let path = prop_oneof![3 => known, 1 => vec(segment(), 0..4).prop_map(|parts| parts.join("/"))];
    let query = prop_oneof![3 => Just(String::new()), 1 => (segment(), segment()).prop_map(|(name, value)| format!("?x-searchop-eq-{name}={value}&sort({value})"))];
    let method = select(&["POST", "POST", "GET", "PUT", "PATCH", "DELETE", "OPTIONS"][..]);
    (method, select(&["api", "rest"][..]), path, query, vec(header(), 0..4), body()).prop_map(
        |(method, style, path, query, headers, body)| {
            let begin = format!(
                "{method} /{style}/{path}{query} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n",
                body.len()
            );
            [begin.as_bytes(), &headers.concat(), b"\r\n", &body].concat()
        },
    )
}

/// A request that is understood, with made-up values.
fn understood() -> impl Strategy<Value = Vec<u8>> {
    let operators = select(&["eq", "neq", "gt", "lte", "contains", "startswith", "endswith", "ilike"][..]);
    let read = (operators.clone(), odd()).prop_map(|(operator, value)| {
        let value = value.replace(['\\', '\0'], "");
        json!({"operation": "read", "options": {"filters": [{"column": "t", "operator": operator, "value": value}], "sort": [{"column": "t"}]}})
    });
    let create = (3..i64::MAX, odd()).prop_map(|(id, text)| json!({"operation": "create", "data": {"id": id, "t": text}}));
    let update = odd().prop_map(|text| json!({"operation": "update", "id": 1, "data": {"t": text}}));
    let bodies = prop_oneof![read, create, update].prop_map(|body| {
        let body = body.to_string();
        format!(
            "POST /api/public/things HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    });
    let headers = (operators, odd()).prop_map(|(operator, value)| {
        let value = value.replace(['\r', '\n', '\0', '\\'], "");
        format!(
            "GET /rest/public/things HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-searchop-{operator}-t: {value}\r\n\r\n"
        )
    });
    prop_oneof![3 => bodies, 1 => headers].prop_map(String::into_bytes)
}

/// The status of the answer; a handler that panicked answers nothing.
async fn send(address: SocketAddr, bytes: &[u8]) -> Result<u16, String> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(bytes).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), exchange).await.map_err(|_| "no answer in time".to_owned())?;
    let answer = answer.map_err(|error| format!("no answer: {error}"))?;
    let text = String::from_utf8_lossy(&answer);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|digits| digits.parse().ok());
    match status {
        None => Err(format!("no HTTP answer: {text}")),
        Some(status) if status >= 500 => Err(format!("answered {text}")),
        Some(status) => Ok(status),
    }
}

fn nothing_breaks(server: &Server) {
    let mut runner = TestRunner::new(Config { cases: INPUTS, failure_persistence: None, ..Config::default() });
    let (runtime, address) = (tokio::runtime::Handle::current(), server.client.address());
    let outcome = tokio::task::block_in_place(|| {
        runner.run(&prop_oneof![2 => wire(), 1 => understood()], |bytes| {
            let failed = |reason| TestCaseError::fail(format!("{reason}\n{}", String::from_utf8_lossy(&bytes)));
            runtime.block_on(send(address, &bytes)).map(|_| ()).map_err(failed)
        })
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, _)) => panic!("{reason}"),
        Err(aborted) => panic!("{aborted}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_never_break_a_replica_over_sqlite() {
    let server = serve(Kind::Sqlite).await;
    nothing_breaks(&server);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_never_break_a_replica_over_mariadb() {
    let server = serve(Kind::Mariadb).await;
    nothing_breaks(&server);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_never_break_a_replica_over_postgres_nor_reach_a_statement() {
    let server = serve(Kind::Postgres).await;
    let mut settings = Settings::new("garbage", server.url());
    settings.max_connections = 1;
    let database = Database::connect(&settings).await.expect("the database answers");
    let name = server.url().rsplit('/').next().expect("the URL ends in the database's name").to_owned();
    // PostgreSQL then logs every statement of new connections, without the values that are bound to it.
    for setting in ["log_statement = 'all'", "log_parameter_max_length = 0"] {
        database.run_script(&format!("alter database {name} set {setting}")).await.expect("the database can be set");
    }
    let end =
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    database.run_script(end).await.expect("connections can be ended");
    database.close().await;
    let folder = PathBuf::from(std::env::var("TEST_SERVERS").expect("TEST_SERVERS is set by tests/run"));
    let before = std::fs::metadata(folder.join("postgres.log")).expect("the server has a log").len();
    nothing_breaks(&server);
    let log = std::fs::read(folder.join("postgres.log")).expect("the server's log can be read");
    let log = String::from_utf8_lossy(&log[usize::try_from(before).expect("a file's length")..]).into_owned();
    server.stop().await;
    let statements: Vec<&str> =
        log.lines().filter(|line| line.contains("LOG:  execute") || line.contains("LOG:  statement")).collect();
    let ours = statements.iter().filter(|line| line.contains("\"things\"")).count();
    assert!(ours > 100, "only {ours} statements over the table were logged");
    let marked: Vec<&&str> = statements.iter().filter(|line| line.contains(MARK)).collect();
    assert!(marked.is_empty(), "made-up text stands in {} statements, such as\n{}", marked.len(), marked[0]);
}
