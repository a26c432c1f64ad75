//! Every way into NATS: TLS with and without certificates of our own, users, tokens, nkeys and credentials files.

use super::deployment::Deployment;
use crate::support::certificates::Certificates;
use crate::support::nats::OwnNats;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// The way in is good: what is published is served. Then what it was refused with.
async fn enters(shop: &Deployment) {
    let told = shop.published(&[]);
    assert!(told.contains("generation"), "{told}");
    let one = shop.start("one");
    one.serves(1).await;
    assert_eq!(one.ready().await.1["nats"], "connected");
    assert!(!one.said().contains("hush"), "{}", one.said());
}

fn refused(shop: &Deployment) -> String {
    let output = shop.publish(&[]);
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("hush"), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_with_certificates_on_both_sides() {
    let (ours, strange) = (Certificates::make("ours"), Certificates::make("strange"));
    let entry = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}\n",
        ours.path("server.pem"),
        ours.path("server.key"),
        ours.path("ca.pem")
    );
    let nats = OwnNats::start_with("entering-tls", Some(&entry));
    let trusting = |shop: Deployment, ca: &Certificates, own: &Certificates| {
        let shop = shop.without().with("RESOLVESPEC_NATS_TLS", "true").with("RESOLVESPEC_NATS_CA", ca.path("ca.pem"));
        shop.with("RESOLVESPEC_NATS_CERT", own.path("client.pem")).with("RESOLVESPEC_NATS_KEY", own.path("client.key"))
    };
    let shop = trusting(Deployment::over(nats.address()).await, &ours, &ours);
    enters(&shop).await;
    let shop = trusting(shop, &strange, &ours);
    assert!(refused(&shop).contains("NATS can't be reached"), "a server that nobody vouches for");
    let shop = trusting(shop, &ours, &strange);
    assert!(refused(&shop).contains("NATS can't be reached"), "a certificate that the server doesn't know");
    let shop = shop.without().with("RESOLVESPEC_NATS_CA", ours.path("ca.pem"));
    assert!(refused(&shop).contains("NATS can't be reached"), "no certificate");
    let shop = shop.with("RESOLVESPEC_NATS_CERT", ours.path("client.pem"));
    assert!(refused(&shop).contains("go together"));
    let shop = shop.without().with("RESOLVESPEC_NATS_CA", "/nowhere.pem");
    assert!(refused(&shop).contains("/nowhere.pem can't be read"));
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let shop = Deployment::new().await.with("RESOLVESPEC_NATS_TLS", "true");
    assert!(refused(&shop).contains("NATS can't be reached"));
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_a_user() {
    let nats = OwnNats::start_with("entering-user", Some("authorization { user: ada, password: \"hush hush\" }\n"));
    let shop = Deployment::over(nats.address()).await;
    let password = shop.file("password", "hush hush\n");
    let shop = shop.with("RESOLVESPEC_NATS_USER", "ada").with("RESOLVESPEC_NATS_PASSWORD_FILE", password);
    enters(&shop).await;
    let shop = shop.without().with("RESOLVESPEC_NATS_USER", "ada").with("RESOLVESPEC_NATS_PASSWORD", "hush");
    assert!(refused(&shop).contains("authorization violation"));
    let shop = shop.without();
    assert!(refused(&shop).contains("authorization violation"));
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token() {
    let nats = OwnNats::start_with("entering-token", Some("authorization { token: \"hush\" }\n"));
    let shop = Deployment::over(nats.address()).await.with("RESOLVESPEC_NATS_TOKEN", "hush");
    enters(&shop).await;
    let shop = shop.without().with("RESOLVESPEC_NATS_TOKEN", "hush hush");
    assert!(refused(&shop).contains("authorization violation"));
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_nkey() {
    let key = KeyPair::new_user();
    let entry = format!("authorization {{ users = [ {{ nkey: {} }} ] }}\n", key.public_key());
    let nats = OwnNats::start_with("entering-nkey", Some(&entry));
    let shop = Deployment::over(nats.address()).await;
    let seed = shop.file("seed", &key.seed().expect("a seed"));
    let shop = shop.with("RESOLVESPEC_NATS_NKEY_FILE", seed);
    enters(&shop).await;
    let stranger = KeyPair::new_user().seed().expect("a seed");
    let shop = shop.without().with("RESOLVESPEC_NATS_NKEY", stranger.clone());
    let said = refused(&shop);
    assert!(said.contains("authorization violation") && !said.contains(&stranger), "{said}");
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_credentials_file() {
    let (operator, account, system) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    let unlimited = json!({"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
        "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1});
    let limits = json!({"limits": unlimited});
    let no_storage = json!({"limits": {"subs": -1, "data": -1, "payload": -1, "conn": -1, "exports": -1, "imports": -1}});
    let entry = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{ {}: {}, {}: {} }}\n",
        token(&operator, &operator, "operator", json!({})),
        system.public_key(),
        account.public_key(),
        token(&operator, &account, "account", limits),
        system.public_key(),
        token(&operator, &system, "account", no_storage),
    );
    let nats = OwnNats::start_with("entering-creds", Some(&entry));
    let shop = Deployment::over(nats.address()).await;
    let creds = |user: &KeyPair, by: &KeyPair| {
        let token = token(by, user, "user", json!({"subs": -1, "data": -1, "payload": -1}));
        let seed = user.seed().expect("a seed");
        let dashes = "-----";
        format!(
            "{dashes}BEGIN NATS USER JWT{dashes}\n{token}\n{dashes}END NATS USER JWT{dashes}\n\n\
             {dashes}BEGIN USER NKEY SEED{dashes}\n{seed}\n{dashes}END USER NKEY SEED{dashes}\n"
        )
    };
    let file = shop.file("good.creds", &creds(&KeyPair::new_user(), &account));
    let shop = shop.with("RESOLVESPEC_NATS_CREDS", file);
    enters(&shop).await;
    let file = shop.file("strange.creds", &creds(&KeyPair::new_user(), &KeyPair::new_account()));
    let shop = shop.without().with("RESOLVESPEC_NATS_CREDS", file);
    assert!(refused(&shop).contains("authorization violation"));
    let file = shop.file("broken.creds", "nothing of the kind");
    let shop = shop.without().with("RESOLVESPEC_NATS_CREDS", file);
    assert!(refused(&shop).contains("broken.creds"));
    shop.remove().await;
}

/// A token as NATS takes it: what somebody may, signed by another.
fn token(by: &KeyPair, who: &KeyPair, kind: &str, mut claims: Value) -> String {
    claims["type"] = json!(kind);
    claims["version"] = json!(2);
    let claims = json!({"jti": who.public_key(), "iat": 1_700_000_000, "iss": by.public_key(), "name": kind,
        "sub": who.public_key(), "nats": claims});
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let said = format!("{}.{}", encode(&json!({"typ": "JWT", "alg": "ed25519-nkey"})), encode(&claims));
    let signature = URL_SAFE_NO_PAD.encode(by.sign(said.as_bytes()).expect("signed"));
    format!("{said}.{signature}")
}
