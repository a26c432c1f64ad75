//! An image is the row as a read answers it, for values of every type.

use super::{Captured, On, WAL, image};
use crate::conformance::{ENTITIES, compare, script};
use crate::support::database::Kind;
use resolvespec::auth::Principal;
use resolvespec::protocol::{ChangeOperation, Operation, Options, Request, Response, Target};
use serde_json::{Value, json};

/// The entities of the conformance schema that are tables, their rows, and a change of all of them that changes nothing.
const TABLES: [(&str, usize, &str); 10] = [
    ("departments", 4, "update departments set code = code"),
    ("employees", 8, "update employees set name = name"),
    ("projects", 3, "update projects set name = name"),
    ("memberships", 6, "update employee_projects set duty = duty"),
    ("tasks", 5, "update tasks set title = title"),
    ("profiles", 2, "update profiles set bio = bio"),
    ("countries", 6, "update countries set name = name"),
    ("documents", 4, "update documents set title = title"),
    ("shifts", 3, "update shifts set ratio = ratio"),
    ("signs", 5, "update signs set phase = phase"),
];

/// Rows of an entity as the engine answers them.
async fn read(captured: &Captured, schema: Option<&str>, entity: &str) -> Vec<Value> {
    let target = Target { schema: schema.map(ToOwned::to_owned), entity: entity.to_owned() };
    let mut request = Request::new(Operation::Read, target);
    *request.options = Options { skip_count: true, limit: Some(5), ..Options::default() };
    let answer = captured.engine.handle(&Principal::anonymous(), &request).await;
    let Response::Page(page) = answer.unwrap_or_else(|error| panic!("{entity} can't be read: {error:?}")) else {
        panic!("a read of {entity} answers no page")
    };
    let text = format!("[{}]", String::from_utf8_lossy(&page.rows.joined));
    serde_json::from_str(&text).expect("rows are JSON")
}

/// What a client may read of an image must be what a read answers.
fn assert_same(entity: &str, read: &Value, image: &Value) {
    let read = read.as_object().expect("a row is an object");
    let visible = read.keys().map(|column| (column.clone(), image.get(column).cloned().unwrap_or(json!("absent")))).collect();
    let mut problems = Vec::new();
    compare::find(entity, &Value::Object(read.clone()), &Value::Object(visible), &mut problems);
    assert!(problems.is_empty(), "{problems:#?}");
}

async fn conformance_images(on: impl Into<On>) {
    let on = on.into();
    let kind = on.kind;
    let captured = Captured::install(on, script(kind), ENTITIES).await;
    let relay = captured.start();
    let mut expected = 0;
    for (entity, rows, sql) in TABLES {
        let read = read(&captured, Some("public"), entity).await;
        captured.run(sql).await;
        expected += rows;
        let told = relay.told(expected).await;
        let of_entity: Vec<_> = told.iter().filter(|change| change.entity == entity).collect();
        assert_eq!(of_entity.len(), rows, "{entity}");
        for row in &read {
            let same_key = |change: &&&std::sync::Arc<resolvespec::protocol::Change>| {
                change.key.iter().all(|(name, value)| &row[name] == value)
            };
            let change = of_entity.iter().find(same_key).unwrap_or_else(|| panic!("no change of {entity} has the key of {row}"));
            assert_eq!(change.operation, ChangeOperation::Update);
            assert_eq!(change.changed, [""; 0], "{entity}");
            assert_eq!(image(change.before.as_deref()), image(change.after.as_deref()));
            assert_same(entity, row, &image(change.after.as_deref()));
            if entity == "employees" {
                let after = image(change.after.as_deref());
                assert_eq!((&after["secret"], &after["pin"]), (&json!("hidden"), &json!("pincode")));
            }
        }
    }
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_the_conformance_schema_are_what_reads_answer_on_postgres() {
    conformance_images(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_the_conformance_schema_are_what_reads_answer_on_mariadb() {
    conformance_images(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_the_conformance_schema_are_what_reads_answer_on_sqlite() {
    conformance_images(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_the_conformance_schema_are_what_reads_answer_by_the_log() {
    conformance_images(WAL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_told_as_they_are_read_on_postgres() {
    for on in [Kind::Postgres.into(), WAL] {
        let captured = Captured::install(on, script(Kind::Postgres), ENTITIES).await;
        let relay = captured.start();
        let read = read(&captured, Some("public"), "lists").await;
        captured.run("update lists set words = words").await;
        let told = relay.told(read.len()).await;
        assert!(!read.is_empty());
        for row in &read {
            let change = told.iter().find(|change| change.key["id"] == row["id"]).expect("a change of every row");
            assert_same("lists", row, &image(change.after.as_deref()));
        }
        relay.stop().await;
        captured.remove().await;
    }
}

/// A table of types that the conformance schema does not have, filled by a session whose own formats are unusual.
async fn unusual_images(on: impl Into<On>, script: &str, columns: &str, writes: &str) {
    let on = on.into();
    let entities = format!(
        "apiVersion: resolvespec.dev/v1alpha1\nkind: Entity\nmetadata: {{name: things}}\n\
         spec: {{source: conformance, columns: [{columns}]}}\n"
    );
    let captured = Captured::install(on, script, &entities).await;
    let relay = captured.start();
    captured.run(writes).await;
    let read = read(&captured, None, "things").await;
    let told = relay.told(read.len()).await;
    assert!(!read.is_empty());
    for (row, change) in read.iter().zip(&told) {
        assert_eq!(change.operation, ChangeOperation::Create);
        assert_same("things", row, &image(change.after.as_deref()));
    }
    captured.run("delete from things").await;
    let told = relay.told(2 * read.len()).await;
    for (row, change) in read.iter().zip(&told[read.len()..]) {
        assert_eq!(change.operation, ChangeOperation::Delete);
        assert_same("things", row, &image(change.before.as_deref()));
        assert!(change.after.is_none());
    }
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unusual_types_are_told_as_they_are_read_on_postgres() {
    unusual_on_postgres(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unusual_types_are_told_as_they_are_read_by_the_log() {
    unusual_on_postgres(WAL).await;
}

async fn unusual_on_postgres(on: impl Into<On>) {
    let script = "
        create type mood as enum ('fine', 'it''s \"so\"');
        create domain amount as numeric(12, 3);
        create table things (
          id integer primary key, noted timestamp, zoned timestamptz, at time, span interval, address inet, moods mood[],
          stamps timestamp[], amount amount, ratio double precision, half real, huge numeric, packed bytea, written text,
          flag integer, period tsrange, bits bit varying, fixed char(5), raw json, host inet default '10.0.0.9'
        );";
    let writes = r#"
        set timezone = 'America/St_Johns'; set bytea_output = 'escape'; set extra_float_digits = -5; set datestyle = 'SQL, DMY';
        set intervalstyle = 'iso_8601';
        insert into things values
          (1, '2024-03-10 02:30:00.25', '2024-11-03 01:30:00-02:30', '23:59:59.999999', '1 mon 2 days 03:04:05', '10.0.0.1/8',
           '{fine,"it''s \"so\""}', '{"2024-01-01 00:00:00",NULL}', 1234.5, 0.1, 0.1, 1e30, '\x00ff5c27', '{"a": [1, 2.50]}', 1,
           '[2024-01-01 00:00:00,2024-01-02 00:00:00)', '10101', 'ab', '{"b" : 1,  "a":2}'),
          (2, 'infinity', '-infinity', '00:00', '-3 days', '::1', '{}', null, -0.001, 'NaN', '-Infinity', 'NaN', '', '[]', 0,
           'empty', '', '', 'null'),
          (3, '0044-03-15 12:00:00 BC', '0044-03-15 12:00:00+00 BC', null, null, null, null, null, null, 1e300, 1e-30, null, null,
           null, null, null, null, null, null);"#;
    let columns = "{name: written, type: json}, {name: flag, type: boolean}, {name: host, type: text}";
    unusual_images(on, script, columns, writes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unusual_types_are_told_as_they_are_read_on_mariadb() {
    let script = "
        create table things (
          id int primary key, stamped timestamp(6) null, second timestamp null, noted datetime(3), day date, at time(2), y year,
          big bigint unsigned, flag tinyint(1), one bit(1), many bit(12), fixed binary(4), colors set('red', 'green'),
          ratio double, half float, digits decimal(65, 30), old varchar(50) character set latin1, document json, uid uuid, ip inet6,
          when_text varchar(50), doubled int generated always as (id * 2) stored
        );";
    let writes = r#"
        set time_zone = '+05:30'; set sql_mode = 'NO_BACKSLASH_ESCAPES';
        insert into things (id, stamped, second, noted, day, at, y, big, flag, one, many, fixed, colors, ratio, half, digits, old,
            document, uid, ip, when_text) values
          (1, '2024-03-10 02:30:00.250000', '1970-01-01 05:30:01', '2024-03-10 02:30:00.5', '2024-02-29', '-12:34:56.7', 2024,
           18446744073709551615, true, b'1', b'101010101010', 'ab', 'red,green', 0.1, 0.1,
           12345678901234567890.123456789012345678901234567890, 'Zoë ''\ "', '{"b" : 1, "a": [true]}',
           '00000000-0000-4000-8000-000000000001', '::1', '2024-01-01 10:00:00'),
          (2, null, null, null, null, null, null, 0, 0, b'0', b'0', '', '', -1e300, -1.5, 0, '', '"text"', null, null, null);
        set time_zone = '+00:00';"#;
    unusual_images(Kind::Mariadb, script, "{name: when_text, type: timestamp}", writes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_any_class_are_told_as_they_are_read_on_sqlite() {
    let script = "
        create table things (
          id integer primary key, flag boolean, moment timestamp, day date, packed blob, document json, ratio real,
          price decimal(10, 2), anything, words text, doubled integer generated always as (id * 2) stored
        );";
    let writes = r#"
        insert into things (id, flag, moment, day, packed, document, ratio, price, anything, words) values
          (1, 'yes', '2024-03-10T02:30:00.25+02:00', '2024-02-29', x'00ff', '{"b" : 1, "a":[true]}', 0.1 + 0.2, 12.10, 'text', '"q" \'),
          (2, '1', 1710030600, null, 'as text', 'no json', 1e21, 0.1 + 0.7, 5, char(1) || char(9) || 'é'),
          (3, 0.0, 2460379.5, 5, 7, 12, 1e-7, 99999999999999.25, 2.5, ''),
          (4, 2, 'never "ever"', 'x', 1.5, 1.5, -0.0, -1e16, null, 123),
          (5, null, null, null, null, null, 5, 5, -9223372036854775808, null);"#;
    unusual_images(Kind::Sqlite, script, "", writes).await;
}
