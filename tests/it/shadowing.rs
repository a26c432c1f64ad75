//! A table whose columns are named like whatever the statements name themselves: no name takes another's place.

use crate::support::client::Call;
use crate::support::database::Kind;
use crate::support::server::Server;
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// Names of tables, results and items in our statements, and some that databases know by themselves.
const NAMES: [&str; 37] = [
    "r",
    "p",
    "t",
    "d",
    "j",
    "n",
    "k",
    "o",
    "u",
    "a",
    "b",
    "c",
    "s",
    "i",
    "t0",
    "t1",
    "t2",
    "t3",
    "t4",
    "t5",
    "t6",
    "t7",
    "t8",
    "t9",
    "t10",
    "t11",
    "t12",
    "item",
    "place",
    "key",
    "value",
    "row",
    "new",
    "old",
    "resolvespec_row",
    "resolvespec_place",
    "resolvespec_key_0",
];

const ROWS: i64 = 6;

/// A value that tells its column and its row; `j` and `n` fall while the keys rise.
fn value(place: usize, row: i64) -> i64 {
    let number = i64::try_from(place).expect("few columns") * 100;
    if matches!(NAMES[place], "j" | "n") { number - row } else { number + row }
}

fn row(number: i64) -> Map<String, Value> {
    let named = NAMES.iter().enumerate().map(|(place, name)| ((*name).to_owned(), json!(value(place, number))));
    let keys = [("id", json!(number)), ("parent_id", json!((number > 1).then_some(1 + number % 2)))];
    keys.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(named).collect()
}

/// The table has the name of an alias too. Of the two columns `x` and `y`, each is published under the other's name.
fn script(kind: Kind) -> String {
    let mark = if kind == Kind::Mariadb { '`' } else { '"' };
    let columns: String = NAMES.iter().fold(String::new(), |mut text, name| {
        _ = write!(text, ", {mark}{name}{mark} integer");
        text
    });
    let mut script = format!(
        "create table t2 (id integer primary key, parent_id integer references t2(id){columns});
create table t3 (t1 integer references t2(id), t2 integer references t2(id), primary key (t1, t2));
create table r (id integer primary key, x integer, y integer);
insert into r values (1, 1, 3), (2, 2, 2), (3, 3, 1);\n"
    );
    for number in 1..=ROWS {
        let row = row(number);
        let values: Vec<String> = ["id", "parent_id"].iter().chain(&NAMES).map(|name| row[*name].to_string()).collect();
        _ = writeln!(script, "insert into t2 values ({});", values.join(", "));
    }
    script + "insert into t3 values (1, 2), (1, 3), (2, 3);\n"
}

const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: t2}
spec:
  source: conformance
  apiSchema: public
  relations:
    - {name: parent, kind: belongsTo, target: t2}
    - {name: children, kind: hasMany, target: t2, targetColumns: [parent_id]}
    - {name: friends, kind: manyToMany, target: t2, through: {table: t3, columns: [t1], targetColumns: [t2]}}
  computed:
    - {name: falling, expression: j, type: integer}
    - {name: placed, expression: n, type: integer}
    - {name: sum, expression: j + n + t1 + t2, type: integer}
  operators:
    - {name: known, condition: j < 10000 and t2 > 0 and p > 0 and r > 0}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: r}
spec:
  source: conformance
  apiSchema: public
  columns:
    - {name: x, alias: y}
    - {name: y, alias: x}
  computed:
    - {name: own, expression: x, type: integer}
";

async fn read(server: &Server, path: &str, options: Value) -> Value {
    let call = Call::post(path, &json!({"operation": "read", "options": options}));
    let answer = server.client.send(&call).await.expect("an answer");
    assert_eq!(answer.status, 200, "{path} {options}: {}", answer.body);
    answer.body
}

fn ids(rows: &Value) -> Vec<i64> {
    rows.as_array().expect("a list").iter().map(|row| row["id"].as_i64().expect("an id")).collect()
}

async fn rows_are_whole(server: &Server) {
    let page = read(server, "/api/public/t2", json!({"limit": 4, "sort": [{"column": "r"}]})).await;
    let expected: Vec<Map<String, Value>> = (1..=4).map(row).collect();
    assert_eq!(page["data"], json!(expected));
    assert_eq!((&page["metadata"]["total"], &page["metadata"]["filtered"]), (&json!(ROWS), &json!(ROWS)));

    let record = read(server, "/api/public/t2/3", json!({})).await;
    assert_eq!(record["data"], json!(row(3)));
    let ranked = read(server, "/api/public/t2", json!({"fetch_row_number": "3", "sort": [{"column": "falling"}]})).await;
    assert_eq!(ranked["metadata"]["row_number"], json!(4), "{ranked}");
}

async fn order_is_by_columns(server: &Server) {
    let falling = json!([{"column": "falling"}, {"column": "placed"}]);
    let page = read(server, "/api/public/t2", json!({"sort": falling, "limit": 3})).await;
    assert_eq!(ids(&page["data"]), [6, 5, 4]);
    for sort in ["j", "falling", "placed", "n", "resolvespec_row", "resolvespec_place"] {
        let rising = sort.starts_with("resolvespec");
        let options = json!({"sort": [{"column": sort}], "limit": 2, "cursor_forward": if rising { "2" } else { "5" }});
        let next = read(server, "/api/public/t2", options).await;
        assert_eq!(ids(&next["data"]), if rising { [3, 4] } else { [4, 3] }, "{sort}");
        let options = json!({"sort": [{"column": sort}], "limit": 2, "cursor_backward": if rising { "5" } else { "2" }});
        let before = read(server, "/api/public/t2", options).await;
        assert_eq!(ids(&before["data"]), if rising { [3, 4] } else { [4, 3] }, "{sort}");
        assert_eq!(before["metadata"]["total"], json!(ROWS), "{sort}");
        assert_eq!(before["data"][0].as_object().expect("a row").len(), NAMES.len() + 2, "{sort}");
    }
    // Sorted by the table's own column, and not by the result of its name.
    let own = read(server, "/api/public/r", json!({"sort": [{"column": "own"}], "columns": ["id", "x"]})).await;
    assert_eq!(own["data"], json!([{"id": 1, "x": 3}, {"id": 2, "x": 2}, {"id": 3, "x": 1}]));
}

async fn related_rows_are_whole(server: &Server) {
    let condition = json!({"name": "known"});
    let many = |more: Value| {
        let mut preload = json!({"relation": "children", "sort": [{"column": "falling"}], "preload": [
            {"relation": "parent", "preload": [{"relation": "friends", "sort": [{"column": "placed", "direction": "desc"}], "limit": 1}]},
        ]});
        preload.as_object_mut().expect("a preload").extend(more.as_object().expect("options").clone());
        json!({"limit": 2, "customOperators": [condition], "preload": [preload, {"relation": "friends"}, {"relation": "parent"}]})
    };
    for (more, expected) in
        [(json!({}), vec![6, 4, 2]), (json!({"limit": 2, "offset": 1}), vec![4, 2]), (json!({"offset": 1}), vec![4, 2])]
    {
        let page = read(server, "/api/public/t2", many(more.clone())).await;
        let first = &page["data"][0];
        assert_eq!(ids(&first["children"]), expected, "{more}: {first}");
        assert_eq!(ids(&first["friends"]), [2, 3], "{more}");
        assert_eq!(page["data"][1]["parent"], json!(row(1)), "{more}");
        let child = &first["children"][0];
        assert_eq!(child["t2"], row(expected[0])["t2"], "{more}");
        let mut friend = row(2);
        friend.retain(|name, _| name != "id");
        for (name, value) in friend {
            assert_eq!(child["parent"]["friends"][0][&name], value, "{more}: {name}");
        }
    }
}

async fn writes_answer_the_row(server: &Server) {
    let mut data = row(7);
    data["parent_id"] = json!(null);
    let call = Call::post("/api/public/t2", &json!({"operation": "create", "data": data})).header("Idempotency-Key", "seven");
    let created = server.client.send(&call).await.expect("an answer");
    assert_eq!((created.status.as_u16(), &created.body["data"]), (200, &json!(data)));
    let changes = json!({"t1": 1, "r": 2, "j": 3, "n": null});
    let call = Call::post("/api/public/t2/7", &json!({"operation": "update", "data": changes}));
    let updated = server.client.send(&call).await.expect("an answer");
    data.extend(changes.as_object().expect("changes").clone());
    assert_eq!((updated.status.as_u16(), &updated.body["data"]), (200, &json!(data)));
    let call = Call::post("/api/public/t2/7", &json!({"operation": "delete"}));
    let deleted = server.client.send(&call).await.expect("an answer");
    assert_eq!(deleted.status, 200, "{}", deleted.body);
}

async fn no_name_takes_anothers_place(kind: Kind) {
    let server = Server::start(kind, &script(kind), ENTITIES).await;
    rows_are_whole(&server).await;
    order_is_by_columns(&server).await;
    related_rows_are_whole(&server).await;
    writes_answer_the_row(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_can_be_named_like_anything_in_our_statements_on_postgres() {
    no_name_takes_anothers_place(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_can_be_named_like_anything_in_our_statements_on_mariadb() {
    no_name_takes_anothers_place(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_can_be_named_like_anything_in_our_statements_on_sqlite() {
    no_name_takes_anothers_place(Kind::Sqlite).await;
}
