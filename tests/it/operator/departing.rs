//! No DataSource is held for ever: not one that can't be read, and not one whose operator is gone.

use super::capturing::{captured, captured_shop, triggers};
use super::stage::{ChangedKinds, Stage, kubeconfig, resource};
use crate::cluster::until;
use crate::support::process::Finish;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client, CustomResourceExt};
use resolvespec::manifest::DataSource;
use serde_json::{Value, json};

const FINALIZER: &str = "resolvespec.dev/capture";

/// What a later version knows and this one can't read.
const LATER: &str = "later";

/// Has the API server take what a later version knows. Tests of another process may take that back at any time, so it is done again
/// and again.
async fn know_more(client: &Client) {
    let mut kind = serde_json::to_value(DataSource::crd()).expect("JSON");
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/capture/properties/mode/enum";
    kind.pointer_mut(path).and_then(Value::as_array_mut).expect("the modes").push(json!(LATER));
    let resource = ApiResource::from_gvk_with_plural(
        &kube::core::GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
        "customresourcedefinitions",
    );
    let kinds: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let name = DataSource::crd_name();
    kinds.patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(&kind)).await.expect("the kind is taken");
}

/// Applies a source that only a later version can read.
async fn apply_later(stage: &Stage, name: &str, metadata: &Value) {
    let mut spec = captured();
    spec["capture"]["mode"] = json!(LATER);
    let mut source = resource("DataSource", name, spec);
    source["metadata"].as_object_mut().expect("a map").extend(metadata.as_object().expect("a map").clone());
    until("a source of a later version", async || {
        know_more(&stage.client).await;
        let parameters = PatchParams::apply("tests").force();
        stage.api("DataSource").patch(name, &parameters, &Patch::Apply(&source)).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_can_not_be_read_is_undone_and_let_go() {
    let (stage, operator, one, url) = captured_shop().await;

    let kinds = ChangedKinds::begin().await;
    apply_later(&stage, "shop", &json!({})).await;
    let said = stage.told("DataSource", "shop", "Accepted", "False", "Unreadable").await;
    assert!(said.contains("spec.capture.mode"), "{said}");
    until("not being served", async || one.status_of("items").await == 404).await;
    assert_eq!(stage.finalizers("shop").await, [FINALIZER], "it captures still");
    assert_ne!(triggers(&url).await, "0");
    // Its Secret may go first: the URL that was handed over is kept for it.
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    secrets.delete("shop-database", &kube::api::DeleteParams::default()).await.expect("deleted");

    stage.delete("DataSource", "shop").await;
    until("the end of the source", async || stage.is_gone("DataSource", "shop").await).await;
    assert_eq!(triggers(&url).await, "0");
    assert!(!stage.events("shop").await.contains(&"CaptureLeftBehind".to_owned()), "the database was there");
    drop((operator, one));
    stage.remove().await;
    drop(kinds);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_which_nothing_is_known_is_let_go_with_a_word() {
    let stage = Stage::new().await;
    let operator = stage.operator_with("one", &["--give-up-seconds", "3"]);
    let kinds = ChangedKinds::begin().await;
    // As a backup brings it back; who holds it is nobody that lives.
    apply_later(&stage, "odd", &json!({"finalizers": [FINALIZER]})).await;
    stage.told("DataSource", "odd", "Accepted", "False", "Unreadable").await;
    stage.delete("DataSource", "odd").await;
    until("the end of the source", async || stage.is_gone("DataSource", "odd").await).await;
    until("a word", async || stage.events("odd").await.contains(&"CaptureLeftBehind".to_owned())).await;
    let mut events = stage.events("odd").await;
    events.sort();
    assert_eq!(events, ["CaptureLeftBehind", "Unreadable"]);
    drop(operator);
    stage.remove().await;
    drop(kinds);
}

/// Runs `resolvespec release`, and has what it says.
fn release(stage: &Stage) -> String {
    let mut command = stage.deployment.command("release");
    let output = command.env("KUBECONFIG", kubeconfig()).args(["--namespace", &stage.namespace]).finished();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_are_let_go_where_no_operator_is() {
    let (stage, operator, one, url) = captured_shop().await;
    let all = triggers(&url).await;
    operator.leave().await;
    // Somebody else's is none of ours.
    let held = json!({"metadata": {"finalizers": [FINALIZER, "example.com/kept"]}});
    stage.api("DataSource").patch("shop", &PatchParams::default(), &Patch::Merge(held)).await.expect("taken");
    stage.delete("DataSource", "shop").await;
    assert!(!stage.is_gone("DataSource", "shop").await, "nobody lets it go");

    let said = release(&stage);
    assert!(said.contains(&format!("DataSource {}/shop", stage.namespace)), "{said}");
    assert_eq!(stage.finalizers("shop").await, ["example.com/kept"]);
    assert_eq!(triggers(&url).await, all, "it reaches no database");
    assert_eq!(stage.times("shop", "CaptureLeftBehind").await, 1);
    assert_eq!(release(&stage), "no DataSource is held\n");
    let free = json!({"metadata": {"finalizers": null}});
    stage.api("DataSource").patch("shop", &PatchParams::default(), &Patch::Merge(free)).await.expect("taken");
    until("the end of the source", async || stage.is_gone("DataSource", "shop").await).await;
    drop(one);
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finalizer_of_somebody_else_is_taken_off_by_the_operator_as_well() {
    let stage = Stage::new().await;
    let operator = stage.operator_with("one", &["--give-up-seconds", "3"]);
    let mut restored = resource("DataSource", "shop", super::stage::source());
    // An apply of the operator's would leave what another manager has written.
    restored["metadata"]["finalizers"] = json!([FINALIZER]);
    stage.api("DataSource").patch("shop", &PatchParams::apply("backup").force(), &Patch::Apply(&restored)).await.expect("taken");
    until("no finalizer", async || stage.finalizers("shop").await.is_empty()).await;
    drop(operator);
    stage.remove().await;
}
