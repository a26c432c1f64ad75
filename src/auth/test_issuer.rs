//! An issuer of tokens for the tests: keys made at run time, and a key server that counts its requests.

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use url::Url;

/// A key pair with its name.
pub(super) struct Signer {
    pub(super) id: String,
    pub(super) algorithm: Algorithm,
    key: EncodingKey,
}

/// A server that answers every request with the same status and body.
#[derive(Clone)]
pub(super) struct KeyServer {
    url: Url,
    answer: Arc<Mutex<(u16, String)>>,
    requests: Arc<AtomicUsize>,
}

/// What comes before the 32 bytes of an Ed25519 key in PKCS #8.
const ED25519_PREFIX: &[u8] = &[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// What comes before the 32 bytes of a P-256 key in PKCS #8.
const P256_PREFIX: &[u8] = &[
    0x30, 0x41, 2, 1, 0, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7, 4,
    0x27, 0x30, 0x25, 2, 1, 1, 4, 0x20,
];

impl Signer {
    pub(super) fn ed25519(id: &str) -> Self {
        let key = EncodingKey::from_ed_der(&[ED25519_PREFIX, &random_bytes()].concat());
        Self { id: id.to_owned(), algorithm: Algorithm::EdDSA, key }
    }

    pub(super) fn p256(id: &str) -> Self {
        let key = EncodingKey::from_ec_der(&[P256_PREFIX, &random_bytes()].concat());
        Self { id: id.to_owned(), algorithm: Algorithm::ES256, key }
    }

    pub(super) fn secret(secret: &[u8]) -> Self {
        Self { id: "secret".to_owned(), algorithm: Algorithm::HS256, key: EncodingKey::from_secret(secret) }
    }

    pub(super) fn token(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(self.algorithm) };
        self.token_with(&header, claims)
    }

    pub(super) fn token_with(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).unwrap()
    }

    pub(super) fn jwk(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        let mut value = serde_json::to_value(jwk).unwrap();
        value["kid"] = json!(self.id);
        value
    }
}

/// The key set with the public keys of these signers.
pub(super) fn key_set(signers: &[&Signer]) -> String {
    json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() }).to_string()
}

impl KeyServer {
    pub(super) fn start(body: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}/keys", listener.local_addr().unwrap())).unwrap();
        let server = Self { url, answer: Arc::new(Mutex::new((200, body))), requests: Arc::default() };
        let answering = server.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                answering.answer(connection.unwrap());
            }
        });
        server
    }

    pub(super) fn url(&self) -> Url {
        self.url.clone()
    }

    pub(super) fn set(&self, status: u16, body: String) {
        *self.answer.lock().unwrap() = (status, body);
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn answer(&self, mut connection: TcpStream) {
        let mut request = Vec::new();
        let mut buffer = [0; 1024];
        while !request.ends_with(b"\r\n\r\n") {
            let length = connection.read(&mut buffer).unwrap();
            if length == 0 {
                return;
            }
            request.extend_from_slice(&buffer[..length]);
        }
        self.requests.fetch_add(1, Ordering::SeqCst);
        let (status, body) = self.answer.lock().unwrap().clone();
        let head = format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        // A client that has read enough closes early.
        let _ = connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(body.as_bytes()));
    }
}

fn random_bytes() -> [u8; 32] {
    let halves = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()];
    halves.concat().try_into().unwrap()
}
