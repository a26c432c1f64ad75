//! A stream in NATS that is no longer what it was: bounded, deleted, made again, restored, adapted, or written to by others.

use super::*;
use crate::support::nats::OwnNats;
use resolvespec::nats::Storage;
use std::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fell_out_of_the_stream_is_gone() {
    let settings = StreamSettings { max_bytes: 200_000, ..stream_settings() };
    let raw = raw(&current()).await;
    let bus = NatsBus::open(&connection(&current()).await, settings.clone()).await.expect("opened");
    bus.publish(&changes(1..=100)).await.expect("published");
    bus.publish(&changes(101..=4000)).await.expect("published");
    let extent = bus.extent().await.expect("the bus answers");
    assert!(extent.oldest > 100 && extent.latest == 4000, "{extent:?}");
    assert!(is_gone(&bus.follow(&position(&bus, 0).await).await));
    assert!(is_gone(&bus.follow(&position(&bus, extent.oldest - 1).await).await));
    let mut kept = bus.follow(&position(&bus, extent.oldest).await).await.expect("followed");
    assert_eq!(take(&mut kept, 1).await, [(extent.oldest + 1, extent.oldest + 1)]);
    raw.delete_stream(&settings.name).await.expect("deleted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_within_the_stream_ends_a_follower() {
    let subject = nats(&current()).await;
    let bus = subject.bus();
    bus.publish(&changes(1..=10)).await.expect("published");
    let stream = subject.raw.get_stream(&subject.name).await.expect("there");
    stream.delete_message(6).await.expect("deleted");
    let mut deliveries = bus.follow(&position(&*bus, 2).await).await.expect("followed");
    assert_eq!(take(&mut deliveries, 3).await, [(3, 3), (4, 4), (5, 5)]);
    let end = next(&mut deliveries).await;
    assert!(matches!(end, Err(Error::Gone { offset: 5, .. })), "{end:?}");
    subject.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_made_again_has_another_epoch() {
    let subject = nats(&current()).await;
    let bus = subject.bus();
    bus.publish(&changes(1..=10)).await.expect("published");
    let old = position(&*bus, 10).await;
    let mut deliveries = bus.follow(&old).await.expect("followed");
    subject.remove().await;
    // The relay finds no stream, makes it, and goes on.
    bus.publish(&changes(11..=30)).await.expect("published");
    let since = Instant::now();
    let end = next(&mut deliveries).await;
    assert!(matches!(end, Err(Error::Gone { offset: 10, .. })), "{end:?}");
    assert!(since.elapsed() < Duration::from_secs(6), "it took {:?}", since.elapsed());
    assert!(is_gone(&bus.follow(&old).await));
    let mut again = bus.follow(&position(&*bus, 0).await).await.expect("followed");
    assert_eq!(take(&mut again, 2).await, [(1, 11), (2, 12)]);
    subject.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_lost_its_end_gets_another_epoch() {
    let own = OwnNats::start("bus-restored");
    let settings = stream_settings();
    let replica = NatsBus::open(&connection(&own.url()).await, settings.clone()).await.expect("opened");
    let other = NatsBus::open(&connection(&own.url()).await, settings).await.expect("opened");
    replica.publish(&changes(1..=5)).await.expect("published");
    own.kill();
    own.save();
    own.restart();
    publish_until_kept(&replica, 6..=10).await;
    let old = position(&replica, 10).await;
    let mut idle = other.follow(&old).await.expect("followed");
    own.kill();
    own.restore();
    own.restart();
    // The same offsets are given away again at once, so only who remembers the old end can notice.
    publish_until_kept(&replica, 11..=40).await;
    let end = next(&mut idle).await;
    assert!(matches!(end, Err(Error::Gone { offset: 10, .. })), "{end:?}");
    assert!(is_gone(&other.follow(&old).await));
    assert_ne!(other.extent().await.expect("the bus answers").epoch, old.epoch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_adapted_to_other_settings() {
    let subject = nats(&current()).await;
    subject.bus().publish(&changes(1..=3)).await.expect("published");
    let before = subject.bus().extent().await.expect("the bus answers");
    let connection = connection(&current()).await;
    let wanted = StreamSettings {
        name: subject.name.clone(),
        prefix: subject.name.clone(),
        max_age: Duration::from_hours(1),
        max_bytes: 1 << 20,
        ..StreamSettings::default()
    };
    let bus = NatsBus::open(&connection, wanted.clone()).await.expect("opened with other bounds");
    assert_eq!(bus.extent().await.expect("the bus answers"), before, "positions stay good");
    let config = subject.raw.get_stream(&subject.name).await.expect("there").cached_info().config.clone();
    assert_eq!((config.max_age, config.max_bytes), (Duration::from_hours(1), 1 << 20));
    let outcome = NatsBus::open(&connection, StreamSettings { storage: Storage::Memory, ..wanted }).await;
    assert!(matches!(outcome.err(), Some(Error::Unusable(_))));
    subject.remove().await;
}

#[tokio::test]
async fn settings_that_can_not_work_are_refused() {
    let connection = connection(&current()).await;
    for settings in [
        StreamSettings { prefix: "a.*".to_owned(), ..stream_settings() },
        StreamSettings { prefix: String::new(), ..stream_settings() },
        StreamSettings { name: "a.b".to_owned(), ..stream_settings() },
        StreamSettings { batch: 0, ..stream_settings() },
        StreamSettings { replicas: 3, ..stream_settings() },
    ] {
        let outcome = NatsBus::open(&connection, settings.clone()).await;
        let error = outcome.err().expect("refused");
        assert!(matches!(error, Error::Unusable(_)), "{error}: {settings:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_else_wrote_is_told_as_unreadable() {
    let subject = nats(&current()).await;
    let bus = subject.bus();
    bus.publish(&changes([1])).await.expect("published");
    let foreign = subject.raw.publish(format!("{}.hello", subject.name), "no change".into()).await.expect("sent");
    foreign.await.expect("kept");
    bus.publish(&changes([2])).await.expect("published");
    let mut deliveries = bus.follow(&position(&*bus, 1).await).await.expect("followed");
    let odd = next(&mut deliveries).await.expect("a delivery");
    assert!(matches!(odd, Delivery { offset: 2, event: Event::Unreadable }), "{odd:?}");
    assert_eq!(take(&mut deliveries, 1).await, [(3, 2)]);
    subject.remove().await;
}

#[tokio::test]
async fn a_replica_has_one_consumer_and_leaves_none_for_long() {
    let subject = nats(&current()).await;
    let bus = subject.bus();
    bus.publish(&changes(1..=3)).await.expect("published");
    let mut deliveries = bus.follow(&position(&*bus, 0).await).await.expect("followed");
    assert_eq!(take(&mut deliveries, 3).await.len(), 3);
    let stream = subject.raw.get_stream(&subject.name).await.expect("there");
    assert_eq!(stream.cached_info().state.consumer_count, 1);
    drop(deliveries);
    // Those who resume come and go, and what they leave must not add up.
    for _ in 0..20 {
        let mut deliveries = bus.follow(&position(&*bus, 0).await).await.expect("followed");
        assert_eq!(take(&mut deliveries, 3).await.len(), 3);
    }
    let since = Instant::now();
    while stream.get_info().await.expect("there").state.consumer_count > 0 {
        // The server itself looks after consumers that nobody asks after 15 seconds.
        assert!(since.elapsed() < Duration::from_secs(10), "the consumers stay");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    subject.remove().await;
}

async fn publish_until_kept(bus: &NatsBus, numbers: std::ops::RangeInclusive<u64>) {
    let since = Instant::now();
    let all = changes(numbers);
    while let Err(error) = bus.publish(&all).await {
        assert!(since.elapsed() < DEADLINE, "{error}");
        // The pause of the retry, so that it does not spin.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A replica that takes over from the one that has begun an epoch may have heard nothing of it yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_the_latest_publishes_in_the_epoch_that_it_is_told_of() {
    let subject = nats(&current()).await;
    let other = NatsBus::open(
        &connection(&current()).await,
        StreamSettings { name: subject.name.clone(), prefix: subject.name.clone(), ..StreamSettings::default() },
    )
    .await
    .expect("opened");
    let bus = subject.bus();
    bus.publish(&changes(1..=3)).await.expect("published");
    bus.renew().await.expect("a new epoch begins");
    assert!(other.latest_of("shop").await.expect("the bus answers").is_none());
    other.publish(&changes(3..=3)).await.expect("published");
    let extent = bus.extent().await.expect("the bus answers");
    assert_eq!(extent.latest, 4, "the id was another change's in the epoch before");
    subject.remove().await;
}
