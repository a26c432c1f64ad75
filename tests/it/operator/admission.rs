//! The webhook, asked by a real API server: what it refuses is told in the words of the condition that would tell it otherwise, and
//! nothing that is there already is held up by it.

use super::stage::{Operator, Stage, resource};
use crate::cluster::until;
use crate::support::certificates::Certificates;
use crate::support::ports::free_address;
use crate::support::process::Finish;
use axum::http::{Method, Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::Status;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A webhook of a test's own: where it is, and the certificate that it has.
struct Webhook {
    address: SocketAddr,
    certificates: Certificates,
}

impl Webhook {
    fn new(name: &str) -> Self {
        Self { address: free_address(), certificates: Certificates::make(name) }
    }

    fn operator(&self, stage: &Stage, more: &[&str]) -> Operator {
        let (address, certificate, key) = self.flags();
        let own = ["--webhook-listen", &address, "--webhook-cert", &certificate, "--webhook-key", &key];
        stage.operator_with("one", &[&own, more].concat())
    }

    fn flags(&self) -> (String, String, String) {
        (self.address.to_string(), self.certificates.path("server.pem"), self.certificates.path("server.key"))
    }

    /// Has the API server ask it about one namespace.
    async fn install(&self, stage: &Stage) {
        let authority = std::fs::read(self.certificates.path("ca.pem")).expect("it was written");
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name(stage)},
            "webhooks": [{
                "name": "resources.resolvespec.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                // What does not reach it would be seen.
                "failurePolicy": "Fail", "timeoutSeconds": 5, "matchPolicy": "Equivalent",
                "namespaceSelector": {"matchExpressions": [
                    {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [stage.namespace]},
                ]},
                "rules": [{
                    "apiGroups": ["resolvespec.dev"], "apiVersions": ["v1alpha1"], "operations": ["CREATE", "UPDATE"],
                    "resources": ["datasources", "entities", "accesspolicies"], "scope": "Namespaced",
                }],
                "clientConfig": {
                    "url": format!("https://{}/admit", self.address),
                    "caBundle": serde_json::to_value(k8s_openapi::ByteString(authority)).expect("a text"),
                },
            }],
        });
        let patch = PatchParams::apply("tests").force();
        configurations(stage).patch(&name(stage), &patch, &Patch::Apply(&configuration)).await.expect("it is taken");
    }

    /// Asks it without the API server.
    async fn ask(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Result<(StatusCode, String), String> {
        let request = Request::builder().method(method).uri(format!("https://{}{path}", self.address));
        let request = request.body(Full::new(body.into())).expect("a request");
        let asked = timeout(Duration::from_secs(20), https(&self.certificates).request(request)).await;
        let answer = asked.map_err(|_| "no answer in time".to_owned())?.map_err(|error| format!("{error:?}"))?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// A client that trusts the authority of these certificates only.
fn https(certificates: &Certificates) -> Pool<HttpsConnector<HttpConnector>, Full<Bytes>> {
    let mut roots = rustls::RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(certificates.path("ca.pem")).expect("a certificate");
    roots.add(authority).expect("it can be trusted");
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build();
    Pool::builder(TokioExecutor::new()).build(connector)
}

fn name(stage: &Stage) -> String {
    format!("it-admission-{}", stage.namespace)
}

fn configurations(stage: &Stage) -> Api<ValidatingWebhookConfiguration> {
    Api::all(stage.client.clone())
}

async fn uninstall(stage: &Stage) {
    configurations(stage).delete(&name(stage), &DeleteParams::default()).await.expect("it can be deleted");
}

/// Applies a resource, if the API server takes it; or sees whether it would.
async fn attempt(stage: &Stage, kind: &str, name: &str, spec: &Value, is_dry: bool) -> Result<DynamicObject, Box<Status>> {
    let mut parameters = PatchParams::apply("tests").force();
    parameters.dry_run = is_dry;
    match stage.api(kind).patch(name, &parameters, &Patch::Apply(resource(kind, name, spec.clone()))).await {
        Ok(taken) => Ok(taken),
        Err(kube::Error::Api(status)) => Err(status),
        Err(error) => panic!("{error}"),
    }
}

/// Waits until the API server asks the webhook.
async fn asks(stage: &Stage) {
    until("the API server asking", async || {
        attempt(stage, "Entity", "probe", &wrong_entity(), true).await.is_err_and(|status| status.code == 422)
    })
    .await;
}

/// Wrong by itself, and nothing that the API server knows of.
fn wrong_entity() -> Value {
    json!({"source": "shop", "table": "items", "name": "my items", "computed": [{"name": "twice", "expression": "(id * 2"}]})
}

fn wrong_policy() -> Value {
    json!({"entity": "items", "filter": "principal.id == 'me'"})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_by_itself_is_refused_in_the_words_of_its_condition() {
    let stage = Stage::new().await;
    let webhook = Webhook::new("admission");
    let operator = webhook.operator(&stage, &[]);
    stage.apply_source().await;
    // Without it a condition says so.
    stage.apply("Entity", "before", wrong_entity()).await;
    stage.apply("AccessPolicy", "before", wrong_policy()).await;
    let of_entity = stage.told("Entity", "before", "Accepted", "False", "Invalid").await;
    assert!(
        of_entity.contains("spec.name: 'my items' can't be a name") && of_entity.contains("a '(' is not closed"),
        "{of_entity}"
    );
    let of_policy = stage.told("AccessPolicy", "before", "Accepted", "False", "Invalid").await;
    assert!(of_policy.contains("the principal has no 'id'"), "{of_policy}");

    webhook.install(&stage).await;
    asks(&stage).await;
    for is_dry in [true, false] {
        for (kind, spec, words) in [("Entity", wrong_entity(), &of_entity), ("AccessPolicy", wrong_policy(), &of_policy)] {
            let status = attempt(&stage, kind, "wrong", &spec, is_dry).await.expect_err("it is wrong");
            assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"), "{status:?}");
            assert!(status.message.ends_with(&format!("denied the request: {words}")), "{}\n{words}", status.message);
            assert!(stage.api(kind).get_opt("wrong").await.expect("an answer").is_none());
        }
    }
    let source = json!({"engine": "postgres", "connection": {"env": "SHOP_URL"}});
    let status = attempt(&stage, "DataSource", "wrong", &source, false).await.expect_err("it is wrong");
    assert!(status.message.contains("`env` is for `dev` and `serve`"), "{}", status.message);

    // What is good passes, and what only a database can tell is left to the condition.
    attempt(&stage, "Entity", "items", &json!({"source": "shop"}), true).await.expect("it would be taken");
    assert!(stage.api("Entity").get_opt("items").await.expect("an answer").is_none());
    attempt(&stage, "Entity", "items", &json!({"source": "shop"}), false).await.expect("it is taken");
    attempt(&stage, "Entity", "nothing", &json!({"source": "shop"}), false).await.expect("it is taken");
    stage.told("Entity", "items", "Accepted", "True", "Accepted").await;
    stage.told("Entity", "nothing", "Accepted", "False", "TableNotFound").await;
    let status = attempt(&stage, "Entity", "items", &wrong_entity(), false).await.expect_err("it is changed for the worse");
    assert!(status.message.ends_with(&of_entity), "{}", status.message);

    // What was wrong before is held up in nothing but being wrong in another way.
    let label = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}, "finalizers": ["tests.resolvespec.dev/held"]}}));
    stage.api("Entity").patch("before", &PatchParams::default(), &label).await.expect("its spec is not changed");
    stage.delete("Entity", "before").await;
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    stage.api("Entity").patch("before", &PatchParams::default(), &release).await.expect("it may go");
    until("its end", async || stage.api("Entity").get_opt("before").await.expect("an answer").is_none()).await;
    stage.pause("Entity", "items", true).await;
    attempt(&stage, "Entity", "items", &wrong_entity(), true).await.expect("nobody looks at one that is paused");
    attempt(&stage, "AccessPolicy", "before", &json!({"entity": "items", "filter": "true"}), false)
        .await
        .expect("it is good now");

    for (kind, outcome) in [
        ("Entity", "refused"),
        ("Entity", "allowed"),
        ("AccessPolicy", "refused"),
        ("AccessPolicy", "warned"),
        ("DataSource", "refused"),
    ] {
        let metric = format!("resolvespec_operator_admission_requests_total{{kind=\"{kind}\",outcome=\"{outcome}\"}}");
        assert!(operator.metric(&metric).await > 0.0, "{metric}");
    }
    uninstall(&stage).await;
    drop(operator);
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_while_it_is_used() {
    let stage = Stage::new().await;
    let webhook = Webhook::new("admission-replaced");
    let operator = webhook.operator(&stage, &[]);
    webhook.install(&stage).await;
    asks(&stage).await;

    // Of another authority, and in two steps, as two files can't be replaced at once: a pair that does not fit is not taken.
    let next = Certificates::make("admission-next");
    let replace = |file: &str| {
        let text = std::fs::read_to_string(next.path(file)).expect("it was written");
        webhook.certificates.write(file, &text);
    };
    replace("server.pem");
    until("being told of it", async || operator.said().contains("the new certificate is not used")).await;
    attempt(&stage, "Entity", "probe", &json!({"source": "shop"}), true).await.expect("the one before is used");
    replace("server.key");
    until("the other one", async || operator.said().contains("another certificate is used from now on")).await;
    assert!(webhook.ask(Method::POST, "/admit", "").await.is_err(), "of an authority that is not trusted yet");
    replace("ca.pem");
    let (status, _) = webhook.ask(Method::POST, "/admit", "").await.expect("an answer");
    assert_eq!(status, StatusCode::BAD_REQUEST);
    webhook.install(&stage).await;
    asks(&stage).await;
    attempt(&stage, "Entity", "probe", &json!({"source": "shop"}), true).await.expect("it is good");

    uninstall(&stage).await;
    drop(operator);
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_before_nats_is_there_and_ends_with_the_process() {
    let stage = Stage::new().await;
    let webhook = Webhook::new("admission-alone");
    let nowhere = format!("nats://{}", free_address());
    let mut operator = webhook.operator(&stage, &["--nats-server", &nowhere]);
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "u-1", "operation": "CREATE", "name": "items", "namespace": "shop", "userInfo": {},
            "kind": {"group": "resolvespec.dev", "version": "v1alpha1", "kind": "Entity"},
            "resource": {"group": "resolvespec.dev", "version": "v1alpha1", "resource": "entities"},
            "object": resource("Entity", "items", wrong_entity()), "oldObject": null,
        },
    });
    let ask = async |body: String| webhook.ask(Method::POST, "/admit", body).await;
    until("the first answer", async || ask(review.to_string()).await.is_ok()).await;
    let (status, answer) = ask(review.to_string()).await.expect("an answer");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(
        (status, &answer["response"]["allowed"], &answer["response"]["uid"]),
        (StatusCode::OK, &json!(false), &json!("u-1"))
    );

    for body in ["", "words", "[]", "{\"kind\": \"AdmissionReview\"}"] {
        let (status, answer) = ask(body.to_owned()).await.expect("an answer");
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(answer.starts_with("this is no AdmissionReview"), "{body}: {answer}");
    }
    let (status, answer) = ask(review.to_string().replace("/v1\"", "/v1beta1\"")).await.expect("an answer");
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer.contains("an AdmissionReview of admission.k8s.io/v1 is expected"), "{answer}");
    // An answer, or a broken pipe where the rest of the body was not taken.
    if let Ok((status, answer)) = ask(" ".repeat((4 << 20) + 1)).await {
        assert_eq!((status, answer.as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "a review may have 4194304 bytes"));
    }
    assert_eq!(webhook.ask(Method::GET, "/admit", "").await.map(|(status, _)| status), Ok(StatusCode::METHOD_NOT_ALLOWED));
    assert_eq!(webhook.ask(Method::POST, "/", "").await.map(|(status, _)| status), Ok(StatusCode::NOT_FOUND));
    let malformed = "resolvespec_operator_admission_requests_total{kind=\"other\",outcome=\"malformed\"}";
    assert!(operator.metric(malformed).await >= 5.0);

    // A connection that is kept does not keep the process.
    let kept = https(&webhook.certificates);
    let uri = format!("https://{}/admit", webhook.address);
    kept.get(uri.parse().expect("an address")).await.expect("an answer");
    operator.signal("-TERM");
    tokio::time::timeout(Duration::from_secs(30), operator.ended()).await.expect("it ends");
    assert!(webhook.ask(Method::GET, "/admit", "").await.is_err());
    drop((operator, kept));
    stage.remove().await;
}

#[test]
fn it_does_not_begin_without_a_certificate() {
    let webhook = Webhook::new("admission-none");
    let (address, certificate, key) = webhook.flags();
    let attempt = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_resolvespec"));
        command.args(["operator", "--nats-server", "nats://127.0.0.1:1", "--admin-listen", "127.0.0.1:0"]).args(arguments);
        command.env("KUBECONFIG", super::stage::kubeconfig());
        let output = command.finished();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let listen = ["--webhook-listen", address.as_str()];
    let needs = "--webhook-listen needs --webhook-cert and --webhook-key";
    for more in [&[][..], &["--webhook-cert", &certificate], &["--webhook-key", &key]] {
        let said = attempt(&[&listen, more].concat());
        assert!(said.contains(needs), "{said}");
    }
    let said = attempt(&["--webhook-cert", &certificate, "--webhook-key", &key]);
    assert!(said.contains("of no use without --webhook-listen"), "{said}");
    let with =
        |certificate: &str, key: &str| attempt(&[&listen[..], &["--webhook-cert", certificate, "--webhook-key", key]].concat());
    let missing = with("/nowhere/tls.crt", &key);
    assert!(missing.contains("/nowhere/tls.crt can't be used: No such file"), "{missing}");
    let client = webhook.certificates.path("client.key");
    let unfit = with(&certificate, &client);
    assert!(unfit.contains("the certificate in ") && unfit.contains(&certificate), "{unfit}");
    let empty = with(&key, &key);
    assert!(empty.contains("there is no certificate in it"), "{empty}");
}
