//! What `X-Files` means, and what of it is refused.

use super::tests::{leaves, read};
use crate::protocol::{Code, Error, KeyInput, Options};
use serde_json::{Value, json};

fn files(object: &Value) -> Result<Options, Error> {
    read(&[("X-Files", &object.to_string())], None).map(|request| *request.options)
}

#[test]
fn the_example_of_the_protocol_is_read() {
    let options = files(&json!({"tablename": "employees", "columns": ["id", "name"], "limit": "20", "sort": ["-id"],
        "filter_fields": [{"field": "status", "operator": "eq", "value": "active"}],
        "parenttables": [{"tablename": "departments", "prefix": "Department", "columns": ["id", "title"]}],
        "childtables": [{"tablename": "tasks", "prefix": "Tasks", "relatedkey": "employee_id", "limit": 5,
            "childtables": [{"tablename": "notes", "recursive": true, "sql_and": ["open"], "cql_columns": ["size"]}]}]}))
    .expect("readable");
    assert_eq!((options.columns.len(), options.limit, options.sort.len()), (2, Some(20), 1));
    assert_eq!(leaves(&options.filters), ["status eq \"active\""]);
    let [department, tasks] = options.preload.as_slice() else { panic!("two relations") };
    assert_eq!((department.relation.as_str(), department.table_name.as_deref()), ("Department", Some("departments")));
    assert_eq!((tasks.limit, tasks.related_key.as_deref()), (Some(5), Some("employee_id")));
    let notes = &tasks.preload[0];
    assert_eq!((notes.relation.as_str(), notes.table_name.as_deref()), ("notes", None));
    assert_eq!((notes.recursive, notes.condition.as_deref()), (true, Some("open")));
    assert_eq!(notes.computed_ql[0].name, "size");
}

#[test]
fn it_joins_the_plain_parameters_and_takes_null_as_nothing() {
    let object = json!({"columns": null, "prefix": null, "limit": null, "skipcount": true, "childtables": null,
        "omit_columns": ["a"], "sql_and": ["late"], "cursor_forward": "7", "recursive": null});
    let headers =
        [("X-Files", object.to_string()), ("X-Not-Select-Fields", "b".to_owned()), ("X-Custom-SQL-W", "far".to_owned())];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let options = read(&headers, None).expect("readable").options;
    assert_eq!(options.omit_columns, ["a", "b"]);
    assert_eq!(options.custom_operators.len(), 2);
    assert_eq!(options.cursor_forward, Some(KeyInput::Text("7".to_owned())));
    assert!(options.skip_count);
}

#[test]
fn a_relation_is_asked_for_in_one_way() {
    let object = json!({"childtables": [{"tablename": "Tasks", "columns": ["id"]}]}).to_string();
    let both = |preload| read(&[("X-Files", &object), ("X-Preload", preload)], None).map(|request| request.options.preload.len());
    assert_eq!(both("Tasks").expect("says nothing more"), 1);
    assert_eq!(both("Tasks:title").expect_err("says something else").code, Code::InvalidPreload);
}

#[test]
fn what_carries_sql_or_can_not_be_read_is_refused() {
    let nested = |node: Value| json!({"childtables": [node]});
    for (object, code) in [
        (json!({"sql_or": ["a"]}), Code::RawSqlRefused),
        (json!({"sql_joins": ["join a on true"]}), Code::RawSqlRefused),
        (json!({"sql_and": ["a = 1"]}), Code::RawSqlRefused),
        (json!({"cql_columns": ["1 + 1"]}), Code::RawSqlRefused),
        (json!({"limit": "many"}), Code::InvalidOption),
        (json!({"limit": -1}), Code::InvalidOption),
        (json!({"unheard_of": 1}), Code::InvalidOption),
        (json!([]), Code::InvalidOption),
        (json!({"filter_fields": [{"field": "a", "operator": "near", "value": "1"}]}), Code::InvalidOperator),
        (nested(json!({"columns": ["a"]})), Code::InvalidPreload),
        (nested(json!({"tablename": "a", "sql_joins": ["x"]})), Code::RawSqlRefused),
        (nested(json!({"tablename": "a", "sql_and": ["b", "c"]})), Code::InvalidPreload),
        (nested(json!({"tablename": "a", "cursor_forward": "1"})), Code::InvalidPreload),
    ] {
        assert_eq!(files(&object).expect_err("refused").code, code, "{object}");
    }
    assert_eq!(read(&[("X-Files", "{} {}")], None).expect_err("two texts").code, Code::InvalidOption);
    let deep = "{\"childtables\":[".repeat(4000);
    assert_eq!(read(&[("X-Files", &deep)], None).expect_err("too deep").code, Code::InvalidOption);
}
