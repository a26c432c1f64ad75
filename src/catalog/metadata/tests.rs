//! What metadata shows and what it keeps to itself.

use super::describe;
use crate::catalog::test_shop::{catalog, entity};
use serde_json::json;

#[test]
fn metadata_has_the_protocols_names_and_hides_what_is_hidden() {
    let catalog = catalog(&[
        entity(
            "customers",
            "
  columns:
    - {name: secret, hidden: true}
    - {name: password, writeOnly: true}
    - {name: mood, type: enum, values: [sad, glad]}
  computed: [{name: shout, expression: 'upper(name)'}]
  operators: [{name: older, condition: 'age > {years}', parameters: [{name: years, type: integer}]}]
  operations: {read: {}, create: {roles: [clerk]}}
  defaultSort: [{column: name, direction: desc, nulls: last}]
  relations: [{name: orders, kind: hasMany, target: orders, targetColumns: [customer_id]}]
",
        ),
        entity("orders", ""),
    ]);
    let metadata = describe(&catalog, &catalog.entities()[0]);
    assert_eq!((&metadata["schema"], &metadata["table"]), (&json!("main"), &json!("customers")));
    let columns = metadata["columns"].as_array().expect("a list");
    let names: Vec<&str> = columns.iter().filter_map(|column| column["name"].as_str()).collect();
    assert_eq!(names, ["id", "name", "age", "mood", "password", "mentor_id"]);
    assert_eq!(
        columns[0],
        json!({"name": "id", "type": "integer", "sql_type": "integer", "is_nullable": false, "is_primary": true, "is_unique": true,
               "has_index": true, "has_default": true, "auto_increment": true, "read_only": false, "write_only": false})
    );
    assert_eq!(columns[3]["values"], json!(["sad", "glad"]));
    assert_eq!(columns[4]["write_only"], json!(true));
    assert_eq!(metadata["primary_key"], json!(["id"]));
    assert_eq!(metadata["relations"], json!(["orders"]));
    assert_eq!(
        metadata["relation_details"],
        json!({"orders": {"kind": "hasMany", "schema": "main", "target": "orders", "columns": ["id"],
               "target_columns": ["customer_id"]}})
    );
    assert_eq!(metadata["operations"], json!(["read", "create"]));
    assert_eq!(metadata["computed"], json!([{"name": "shout", "type": "text"}]));
    assert_eq!(metadata["operators"], json!([{"name": "older", "parameters": [{"name": "years", "type": "integer"}]}]));
    assert_eq!(metadata["default_sort"], json!([{"column": "name", "direction": "desc", "nulls": "last"}]));
    assert_eq!(metadata["limits"]["max_rows"], json!(100_000));
    let text = metadata.to_string();
    assert!(!text.contains("secret") && !text.contains("upper") && !text.contains("clerk"), "{text}");
}
