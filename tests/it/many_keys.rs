//! Rows that are named by keys of several columns, as many as an entity allows.

use crate::support::client::Call;
use crate::support::database::Kind;
use crate::support::server::Server;
use serde_json::json;
use std::fmt::Write;

const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: places}
spec: {source: conformance, apiSchema: public, limits: {maxList: 2000}}
";

const KEYS: u32 = 2000;

fn script() -> String {
    let mut script = "create table places (x integer not null, y integer not null, primary key (x, y));\n\
                      insert into places values (1000, 1000)"
        .to_owned();
    for n in 0..KEYS {
        _ = write!(script, ", ({}, {})", n / 50, n % 50);
    }
    script + ";"
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_a_long_list_is_found_and_no_other() {
    for kind in Kind::ALL {
        let server = Server::start(kind, &script(), ENTITIES).await;
        for count in [1, 2, 997, 998, 1000, KEYS] {
            // Every tenth is not there.
            let key = |n: u32| if n.is_multiple_of(10) { format!("{n},-1") } else { format!("{},{}", n / 50, n % 50) };
            let ids: Vec<String> = (KEYS - count..KEYS).rev().map(key).collect();
            let there: Vec<u32> = (KEYS - count..KEYS).filter(|n| n % 10 > 0).collect();
            let body = json!({"operation": "read", "id": ids, "options": {"limit": 1}});
            let answer = server.client.send(&Call::post("/api/public/places", &body)).await.expect("an answer");
            let first = json!([{"x": there[0] / 50, "y": there[0] % 50}]);
            assert_eq!((answer.status.as_u16(), &answer.body["data"]), (200, &first), "{count} on {}", kind.name());
            assert_eq!(answer.body["metadata"]["filtered"], json!(there.len()), "{count} on {}", kind.name());
        }
        server.stop().await;
    }
}
