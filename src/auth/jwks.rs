//! Reads a JSON Web Key Set: which keys can check signatures, and with which algorithms.
//!
//! A key that can't be used is left out and the others stay, since issuers publish keys for other purposes beside. A
//! symmetric key is always left out: a set is public. No connection is needed here.

use super::verified::Verified;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// A key with the algorithms that it is pinned to.
pub(super) struct VerificationKey {
    /// Its `kid`.
    pub(super) id: Option<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) decoding: DecodingKey,
    /// What it has verified lately.
    pub(super) verified: Verified,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// RFC 7518 allows no smaller RSA key.
const MINIMUM_RSA_BYTES: usize = 256;

const ED25519_BYTES: usize = 32;

impl VerificationKey {
    pub(super) fn from_secret(secret: &[u8]) -> Self {
        Self {
            id: None,
            algorithms: vec![Algorithm::HS256],
            decoding: DecodingKey::from_secret(secret),
            verified: Verified::default(),
        }
    }

    fn from_jwk(value: Value) -> Result<Self, &'static str> {
        let jwk: Jwk = serde_json::from_value(value).map_err(|_| "it is not a JSON Web Key")?;
        if !for_signatures(&jwk) {
            return Err("it is not for signatures");
        }
        let mut algorithms = algorithms(&jwk.algorithm)?;
        if let Some(declared) = jwk.common.key_algorithm {
            let declared = Algorithm::try_from(declared).map_err(|_| "its 'alg' is not supported")?;
            algorithms.retain(|algorithm| *algorithm == declared);
        }
        let first = algorithms.first().ok_or("its 'alg' does not fit its 'kty'")?;
        let decoding = DecodingKey::from_jwk(&jwk).map_err(|_| "its parameters are not base64url")?;
        // An empty signature is never right; the answer tells whether the key itself can be read.
        jsonwebtoken::crypto::verify("", b"", &decoding, *first).map_err(|_| "its parameters are not a key")?;
        Ok(Self { id: jwk.common.key_id, algorithms, decoding, verified: Verified::default() })
    }
}

/// The keys of a set that can check signatures. At least one, or else what is wrong.
pub(super) fn parse(document: &[u8]) -> Result<Vec<Arc<VerificationKey>>, String> {
    let document: Document =
        serde_json::from_slice(document).map_err(|error| format!("it is not a JSON Web Key Set, {{\"keys\": […]}}: {error}"))?;
    let mut keys = Vec::with_capacity(document.keys.len());
    let mut refused = Vec::new();
    for (position, value) in document.keys.into_iter().enumerate() {
        match VerificationKey::from_jwk(value) {
            Ok(key) => keys.push(Arc::new(key)),
            Err(problem) => refused.push(format!("key {position}: {problem}")),
        }
    }
    match (keys.is_empty(), refused.is_empty()) {
        (false, true) => {}
        (false, false) => tracing::debug!(left_out = refused.join("; "), "some keys of the set can't check signatures"),
        (true, true) => return Err("it has no keys".to_owned()),
        (true, false) => return Err(format!("no key in it can check signatures: {}", refused.join("; "))),
    }
    Ok(keys)
}

fn for_signatures(jwk: &Jwk) -> bool {
    let usage = jwk.common.public_key_use.as_ref();
    let operations = jwk.common.key_operations.as_ref();
    usage.is_none_or(|usage| *usage == PublicKeyUse::Signature)
        && operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify))
}

/// The algorithms that a key of this type can be used with, if it is strong enough.
fn algorithms(parameters: &AlgorithmParameters) -> Result<Vec<Algorithm>, &'static str> {
    match parameters {
        AlgorithmParameters::RSA(key) if byte_length(&key.n) < MINIMUM_RSA_BYTES => Err("it has less than 2048 bits"),
        AlgorithmParameters::RSA(_) => Ok(AlgorithmFamily::Rsa.algorithms().to_vec()),
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => Ok(vec![Algorithm::ES256]),
            EllipticCurve::P384 => Ok(vec![Algorithm::ES384]),
            _ => Err("its curve is not supported"),
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve != EllipticCurve::Ed25519 => Err("its curve is not supported"),
        AlgorithmParameters::OctetKeyPair(key) if byte_length(&key.x) != ED25519_BYTES => Err("its 'x' must have 32 bytes"),
        AlgorithmParameters::OctetKeyPair(_) => Ok(vec![Algorithm::EdDSA]),
        AlgorithmParameters::OctetKey(_) => Err("it is a shared secret; a key set must hold public keys only"),
        _ => Err("its type is not supported"),
    }
}

/// The length of a parameter in bytes, zero if it can't be read.
fn byte_length(parameter: &str) -> usize {
    URL_SAFE_NO_PAD.decode(parameter).map_or(0, |bytes| bytes.len())
}
