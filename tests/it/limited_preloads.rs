//! Limited preloads with preloads below them on MariaDB, where the keys of the rows that stay are found first.
//!
//! Whatever a key is made of, a limit must answer what the whole list has at those places.

use crate::support::client::Call;
use crate::support::database::Kind;
use crate::support::server::Server;
use serde_json::{Value, json};
use std::fmt::Write;

/// Key columns, and the key of the row with a number.
const KEYS: [(&str, &str, &str, &str); 8] = [
    ("numbers", "k bigint", "k", "cast({n} as signed) - 9223372036854775807"),
    ("large", "k bigint unsigned", "k", "18446744073709551615 - {n}"),
    ("texts", "k varchar(100) character set latin1 collate latin1_swedish_ci", "k", "concat('é\"\\\\,', {n})"),
    ("bytes", "k varbinary(20)", "k", "concat(x'00ff22', char({n}))"),
    ("moments", "k datetime(6)", "k", "timestamp('2026-01-01') + interval {n} microsecond"),
    ("decimals", "k decimal(30,10)", "k", "{n} / 1000000000"),
    ("floats", "k float", "k", "1.0 + {n} / 8388608"),
    ("several", "k varchar(20), l int unsigned, m date", "k, l, m", "{n} % 2, {n} % 3, date '2026-01-01' + interval {n} day"),
];

const ROWS: usize = 30;

fn script() -> String {
    let mut script = "create table parents (id int primary key);\ninsert into parents values (1), (2), (3);\n".to_owned();
    for (name, columns, key, value) in KEYS {
        _ = writeln!(
            script,
            "create table {name} ({columns}, parent_id int not null references parents(id), n int not null, rank_ int, \
             primary key ({key}), key (parent_id));"
        );
        for n in 1..=ROWS {
            let value = value.replace("{n}", &n.to_string());
            let rank = if n % 3 == 0 { "null".to_owned() } else { (n % 5).to_string() };
            // The third parent has no rows.
            _ = writeln!(script, "insert into {name} values ({value}, {}, {n}, {rank});", 1 + n % 2);
        }
    }
    script
}

fn entities() -> String {
    let relations = KEYS.map(|(name, ..)| format!("{{name: {name}, kind: hasMany, target: {name}}}")).join(", ");
    let mut entities = format!(
        "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {{name: parents}}
spec: {{source: conformance, apiSchema: public, relations: [{relations}]}}
"
    );
    for (name, ..) in KEYS {
        _ = write!(
            entities,
            "---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {{name: {name}}}
spec:
  source: conformance
  apiSchema: public
  relations: [{{name: parent, kind: belongsTo, target: parents}}]
  computed: [{{name: twice, expression: n * 2, type: integer}}]
"
        );
    }
    entities
}

/// Each parent's related rows.
async fn related(server: &Server, relation: &str, more: Value) -> Vec<Value> {
    let mut preload = json!({
        "relation": relation, "columns": ["n", "twice"],
        "sort": [{"column": "rank_", "direction": "desc"}, {"column": "twice"}],
        "filters": [{"column": "n", "operator": "neq", "value": 7}],
        // A limited list within the limited list, each of its rows with a row of its own.
        "preload": [{"relation": "parent", "preload": [
            {"relation": relation, "columns": ["n"], "limit": 2, "sort": [{"column": "n", "direction": "desc"}],
             "preload": [{"relation": "parent"}]}]}]
    });
    let more = more.as_object().expect("options").clone();
    preload.as_object_mut().expect("a preload").extend(more);
    let options = json!({"sort": [{"column": "id"}], "preload": [preload]});
    let call = Call::post("/api/public/parents", &json!({"operation": "read", "options": options}));
    let answer = server.client.send(&call).await.expect("an answer");
    assert_eq!(answer.status, 200, "{relation}: {}", answer.body);
    answer.body["data"].as_array().expect("a list").iter().map(|parent| parent[relation].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_answers_what_the_whole_list_has_at_those_places() {
    let server = Server::start(Kind::Mariadb, &script(), &entities()).await;
    for (relation, ..) in KEYS {
        let whole = related(&server, relation, json!({})).await;
        let lengths: Vec<usize> = whole.iter().map(|rows| rows.as_array().expect("a list").len()).collect();
        assert_eq!(lengths, [ROWS / 2, ROWS / 2 - 1, 0], "{relation}: the filter leaves out one row of the second parent");
        let last = &whole[0][0]["parent"][relation];
        assert_eq!(*last, json!([{"n": 30, "parent": {"id": 1}}, {"n": 28, "parent": {"id": 1}}]), "{relation}");
        for (limit, offset) in [(1, 0), (3, 0), (4, 2), (100, 13), (5, 100)] {
            let cut = related(&server, relation, json!({"limit": limit, "offset": offset})).await;
            for (rows, cut) in whole.iter().zip(&cut) {
                let rows = rows.as_array().expect("a list");
                let expected: Vec<&Value> = rows.iter().skip(offset).take(limit).collect();
                let cut: Vec<&Value> = cut.as_array().expect("a list").iter().collect();
                assert_eq!(cut, expected, "{relation}: limit {limit}, offset {offset}");
            }
        }
        let rest = related(&server, relation, json!({"offset": 12})).await;
        assert_eq!(rest[0].as_array().map(Vec::len), Some(ROWS / 2 - 12), "{relation}: an offset without a limit");
    }
    server.stop().await;
}
