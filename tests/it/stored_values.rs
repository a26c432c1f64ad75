//! Values that PostgreSQL hands out as it stores them are the JSON that it would have made of them itself.

use crate::support::client::Call;
use crate::support::database::Kind;
use crate::support::process::Finish;
use crate::support::server::Server;
use resolvespec::database::{Database, Settings, Statement};
use serde_json::json;
use serde_json::value::RawValue;
use std::process::Command;

const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: things}
spec:
  source: conformance
  apiSchema: public
  limits: {maxRows: 5000}
  computed:
    - {name: currency, expression: '''EUR''', type: text}
    - {name: nothing, expression: 'null', type: text}
    - {name: twice, expression: big / 2 * 2, type: integer}
";

/// Each type that comes in its binary form, at its ends, in a domain and in between; and types near them that don't.
const SCHEMA: &str = r#"
create domain counted as bigint check (value < 9000000000000000000);
create domain worded as varchar(40);
create table things (id integer primary key, small smallint, middle integer, big bigint, counted counted, words text,
  short varchar(80), padded char(6), worded worded, yes boolean, place uuid, at timestamptz, "when" timestamp,
  to_ms timestamptz(3), money numeric(30,10), free numeric, plain json, packed jsonb, days date, clock time, far double precision,
  near real, raw bytea, list integer[], times timestamp[], words_list text[], span interval);
insert into things values
  (1, -32768, -2147483648, -9223372036854775808, -1, '', '', '', '', false, '00000000-0000-0000-0000-000000000000', '-infinity',
   '-infinity', '-infinity', -99999999999999999999.9999999999, 'NaN', 'null', 'null', '-infinity', '00:00', 'NaN', '-Infinity', '',
   '{}', '{}', '{}', '0'),
  (2, 32767, 2147483647, 9223372036854775807, 8999999999999999999, E'\x01\b\f\n\r\t\x1f"\\/ \x7f é 漢 😀', 'a"b', 'ab', 'w', true,
   'ffffffff-ffff-ffff-ffff-ffffffffffff', 'infinity', 'infinity', 'infinity', 99999999999999999999.9999999999, 'Infinity',
   '{"b" : 1,  "a":[1.50, "\u00e9"]}', '{"b" : 1,  "a":[1.50, "\u00e9"]}', 'infinity', '24:00', 'Infinity', 1e-30, '\x00ff',
   '{1,null,3}', '{"2024-02-29 12:00","infinity"}', '{"a\"b",null,""}', '1 year 2 days 03:04:05.6'),
  (3, 0, 0, 0, null, E'\u2028\u2029', null, null, null, null, null, '4713-11-24 00:00:00+00 BC', '4713-11-24 00:00:00 BC',
   '0001-12-31 23:59:59.999+00 BC', 0, '-Infinity', '[]', '[]', '4713-01-01 BC', '12:00:00.5', -0.0, 'NaN', null, null, null, null, null),
  (4, null, null, null, null, null, null, null, null, null, null, '294276-12-31 23:59:59.999999+00', '294276-12-31 23:59:59.999999',
   '10000-01-01 00:00:00+00', 1e-10, 1e-300, '"x"', '"x"', '5874897-12-31', '23:59:59.999999', 1e308, 1e38, null, null, null, null, null),
  (5, null, null, null, null, null, null, null, null, null, null, '0001-01-01 00:00:00+00', '9999-12-31 23:59:59.9',
   '0001-01-01 00:00:00.5+00 BC', null, 1e40, null, null, null, null, 0.1, 0.1, null, null, null, null, null);
insert into things (id, at, "when", to_ms, big, money, words)
  select n, at, at at time zone 'UTC', at, (random() * 1e18)::bigint, (random() * 1e6)::numeric(30,10), chr(n % 55000 + 1)
  from (select n, to_timestamp(random() * 1e11 - 5e10) + n * interval '1 microsecond' as at from generate_series(6, 3000) n) t;
"#;

/// What the API has always answered: the database's own JSON, with times at UTC, and bytes and spans as texts.
const EXPECTED: &str = r#"
select row_to_json(t) from (select id, small, middle, big, counted, words, short, padded, worded, yes, place, at,
  "when" at time zone 'UTC' as "when", to_ms, money, free, plain, packed, days, clock, far, near,
  translate(encode(raw, 'base64'), E'\n', '') as raw, list, times::timestamptz[] as times, words_list, span::text as span
  from things order by id) t
"#;

#[tokio::test(flavor = "multi_thread")]
async fn are_the_json_that_postgres_makes_of_them() {
    let server = Server::start(Kind::Postgres, SCHEMA, ENTITIES).await;
    let mut settings = Settings::new("direct", server.url());
    settings.max_connections = 1;
    let direct = Database::connect(&settings).await.expect("the database answers");
    let expected = direct.fetch_texts(Statement::new(EXPECTED)).await.expect("rows");
    let url = format!("http://{}/rest/public/things?x-limit=5000&x-sort=id&x-simpleapi=true", server.client.address());
    // Not by a client that reads the JSON: the very text counts.
    let output = Command::new("curl").args(["-s", &url]).finished();
    let told: Vec<Box<RawValue>> = serde_json::from_slice(&output.stdout).expect("a list of rows");
    assert_eq!((told.len(), expected.len()), (3000, 3000));
    for (told, expected) in told.iter().zip(&expected) {
        assert_eq!(told.get(), expected);
    }
    direct.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn computed_columns_have_the_type_that_the_database_finds() {
    let server = Server::start(Kind::Postgres, SCHEMA, ENTITIES).await;
    let options =
        json!({"columns": ["id"], "computedColumns": [{"name": "currency"}, {"name": "nothing"}, {"name": "twice"}], "limit": 2});
    for body in [json!({"operation": "read", "options": options}), json!({"operation": "read", "id": 3, "options": options})] {
        let answer = server.client.send(&Call::post("/api/public/things", &body)).await.expect("an answer");
        let row = if body["id"].is_null() { &answer.body["data"][1] } else { &answer.body["data"] };
        assert_eq!((row["currency"].as_str(), row["nothing"].is_null()), (Some("EUR"), true), "{}", answer.body);
        assert!(row["twice"].is_i64(), "{row}");
    }
    server.stop().await;
}
