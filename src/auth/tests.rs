//! Which tokens are accepted, which are refused and why, and when keys are loaded.

use super::test_issuer::{KeyServer, Signer, key_set};
use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

const SECRET: &[u8] = b"a secret of thirty-two bytes or more";

/// The modulus of RFC 7515, appendix A.2.
const RFC_MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS\
    -pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTB\
    QY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";

/// Its token, signed with RS256, which ended in 2011.
const RFC_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290\
    Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZ\
    cAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZ\
    ESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn claims() -> Value {
    json!({ "sub": "ada", "exp": now() + 600, "roles": ["reader", "writer"] })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn secret_settings() -> JwtSettings {
    JwtSettings::new(KeySource::Secret(Secret::new(SECRET)))
}

fn server_settings(server: &KeyServer) -> JwksSettings {
    JwksSettings::new(JwksLocation::Url(server.url()))
}

fn jwt(settings: JwtSettings) -> Authentication {
    Authentication::Jwt(settings)
}

async fn authenticator(settings: JwtSettings) -> Authenticator {
    Authenticator::new(jwt(settings)).await.unwrap()
}

async fn with_jwks(settings: JwksSettings) -> Authenticator {
    authenticator(JwtSettings::new(KeySource::Jwks(settings))).await
}

async fn check(settings: JwtSettings, token: &str) -> Result<Principal, Error> {
    authenticator(settings).await.authenticate(Credentials::bearer(token)).await
}

async fn check_claims(settings: JwtSettings, claims: &Value) -> Result<Principal, Error> {
    check(settings, &Signer::secret(SECRET).token(claims)).await
}

#[tokio::test]
async fn a_good_token_becomes_a_principal() {
    let principal = check_claims(secret_settings(), &claims()).await.unwrap();
    assert_eq!(principal.subject.as_deref(), Some("ada"));
    assert!(principal.has_role("writer") && !principal.has_role("admin") && !principal.is_anonymous());
    assert_eq!(principal.claims["sub"], "ada");
    assert!(principal.expires_at.unwrap() > now());
}

#[tokio::test]
async fn a_missing_token_is_refused_unless_anonymous_callers_are_let_in() {
    let strict = authenticator(secret_settings()).await;
    assert_eq!(strict.authenticate(Credentials::none()).await, Err(Error::MissingCredentials));
    let open = authenticator(JwtSettings { allow_anonymous: true, ..secret_settings() }).await;
    assert!(open.authenticate(Credentials::none()).await.unwrap().is_anonymous());
    assert_eq!(open.authenticate(Credentials::bearer("bad")).await.unwrap_err().reason(), "invalid_token");
    let anonymous = Authenticator::new(Authentication::Anonymous).await.unwrap();
    assert!(anonymous.authenticate(Credentials::bearer("bad")).await.unwrap().is_anonymous());
}

#[tokio::test]
async fn a_bad_signature_is_refused() {
    let token = Signer::secret(b"another secret of more than thirty-two bytes").token(&claims());
    assert_eq!(check(secret_settings(), &token).await, Err(Error::InvalidToken("its signature does not match")));
    let good = Signer::secret(SECRET).token(&claims());
    let (head, signature) = good.rsplit_once('.').unwrap();
    let forged = URL_SAFE_NO_PAD.encode(with("sub", json!("root")).to_string());
    let forged = format!("{}.{forged}.{signature}", head.split('.').next().unwrap());
    assert_eq!(check(secret_settings(), &forged).await, Err(Error::InvalidToken("its signature does not match")));
}

#[tokio::test]
async fn a_token_must_have_an_end_that_is_to_come() {
    let without = json!({ "sub": "ada" });
    assert_eq!(check_claims(secret_settings(), &without).await, Err(Error::InvalidToken("it has no 'exp'")));
    let text = with("exp", json!("tomorrow"));
    assert_eq!(check_claims(secret_settings(), &text).await, Err(Error::InvalidToken("its 'exp' is not a time")));
    for expired in [json!(now() - 31), json!(0), json!(-5), json!(12.5)] {
        assert_eq!(check_claims(secret_settings(), &with("exp", expired)).await, Err(Error::TokenExpired));
    }
    assert!(check_claims(secret_settings(), &with("exp", json!(now() - 10))).await.is_ok(), "within the leeway");
    let fraction: Value = serde_json::from_str(&format!("{}.25", now() + 60)).unwrap();
    assert!(check_claims(secret_settings(), &with("exp", fraction)).await.is_ok());
}

#[tokio::test]
async fn a_token_is_not_accepted_before_its_beginning() {
    let early = with("nbf", json!(now() + 120));
    assert_eq!(check_claims(secret_settings(), &early).await, Err(Error::InvalidToken("it is not valid yet")));
    assert!(check_claims(secret_settings(), &with("nbf", json!(now() + 10))).await.is_ok(), "within the leeway");
}

#[tokio::test]
async fn issuer_and_audience_must_be_the_expected_ones() {
    let settings = || JwtSettings {
        issuer: Some("https://issuer".to_owned()),
        audience: Some(vec!["api".to_owned(), "other".to_owned()]),
        ..secret_settings()
    };
    let good = |audience: Value| json!({ "exp": now() + 60, "iss": "https://issuer", "aud": audience });
    assert!(check_claims(settings(), &good(json!("api"))).await.is_ok());
    assert!(check_claims(settings(), &good(json!(["web", "api"]))).await.is_ok());
    for audience in [json!("web"), json!(["web"]), json!([]), json!(5), Value::Null] {
        assert_eq!(check_claims(settings(), &good(audience)).await.unwrap_err().reason(), "invalid_token");
    }
    for issuer in [json!("https://evil"), json!(7), Value::Null] {
        let mut claims = good(json!("api"));
        claims["iss"] = issuer;
        assert_eq!(check_claims(settings(), &claims).await.unwrap_err().reason(), "invalid_token");
    }
    assert!(check_claims(secret_settings(), &good(json!("web"))).await.is_ok(), "without the settings, any is accepted");
}

#[tokio::test]
async fn roles_are_found_at_their_path_in_either_shape() {
    let claims = json!({
        "exp": now() + 60,
        "roles": ["a", 5, "b"],
        "scope": "read  write",
        "realm_access": { "roles": ["c"] },
        "https://example.com/roles": ["d"],
        "odd": { "roles": 7 },
    });
    let cases: [(&str, &[&str]); 7] = [
        ("roles", &["a", "b"]),
        ("scope", &["read", "write"]),
        ("realm_access.roles", &["c"]),
        ("https://example.com/roles", &["d"]),
        ("odd.roles", &[]),
        ("realm_access.groups", &[]),
        ("none", &[]),
    ];
    for (path, expected) in cases {
        let settings = JwtSettings { roles_claim: path.to_owned(), ..secret_settings() };
        assert_eq!(check_claims(settings, &claims).await.unwrap().roles, expected, "{path}");
    }
}

#[tokio::test]
async fn the_algorithm_none_is_refused() {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for algorithm in ["none", "None", "HS1"] {
        let head = part(json!({ "alg": algorithm, "typ": "JWT" }));
        for token in [format!("{head}.{}.", part(claims())), format!("{head}.{}", part(claims()))] {
            assert_eq!(check(secret_settings(), &token).await.unwrap_err().reason(), "invalid_token");
        }
    }
}

#[tokio::test]
async fn a_secret_allows_hs256_only() {
    let token = Signer::secret(SECRET).token_with(&Header::new(Algorithm::HS512), &claims());
    assert_eq!(check(secret_settings(), &token).await.unwrap_err().reason(), "invalid_token");
    let token = Signer::ed25519("a").token(&claims());
    assert_eq!(check(secret_settings(), &token).await.unwrap_err().reason(), "invalid_token");
}

#[tokio::test]
async fn a_critical_extension_is_refused() {
    let header = Header { crit: Some(vec!["b64".to_owned()]), ..Header::new(Algorithm::HS256) };
    let token = Signer::secret(SECRET).token_with(&header, &claims());
    assert_eq!(check(secret_settings(), &token).await.unwrap_err().reason(), "invalid_token");
}

#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    let signer = Signer::p256("curve");
    let modulus = URL_SAFE_NO_PAD.decode(RFC_MODULUS).unwrap();
    let keys = json!({ "keys": [signer.jwk(), { "kty": "RSA", "kid": "rsa", "n": RFC_MODULUS, "e": "AQAB" }] });
    let server = KeyServer::start(keys.to_string());
    let authenticator = with_jwks(server_settings(&server)).await;
    let point = URL_SAFE_NO_PAD.decode(signer.jwk()["x"].as_str().unwrap()).unwrap();
    for (id, public) in [("rsa", modulus.as_slice()), ("rsa", RFC_MODULUS.as_bytes()), ("curve", point.as_slice())] {
        let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::HS256) };
        let token = Signer::secret(public).token_with(&header, &claims());
        assert_eq!(
            authenticator.authenticate(Credentials::bearer(&token)).await,
            Err(Error::InvalidToken("its algorithm is not the one of the key"))
        );
    }
    assert_eq!(server.requests(), 1, "such a token causes no load");
}

#[tokio::test]
async fn keys_of_every_type_check_their_signatures() {
    let (curve, edwards) = (Signer::p256("curve"), Signer::ed25519("edwards"));
    let rsa = json!({ "kty": "RSA", "alg": "RS256", "n": RFC_MODULUS, "e": "AQAB" });
    let server = KeyServer::start(json!({ "keys": [curve.jwk(), edwards.jwk(), rsa] }).to_string());
    let authenticator = with_jwks(server_settings(&server)).await;
    for signer in [&curve, &edwards] {
        let token = signer.token(&claims());
        for _ in 0..2 {
            assert!(authenticator.authenticate(Credentials::bearer(&token)).await.unwrap().has_role("reader"));
        }
        let make = if signer.algorithm == Algorithm::ES256 { Signer::p256 } else { Signer::ed25519 };
        let stranger = make(&signer.id);
        assert_eq!(
            authenticator.authenticate(Credentials::bearer(&stranger.token(&claims()))).await,
            Err(Error::InvalidToken("its signature does not match"))
        );
    }
    // Only a token whose signature is right is told that it has expired.
    assert_eq!(authenticator.authenticate(Credentials::bearer(RFC_TOKEN)).await, Err(Error::TokenExpired));
    let forged = RFC_TOKEN.replace("cC4hiUPo", "cC4hiUPp");
    assert_eq!(
        authenticator.authenticate(Credentials::bearer(&forged)).await,
        Err(Error::InvalidToken("its signature does not match"))
    );
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_once_however_many_ask() {
    let (old, new) = (Signer::ed25519("old"), Signer::ed25519("new"));
    let server = KeyServer::start(key_set(&[&old]));
    let authenticator = with_jwks(server_settings(&server)).await;
    server.set(200, key_set(&[&old, &new]));
    let token = new.token(&claims());
    let all = futures_util::future::join_all((0..8).map(|_| authenticator.authenticate(Credentials::bearer(&token)))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(server.requests(), 2);
    for number in 0..8 {
        let stranger = Signer::ed25519(&format!("stranger {number}")).token(&claims());
        let refused = authenticator.authenticate(Credentials::bearer(&stranger)).await;
        assert_eq!(refused, Err(Error::InvalidToken("it names no known key for its algorithm")));
    }
    assert_eq!(server.requests(), 2, "the interval has not passed");
}

#[tokio::test]
async fn old_keys_are_loaded_anew_and_removed_ones_forgotten() {
    let (old, new) = (Signer::ed25519("old"), Signer::ed25519("new"));
    let server = KeyServer::start(key_set(&[&old]));
    let settings = JwksSettings { lifetime: Duration::ZERO, refresh_interval: Duration::ZERO, ..server_settings(&server) };
    let authenticator = with_jwks(settings).await;
    let token = old.token(&claims());
    assert!(authenticator.authenticate(Credentials::bearer(&token)).await.is_ok());
    assert_eq!(server.requests(), 2);
    server.set(200, key_set(&[&new]));
    assert!(authenticator.authenticate(Credentials::bearer(&token)).await.is_err(), "though it was verified before");
    assert!(authenticator.authenticate(Credentials::bearer(&new.token(&claims()))).await.is_ok());
}

#[tokio::test]
async fn a_failure_keeps_the_last_good_keys() {
    let (old, new) = (Signer::ed25519("old"), Signer::ed25519("new"));
    let server = KeyServer::start(key_set(&[&old]));
    let settings =
        JwksSettings { lifetime: Duration::ZERO, refresh_interval: Duration::ZERO, max_bytes: 4096, ..server_settings(&server) };
    let authenticator = with_jwks(settings).await;
    let failures = [(500, key_set(&[&new])), (200, "{}".to_owned()), (200, " ".repeat(4097)), (200, key_set(&[]))];
    for (status, body) in failures {
        server.set(status, body);
        assert!(authenticator.authenticate(Credentials::bearer(&old.token(&claims()))).await.is_ok());
        let unknown = authenticator.authenticate(Credentials::bearer(&new.token(&claims()))).await;
        assert_eq!(unknown, Err(Error::KeysUnavailable));
    }
}

#[tokio::test]
async fn a_key_server_may_come_up_later() {
    let signer = Signer::ed25519("a");
    let server = KeyServer::start(String::new());
    let settings = JwksSettings { refresh_interval: Duration::ZERO, ..server_settings(&server) };
    let authenticator = with_jwks(settings).await;
    let token = signer.token(&claims());
    assert_eq!(authenticator.authenticate(Credentials::bearer(&token)).await, Err(Error::KeysUnavailable));
    server.set(200, key_set(&[&signer]));
    assert!(authenticator.authenticate(Credentials::bearer(&token)).await.is_ok());
}

#[tokio::test]
async fn a_token_without_key_name_needs_a_single_fitting_key() {
    let (first, second, curve) = (Signer::ed25519("first"), Signer::ed25519("second"), Signer::p256("curve"));
    let anonymous = |signer: &Signer| signer.token_with(&Header::new(signer.algorithm), &claims());
    let server = KeyServer::start(key_set(&[&first, &second, &curve]));
    let authenticator = with_jwks(server_settings(&server)).await;
    assert!(authenticator.authenticate(Credentials::bearer(&anonymous(&curve))).await.is_ok());
    assert!(authenticator.authenticate(Credentials::bearer(&anonymous(&first))).await.is_err());
}

#[tokio::test]
async fn keys_that_can_not_check_signatures_are_left_out() {
    let good = Signer::ed25519("good");
    let bad = [
        json!({ "kty": "oct", "kid": "secret", "k": URL_SAFE_NO_PAD.encode(SECRET), "alg": "HS256" }),
        json!({ "kty": "RSA", "kid": "small", "n": URL_SAFE_NO_PAD.encode([0xff; 128]), "e": "AQAB" }),
        json!({ "kty": "RSA", "kid": "wrong", "n": RFC_MODULUS, "e": "AQAB", "alg": "HS256" }),
        json!({ "kty": "RSA", "kid": "encryption", "n": RFC_MODULUS, "e": "AQAB", "use": "enc" }),
        json!({ "kty": "OKP", "kid": "short", "crv": "Ed25519", "x": "AAAA" }),
        json!({ "kty": "EC", "kid": "off the curve", "crv": "P-256", "x": "AAAA", "y": "AAAA" }),
        json!({ "kty": "AKP", "kid": 5 }),
        json!("nonsense"),
    ];
    for key in bad {
        let server = KeyServer::start(json!({ "keys": [key, good.jwk()] }).to_string());
        let authenticator = with_jwks(server_settings(&server)).await;
        assert!(authenticator.authenticate(Credentials::bearer(&good.token(&claims()))).await.is_ok(), "{key}");
        assert!(super::jwks::parse(json!({ "keys": [key] }).to_string().as_bytes()).is_err(), "{key}");
    }
}

#[tokio::test]
async fn keys_can_come_from_a_file() {
    let signer = Signer::p256("a");
    let path = std::env::temp_dir().join(format!("resolvespec-keys-{}.json", uuid::Uuid::new_v4()));
    std::fs::write(&path, key_set(&[&signer])).unwrap();
    let authenticator = with_jwks(JwksSettings::new(JwksLocation::File(path.clone()))).await;
    assert!(authenticator.authenticate(Credentials::bearer(&signer.token(&claims()))).await.is_ok());
    std::fs::remove_file(&path).unwrap();
    let missing = jwt(JwtSettings::new(KeySource::Jwks(JwksSettings::new(JwksLocation::File(path)))));
    assert!(matches!(Authenticator::new(missing).await.err(), Some(SettingsError::KeysFile { .. })));
}

#[tokio::test]
async fn settings_that_can_not_work_are_refused_at_the_start() {
    let short = jwt(JwtSettings::new(KeySource::Secret(Secret::new(vec![b'a'; 31]))));
    let error = Authenticator::new(short).await.err().unwrap();
    assert!(matches!(error, SettingsError::ShortSecret { length: 31, minimum: 32 }));
    for settings in [
        JwtSettings { issuer: Some(String::new()), ..secret_settings() },
        JwtSettings { audience: Some(Vec::new()), ..secret_settings() },
        JwtSettings { roles_claim: String::new(), ..secret_settings() },
    ] {
        assert!(matches!(Authenticator::new(jwt(settings)).await.err(), Some(SettingsError::Empty(_))));
    }
    for url in ["ftp://host/keys", "https://user:password@host/keys", "http://"] {
        let error = JwksLocation::parse(url).unwrap_err().to_string();
        assert!(error.contains("key set URL") && !error.contains("password@"), "{error}");
    }
    assert_eq!(JwksLocation::parse("/etc/keys.json").unwrap(), JwksLocation::File("/etc/keys.json".into()));
    assert!(!format!("{:?}", secret_settings()).contains("thirty"));
}

#[test]
fn only_bearer_credentials_are_read_from_a_header() {
    assert!(Credentials::from_authorization(None).is_ok());
    assert!(Credentials::from_authorization(Some("bearer  token")).is_ok());
    for header in ["Basic dXNlcjpwYXNz", "token", ""] {
        assert_eq!(Credentials::from_authorization(Some(header)).err().unwrap().reason(), "invalid_token");
    }
}
