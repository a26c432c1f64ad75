//! Where the settings of `serve` come from: flags come before variables, variables before the file; and keys out of a file.

use crate::support::process::Finish;
use crate::support::shop::{Shop, in_seconds};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::{Value, json};
use std::process::Command;

const SERVE: [&str; 7] = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--leave-seconds", "0"];

#[test]
fn flags_come_before_variables_and_variables_before_the_file() {
    let shop = Shop::new("precedence").seeded();
    let file = shop.0.join("settings.conf");
    std::fs::write(&file, "max-body-bytes: 100\nallow-anonymous: true\n").expect("a file");
    let file = file.to_str().expect("UTF-8");
    let padded = json!({"operation": "read", "options": {"columns": vec!["name"; 20]}});
    let status = |variable: Option<&str>, flag: Option<&str>| {
        let arguments = SERVE.into_iter().chain(["--config", file]);
        let arguments: Vec<&str> = arguments.chain(flag.into_iter().flat_map(|bytes| ["--max-body-bytes", bytes])).collect();
        let environment: Vec<(&str, &str)> = variable.map(|bytes| ("RESOLVESPEC_MAX_BODY_BYTES", bytes)).into_iter().collect();
        let mut serve = shop.start(&arguments, &environment);
        let (status, _) = serve.post("/api/main/items", &padded, None);
        serve.end();
        status
    };
    assert_eq!(status(None, None), 413, "the file's");
    assert_eq!(status(Some("1000"), None), 200, "the variable's");
    assert_eq!(status(Some("1000"), Some("100")), 413, "the flag's");
    assert_eq!(status(Some("100"), Some("1000")), 200, "the flag's");
}

#[test]
fn what_a_file_can_not_say_is_told_with_its_place() {
    let shop = Shop::new("unknown-setting");
    let file = shop.0.join("settings.conf");
    std::fs::write(&file, "allow-anonymous: true\nmax-bodies: 100\n").expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_resolvespec")).arg("serve").arg(&shop.0).arg("--config").arg(&file).finished();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("settings.conf") && said.contains("max-bodies") && said.contains("line 2"), "{said}");
}

#[test]
fn where_tokens_are_checked_it_is_said_which_clients_of_mqtt_may_use_them() {
    let shop = Shop::new("client-claim");
    let refused = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_resolvespec"));
        // Without manifests it ends in any case.
        command.args(SERVE).args(["--mqtt-broker", "mqtt://127.0.0.1:1"]).args(more);
        command.env("RESOLVESPEC_JWT_SECRET", "a secret of the tests that is long enough").env_remove("RESOLVESPEC_MANIFESTS");
        let output = command.current_dir(&shop.0).finished();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let unsaid = refused(&[]);
    assert!(unsaid.contains("--mqtt-client-claim"), "{unsaid}");
    for claim in ["sub", "none"] {
        let said = refused(&["--mqtt-client-claim", claim]);
        assert!(said.contains("serve needs manifests"), "{said}");
    }
}

#[test]
fn tokens_are_held_against_a_key_set() {
    let shop = Shop::new("key-set").seeded();
    let issuer = Issuer::new("one");
    let keys = shop.0.join("keys.json");
    std::fs::write(&keys, json!({"keys": [issuer.public()]}).to_string()).expect("a file");
    let arguments: Vec<&str> = SERVE.into_iter().chain(["--jwks", keys.to_str().expect("UTF-8")]).collect();
    let mut serve = shop.start(&arguments, &[]);
    let create = json!({"operation": "create", "data": {"name": "ink"}});
    let status = |token: Option<&str>| serve.post("/api/main/items", &create, token).0;
    let claims = json!({"sub": "ada", "exp": in_seconds(60), "roles": ["editor"]});
    assert_eq!(status(None), 401);
    assert_eq!(status(Some(&issuer.token(&claims))), 200);
    assert_eq!(status(Some(&Issuer::new("one").token(&claims))), 401, "another key of the same name");
    // What is public must be no secret of HS256.
    let public = issuer.public().to_string();
    let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::HS256) };
    let forged = encode(&header, &claims, &EncodingKey::from_secret(public.as_bytes())).expect("a token");
    assert_eq!(status(Some(&forged)), 401);
    serve.end();
}

/// Who signs tokens with a key of its own.
struct Issuer {
    id: String,
    key: EncodingKey,
}

impl Issuer {
    fn new(id: &str) -> Self {
        let pair = KeyPair::generate().expect("a key");
        let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("a key of P-256");
        Self { id: id.to_owned(), key }
    }

    fn token(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &self.key).expect("a token")
    }

    fn public(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key, Algorithm::ES256).expect("a key");
        let mut value = serde_json::to_value(jwk).expect("JSON");
        value["kid"] = json!(self.id);
        value
    }
}
