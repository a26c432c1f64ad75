//! References into another namespace need its consent.

use super::capturing::{captured, said, triggers};
use super::stage::{Stage, api, namespace, resource, source};
use crate::cluster::until;
use crate::support::database::{Fresh, Kind};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use resolvespec::database::{Database, Settings};
use serde_json::{Value, json};

/// The kind as the Gateway API defines it.
fn reference_grants() -> Value {
    let file = crate::chart::definition("gateway.networking.k8s.io_referencegrants");
    serde_saphyr::from_str(&std::fs::read_to_string(&file).expect("it was fetched")).expect("YAML")
}

#[tokio::test(flavor = "multi_thread")]
async fn another_namespace_has_to_agree() {
    let stage = Stage::new().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(stage.client.clone());
    let name = "referencegrants.gateway.networking.k8s.io";
    definitions.patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(reference_grants())).await.expect("taken");
    let apps = namespace(&stage.client).await;
    let operator = stage.operator_with("one", &["--watch-namespace", &apps]);
    let one = stage.replica("one");
    stage.apply_source().await;
    let entities = api(&stage.client, &apps, "Entity");
    let items = resource("Entity", "items", json!({"source": "shop", "sourceNamespace": stage.namespace}));
    entities.patch("items", &PatchParams::apply("tests"), &Patch::Apply(items)).await.expect("taken");
    let reason = async || {
        let there = entities.get("items").await.expect("it is there");
        let conditions = there.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().find(|one| one["type"] == "Ready").map(|one| one["reason"].clone()).unwrap_or_default()
    };
    until("being refused", async || reason().await == "RefNotPermitted").await;

    let grants = api(&stage.client, &stage.namespace, "ReferenceGrant");
    let grant = |to: Value| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant", "metadata": {"name": "apps"},
            "spec": {"from": [{"group": "resolvespec.dev", "kind": "Entity", "namespace": apps}], "to": [to]},
        })
    };
    let to = json!({"group": "resolvespec.dev", "kind": "DataSource"});
    grants.patch("apps", &PatchParams::apply("tests"), &Patch::Apply(grant(to))).await.expect("taken");
    until("being permitted", async || reason().await == "Ready").await;
    assert_eq!(one.status_of("items").await, 200);

    // Consent that is taken back ends it.
    grants.delete("apps", &DeleteParams::default()).await.expect("deleted");
    until("being refused again", async || reason().await == "RefNotPermitted").await;
    until("being out", async || one.status_of("items").await == 404).await;

    // A Secret in another namespace is no different.
    let mut elsewhere = source();
    elsewhere["connection"]["secretKeyRef"]["namespace"] = json!(stage.namespace);
    let sources = api(&stage.client, &apps, "DataSource");
    let patch = Patch::Apply(resource("DataSource", "borrowed", elsewhere));
    sources.patch("borrowed", &PatchParams::apply("tests"), &patch).await.expect("taken");
    let reason = async || {
        let there = sources.get("borrowed").await.expect("it is there");
        let conditions = there.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().find(|one| one["type"] == "ResolvedRefs").map(|one| one["reason"].clone()).unwrap_or_default()
    };
    until("being refused", async || reason().await == "RefNotPermitted").await;
    let to = json!({"group": "", "kind": "Secret", "name": "shop-database"});
    let grant_sources = |to: Value| {
        let mut grant = grant(to);
        grant["spec"]["from"][0]["kind"] = json!("DataSource");
        Patch::Apply(grant)
    };
    let another = json!({"group": "", "kind": "Secret", "name": "bank-database"});
    grants.patch("apps", &PatchParams::apply("tests").force(), &grant_sources(another)).await.expect("taken");
    let table = resource("Entity", "goods", json!({"source": "borrowed", "table": "items", "name": "goods"}));
    entities.patch("goods", &PatchParams::apply("tests"), &Patch::Apply(table)).await.expect("taken");
    let turns = async || operator.metric("resolvespec_operator_reconciles_total").await;
    let taken = turns().await;
    until("looking again", async || turns().await >= taken + 3.0).await;
    assert_eq!(reason().await, "RefNotPermitted", "consent to another Secret is none");
    grants.patch("apps", &PatchParams::apply("tests").force(), &grant_sources(to)).await.expect("taken");
    until("being permitted", async || reason().await == "ResolvedRefs").await;
    until("being served", async || one.status_of("goods").await == 200).await;
    grants.delete("apps", &DeleteParams::default()).await.expect("deleted");
    until("being refused again", async || reason().await == "RefNotPermitted").await;
    until("being out", async || one.status_of("goods").await == 404).await;
    drop((operator, one));
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    namespaces.delete(&apps, &DeleteParams::default()).await.expect("it can be deleted");
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_that_is_taken_back_leaves_nothing_of_a_secret_behind() {
    let stage = Stage::new().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(stage.client.clone());
    let name = "referencegrants.gateway.networking.k8s.io";
    definitions.patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(reference_grants())).await.expect("taken");
    let apps = namespace(&stage.client).await;
    let bank = Fresh::create(Kind::Postgres).await;
    let database = Database::connect(&Settings::new("test", &bank.url)).await.expect("the database answers");
    database.run_script("create table coins (id int primary key)").await.expect("the script runs");
    let mut borrowed_url = url::Url::parse(&bank.url).expect("a URL");
    borrowed_url.query_pairs_mut().append_pair("application_name", "borrowed");
    stage.secret("bank-database", borrowed_url.as_str()).await;
    let grants = api(&stage.client, &stage.namespace, "ReferenceGrant");
    let consent = json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant", "metadata": {"name": "apps"},
        "spec": {
            "from": [{"group": "resolvespec.dev", "kind": "DataSource", "namespace": apps}],
            "to": [{"group": "", "kind": "Secret", "name": "bank-database"}],
        },
    });
    grants.patch("apps", &PatchParams::apply("tests"), &Patch::Apply(consent)).await.expect("taken");
    let operator = stage.operator_with("one", &["--watch-namespace", &apps]);
    let one = stage.replica("one");
    let mut borrowed = captured();
    borrowed["connection"]["secretKeyRef"] = json!({"namespace": stage.namespace, "name": "bank-database", "key": "url"});
    for (kind, name, spec) in [("DataSource", "borrowed", borrowed), ("Entity", "coins", json!({"source": "borrowed"}))] {
        let patch = Patch::Apply(resource(kind, name, spec));
        api(&stage.client, &apps, kind).patch(name, &PatchParams::apply("tests"), &patch).await.expect("taken");
    }
    until("being served", async || one.read("coins").await.is_ok_and(|answer| answer.status == 200)).await;
    until("the triggers", async || triggers(&bank.url).await != "0").await;
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let handed = async || {
        let there = secrets.get("resolvespec-databases").await.expect("it is there");
        there.data.unwrap_or_default().keys().any(|key| key.starts_with(&format!("{apps}.borrowed.")))
    };
    assert!(handed().await);
    let sessions =
        "select to_json(count(*)) from pg_stat_activity where application_name = 'borrowed' and datname = current_database()";
    assert_ne!(said(&bank.url, sessions).await, "0", "or this tries nothing");

    grants.delete("apps", &DeleteParams::default()).await.expect("deleted");
    until("being out", async || one.status_of("coins").await == 404).await;
    until("no triggers", async || triggers(&bank.url).await == "0").await;
    until("not being handed over", async || !handed().await).await;
    database.close().await;
    until("nobody being connected", async || said(&bank.url, sessions).await == "0").await;
    let turns = async || operator.metric("resolvespec_operator_reconciles_total").await;
    let taken = turns().await;
    until("looking again", async || turns().await >= taken + 3.0).await;
    assert_eq!(said(&bank.url, sessions).await, "0", "it is not looked at again");
    drop((operator, one));
    bank.remove().await;
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    namespaces.delete(&apps, &DeleteParams::default()).await.expect("it can be deleted");
    stage.remove().await;
}
