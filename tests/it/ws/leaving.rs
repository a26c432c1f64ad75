//! How connections end: with the replica, by silence, by not taking what is sent, by breaking off.

use super::{Shop, until};
use async_trait::async_trait;
use futures_util::future::join_all;
use resolvespec::config::Config;
use resolvespec::engine::{Context, Hook, Refusal};
use resolvespec::protocol::Operation;
use resolvespec::transport::ws::Settings;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;

/// Holds every create until it is let go, tells that it came, and tells when it is given up.
#[derive(Default)]
struct Hold {
    came: Signal,
    go: Signal,
    left: Signal,
}

struct Signal(Semaphore);

impl Default for Signal {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Signal {
    async fn wait(&self) {
        let wait = tokio::time::timeout(Duration::from_secs(20), self.0.acquire());
        wait.await.expect("in time").expect("the semaphore stays open").forget();
    }
}

struct Left<'a>(&'a Signal);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.0.add_permits(1);
    }
}

#[async_trait]
impl Hook for Hold {
    async fn before_handle(&self, context: Context<'_>) -> Result<(), Refusal> {
        if context.operation == Operation::Create {
            let _left = Left(&self.left);
            self.came.0.add_permits(1);
            self.go.wait().await;
        }
        Ok(())
    }
}

fn create(id: &str) -> Value {
    json!({"id": id, "type": "request", "operation": "create", "entity": "items", "data": {"name": id}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_ends_answers_what_has_begun_and_says_reconnect() {
    let hold = Arc::new(Hold::default());
    let times = |config| Config { leave_time: Duration::ZERO, drain_time: Duration::from_secs(30), ..config };
    let mut shop = Shop::open(times, vec![hold.clone()]).await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(shop.session().await);
    }
    let mut busy = shop.session().await;
    busy.say(&create("begun")).await;
    hold.came.wait().await;
    busy.say(&json!({"id": "p", "type": "ping"})).await;
    until("the ping waits", async || {
        let page = shop.page("/admin/connections").await;
        page["connections"].as_array().is_some_and(|all| all.iter().any(|one| one["received"]["messages"] == 2))
    })
    .await;
    shop.end();
    for session in idle {
        let (code, reason) = session.closed().await;
        assert_eq!(code, 1012);
        assert_eq!(reason, "unavailable: this replica ends; reconnect", "there is no session to come again with");
    }
    assert!(!shop.running.has_ended(), "it waits for what has begun");
    hold.go.0.add_permits(1);
    let answer = busy.hear().await;
    assert_eq!((&answer["id"], &answer["success"]), (&json!("begun"), &json!(true)));
    assert_eq!(busy.hear().await["id"], "p");
    assert_eq!(busy.closed().await.0, 1012);
    shop.close().await;
}

/// They connect again at once, and would come to those that stay all at the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_ends_sends_its_clients_away_one_after_the_other_in_no_order() {
    const CLIENTS: usize = 100;
    let times = |config| Config { leave_time: Duration::ZERO, drain_time: Duration::from_secs(30), ..config };
    let mut shop = Shop::open(times, Vec::new()).await;
    let mut sessions = Vec::new();
    for _ in 0..CLIENTS {
        sessions.push(shop.session().await);
    }
    shop.end();
    let closings = sessions.into_iter().enumerate().map(async |(number, session)| {
        assert_eq!(session.closed().await.0, 1012);
        (Instant::now(), number)
    });
    let mut closings = join_all(closings).await;
    closings.sort();
    let took = closings[CLIENTS - 1].0 - closings[0].0;
    // A hundredth of a second for each. Half of it is for a machine on which the first are heard late.
    assert!(took >= Duration::from_millis(500), "all within {took:?}");
    assert!(!closings.is_sorted_by_key(|(_, number)| *number), "in the order in which they had come");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_from_which_nothing_comes_is_closed() {
    let settings = Settings { ping_interval: Duration::from_millis(300), ..Settings::default() };
    let shop = Shop::open(|config| Config { ws: settings, ..config }, Vec::new()).await;
    let mut deaf = shop.session().await;
    let mut heard = Vec::new();
    let everything = tokio::time::timeout(Duration::from_secs(20), deaf.stream().read_to_end(&mut heard)).await;
    everything.expect("the end in time").expect("no error");
    assert_eq!(&heard[..2], [0x89, 4], "it is pinged once, with the number of the ping");
    assert_eq!((heard[6], &heard[8..10]), (0x88, &4002_u16.to_be_bytes()[..]), "and then closed");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_answers_pings_stays() {
    let settings = Settings { ping_interval: Duration::from_millis(100), ..Settings::default() };
    let shop = Shop::open(|config| Config { ws: settings, ..config }, Vec::new()).await;
    let mut session = shop.session().await;
    let waited = tokio::time::timeout(Duration::from_secs(1), session.next()).await;
    assert!(waited.is_err(), "nothing but pings comes: {waited:?}");
    assert_eq!(session.ask(&json!({"type": "ping"})).await["type"], "pong");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_given_up() {
    let settings = Settings { write_time: Duration::from_millis(300), ..Settings::default() };
    let shop = Shop::open(|config| Config { ws: settings, ..config }, Vec::new()).await;
    let mut session = shop.session().await;
    let large = json!({"id": "c", "type": "request", "operation": "create", "entity": "items",
        "data": {"name": "x".repeat(1024 * 1024)}});
    assert_eq!(session.ask(&large).await["success"], true);
    for number in 0..20 {
        session.say(&json!({"id": number.to_string(), "type": "request", "operation": "read", "entity": "items"})).await;
    }
    shop.counts(r#"resolvespec_ws_connections_closed_total{code="4004"} 1"#).await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_off_leaves_nothing_behind() {
    let hold = Arc::new(Hold::default());
    let shop = Shop::open(|config| config, vec![hold.clone()]).await;
    let mut session = shop.session().await;
    session.say(&create("begun")).await;
    hold.came.wait().await;
    drop(session);
    hold.left.wait().await;
    shop.counts(r#"resolvespec_ws_connections_closed_total{code="gone"} 1"#).await;
    shop.counts("resolvespec_ws_connections 0").await;
    assert_eq!(shop.page("/admin/connections").await["total"], 0);
    shop.close().await;
}
