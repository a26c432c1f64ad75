//! A replica over two databases of which one is away: the other's requests are answered, and so it stays ready.

use crate::support::database::{Fresh, Kind};
use crate::support::own::Own;
use crate::support::shop::{Process, Shop};
use resolvespec::database::{Database, Settings};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const MANIFESTS: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {name: near}
spec: {engine: sqlite, connection: {env: NEAR}}
---
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {name: far}
spec: {engine: postgres, connection: {env: FAR}}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: near-marks}
spec: {source: near, table: marks, name: marks, apiSchema: near}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: far-marks}
spec: {source: far, table: marks, name: marks, apiSchema: far}
";

fn ready(dev: &Process) -> Value {
    serde_json::from_str(&dev.get("/ready")).expect("JSON")
}

fn until(dev: &Process, expected: &Value) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let told = ready(dev);
        if [&told["ready"], &told["degraded"]] == [&expected["ready"], &expected["degraded"]] {
            return;
        }
        assert!(Instant::now() < deadline, "{told} does not become {expected}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_stays_ready_for_the_database_that_answers() {
    let own = Own::start(Kind::Postgres, "one-of-two");
    let (near, far) = (Fresh::create(Kind::Sqlite).await, own.database().await);
    for url in [&near.url, &far] {
        let database = Database::connect(&Settings::new("marks", url)).await.expect("the database answers");
        database.run_script("create table marks (id integer primary key)").await.expect("a table");
        database.close().await;
    }
    let shop = Shop::new("one-of-two");
    std::fs::write(shop.0.join("shop.yaml"), MANIFESTS).expect("a manifest");
    let dev = shop.start(&["dev", "--port", "0"], &[("NEAR", &near.url), ("FAR", &far)]);
    let read = |schema: &str| dev.post(&format!("/api/{schema}/marks"), &json!({"operation": "read"}), None).0;
    until(&dev, &json!({"ready": true}));
    assert_eq!((read("near"), read("far")), (200, 200));
    own.kill();
    until(&dev, &json!({"ready": true, "degraded": ["database far"]}));
    assert_eq!((read("near"), read("far")), (200, 503));
    own.restart();
    until(&dev, &json!({"ready": true}));
    assert_eq!((read("near"), read("far")), (200, 200));
    drop(dev);
    near.remove().await;
}
