//! Questions to the API, each with the SQL that answers it by hand.
//!
//! The SQL has `ARRAY(…)` for a row of the answer; what is compared of the API's rows is picked by a function.

use crate::support::client::Call;
use crate::support::database::Kind;
use crate::support::server::Server;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

struct Question {
    name: &'static str,
    call: Call,
    pick: fn(&Value) -> Vec<Value>,
    sql: &'static str,
    /// The SQL of `total` and `filtered`, or of the row's position, where they are compared.
    counts: Option<&'static str>,
}

pub(super) async fn ask_all(server: &Server, kind: Kind) {
    let mut wrong = Vec::new();
    let questions = questions();
    for question in &questions {
        if let Err(reason) = ask(server, kind, question).await {
            wrong.push(format!("✗ {} on {}\n  {reason}", question.name, kind.name()));
        }
    }
    assert!(wrong.is_empty(), "{} of {} answers differ\n\n{}", wrong.len(), questions.len(), wrong.join("\n"));
}

async fn ask(server: &Server, kind: Kind, question: &Question) -> Result<(), String> {
    let array = if kind == Kind::Postgres { "json_build_array(" } else { "json_array(" };
    let answer = server.client.send(&question.call).await?;
    if answer.status != StatusCode::OK {
        return Err(format!("{} {}", answer.status, answer.body));
    }
    let data = ["data", "items"].into_iter().find_map(|name| answer.body.get(name)).unwrap_or(&answer.body);
    let rows = data.as_array().map_or(std::slice::from_ref(data), Vec::as_slice);
    let got: Vec<Value> = rows.iter().flat_map(question.pick).map(plain).collect();
    let expected: Vec<Value> =
        super::by_hand(server, &question.sql.replace("ARRAY(", array)).await.into_iter().map(plain).collect();
    if expected.is_empty() {
        return Err("the SQL by hand answers nothing, so nothing is compared".to_owned());
    }
    if let Some(place) = (0..got.len().max(expected.len())).find(|place| got.get(*place) != expected.get(*place)) {
        let (got, expected) = (got.get(place), expected.get(place));
        return Err(format!("row {place} of {}: got {got:?}, expected {expected:?}", rows.len()));
    }
    if let Some(sql) = question.counts {
        let expected = super::by_hand(server, &sql.replace("ARRAY(", array)).await;
        let metadata = &answer.body["metadata"];
        let got = match metadata.get("row_number") {
            Some(place) => json!([place]),
            None => json!([metadata["total"], metadata["filtered"]]),
        };
        if expected != [got.clone()] {
            return Err(format!("counts: got {got}, expected {expected:?}"));
        }
    }
    Ok(())
}

/// Numbers by their value, whatever their digits.
fn plain(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.into_iter().map(plain).collect(),
        other => other,
    }
}

fn read(entity: &str, options: &Value) -> Call {
    Call::post(format!("/api/public/{entity}"), &json!({"operation": "read", "options": options}))
}

/// Rows of a list within a row.
fn nested<'v>(row: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    row[name].as_array().into_iter().flatten()
}

macro_rules! picked {
    ($row:ident: $($name:literal),+) => { json!([$($row[$name]),+]) };
}

fn questions() -> Vec<Question> {
    let mut all = filters();
    all.extend(declared_and_placed());
    all.extend(preloads());
    all.extend(headers());
    all
}

fn filters() -> Vec<Question> {
    vec![
        Question {
            name: "a filter, a sort of two keys and a page of it",
            call: read(
                "flights",
                &json!({
                    "columns": ["id", "carrier", "arr_delay"], "limit": 50, "offset": 25,
                    "filters": [{"column": "origin", "operator": "eq", "value": "JFK"}, {"column": "month", "operator": "between", "value": [2, 6]}],
                    "sort": [{"column": "arr_delay", "direction": "desc", "nulls": "last"}, {"column": "distance"}],
                }),
            ),
            pick: |row| vec![picked!(row: "id", "carrier", "arr_delay")],
            sql: "select ARRAY(id, carrier, arr_delay) from flights where origin = 'JFK' and month > 2 and month < 6 \
                  order by case when arr_delay is null then 1 else 0 end, arr_delay desc, distance, id limit 50 offset 25",
            counts: Some("select ARRAY(336776, count(*)) from flights where origin = 'JFK' and month in (3, 4, 5)"),
        },
        Question {
            name: "an OR group beside an AND",
            call: read(
                "flights",
                &json!({
                    "columns": ["id"], "limit": 40, "sort": [{"column": "time_hour", "direction": "desc"}],
                    "filters": [
                        {"column": "dest", "operator": "eq", "value": "HNL"},
                        {"column": "dest", "operator": "eq", "value": "ANC", "logic_operator": "OR"},
                        {"column": "air_time", "operator": "is_not_null"},
                    ],
                }),
            ),
            pick: |row| vec![picked!(row: "id")],
            sql: "select ARRAY(id) from flights where (dest = 'HNL' or dest = 'ANC') and air_time is not null \
                  order by time_hour desc, id limit 40",
            counts: Some("select ARRAY(336776, count(*)) from flights where dest in ('HNL', 'ANC') and air_time is not null"),
        },
        Question {
            name: "nulls, which neq and comparisons leave out",
            call: read(
                "flights",
                &json!({
                    "columns": ["id", "tailnum"], "limit": 30, "sort": [{"column": "tailnum"}],
                    "filters": [{"column": "arr_delay", "operator": "is_null"}, {"column": "carrier", "operator": "neq", "value": "EV"}],
                }),
            ),
            pick: |row| vec![picked!(row: "id", "tailnum")],
            sql: "select ARRAY(id, tailnum) from flights where arr_delay is null and carrier <> 'EV' \
                  order by case when tailnum is null then 1 else 0 end, tailnum, id limit 30",
            counts: Some("select ARRAY(336776, count(*)) from flights where arr_delay is null and carrier <> 'EV'"),
        },
        Question {
            name: "a range of moments",
            call: read(
                "flights",
                &json!({
                    "columns": ["id"], "limit": 100, "sort": [{"column": "id", "direction": "desc"}],
                    "filters": [{"column": "time_hour", "operator": "between_inclusive", "value": ["2013-07-04T12:00:00Z", "2013-07-04T14:00:00Z"]}],
                }),
            ),
            pick: |row| vec![picked!(row: "id")],
            sql: "select ARRAY(id) from flights where time_hour >= '2013-07-04 12:00:00' and time_hour <= '2013-07-04 14:00:00' \
                  order by id desc limit 100",
            counts: Some(
                "select ARRAY(336776, count(*)) from flights where time_hour >= '2013-07-04 12:00:00' and time_hour <= '2013-07-04 14:00:00'",
            ),
        },
        Question {
            name: "a text in the middle, in the default order",
            call: read(
                "airports",
                &json!({
                    "columns": ["faa", "name"], "filters": [{"column": "name", "operator": "contains", "value": "INTERNATIONAL"}],
                }),
            ),
            pick: |row| vec![picked!(row: "faa", "name")],
            sql: "select ARRAY(faa, name) from airports where lower(name) like '%international%' order by name, faa",
            counts: Some(
                "select ARRAY(count(*), (select count(*) from airports where lower(name) like '%international%')) from airports",
            ),
        },
    ]
}

fn declared_and_placed() -> Vec<Question> {
    vec![
        Question {
            name: "a computed column, sorted by",
            call: read(
                "flights",
                &json!({
                    "columns": ["id"], "computedColumns": [{"name": "total_delay"}], "limit": 25,
                    "sort": [{"column": "total_delay", "direction": "desc"}],
                    "filters": [{"column": "total_delay", "operator": "gte", "value": 1000}],
                }),
            ),
            pick: |row| vec![picked!(row: "id", "total_delay")],
            sql: "select ARRAY(id, coalesce(dep_delay, 0) + coalesce(arr_delay, 0)) from flights \
                  where coalesce(dep_delay, 0) + coalesce(arr_delay, 0) >= 1000 \
                  order by coalesce(dep_delay, 0) + coalesce(arr_delay, 0) desc, id limit 25",
            counts: Some(
                "select ARRAY(336776, count(*)) from flights where coalesce(dep_delay, 0) + coalesce(arr_delay, 0) >= 1000",
            ),
        },
        Question {
            name: "a declared operator with a parameter",
            call: read(
                "flights",
                &json!({
                    "columns": ["id"], "limit": 60, "customOperators": [{"name": "late"}], "parameters": [{"name": "minutes", "value": 300}],
                    "filters": [{"column": "carrier", "operator": "in", "value": ["UA", "DL"]}],
                }),
            ),
            pick: |row| vec![picked!(row: "id")],
            sql: "select ARRAY(id) from flights where arr_delay > 300 and carrier in ('UA', 'DL') order by id limit 60",
            counts: Some("select ARRAY(336776, count(*)) from flights where arr_delay > 300 and carrier in ('UA', 'DL')"),
        },
        Question {
            name: "the position of a row",
            call: read(
                "flights",
                &json!({
                    "fetch_row_number": "200000", "columns": ["id"], "sort": [{"column": "dep_delay", "direction": "desc"}],
                    "filters": [{"column": "distance", "operator": "gt", "value": 500}],
                }),
            ),
            pick: |row| vec![picked!(row: "id")],
            sql: "select ARRAY(id) from flights where id = 200000",
            counts: Some(
                "select ARRAY(count(*) + 1) from flights, (select dep_delay as own from flights where id = 200000) o \
                 where distance > 500 and (dep_delay is null or dep_delay > own or (dep_delay = own and id < 200000))",
            ),
        },
    ]
}

fn preloads() -> Vec<Question> {
    vec![
        Question {
            name: "airlines, the three latest flights of each, their planes and the weather",
            call: read(
                "airlines",
                &json!({
                    "columns": ["carrier"], "sort": [{"column": "carrier"}],
                    "preload": [{"relation": "flights", "columns": ["id"], "limit": 3,
                        "sort": [{"column": "arr_delay", "direction": "desc", "nulls": "last"}],
                        "preload": [{"relation": "plane", "columns": ["manufacturer"]}, {"relation": "weather", "columns": ["wind_dir"]}]}],
                }),
            ),
            pick: |row| {
                let flights = nested(row, "flights");
                flights
                    .map(|flight| {
                        json!([row["carrier"], flight["id"], flight["plane"]["manufacturer"], flight["weather"]["wind_dir"]])
                    })
                    .collect()
            },
            sql: "select ARRAY(f.carrier, f.id, p.manufacturer, w.wind_dir) from (select flights.*, row_number() over (partition by carrier \
                  order by case when arr_delay is null then 1 else 0 end, arr_delay desc, id) as place from flights) f \
                  left join planes p on p.tailnum = f.tailnum \
                  left join weather w on w.origin = f.origin and w.time_hour = f.time_hour where f.place <= 3 order by f.carrier, f.place",
            counts: Some("select ARRAY(count(*), count(*)) from airlines"),
        },
        Question {
            name: "three levels: airlines, a part of their flights, their planes, and each plane's longest flights",
            call: read(
                "airlines",
                &json!({
                    "columns": ["carrier"], "sort": [{"column": "carrier", "direction": "desc"}], "limit": 6,
                    "preload": [{"relation": "flights", "columns": ["id"], "limit": 2, "offset": 1,
                        "filters": [{"column": "month", "operator": "eq", "value": 9}, {"column": "tailnum", "operator": "is_not_null"}],
                        "preload": [{"relation": "plane", "columns": ["tailnum"],
                            "preload": [{"relation": "flights", "columns": ["id"], "limit": 2, "sort": [{"column": "distance", "direction": "desc"}]}]}]}],
                }),
            ),
            pick: |row| {
                let mut found = Vec::new();
                for flight in nested(row, "flights") {
                    let others = nested(&flight["plane"], "flights");
                    found.extend(
                        others.map(|other| json!([row["carrier"], flight["id"], flight["plane"]["tailnum"], other["id"]])),
                    );
                }
                found
            },
            sql: "select ARRAY(f.carrier, f.id, p.tailnum, o.id) from (select flights.*, row_number() over (partition by carrier order by id) \
                  as place from flights where month = 9 and tailnum is not null) f join planes p on p.tailnum = f.tailnum \
                  join (select id, tailnum, row_number() over (partition by tailnum order by distance desc, id) as place from flights) o \
                  on o.tailnum = p.tailnum where f.place in (2, 3) and o.place <= 2 \
                  and f.carrier in (select carrier from (select carrier from airlines order by carrier desc limit 6) six) \
                  order by f.carrier desc, f.place, o.place",
            counts: None,
        },
        Question {
            name: "a dotted path of three relations",
            call: read(
                "flights",
                &json!({
                    "columns": ["id"], "limit": 20, "filters": [{"column": "dest", "operator": "eq", "value": "SFO"}],
                    "sort": [{"column": "distance", "direction": "desc"}],
                    "preload": [{"relation": "from.weather", "columns": ["id", "wind_dir"], "limit": 2,
                        "sort": [{"column": "wind_dir", "direction": "desc", "nulls": "last"}]}, {"relation": "to", "columns": ["name"]}],
                }),
            ),
            pick: |row| nested(&row["from"], "weather").map(|hour| json!([row["id"], row["to"]["name"], hour["id"]])).collect(),
            sql: "select ARRAY(f.id, t.name, w.id) from (select id, dest, origin, distance from flights where dest = 'SFO' \
                  order by distance desc, id limit 20) f left join airports t on t.faa = f.dest \
                  join (select id, origin, row_number() over (partition by origin order by case when wind_dir is null then 1 else 0 end, \
                  wind_dir desc, id) as place from weather) w on w.origin = f.origin where w.place <= 2 order by f.distance desc, f.id, w.place",
            counts: None,
        },
        Question {
            name: "relations that lead nowhere",
            call: read(
                "flights",
                &json!({
                    "columns": ["id"], "limit": 200, "filters": [{"column": "dest", "operator": "in", "value": ["BQN", "PSE"]}],
                    "preload": [{"relation": "to", "columns": ["faa"]}, {"relation": "plane", "columns": ["year"]}],
                }),
            ),
            pick: |row| vec![json!([row["id"], row["to"], row["plane"]["year"]])],
            sql: "select ARRAY(f.id, null, p.year) from flights f left join planes p on p.tailnum = f.tailnum \
                  where f.dest in ('BQN', 'PSE') order by f.id limit 200",
            counts: None,
        },
    ]
}

fn headers() -> Vec<Question> {
    let get = |query: &str| Call::new(Method::GET, format!("/rest/public/{query}"));
    vec![
        Question {
            name: "filters and sort in headers",
            call: get("flights")
                .header("x-select-fields", "id,dep_delay")
                .header("x-fieldfilter-carrier", "HA")
                .header("x-searchop-greaterthan-dep_delay", "30")
                .header("x-sort", "-dep_delay")
                .header("x-limit", "20"),
            pick: |row| vec![picked!(row: "id", "dep_delay")],
            sql: "select ARRAY(id, dep_delay) from flights where carrier = 'HA' and dep_delay > 30 order by dep_delay desc, id limit 20",
            counts: None,
        },
        Question {
            name: "a preload and a declared operator in the query",
            call: get(
                "flights?x-custom-sql-w=cancelled&x-preload=airline:name&x-select-fields=id&sort(-month,day)=&limit(30,5)=",
            ),
            pick: |row| vec![json!([row["id"], row["airline"]["name"]])],
            sql: "select ARRAY(f.id, a.name) from flights f join airlines a on a.carrier = f.carrier where f.dep_time is null \
                  order by f.month desc, f.day, f.id limit 30 offset 5",
            counts: None,
        },
        Question {
            name: "the detail format",
            call: get("planes")
                .header("x-detailapi", "true")
                .header("x-searchor-contains-manufacturer", "boeing")
                .header("x-searchor-eq-engines", "4")
                .header("x-limit", "50"),
            pick: |row| vec![picked!(row: "tailnum", "seats")],
            sql: "select ARRAY(tailnum, seats) from planes where lower(manufacturer) like '%boeing%' or engines = 4 order by tailnum limit 50",
            counts: None,
        },
    ]
}
