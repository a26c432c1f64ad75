//! What databases refuse by rules of their own, and types that they can't compare: a clear code, never a 5xx but where the
//! trouble is the server's own.

use crate::support::client::{Answer, Call};
use crate::support::database::{Fresh, Kind};
use crate::support::own::Own;
use crate::support::server::Server;
use resolvespec::database::{Database, Settings};
use serde_json::{Value, json};

const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: notes}
spec: {source: conformance, apiSchema: public}
";

const NOTES: &str = "create table notes (id integer primary key, body text not null);";

async fn ask(server: &Server, request: Value) -> Answer {
    server.client.send(&Call::post("/api/public/notes", &request)).await.expect("an answer")
}

async fn a_trigger_refuses(kind: Kind, trigger: &str) {
    let server = Server::start(kind, &format!("{NOTES}\n{trigger}"), ENTITIES).await;
    let create = |id: u32, body: &str| json!({"operation": "create", "data": {"id": id, "body": body}});
    let refused = ask(&server, create(1, "bad")).await;
    assert_eq!((refused.status.as_u16(), &refused.body["error"]["code"]), (400, &json!("check_violation")), "{}", refused.body);
    assert!(!refused.body.to_string().contains("internal rule"), "the trigger's text stays inside: {}", refused.body);
    let taken = ask(&server, create(1, "good")).await;
    assert_eq!(taken.status, 200, "{}", taken.body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_refuses_a_row_is_a_check_violation_on_postgres() {
    let trigger = "create function refuse() returns trigger language plpgsql as $$ \
         begin if new.body = 'bad' then raise exception 'internal rule'; end if; return new; end $$; \
         create trigger refuses before insert on notes for each row execute function refuse();";
    a_trigger_refuses(Kind::Postgres, trigger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_refuses_a_row_is_a_check_violation_on_mariadb() {
    let trigger = "create trigger refuses before insert on notes for each row \
         if new.body = 'bad' then signal sqlstate '45000' set message_text = 'internal rule'; end if;";
    a_trigger_refuses(Kind::Mariadb, trigger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_refuses_a_row_is_a_check_violation_on_sqlite() {
    let trigger = "create trigger refuses before insert on notes when new.body = 'bad' \
         begin select raise(abort, 'internal rule'); end;";
    a_trigger_refuses(Kind::Sqlite, trigger).await;
}

/// As when its disk is full, or somebody has removed its temporary files.
#[tokio::test(flavor = "multi_thread")]
async fn trouble_of_the_server_itself_is_no_error_of_ours_on_mariadb() {
    let trigger = "create trigger breaks before insert on notes for each row \
         if new.body = 'bad' then signal sqlstate 'HY000' set mysql_errno = 6, message_text = 'Error on delete'; end if;";
    let server = Server::start(Kind::Mariadb, &format!("{NOTES}\n{trigger}"), ENTITIES).await;
    let answer = ask(&server, json!({"operation": "create", "data": {"id": 1, "body": "bad"}})).await;
    assert_eq!((answer.status.as_u16(), &answer.body["error"]["code"]), (503, &json!("unavailable")), "{}", answer.body);
    assert!(!answer.header("retry-after").is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unnamed_check_keeps_its_sql_to_itself_on_sqlite() {
    let schema = "create table notes (id integer primary key, body text not null check (length(body) < 4));";
    let server = Server::start(Kind::Sqlite, schema, ENTITIES).await;
    let refused = ask(&server, json!({"operation": "create", "data": {"id": 1, "body": "long"}})).await;
    let error = &refused.body["error"];
    assert_eq!(
        (refused.status.as_u16(), &error["code"], &error["detail"]),
        (400, &json!("check_violation"), &json!("body")),
        "{error}"
    );
    assert!(!error.to_string().contains("length"), "{error}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_too_long_for_an_index_is_an_invalid_value_on_postgres() {
    let server = Server::start(Kind::Postgres, &format!("{NOTES} create unique index on notes (body);"), ENTITIES).await;
    // Numbers without a pattern, since what repeats would be compressed until it fits.
    let body: String = (0..4000_u64).map(|n| (n * 2_654_435_761 % 4_294_967_296).to_string()).collect();
    let refused = ask(&server, json!({"operation": "create", "data": {"id": 1, "body": body}})).await;
    assert_eq!((refused.status.as_u16(), &refused.body["error"]["code"]), (400, &json!("invalid_value")), "{}", refused.body);
    server.stop().await;
}

/// Columns that can be neither compared nor sorted are read, tested for NULL and searched as text.
async fn opaque_columns(kind: Kind, schema: &str, columns: &[(&str, &str)]) {
    let server = Server::start(kind, schema, ENTITIES).await;
    let read = |options: Value| json!({"operation": "read", "options": options});
    for (column, text) in columns {
        let filter =
            |operator: &str, value: &str| read(json!({"filters": [{"column": column, "operator": operator, "value": value}]}));
        let found = ask(&server, filter("contains", &text[1..])).await;
        assert_eq!((found.status.as_u16(), &found.body["data"][0][column]), (200, &json!(text)), "{}", found.body);
        let found = ask(&server, filter("is_not_null", "")).await;
        assert_eq!((found.status.as_u16(), &found.body["metadata"]["count"]), (200, &json!(1)), "{}", found.body);
        for operator in ["eq", "neq", "gt", "in", "between"] {
            let refused = ask(&server, filter(operator, "x,y")).await;
            assert_eq!(
                (refused.status.as_u16(), &refused.body["error"]["code"]),
                (400, &json!("invalid_operator")),
                "{}",
                refused.body
            );
        }
        let refused = ask(&server, read(json!({"sort": [{"column": column}]}))).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.body["error"]["code"]),
            (400, &json!("invalid_column")),
            "{}",
            refused.body
        );
        let refused = ask(&server, json!({"operation": "update", "id": 1, "data": {*column: "no such value <"}})).await;
        assert_eq!((refused.status.as_u16(), &refused.body["error"]["code"]), (400, &json!("invalid_value")), "{}", refused.body);
    }
    let every = ask(&server, read(json!({"filters": [{"column": "all", "operator": "eq", "value": "1"}]}))).await;
    assert_eq!((every.status.as_u16(), &every.body["metadata"]["count"]), (200, &json!(1)), "{}", every.body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_without_comparison_are_read_and_not_compared_on_postgres() {
    let schema = "create table notes (id integer primary key, place point, area box, page xml); \
         insert into notes values (1, '(1,2)', '(3,4),(1,2)', '<a>x</a>'), (2, null, null, null);";
    let columns = [("place", "(1,2)"), ("area", "(3,4),(1,2)"), ("page", "<a>x</a>")];
    opaque_columns(Kind::Postgres, schema, &columns).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_without_comparison_are_read_and_not_compared_on_mariadb() {
    let schema = "create table notes (id integer primary key, place point, area geometry); \
         insert into notes values (1, point(1, 2), st_geomfromtext('LINESTRING(1 2,3 4)')), (2, null, null);";
    opaque_columns(Kind::Mariadb, schema, &[("place", "POINT(1 2)"), ("area", "LINESTRING(1 2,3 4)")]).await;
}

/// What the catalog does not know, the database tells.
#[tokio::test(flavor = "multi_thread")]
async fn comparisons_that_a_type_does_not_have_are_refused_on_postgres() {
    let schema = "create collation caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        create domain pages as json[];
        create table notes (id integer primary key, sheets json[], spots point[], bound pages, tx xid, body text collate caseless);
        insert into notes values (1, array['{}'::json], array['(1,2)'::point], array['{}'::json], '7', 'Text');";
    let server = Server::start(Kind::Postgres, schema, ENTITIES).await;
    let filter =
        |column: &str, how: &str, value: Value| json!({"filters": [{"column": column, "operator": how, "value": value}]});
    let refused = [
        filter("sheets", "eq", json!([{}])),
        filter("sheets", "in", json!([[{}]])),
        filter("spots", "neq", json!(["(1,2)"])),
        filter("bound", "eq", json!([{}])),
        filter("tx", "gt", json!("1")),
        filter("body", "contains", json!("t")),
        filter("body", "like", json!("T%")),
        json!({"sort": [{"column": "tx"}]}),
    ];
    for options in refused {
        let answer = ask(&server, json!({"operation": "read", "options": options})).await;
        let error = &answer.body["error"];
        // Newer servers know what such a text is like.
        if answer.status == 200 && options["filters"][0]["operator"] == "like" {
            continue;
        }
        assert_eq!((answer.status.as_u16(), &error["code"]), (400, &json!("invalid_operator")), "{options}: {error}");
        assert!(!["does not exist", "could not", "supported"].iter().any(|text| error.to_string().contains(text)), "{error}");
    }
    let conditional = json!({"operation": "update", "id": 1, "data": {"body": "x"}, "options": filter("tx", "gt", json!("1"))});
    let answer = ask(&server, conditional).await;
    assert_eq!((answer.status.as_u16(), &answer.body["error"]["code"]), (400, &json!("invalid_operator")), "{}", answer.body);
    let found = ask(&server, json!({"operation": "read", "options": filter("tx", "eq", json!("7"))})).await;
    let row = json!({"id": 1, "sheets": [{}], "spots": ["(1,2)"], "bound": [{}], "tx": "7", "body": "Text"});
    assert_eq!((found.status.as_u16(), &found.body["data"]), (200, &json!([row])), "{}", found.body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_a_trigger_lacks_is_no_fault_of_the_client_on_postgres() {
    let trigger = "create function breaks() returns trigger language plpgsql as $$ \
         begin perform no_such_function(new.id); return new; end $$; \
         create trigger breaks before insert on notes for each row execute function breaks();";
    let server = Server::start(Kind::Postgres, &format!("{NOTES}\n{trigger}"), ENTITIES).await;
    let answer = ask(&server, json!({"operation": "create", "data": {"id": 1, "body": "x"}})).await;
    assert_eq!((answer.status.as_u16(), &answer.body["error"]["code"]), (500, &json!("internal_error")), "{}", answer.body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_in_columns_of_other_types_are_base64_on_every_way_out_on_sqlite() {
    let schema = "create table notes (id integer primary key, body text not null, extra json, size integer, \
                  parent_id integer references notes (id));
        insert into notes values (1, x'ff00', x'7b7d', x'01', null), (2, 'text', '{}', 2, 1), (3, x'ff01', null, null, 1);";
    let entities = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: notes}
spec:
  source: conformance
  apiSchema: public
  relations: [{name: parent, kind: belongsTo, target: notes}, {name: children, kind: hasMany, target: notes}]
";
    let server = Server::start(Kind::Sqlite, schema, entities).await;
    let first = json!({"id": 1, "body": "/wA=", "extra": "e30=", "size": "AQ==", "parent_id": null});
    let read = |options: Value| json!({"operation": "read", "options": options});
    let page = ask(&server, read(json!({"sort": [{"column": "id", "direction": "asc"}]}))).await;
    assert_eq!((page.status.as_u16(), &page.body["data"][0]), (200, &first), "{}", page.body);
    let related = ask(&server, read(json!({"preload": [{"relation": "parent"}, {"relation": "children"}]}))).await;
    assert_eq!((related.status.as_u16(), &related.body["data"][1]["parent"]), (200, &first), "{}", related.body);
    assert_eq!(related.body["data"][0]["children"][1]["body"], "/wE=", "{}", related.body);
    // Texts come before blobs.
    let sorted = |cursor: Value| {
        let mut options = json!({"sort": [{"column": "body", "direction": "asc"}], "limit": 1});
        options.as_object_mut().expect("an object").extend(cursor.as_object().expect("an object").clone());
        read(options)
    };
    let next = ask(&server, sorted(json!({"cursor_forward": "1"}))).await;
    assert_eq!((next.status.as_u16(), &next.body["data"][0]["id"]), (200, &json!(3)), "{}", next.body);
    let back = ask(&server, sorted(json!({"cursor_backward": "3"}))).await;
    assert_eq!((back.status.as_u16(), &back.body["data"][0]), (200, &first), "{}", back.body);
    for filter in
        [json!({"column": "body", "operator": "contains", "value": "e"}), json!({"column": "size", "operator": "gt", "value": 1})]
    {
        let found = ask(&server, read(json!({"filters": [filter]}))).await;
        assert_eq!(found.status, 200, "{}", found.body);
    }
    let written = ask(&server, json!({"operation": "update", "data": {"id": 3, "parent_id": 2}})).await;
    assert_eq!((written.status.as_u16(), &written.body["data"]["body"]), (200, &json!("/wE=")), "{}", written.body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_is_no_json_does_not_end_the_read_of_its_neighbours_on_sqlite() {
    let schema = "create table notes (id integer primary key, body text); \
         insert into notes values (1, '{\"a\":1}'), (2, 'not json'), (3, null), (4, '{\"a\":\"1\",\"b\":true}');";
    let entities = ENTITIES.replace("apiSchema: public", "apiSchema: public, columns: [{name: body, type: json}]");
    let server = Server::start(Kind::Sqlite, schema, &entities).await;
    let filters = [
        (json!({"column": "body->>a", "operator": "is_not_null"}), json!([1, 4])),
        (json!({"column": "body->>a", "operator": "eq", "value": 1}), json!([1])),
        (json!({"column": "body->>a", "operator": "eq", "value": "1"}), json!([1, 4])),
        (json!({"column": "body->>b", "operator": "eq", "value": true}), json!([4])),
        (json!({"column": "body->>b", "operator": "is_null"}), json!([1, 2, 3])),
    ];
    for (filter, expected) in filters {
        let answer = ask(&server, json!({"operation": "read", "options": {"columns": ["id"], "filters": [filter]}})).await;
        let ids: Vec<&Value> = answer.body["data"].as_array().expect("a list").iter().map(|row| &row["id"]).collect();
        assert_eq!(json!(ids), expected, "{filter}: {}", answer.body);
    }
    let sorted =
        ask(&server, json!({"operation": "read", "options": {"columns": ["id"], "sort": [{"column": "body->>a"}]}})).await;
    assert_eq!(sorted.status, 200, "{}", sorted.body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_only_reads_is_unavailable_to_writes_on_postgres() {
    let fresh = Fresh::create(Kind::Postgres).await;
    let database = Database::connect(&Settings::new("fill", &fresh.url)).await.expect("the database answers");
    let only_reads = "do $$ begin execute format('alter database %I set default_transaction_read_only = on', \
                      current_database()); end $$";
    for statement in [NOTES, only_reads] {
        database.run_script(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    database.close().await;
    let server = Server::over(Kind::Postgres, fresh, "", ENTITIES, Vec::new()).await;
    assert_eq!(ask(&server, json!({"operation": "read"})).await.status, 200);
    let refused = ask(&server, json!({"operation": "create", "data": {"id": 1, "body": "x"}})).await;
    assert_eq!((refused.status.as_u16(), &refused.body["error"]["code"]), (503, &json!("unavailable")), "{}", refused.body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_do_not_fit_are_refused_however_the_server_is_set_on_mariadb() {
    let own = Own::start(Kind::Mariadb, "lenient");
    let url = own.database().await;
    let database = Database::connect(&Settings::new("fill", &url)).await.expect("the database answers");
    let schema = "create table notes (id integer primary key, body varchar(5) not null)";
    for statement in [schema, "set global sql_mode = ''"] {
        database.run_script(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    database.close().await;
    let server = Server::over(Kind::Mariadb, Fresh::at(url), "", ENTITIES, Vec::new()).await;
    let long = ask(&server, json!({"operation": "create", "data": {"id": 1, "body": "longer than that"}})).await;
    assert_eq!((long.status.as_u16(), &long.body["error"]["code"]), (400, &json!("invalid_value")), "{}", long.body);
    let read = ask(&server, json!({"operation": "read"})).await;
    assert_eq!(read.body["metadata"]["total"], 0, "{}", read.body);
    server.stop().await;
}

/// It answers NULL in the place of a text that is longer than a packet.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_too_large_to_be_built_is_told_and_not_left_out_on_mariadb() {
    let script = format!("{NOTES} insert into notes values (1, 'x'), (2, 'y');");
    let large = |name: &str| format!("{{name: {name}, type: text, expression: \"repeat(body, if(id = 2, 40000000, 1))\"}}");
    let entities = format!("{}\n", ENTITIES.trim_end())
        .replace("apiSchema: public}", &format!("apiSchema: public, computed: [{}, {}]}}", large("once"), large("twice")));
    let server = Server::start(Kind::Mariadb, &script, &entities).await;
    let with = |columns: Value| json!({"operation": "read", "options": {"computedColumns": columns, "columns": ["id"]}});
    let small = ask(&server, with(json!([{"name": "once"}]))).await;
    assert_eq!((small.status.as_u16(), small.body["data"].as_array().map(Vec::len)), (200, Some(2)));
    let refused = ask(&server, with(json!([{"name": "once"}, {"name": "twice"}]))).await;
    let error = &refused.body["error"];
    assert_eq!((refused.status.as_u16(), &error["code"]), (400, &json!("limit_exceeded")), "{error}");
    server.stop().await;
}
