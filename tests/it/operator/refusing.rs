//! An API server that refuses to have one source changed: the others go on, and the one is told.

use super::capturing::{captured, triggers};
use super::rights::{DATABASES, NAME, entry, grant};
use super::stage::Stage;
use crate::cluster::until;
use crate::support::database::{Fresh, Kind};
use resolvespec::database::{Database, Settings};
use serde_json::{Value, json};

/// Lets sources be changed by these names only.
fn only(names: &Value) -> impl Fn(&mut Value) {
    move |resource| {
        for rule in resource["rules"].as_array_mut().into_iter().flatten() {
            if rule["resources"] == json!(["datasources"]) && rule["verbs"] == json!(["patch"]) {
                rule["resourceNames"] = names.clone();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_may_not_be_changed_holds_up_no_other() {
    let stage = Stage::new().await;
    grant(&stage.namespace, only(&json!(["shop"])));
    let bank = Fresh::create(Kind::Postgres).await;
    let database = Database::connect(&Settings::new("test", &bank.url)).await.expect("the database answers");
    database.run_script("create table coins (id int primary key)").await.expect("the script runs");
    database.close().await;
    stage.secret("bank-database", &bank.url).await;
    let file = entry(&stage, NAME);
    let operator = stage.operator_as("one", &["--lease", NAME, "--databases-secret", DATABASES], &file);
    stage.mount(DATABASES);
    let one = stage.replica("one");

    // The one that is refused comes first.
    let mut spec = captured();
    spec["connection"]["secretKeyRef"]["name"] = json!("bank-database");
    stage.apply("DataSource", "bank", spec).await;
    stage.apply("Entity", "coins", json!({"source": "bank"})).await;
    let said = stage.told("DataSource", "bank", "Degraded", "True", "CaptureFailed").await;
    assert!(said.contains("does not let the operator keep this resource"), "{said}");
    assert_eq!(triggers(&bank.url).await, "0", "nothing is made that nobody would undo");
    stage.ready("Entity", "coins").await;

    let url = stage.deployment.database_url().to_owned();
    stage.apply("DataSource", "shop", captured()).await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    until("its triggers", async || triggers(&url).await != "0").await;
    assert_eq!((one.status_of("items").await, one.status_of("coins").await), (200, 200));
    stage.delete("DataSource", "shop").await;
    until("the end of the source", async || stage.is_gone("DataSource", "shop").await).await;
    assert_eq!(triggers(&url).await, "0");
    assert!(operator.said().contains("forbidden"), "it was refused: {}", operator.said());

    // The right that was missing is noticed.
    grant(&stage.namespace, |_| {});
    stage.told("DataSource", "bank", "Degraded", "False", "AsExpected").await;
    until("its triggers as well", async || triggers(&bank.url).await != "0").await;
    stage.delete("DataSource", "bank").await;
    until("the end of the source", async || stage.is_gone("DataSource", "bank").await).await;
    drop((operator, one));
    bank.remove().await;
    stage.remove().await;
}
