//! What every bus does alike.

use super::*;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use tokio_util::task::TaskTracker;

macro_rules! over_all {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $name() { super::run(super::super::memory(super::super::WIDE), super::$name).await; })*
        }
        mod nats {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::run(super::super::nats(&super::current()).await, super::$name).await; })*
        }
        mod oldest_nats {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::run(super::super::nats(&super::oldest()).await, super::$name).await; })*
        }
    };
}

over_all!(
    a_fresh_bus_is_empty,
    changes_are_told_whole_and_in_order,
    what_was_published_is_dropped_when_published_again,
    a_part_that_is_kept_already_is_completed_in_order,
    every_position_can_be_followed_from,
    positions_that_are_not_of_the_bus_are_gone,
    nothing_is_missed_while_publishing_goes_on,
    followers_do_not_disturb_each_other,
    several_publishers_keep_their_own_order,
    a_huge_change_is_told_without_images,
    a_change_without_images_is_told_as_such,
    a_new_epoch_voids_every_position,
    the_latest_of_a_source_is_of_this_epoch,
);

async fn run<S: Subject, F: Future<Output = ()>>(subject: S, case: fn(Arc<dyn Bus>) -> F) {
    case(subject.bus()).await;
    subject.remove().await;
}

async fn a_fresh_bus_is_empty(bus: Arc<dyn Bus>) {
    let extent = bus.extent().await.expect("the bus answers");
    assert_eq!((extent.oldest, extent.latest), (0, 0));
    assert!(!extent.epoch.is_empty() && bus.is_connected());
    bus.publish(&[]).await.expect("nothing can be published");
}

async fn changes_are_told_whole_and_in_order(bus: Arc<dyn Bus>) {
    let sent = changes(1..=1234);
    bus.publish(&sent).await.expect("published");
    let mut deliveries = bus.follow(&position(&*bus, 0).await).await.expect("followed");
    let first = next(&mut deliveries).await.expect("a delivery");
    let Event::Change(told) = first.event else { panic!("{first:?}") };
    assert_eq!(serde_json::to_string(&*told).expect("JSON"), serde_json::to_string(&*sent[0]).expect("JSON"));
    let expected: Vec<_> = (2..=1234).map(|number| (number, number)).collect();
    assert_eq!(take(&mut deliveries, 1233).await, expected);
    let extent = bus.extent().await.expect("the bus answers");
    assert_eq!((extent.oldest, extent.latest), (0, 1234));
}

async fn what_was_published_is_dropped_when_published_again(bus: Arc<dyn Bus>) {
    bus.publish(&changes(1..=600)).await.expect("published");
    bus.publish(&changes(1..=600)).await.expect("published again");
    bus.publish(&changes([3])).await.expect("published again alone");
    bus.publish(&changes([601, 601])).await.expect("the same twice in one call");
    bus.publish(&changes([602])).await.expect("published");
    assert_eq!(bus.extent().await.expect("the bus answers").latest, 602);
    let mut deliveries = bus.follow(&position(&*bus, 0).await).await.expect("followed");
    let expected: Vec<_> = (1..=602).map(|number| (number, number)).collect();
    assert_eq!(take(&mut deliveries, 602).await, expected);
}

async fn a_part_that_is_kept_already_is_completed_in_order(bus: Arc<dyn Bus>) {
    bus.publish(&changes(1..=40)).await.expect("published");
    bus.publish(&changes(1..=1300)).await.expect("published again with more");
    let mut deliveries = bus.follow(&position(&*bus, 0).await).await.expect("followed");
    let expected: Vec<_> = (1..=1300).map(|number| (number, number)).collect();
    assert_eq!(take(&mut deliveries, 1300).await, expected);
}

async fn every_position_can_be_followed_from(bus: Arc<dyn Bus>) {
    bus.publish(&changes(1..=20)).await.expect("published");
    for after in 0..=20 {
        let mut deliveries = bus.follow(&position(&*bus, after).await).await.expect("followed");
        let expected: Vec<_> = (after + 1..=20).map(|number| (number, number)).collect();
        assert_eq!(take(&mut deliveries, expected.len()).await, expected);
    }
    let mut latest = bus.follow(&position(&*bus, 20).await).await.expect("followed");
    bus.publish(&changes([21])).await.expect("published");
    assert_eq!(take(&mut latest, 1).await, [(21, 21)]);
}

async fn positions_that_are_not_of_the_bus_are_gone(bus: Arc<dyn Bus>) {
    bus.publish(&changes(1..=3)).await.expect("published");
    assert!(is_gone(&bus.follow(&Position { epoch: "another".to_owned(), offset: 1 }).await));
    assert!(is_gone(&bus.follow(&position(&*bus, 4).await).await));
    let before = bus.extent().await.expect("the bus answers");
    assert!(is_gone(&bus.follow(&position(&*bus, u64::MAX).await).await));
    assert_eq!(bus.extent().await.expect("the bus answers"), before, "a position from outside changes nothing");
}

async fn nothing_is_missed_while_publishing_goes_on(bus: Arc<dyn Bus>) {
    let mut deliveries = bus.follow(&position(&*bus, 0).await).await.expect("followed");
    let publisher = {
        let bus = Arc::clone(&bus);
        TaskTracker::new().spawn(async move {
            for first in (1..=3000).step_by(75) {
                bus.publish(&changes(first..first + 75)).await.expect("published");
            }
        })
    };
    let expected: Vec<_> = (1..=3000).map(|number| (number, number)).collect();
    assert_eq!(take(&mut deliveries, 3000).await, expected);
    publisher.await.expect("the publisher did not panic");
}

async fn followers_do_not_disturb_each_other(bus: Arc<dyn Bus>) {
    bus.publish(&changes(1..=500)).await.expect("published");
    // One that takes nothing at all.
    let idle = bus.follow(&position(&*bus, 0).await).await.expect("followed");
    let tasks = TaskTracker::new();
    let mut followers = Vec::new();
    for index in 0..16_u64 {
        let after = position(&*bus, index * 30).await;
        let mut deliveries = bus.follow(&after).await.expect("followed");
        followers.push(tasks.spawn(async move {
            let expected: Vec<_> = (after.offset + 1..=1000).map(|number| (number, number)).collect();
            assert_eq!(take(&mut deliveries, expected.len()).await, expected);
        }));
    }
    bus.publish(&changes(501..=1000)).await.expect("published");
    for follower in followers {
        follower.await.expect("the follower got everything");
    }
    drop(idle);
}

async fn several_publishers_keep_their_own_order(bus: Arc<dyn Bus>) {
    let tasks = TaskTracker::new();
    let mut publishers = Vec::new();
    for publisher in 0..4_u64 {
        let bus = Arc::clone(&bus);
        publishers.push(tasks.spawn(async move {
            let base = publisher * 10_000;
            for first in (base..base + 500).step_by(50) {
                bus.publish(&changes(first..first + 50)).await.expect("published");
            }
        }));
    }
    let mut deliveries = bus.follow(&position(&*bus, 0).await).await.expect("followed");
    let taken = take(&mut deliveries, 2000).await;
    let offsets: Vec<u64> = taken.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, (1..=2000).collect::<Vec<_>>());
    for publisher in 0..4_u64 {
        let own: Vec<u64> = taken.iter().map(|(_, number)| *number).filter(|number| number / 10_000 == publisher).collect();
        assert_eq!(own, (publisher * 10_000..publisher * 10_000 + 500).collect::<Vec<_>>());
    }
    for publisher in publishers {
        publisher.await.expect("the publisher did not panic");
    }
}

async fn a_huge_change_is_told_without_images(bus: Arc<dyn Bus>) {
    let text = |bytes: usize| Some(to_raw_value(&json!({"body": "x".repeat(bytes)})).expect("JSON"));
    let large = Change { after: text(900_000), ..change(1) };
    let huge = Change { before: text(800_000), after: text(800_000), changed: vec!["body".to_owned()], ..change(2) };
    let key = Map::from_iter([("id".to_owned(), Value::from("k".repeat(2_000_000)))]);
    let absurd = Change { key, ..change(3) };
    let all: Vec<_> = [large, huge, absurd, change(4)].into_iter().map(Arc::new).collect();
    bus.publish(&all).await.expect("a huge change holds nobody up");
    let mut deliveries = bus.follow(&position(&*bus, 0).await).await.expect("followed");
    assert_eq!(take(&mut deliveries, 1).await, [(1, 1)]);
    let second = next(&mut deliveries).await.expect("a delivery");
    let Event::Omitted(told) = second.event else { panic!("it can't be whole") };
    assert_eq!((told.key["id"].as_u64(), told.entity.as_str()), (Some(2), "or.der *lines>"));
    assert!(told.before.is_none() && told.after.is_none() && told.changed.is_empty());
    let third = next(&mut deliveries).await.expect("a delivery");
    let Event::Omitted(told) = third.event else { panic!("it can't be whole") };
    assert!(told.key.is_empty() && told.id == "change-3");
    assert_eq!(take(&mut deliveries, 1).await, [(4, 4)]);
}

#[tokio::test]
async fn what_fell_out_of_memory_is_gone() {
    let subject = super::memory(Bounds { changes: 10, ..WIDE });
    let bus = subject.bus();
    bus.publish(&changes(1..=4)).await.expect("published");
    let mut behind = bus.follow(&position(&*bus, 0).await).await.expect("followed");
    assert_eq!(take(&mut behind, 1).await, [(1, 1)]);
    bus.publish(&changes(5..=1000)).await.expect("published");
    let extent = bus.extent().await.expect("the bus answers");
    assert_eq!((extent.oldest, extent.latest), (990, 1000));
    assert!(is_gone(&bus.follow(&position(&*bus, 989).await).await));
    let mut kept = bus.follow(&position(&*bus, 990).await).await.expect("followed");
    assert_eq!(take(&mut kept, 1).await, [(991, 991)]);
    // What the one behind took from the ring before is still told, then it ends.
    let mut told = BTreeSet::new();
    let end = loop {
        match next(&mut behind).await {
            Ok(delivery) => _ = told.insert(delivery.offset),
            Err(error) => break error,
        }
    };
    assert!(matches!(end, Error::Gone { offset: 4, .. }), "{end}");
    assert_eq!(told, BTreeSet::from([2, 3, 4]));
}

#[tokio::test]
async fn two_buses_in_memory_have_two_epochs() {
    let (one, other) = (super::memory(WIDE).bus(), super::memory(WIDE).bus());
    assert!(is_gone(&other.follow(&position(&*one, 0).await).await));
}

async fn a_change_without_images_is_told_as_such(bus: Arc<dyn Bus>) {
    let unknown = Change { after: None, ..change(1) };
    bus.publish(&[Arc::new(unknown)]).await.expect("published");
    let mut deliveries = bus.follow(&position(&*bus, 0).await).await.expect("followed");
    let told = next(&mut deliveries).await.expect("a delivery");
    let Event::Omitted(told) = told.event else { panic!("{told:?}") };
    assert_eq!((told.key["id"].as_u64(), told.entity.as_str()), (Some(1), "or.der *lines>"));
}

async fn a_new_epoch_voids_every_position(bus: Arc<dyn Bus>) {
    bus.publish(&changes(1..=10)).await.expect("published");
    let old = position(&*bus, 10).await;
    let mut idle = bus.follow(&old).await.expect("followed");
    bus.renew().await.expect("a new epoch begins");
    let end = next(&mut idle).await;
    assert!(matches!(end, Err(Error::Gone { offset: 10, .. })), "{end:?}");
    assert!(is_gone(&bus.follow(&old).await));
    let extent = bus.extent().await.expect("the bus answers");
    assert!(extent.epoch != old.epoch && extent.latest == 10, "{extent:?}");
    let mut follower = bus.follow(&position(&*bus, 10).await).await.expect("followed");
    // An id that was kept before may stand for something else now.
    bus.publish(&changes(10..=12)).await.expect("published");
    bus.publish(&changes(12..=13)).await.expect("published");
    assert_eq!(take(&mut follower, 4).await, [(11, 10), (12, 11), (13, 12), (14, 13)]);
    bus.renew().await.expect("a new epoch begins");
    assert!(is_gone(&bus.follow(&old).await));
}

async fn the_latest_of_a_source_is_of_this_epoch(bus: Arc<dyn Bus>) {
    let latest =
        async |source: &str| bus.latest_of(source).await.expect("the bus answers").map(|latest| latest.change.id.clone());
    let of = |source: &str, ids: RangeInclusive<u64>| -> Vec<Arc<Change>> {
        let changes = changes(ids);
        changes.iter().map(|change| Arc::new(Change { source: source.to_owned(), ..Change::clone(change) })).collect()
    };
    assert_eq!(latest("one.two *>").await, None);
    for (source, ids) in [("one.two *>", 1..=3), ("one", 4..=5), ("two *>", 6..=6)] {
        bus.publish(&of(source, ids)).await.expect("published");
    }
    let id = |number| changes(number..=number)[0].id.clone();
    assert_eq!([latest("one.two *>").await, latest("one").await, latest("none").await], [Some(id(3)), Some(id(5)), None]);
    let old = bus.latest_of("one").await.expect("the bus answers").expect("it has one").epoch;
    assert_eq!(old, bus.extent().await.expect("the bus answers").epoch);
    bus.renew_after(&old).await.expect("a new epoch begins");
    assert_eq!([latest("one.two *>").await, latest("one").await], [None, None]);
    let new = bus.extent().await.expect("the bus answers").epoch;
    bus.renew_after(&old).await.expect("somebody else has done it");
    assert!(new != old && bus.extent().await.expect("the bus answers").epoch == new);
    bus.publish(&of("one", 5..=5)).await.expect("published");
    assert_eq!([latest("one.two *>").await, latest("one").await], [None, Some(id(5))]);
}
