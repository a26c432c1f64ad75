//! Two replicas of which one hears late of whom the other lets in: nobody is taken for somebody else in between, and nobody is
//! refused for it.

use super::{SECRET, Shop, code, read, until};
use crate::support::client::{Call, Client};
use crate::support::mqtt::{Spoken, Station, shared};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use resolvespec::auth::{Authentication, JwtSettings, KeySource, Secret};
use resolvespec::engine::{Context, Hook, Refusal};
use resolvespec::live::Handles;
use resolvespec::store::{Bucket, Entry, Error, MemoryBucket, Told, Watch};
use resolvespec::transport::mqtt::Settings;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What is told of a bucket stops at some time, and later so do its answers.
struct Late {
    bucket: Arc<dyn Bucket>,
    told: Arc<AtomicUsize>,
    held: CancellationToken,
    is_away: AtomicBool,
}

#[async_trait]
impl Bucket for Late {
    async fn put(&self, key: &str, value: Bytes, lifetime: Option<Duration>) -> Result<u64, Error> {
        self.bucket.put(key, value, lifetime).await
    }

    async fn replace(
        &self,
        key: &str,
        value: Bytes,
        revision: Option<u64>,
        lifetime: Option<Duration>,
    ) -> Result<Option<u64>, Error> {
        self.bucket.replace(key, value, revision, lifetime).await
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(Error::Unavailable("it is away".to_owned()));
        }
        self.bucket.get(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.bucket.delete(key).await
    }

    async fn remove(&self, key: &str, revision: u64) -> Result<bool, Error> {
        self.bucket.remove(key, revision).await
    }

    async fn watch(&self) -> Result<Watch, Error> {
        let (told, held) = (Arc::clone(&self.told), self.held.clone().cancelled_owned());
        let count = move |one: &Told| {
            if matches!(one, Told::Put(_)) {
                told.fetch_add(1, Ordering::Relaxed);
            }
        };
        Ok(self.bucket.watch().await?.take_until(held).inspect(count).chain(stream::pending()).boxed())
    }
}

/// Notes who asks.
#[derive(Default)]
struct Noting(Mutex<Vec<String>>);

#[async_trait]
impl Hook for Noting {
    async fn before_handle(&self, context: Context<'_>) -> Result<(), Refusal> {
        let name = context.principal.subject.clone().unwrap_or_default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        Ok(())
    }
}

impl Noting {
    fn last(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last().cloned().unwrap_or_default()
    }
}

/// A replica that a broker asks, and another one that takes the requests and hears late.
struct Two {
    asked: Shop,
    late: Shop,
    bucket: Arc<Late>,
    noting: Arc<Noting>,
}

impl Two {
    /// Both, when the late one has heard of somebody that the other has let in.
    async fn open(claim: Option<&str>) -> Self {
        let clients: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
        let (told, held, is_away) = (Arc::default(), CancellationToken::new(), AtomicBool::new(false));
        let bucket = Arc::new(Late { bucket: Arc::clone(&clients), told, held, is_away });
        let noting = Arc::new(Noting::default());
        let guarded = || Authentication::Jwt(JwtSettings::new(KeySource::Secret(Secret::new(SECRET))));
        let bound = |settings| Settings { client_claim: claim.map(ToOwned::to_owned), ..settings };
        let handles = Handles { clients, ..Handles::memory() };
        let asked = Shop::shared(&shared(), (guarded(), handles), Vec::new(), bound).await;
        let handles = Handles { clients: bucket.clone(), ..Handles::memory() };
        let late = Shop::shared(&shared(), (guarded(), handles), vec![noting.clone()], bound).await;
        let two = Self { asked, late, bucket, noting };
        two.admit("first", &token("zoe", &["first"])).await;
        until("what is told", async || two.bucket.told.load(Ordering::Relaxed) > 0).await;
        two
    }

    /// The broker asks one replica about a client.
    async fn admit(&self, client: &str, password: &str) {
        let question = json!({"clientid": client, "username": "", "password": password});
        let answer = Client::new(self.asked.address).send(&Call::post("/mqtt/auth", &question)).await.expect("an answer");
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    }

    async fn station(&self, client: &str) -> Station {
        let mut station = Station::connect(&shared(), client, &self.late.prefix, Spoken::V5).await;
        station.wait_for_service().await;
        station
    }

    async fn close(self) {
        self.asked.close().await;
        self.late.close().await;
    }
}

fn token(subject: &str, devices: &[&str]) -> String {
    let claims = json!({"sub": subject, "devices": devices, "exp": 4_000_000_000_u64});
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).expect("a token")
}

fn asking(id: &str, token: &str) -> Value {
    let mut message = read(id);
    message["token"] = token.into();
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_held_against_whom_another_replica_has_just_let_in() {
    let two = Two::open(None).await;
    let (ann, bob) = (token("ann", &[]), token("bob", &[]));
    let id = format!("{}-dev", two.late.prefix);
    two.bucket.held.cancel();
    two.admit(&id, &ann).await;
    let mut station = two.station(&id).await;
    let refused = station.ask(&asking("1", &bob)).await;
    assert_eq!(code(&refused), "forbidden", "{refused}");
    assert_eq!(station.ask(&asking("2", &ann)).await["success"], true);
    assert_eq!(station.ask(&read("3")).await["success"], true);
    assert_eq!(two.noting.last(), "ann");
    // What can't be asked is not allowed.
    two.bucket.is_away.store(true, Ordering::Relaxed);
    assert_eq!(code(&station.ask(&asking("4", &bob)).await), "unavailable");
    assert_eq!(code(&station.ask(&read("5")).await), "unavailable");
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_taken_a_client_over_is_not_taken_for_who_had_it() {
    let two = Two::open(Some("devices")).await;
    let id = format!("{}-dev", two.late.prefix);
    let (ann, bob) = (token("ann", &[&id]), token("bob", &[&id]));
    two.admit(&id, &ann).await;
    until("what is told", async || two.bucket.told.load(Ordering::Relaxed) > 1).await;
    let mut station = two.station(&id).await;
    assert_eq!(station.ask(&read("1")).await["success"], true);
    assert_eq!(two.noting.last(), "ann");
    two.bucket.held.cancel();
    two.admit(&id, &bob).await;
    assert_eq!(station.ask(&read("2")).await["success"], true);
    assert_eq!(two.noting.last(), "bob", "without a token it is who was let in last");
    let answer = station.ask(&asking("3", &bob)).await;
    assert_eq!(answer["success"], true, "{answer}");
    two.bucket.is_away.store(true, Ordering::Relaxed);
    assert_eq!(code(&station.ask(&read("4")).await), "unavailable");
    two.close().await;
}
