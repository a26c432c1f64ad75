//! The client in Rust of the examples, as it is, against a real replica.

#[path = "../../../examples/clients/rust/grpc.rs"]
#[expect(dead_code, reason = "its main is for the command line")]
mod client;

use crate::live::{Stage, on_all};
use crate::support::database::Kind;
use serde_json::json;
use std::time::Duration;

async fn the_example_sees_its_own_write_and_what_it_missed(kind: Kind) {
    let stage = Stage::open(kind).await;
    let address = format!("http://{}", stage.first.address);
    let run = client::run(&address, "boxes", json!({"id": 1, "size": 10}), json!({"id": 2, "size": 20}));
    let told = tokio::time::timeout(Duration::from_secs(30), run).await.expect("in time").expect("it does what it says");
    let seen: Vec<_> = told.iter().map(|one| (&one["operation"], &one["data"])).collect();
    let create = json!("create");
    assert_eq!(seen, [(&create, &json!({"id": 1, "size": 10})), (&create, &json!({"id": 2, "size": 20}))]);
    stage.close().await;
}

on_all!(the_example_sees_its_own_write_and_what_it_missed);
