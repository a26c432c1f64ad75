//! What clients outside of the pods are answered, through the Service and by each pod, beside SQL.

use super::flights::Flights;
use super::release::{Pod, broker};
use crate::support::client::{Call, Client};
use crate::support::grpc;
use crate::support::mqtt::{Spoken, Station};
use crate::support::session::Session;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// The status with which a replica itself answers a read; 0 if it does not.
pub(super) async fn status_of(replica: &Pod, table: &str) -> u16 {
    let client = Client::new(SocketAddr::new(replica.address, 8080));
    let call = Call::post(format!("/api/public/{table}"), &json!({"operation": "read", "options": {"limit": 1}}));
    client.send(&call).await.map_or(0, |answer| answer.status.as_u16())
}

/// The worst delays out of JFK, each with its airline, and how many flights there were: the same over every transport.
pub(super) async fn everything_is_answered(entrance: SocketAddr, flights: &Flights) {
    let options = json!({"columns": ["id", "arr_delay"], "limit": 5,
        "filters": [{"column": "origin", "operator": "eq", "value": "JFK"}],
        "sort": [{"column": "arr_delay", "direction": "desc", "nulls": "last"}],
        "preload": [{"relation": "airline", "columns": ["name"]}]});
    let asked = json!({"id": "1", "type": "request", "operation": "read", "schema": "public", "entity": "flights",
        "options": options});
    let rows = flights
        .by_hand(
            "select json_build_object('id', f.id, 'arr_delay', f.arr_delay, 'airline', json_build_object('name', a.name))
             from flights f join airlines a using (carrier) where f.origin = 'JFK'
             order by f.arr_delay desc nulls last, f.id limit 5",
        )
        .await;
    let count = flights.by_hand("select to_json(count(*)) from flights where origin = 'JFK'").await.remove(0);
    let check = |transport: &str, answer: &Value| {
        assert_eq!(answer["data"], Value::from(rows.clone()), "{transport}: {answer}");
        assert_eq!(answer["metadata"]["filtered"], count, "{transport}: {answer}");
    };
    let call = Call::post("/api/public/flights", &json!({"operation": "read", "options": options}));
    let answer = Client::new(entrance).send(&call).await.expect("an answer");
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    check("REST", &answer.body);

    let mut session = Session::connect(entrance).await;
    check("WebSocket", &session.ask(&asked).await);
    session.close().await;

    let mut caller = grpc::connect(entrance).await;
    let called = caller.call(grpc::message(&asked)).await.expect("an answer");
    check("gRPC", &grpc::value(called.into_inner()));

    let mut station = Station::connect(&broker(), "walker", "spec", Spoken::V5).await;
    check("MQTT", &station.ask(&asked).await);
}
