//! What headers and queries mean, as a table of examples.

use super::{Format, Parameters, decode};
use crate::protocol::options::{Direction, Nulls};
use crate::protocol::{Code, Condition, Error, KeyInput, Operator};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::json;

pub(super) fn read(headers: &[(&str, &str)], query: Option<&str>) -> Result<super::HeaderRequest, Error> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.to_lowercase().as_bytes()).expect("a header name");
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
    }
    decode(&Parameters::collect(&map, query)?)
}

pub(super) fn leaves(condition: &Condition) -> Vec<String> {
    match condition {
        Condition::All(parts) => parts.iter().flat_map(leaves).collect(),
        Condition::Any(parts) => vec![format!("({})", parts.iter().flat_map(leaves).collect::<Vec<_>>().join(" or "))],
        Condition::Not(part) => vec![format!("not {:?}", leaves(part))],
        Condition::Leaf(leaf) => vec![format!("{} {} {}", leaf.column, leaf.operator.as_str(), leaf.value)],
    }
}

#[test]
fn the_example_of_the_protocol_reads_the_same_from_headers_and_from_the_query() {
    let headers = [
        ("X-Select-Fields", "id,name"),
        ("X-FieldFilter-status", "active"),
        ("X-SearchOp-between-age", "30,60"),
        ("X-SearchOr-contains-name", "ad"),
        ("X-SearchOr-beginswith-email", "ad"),
        ("X-Sort", "-id,+name"),
        ("X-Limit", "10"),
        ("X-Offset", "20"),
        ("X-Preload", "Department:id,title|Projects"),
    ];
    let from_headers = read(&headers, None).expect("readable headers");
    let query = "x-select-fields=id,name&x-fieldfilter-status=active&x-searchop-between-age=30,60&x-searchor-contains-name=ad\
                 &x-searchor-beginswith-email=ad&sort(-id,%2Bname)=&limit(10,20)=&x-preload=Department:id,title%7CProjects";
    let from_query = read(&[], Some(query)).expect("a readable query");
    assert_eq!(from_headers, from_query);
    let options = from_headers.options;
    let expected = ["status eq \"active\"", "age between \"30,60\"", "(email startswith \"ad\" or name contains \"ad\")"];
    assert_eq!(leaves(&options.filters), expected);
    assert_eq!((options.limit, options.offset), (Some(10), Some(20)));
    assert_eq!(options.sort[0].direction, Direction::Descending);
    assert_eq!(options.preload[0].columns, ["id", "title"]);
    assert_eq!(options.preload[1].relation, "Projects");
}

#[test]
fn words_of_the_header_style_mean_what_they_mean_there() {
    for (word, operator) in [
        ("equals", Operator::Eq),
        ("notequals", Operator::Neq),
        ("greaterthan", Operator::Gt),
        ("lessthanorequal", Operator::Lte),
        ("like", Operator::Contains),
        ("beginswith", Operator::StartsWith),
        ("betweeninclusive", Operator::BetweenInclusive),
        ("empty", Operator::Empty),
        ("null", Operator::Empty),
        ("notempty", Operator::NotEmpty),
    ] {
        let request = read(&[(&format!("X-SearchOp-{word}-a-b"), "1")], None).expect(word);
        let Condition::Leaf(leaf) = request.options.filters else { panic!("{word} is one filter") };
        assert_eq!((leaf.operator, leaf.column.as_str()), (operator, "a-b"), "{word}");
    }
}

#[test]
fn formats_keys_and_files_are_read() {
    let files = json!({"tablename": "employees", "columns": ["id"], "limit": "20", "sort": ["-id"],
        "filter_fields": [{"field": "status", "operator": "eq", "value": "active"}],
        "childtables": [{"tablename": "tasks", "prefix": "Tasks", "relatedkey": "employee_id", "limit": 5}]});
    let request =
        read(&[("X-Files", &files.to_string()), ("X-DetailAPI", ""), ("X-Cursor-Forward", "7")], None).expect("readable");
    assert_eq!(request.format, Format::Detail);
    assert_eq!(request.options.cursor_forward, Some(KeyInput::Text("7".to_owned())));
    assert_eq!(request.options.limit, Some(20));
    assert_eq!(request.options.preload[0].limit, Some(5));
    assert_eq!(leaves(&request.options.filters), ["status eq \"active\""]);
}

#[test]
fn what_carries_sql_or_is_unknown_is_refused() {
    for (header, code) in [
        (("X-Custom-SQL-W", "1=1 OR true"), Code::RawSqlRefused),
        (("X-Custom-SQL-Or", "x"), Code::RawSqlRefused),
        (("X-Custom-SQL-Join", "join a on true"), Code::RawSqlRefused),
        (("X-AdvSQL-a", "x"), Code::RawSqlRefused),
        (("X-Custom-SQL-W", "late AND"), Code::RawSqlRefused),
        (("X-Custom-SQL-W", "late far"), Code::RawSqlRefused),
        (("X-Custom-SQL-Foo", "x"), Code::InvalidOption),
        (("X-FieldFilter", "x"), Code::InvalidOption),
        (("X-SearchOp-eq", "x"), Code::InvalidOption),
        (("X-SearchCols", "a,b"), Code::InvalidOption),
        (("X-PKRow", "1"), Code::InvalidOption),
        (("X-Clean-JSON", "true"), Code::InvalidOption),
        (("X-Transaction-Atomic", "false"), Code::InvalidOption),
        (("X-Offset", "-1"), Code::InvalidOption),
        (("X-Sort", "-(a+b)"), Code::RawSqlRefused),
        (("X-Sort", "a,-"), Code::InvalidOption),
        (("X-Preload-2-Where", "open"), Code::InvalidPreload),
        (("X-CQL-SEL-a", "1+1"), Code::RawSqlRefused),
        (("X-Sort", "(a+b)"), Code::RawSqlRefused),
        (("X-Preload-Where", "a = 1"), Code::RawSqlRefused),
        (("X-SearchOp-foo-a", "1"), Code::InvalidOperator),
        (("X-Limit", "many"), Code::InvalidOption),
        (("X-Distinct", "true"), Code::InvalidOption),
        (("X-Files", "{"), Code::InvalidOption),
        (("X-Files", "{\"sql_or\":[\"1=1\"]}"), Code::RawSqlRefused),
    ] {
        let error = read(&[header], None).expect_err(header.0);
        assert_eq!(error.code, code, "{header:?}");
    }
    assert_eq!(read(&[], Some("x-unheard-of=1")).expect_err("unknown in the query").code, Code::InvalidOption);
    assert_eq!(read(&[], Some("page=2")).expect_err("also without x-").code, Code::InvalidOption);
    assert!(read(&[], Some("openapi=x")).is_ok(), "the document's own key");
    for harmless in ["X-Distinct", "X-Clean-JSON", "X-SkipCache", "X-Custom-SQL-Or"] {
        assert!(read(&[(harmless, "")], None).is_ok(), "{harmless} that says nothing");
    }
    assert!(read(&[("X-Forwarded-For", "10.0.0.1")], None).is_ok(), "headers of proxies are none of ours");
}

#[test]
fn declared_conditions_are_named_as_the_typescript_client_joins_them() {
    let request = read(&[("X-Custom-SQL-W", "late AND far"), ("X-CQL-SEL-total", "total")], None).expect("declared names");
    let names: Vec<&str> = request.options.custom_operators.iter().map(|fragment| fragment.name.as_str()).collect();
    assert_eq!(names, ["late", "far"]);
    assert_eq!(request.options.computed_columns[0].name, "total");
}

#[test]
fn the_typescript_clients_headers_are_read() {
    let headers = [
        ("x-select-fields", "id,name"),
        ("x-not-select-fields", "secret"),
        ("x-fieldfilter-state", "open"),
        ("x-searchop-in-kind", "a,b"),
        ("x-searchop-empty-deleted_at", ""),
        ("x-searchor-contains-name", "50%"),
        ("x-searchor-notempty-note", ""),
        ("x-sort", "+name,-id"),
        ("x-limit", "10"),
        ("x-offset", "0"),
        ("x-cursor-backward", "8"),
        ("x-preload", "Orders:id,total|Notes"),
        ("x-fetch-rownumber", "42"),
        ("x-cql-sel-total", "total"),
        ("x-custom-sql-w", "late and far"),
    ];
    let request = read(&headers, None).expect("readable");
    let options = request.options;
    let expected =
        ["state eq \"open\"", "deleted_at empty null", "kind in \"a,b\"", "(name contains \"50%\" or note notempty null)"];
    assert_eq!(leaves(&options.filters), expected);
    assert_eq!((options.columns, options.omit_columns), (vec!["id".to_owned(), "name".to_owned()], vec!["secret".to_owned()]));
    assert_eq!((options.limit, options.offset), (Some(10), None));
    assert_eq!(options.cursor_backward, Some(KeyInput::Text("8".to_owned())));
    assert_eq!(options.fetch_row_number, Some(KeyInput::Text("42".to_owned())));
    assert_eq!(options.preload.len(), 2);
    assert_eq!(options.custom_operators.len(), 2);
    assert!(request.single_record_as_object);
}

#[test]
fn sort_keys_take_signs_and_words() {
    let sort =
        read(&[("X-Sort", "+a,-b,c DESC, d asc,e desc nulls LAST"), ("X-Sort-2", "f")], None).expect("readable").options.sort;
    let (up, down) = (Direction::Ascending, Direction::Descending);
    let expected = [("a", up), ("b", down), ("c", down), ("d", up), ("e", down), ("f", up)];
    assert_eq!(sort.iter().map(|key| (key.column.as_str(), key.direction)).collect::<Vec<_>>(), expected);
    assert_eq!(sort[4].nulls, Some(Nulls::Last));
}

#[test]
fn conditions_reach_the_relations_of_their_own_header_and_expand_yields() {
    let headers = [
        ("X-Expand", "Orders:id|Notes"),
        ("X-Preload", "Orders:total"),
        ("X-Preload-Where", "open"),
        ("X-Preload-2", "Tags|Tags:id"),
    ];
    let preload = read(&headers, None).expect("readable").options.preload;
    let seen: Vec<_> = preload.iter().map(|one| (one.relation.as_str(), one.columns.len(), one.condition.as_deref())).collect();
    assert_eq!(seen, [("Orders", 1, Some("open")), ("Tags", 0, None), ("Notes", 0, None)]);
    assert_eq!(preload[0].columns, ["total"]);
    let twice = [("X-Preload", "Orders:id"), ("X-Preload-2", "Orders:total")];
    assert_eq!(read(&twice, None).expect_err("two ways").code, Code::InvalidPreload);
}

proptest! {
    #[test]
    fn random_headers_and_queries_never_panic(value in ".{0,64}", query in ".{0,96}", family in 0_usize..12) {
        let names = ["x-searchop-in-a", "x-sort", "x-files", "x-preload", "x-limit", "x-select-fields", "x-custom-sql-w",
            "x-cursor-forward", "x-fieldfilter-a", "x-cql-sel-a", "x-searchor-between-b", "x-preload-where"];
        let mut map = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            map.insert(HeaderName::from_static(names[family]), value);
        }
        if let Ok(parameters) = Parameters::collect(&map, Some(&query)) {
            let _outcome = decode(&parameters);
        }
    }

    #[test]
    fn random_names_never_panic(family in 0_usize..10, name in "[a-z_=<>()%-]{0,24}", value in "[ -~]{0,48}") {
        let families = ["x-search", "x-searchop-", "x-preload", "x-custom-sql-", "x-cql-sel-", "x-sort", "sort(", "limit(", "", "x-"];
        let query = format!("{}{name}={value}", families[family]);
        if let Ok(parameters) = Parameters::collect(&HeaderMap::new(), Some(&query)) {
            let _outcome = decode(&parameters);
        }
    }
}
