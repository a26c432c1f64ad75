//! Requests that hooks hold up or fail at: whoever asked is answered, and nobody else waits for it.

use super::{Shop, code, create, read};
use crate::support::mqtt::{Spoken, Station, shared};
use resolvespec::auth::Authentication;
use resolvespec::engine::{Context, Hook, Refusal};
use resolvespec::protocol::Operation;
use resolvespec::transport::mqtt::{Settings, Version};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Lets nothing through before it is opened.
struct Gate(Arc<Semaphore>);

#[async_trait::async_trait]
impl Hook for Gate {
    async fn before_handle(&self, _: Context<'_>) -> Result<(), Refusal> {
        _ = self.0.acquire().await;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_beyond_the_limit_is_answered() {
    let gate = Arc::new(Semaphore::new(0));
    let hooks: Vec<Arc<dyn Hook>> = vec![Arc::new(Gate(Arc::clone(&gate)))];
    // A broker of MQTT 5 would hold back what comes beyond.
    let few = |settings| Settings { max_in_flight: 1, version: Some(Version::V4), ..settings };
    let shop = Shop::hooked(&shared(), Authentication::Anonymous, hooks, few).await;
    let mut station = Station::connect(&shared(), &format!("{}-c", shop.prefix), &shop.prefix, Spoken::V5).await;
    station.wait_for_service().await;
    station.say(&read("first")).await;
    // Fewer than the broker sends without being answered.
    let mut missing: BTreeSet<String> = (0..15).map(|number| number.to_string()).collect();
    for id in &missing {
        station.say(&read(id)).await;
    }
    while !missing.is_empty() {
        let answer = station.hear().await.body;
        assert_eq!(code(&answer), "unavailable", "{answer}");
        assert!(missing.remove(answer["id"].as_str().expect("an id")), "{answer}");
    }
    gate.add_permits(1);
    let answer = station.hear().await.body;
    assert_eq!((&answer["id"], &answer["success"]), (&"first".into(), &true.into()), "{answer}");
    shop.close().await;
}

/// Lets no create through before it is opened.
struct Slow(Arc<Semaphore>);

#[async_trait::async_trait]
impl Hook for Slow {
    async fn before_handle(&self, context: Context<'_>) -> Result<(), Refusal> {
        if context.operation == Operation::Create {
            _ = self.0.acquire().await;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_requests_take_long_holds_up_nobody_else() {
    for version in [Version::V5, Version::V4] {
        let gate = Arc::new(Semaphore::new(0));
        let hooks: Vec<Arc<dyn Hook>> = vec![Arc::new(Slow(Arc::clone(&gate)))];
        // By either version the broker sends no more than so many that are not acknowledged.
        let as_usual = |settings| Settings { version: Some(version), ..settings };
        let shop = Shop::hooked(&shared(), Authentication::Anonymous, hooks, as_usual).await;
        let mut ann = Station::connect(&shared(), &format!("{}-a", shop.prefix), &shop.prefix, Spoken::V5).await;
        let mut bob = Station::connect(&shared(), &format!("{}-b", shop.prefix), &shop.prefix, Spoken::V5).await;
        ann.wait_for_service().await;
        for number in 0..200 {
            ann.say(&create(&number.to_string(), "slow")).await;
        }
        assert_eq!(bob.ask(&read("1")).await["success"], true);
        // One is worked on, and 16 wait.
        let mut refused: BTreeSet<u32> = BTreeSet::new();
        for _ in 17..200 {
            let answer = ann.hear().await.body;
            assert_eq!(code(&answer), "unavailable", "{answer}");
            refused.insert(answer["id"].as_str().expect("an id").parse().expect("a number"));
        }
        assert!(refused.into_iter().eq(17..200));
        gate.add_permits(200);
        for number in 0..17 {
            let answer = ann.hear().await.body;
            assert_eq!((&answer["id"], &answer["success"]), (&number.to_string().into(), &true.into()), "{answer}");
        }
        shop.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_quick_requests_of_a_client_at_once_are_all_done() {
    for version in [Version::V5, Version::V4] {
        let as_usual = |settings| Settings { version: Some(version), ..settings };
        let shop = Shop::hooked(&shared(), Authentication::Anonymous, Vec::new(), as_usual).await;
        let mut station = Station::connect(&shared(), &format!("{}-c", shop.prefix), &shop.prefix, Spoken::V5).await;
        station.wait_for_service().await;
        for number in 0..80 {
            station.say(&read(&number.to_string())).await;
        }
        for number in 0..80 {
            let answer = station.hear().await.body;
            assert_eq!((&answer["id"], &answer["success"]), (&number.to_string().into(), &true.into()), "{answer}");
        }
        shop.close().await;
    }
}

/// Panics at whatever is created.
struct Clumsy;

#[async_trait::async_trait]
impl Hook for Clumsy {
    async fn before_handle(&self, context: Context<'_>) -> Result<(), Refusal> {
        assert_ne!(context.operation, Operation::Create, "as a hook that has a fault");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_panics_is_answered_and_holds_up_nobody() {
    let hooks: Vec<Arc<dyn Hook>> = vec![Arc::new(Clumsy)];
    let shop = Shop::hooked(&shared(), Authentication::Anonymous, hooks, |settings| settings).await;
    let mut station = Station::connect(&shared(), &format!("{}-c", shop.prefix), &shop.prefix, Spoken::V5).await;
    station.wait_for_service().await;
    for message in [create("1", "x"), read("2"), create("3", "y"), read("4")] {
        station.say(&message).await;
    }
    for (id, failure) in [("1", "internal_error"), ("2", ""), ("3", "internal_error"), ("4", "")] {
        let answer = station.hear().await.body;
        assert_eq!((answer["id"].as_str(), code(&answer)), (Some(id), failure), "{answer}");
    }
    shop.close().await;
}
