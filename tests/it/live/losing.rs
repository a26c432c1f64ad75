//! What can't be told is said to be so.

use super::{Kind, Stage, brief, subscribed, told};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use futures_util::StreamExt;
use resolvespec::event::bus::{Bus, Deliveries, Error, Extent, Latest, MemoryBus, MemorySettings};
use resolvespec::protocol::{Change, Position};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_the_entity_of_a_change_that_was_too_large_reads_again() {
    let bus = MemoryBus::new(MemorySettings { max_change_bytes: 600, ..MemorySettings::default() });
    let stage = Stage::over(Kind::Sqlite, bus).await;
    let (mut items, mut boxes) = (stage.session().await, stage.session().await);
    subscribed(&mut items, "items", json!({"filters": [super::eq("kind", "pen")]})).await;
    subscribed(&mut boxes, "boxes", json!({})).await;
    stage.run(&format!("insert into items values (1, '{}', 'pen', 1)", "x".repeat(700))).await;
    stage.run("insert into boxes values (1, 1)").await;
    stage.run("insert into items values (2, 'small', 'pen', 1)").await;
    let message = told(&mut items).await;
    assert_eq!((&message["operation"], &message["reason"]), (&json!("resync_required"), &json!("change_omitted")), "{message}");
    assert_eq!((&message["entity"], &message["position"]["offset"]), (&json!("items"), &json!(1)));
    assert_eq!(brief(&mut items).await.0, "create", "and then it goes on");
    assert_eq!(brief(&mut boxes).await.0, "create");
    drop((items, boxes));
    stage.close().await;
}

/// A bus that can lose everything, or break off.
#[derive(Clone)]
struct Fragile {
    inner: Arc<ArcSwap<MemoryBus>>,
    cuts: watch::Sender<bool>,
    /// Whether it can't be asked what it has.
    mute: Arc<AtomicBool>,
}

impl Default for Fragile {
    fn default() -> Self {
        let inner = ArcSwap::from_pointee(MemoryBus::new(MemorySettings::default()));
        Self { inner: Arc::new(inner), cuts: watch::channel(false).0, mute: Arc::default() }
    }
}

impl Fragile {
    fn lose(&self) {
        self.inner.store(Arc::new(MemoryBus::new(MemorySettings::default())));
        self.cuts.send_replace(true);
    }

    fn cut(&self) {
        self.cuts.send_replace(false);
    }
}

#[async_trait]
impl Bus for Fragile {
    async fn publish(&self, changes: &[Arc<Change>]) -> Result<(), Error> {
        self.inner.load_full().publish(changes).await
    }

    async fn extent(&self) -> Result<Extent, Error> {
        if self.mute.load(Ordering::Relaxed) {
            return Err(Error::Unavailable("it is mute".to_owned()));
        }
        self.inner.load_full().extent().await
    }

    async fn latest_of(&self, source: &str) -> Result<Option<Latest>, Error> {
        self.inner.load_full().latest_of(source).await
    }

    async fn follow(&self, after: &Position) -> Result<Deliveries, Error> {
        let mut cuts = self.cuts.subscribe();
        let after = after.clone();
        let inner = self.inner.load_full().follow(&after).await?;
        let cut = futures_util::stream::once(async move {
            let lost = cuts.changed().await.is_ok() && *cuts.borrow();
            Err(if lost { Error::Gone { epoch: after.epoch, offset: 0 } } else { Error::Unavailable("it was cut".to_owned()) })
        });
        Ok(futures_util::stream::select(inner, cut).boxed())
    }

    async fn renew(&self) -> Result<(), Error> {
        self.inner.load_full().renew().await
    }

    async fn renew_after(&self, epoch: &str) -> Result<(), Error> {
        self.inner.load_full().renew_after(epoch).await
    }

    fn is_connected(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_has_lost_what_came_next_makes_everyone_read_again() {
    let bus = Fragile::default();
    let stage = Stage::over(Kind::Sqlite, bus.clone()).await;
    let (mut items, mut boxes) = (stage.session().await, stage.session().await);
    subscribed(&mut items, "items", json!({})).await;
    subscribed(&mut boxes, "boxes", json!({"filters": [super::eq("size", 7)]})).await;
    stage.run("insert into boxes values (1, 7)").await;
    let old = told(&mut boxes).await["position"].clone();
    bus.lose();
    for session in [&mut items, &mut boxes] {
        let message = told(session).await;
        assert_eq!((&message["operation"], &message["reason"]), (&json!("resync_required"), &json!("changes_lost")), "{message}");
        assert_ne!(message["position"]["epoch"], old["epoch"]);
    }
    stage.run("insert into boxes values (2, 7)").await;
    let message = told(&mut boxes).await;
    assert_eq!((&message["data"]["id"], &message["position"]["offset"]), (&json!(2), &json!(1)));
    let error = super::subscribe(&mut items, "boxes", json!({"resume": old})).await.expect_err("it is of another epoch");
    assert_eq!(error["code"], "resync_required");
    stage.counts("resolvespec_live_resyncs_total", 1).await;
    drop((items, boxes));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_breaks_off_is_taken_up_where_it_was() {
    let bus = Fragile::default();
    let stage = Stage::over(Kind::Sqlite, bus.clone()).await;
    let mut boxes = stage.session().await;
    subscribed(&mut boxes, "boxes", json!({})).await;
    for id in 1..=30 {
        stage.run(&format!("insert into boxes values ({id}, 0)")).await;
        if id % 10 == 5 {
            bus.cut();
        }
    }
    for id in 1..=30 {
        assert_eq!(told(&mut boxes).await["data"]["id"], id);
    }
    drop(boxes);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_lost_makes_everyone_read_again() {
    let stage = Stage::by_the_log().await;
    let mut session = stage.session().await;
    let begun = subscribed(&mut session, "boxes", json!({})).await;
    stage.run("insert into boxes values (1, 7)").await;
    let old = told(&mut session).await["position"].clone();
    assert_eq!(old["epoch"], begun["position"]["epoch"]);
    // A row that nobody can be told: the slot goes with it.
    let lose = "do $$ declare pid int; begin
          select active_pid into pid from pg_replication_slots where database = current_database();
          perform pg_terminate_backend(pid, 5000);
          insert into boxes values (2, 7);
          perform pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database();
        end $$";
    stage.run(lose).await;
    let message = told(&mut session).await;
    assert_eq!((&message["operation"], &message["reason"]), (&json!("resync_required"), &json!("changes_lost")), "{message}");
    stage.run("insert into boxes values (3, 7)").await;
    let message = told(&mut session).await;
    assert_eq!(message["data"]["id"], json!(3), "{message}");
    assert_ne!(message["position"]["epoch"], old["epoch"]);
    drop(session);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_that_the_log_tells_makes_the_entity_s_subscribers_read_again() {
    let stage = Stage::by_the_log().await;
    let (mut items, mut boxes) = (stage.session().await, stage.session().await);
    subscribed(&mut items, "items", json!({})).await;
    subscribed(&mut boxes, "boxes", json!({})).await;
    stage.run("truncate boxes").await;
    let message = told(&mut boxes).await;
    assert_eq!((&message["operation"], &message["reason"]), (&json!("resync_required"), &json!("change_omitted")), "{message}");
    stage.run("insert into items values (1, 'x', 'y', 1)").await;
    assert_eq!(told(&mut items).await["operation"], json!("create"));
    drop((items, boxes));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_can_not_be_restored_now_can_be_later() {
    let bus = Fragile::default();
    let stage = Stage::over(Kind::Sqlite, bus.clone()).await;
    let mut session = stage.session().await;
    let begun = subscribed(&mut session, "boxes", json!({})).await;
    drop(session);
    bus.mute.store(true, Ordering::Relaxed);
    let (mut session, said) = super::come_back(&stage.first, &begun["session"]).await;
    assert_eq!(said["error"]["code"], "unavailable", "{said}");
    let error = super::subscribe(&mut session, "boxes", json!({"snapshot": true})).await.expect_err("nor can others begin");
    assert_eq!(error["code"], "unavailable");
    stage.counts("resolvespec_live_subscriptions", 0).await;
    drop(session);
    bus.mute.store(false, Ordering::Relaxed);
    stage.run("insert into boxes values (1, 0)").await;
    let (mut session, said) = super::come_back(&stage.first, &begun["session"]).await;
    assert_eq!(said["restored"][0]["subscription_id"], begun["subscription_id"], "{said}");
    assert_eq!(told(&mut session).await["data"]["id"], 1);
    drop(session);
    stage.close().await;
}
