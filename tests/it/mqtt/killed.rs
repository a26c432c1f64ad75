//! Replicas that are killed between the work and the answer: every create is done once and answered all the same.

use super::{MANIFEST, SEED, create, own_broker, until};
use crate::support::mqtt::{Beside, Entry, Spoken, Station};
use crate::support::shop::{Process, Shop};
use serde_json::json;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// A replica that speaks to its broker in this version.
fn serve(shop: &Shop, broker: &str, name: &str, spoken: Spoken) -> Process {
    let arguments = [
        "serve",
        "--allow-anonymous",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--leave-seconds",
        "0",
        "--mqtt-broker",
        broker,
        "--mqtt-group",
        "killed",
        "--mqtt-client-id",
        name,
        "--mqtt-session-seconds",
        "600",
        // The client says more at once than usual.
        "--mqtt-max-queued",
        "400",
        "--mqtt-version",
        match spoken {
            Spoken::V5 => "5",
            Spoken::V4 => "3.1.1",
        },
    ];
    shop.start(&arguments, &[])
}

async fn is_there(process: &Process) {
    until("the replica is at the broker", async || !process.get("/ready").contains("mqtt")).await;
}

/// The names of what was made.
fn made(process: &Process) -> Vec<String> {
    let filters = json!([{"column": "name", "operator": "startswith", "value": "made "}]);
    let options = json!({"filters": filters, "columns": ["name"], "limit": 1000});
    let (_, body) = process.post("/api/main/items", &json!({"operation": "read", "options": options}), None);
    body["data"].as_array().expect("rows").iter().filter_map(|row| Some(row["name"].as_str()?.to_owned())).collect()
}

/// Kills one of two replicas in the middle of creates, and starts it again.
async fn creates_survive(spoken: Spoken, service: Spoken) {
    let folder = crate::support::folder(&format!("mqtt-killed-{spoken:?}-{service:?}"));
    std::fs::write(folder.join("shop.yaml"), MANIFEST).expect("a manifest can be written");
    std::fs::write(folder.join("seed.sql"), SEED).expect("a seed can be written");
    let shop = Shop(folder).seeded();
    let broker = own_broker(&format!("killed-{spoken:?}-{service:?}"));
    let mut first = serve(&shop, &broker.url(), "one", service);
    let second = serve(&shop, &broker.url(), "two", service);
    is_there(&first).await;
    is_there(&second).await;
    let url = broker.url();
    let entry = Entry { url: &url, id: "client", prefix: "spec", spoken, stays: true };
    let mut station = Station::enter(entry).await.expect("the broker lets everyone in");
    station.subscribe("spec/client/response").await.expect("a client may hear its answers");
    let say = async |number: usize| {
        let message = create(&number.to_string(), &format!("made {number}"));
        let payload = message.to_string().into_bytes();
        station.publish("spec/client/request", payload, Beside::default()).await.expect("the broker takes it");
    };
    // The broker hands requests to both, and takes no answer: all of them are done, and none is acknowledged.
    let between = 20;
    first.signal("-STOP");
    second.signal("-STOP");
    for number in 0..between {
        say(number).await;
    }
    broker.freeze();
    first.signal("-CONT");
    second.signal("-CONT");
    until("everything is done", async || made(&second).len() == between).await;
    first.signal("-KILL");
    _ = first.child.wait();
    broker.thaw();
    let mut first = serve(&shop, &url, "one", service);
    is_there(&first).await;
    // And in the middle of many.
    let most = 400;
    for number in between..most {
        say(number).await;
        if number == most / 2 {
            first.signal("-KILL");
        }
    }
    _ = first.child.wait();
    let first = serve(&shop, &url, "one", service);
    is_there(&first).await;
    let (mut answered, mut replayed) = (HashSet::new(), 0);
    let deadline = Instant::now() + Duration::from_mins(1);
    while answered.len() < most {
        assert!(Instant::now() < deadline, "only {} of {most} are answered", answered.len());
        let Some(heard) = station.hears(Duration::from_secs(1)).await else { continue };
        assert_eq!(heard.body["success"], true, "{}", heard.body);
        replayed += u32::from(heard.body["idempotency_replayed"] == true);
        answered.insert(heard.body["id"].as_str().expect("an id").to_owned());
    }
    let names = made(&second);
    assert_eq!(names.len(), most, "some were made twice, or not at all");
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), most);
    assert!(replayed > 0, "nothing came again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_killed_leaves_no_create_undone_and_none_done_twice() {
    creates_survive(Spoken::V5, Spoken::V5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_with_a_client_of_the_older_version() {
    creates_survive(Spoken::V4, Spoken::V5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_with_a_service_of_the_older_version() {
    creates_survive(Spoken::V5, Spoken::V4).await;
}
