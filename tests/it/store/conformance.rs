//! What every bucket does alike.

use super::*;
use tokio_util::task::TaskTracker;

macro_rules! over_all {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test] async fn $name() { super::run(super::super::memory(), super::$name).await; })*
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
    a_value_is_there_until_it_is_deleted,
    any_text_is_a_key,
    a_value_goes_with_its_lifetime,
    a_large_value_comes_back_whole,
    readers_of_a_large_value_never_see_a_mixture,
    a_value_is_replaced_only_if_nobody_was_quicker,
    a_value_is_removed_only_if_nobody_was_quicker,
    a_watcher_learns_what_is_there_and_what_changes,
    a_watcher_learns_of_the_end_of_a_lifetime,
    a_watcher_gets_large_values,
);

async fn run<S: Subject, F: Future<Output = ()>>(subject: S, case: fn(Arc<dyn Bucket>) -> F) {
    case(subject.bucket()).await;
    subject.remove().await;
}

async fn put(bucket: &dyn Bucket, key: &str, value: &str) -> u64 {
    bucket.put(key, Bytes::from(value.to_owned()), None).await.expect("put")
}

async fn value(bucket: &dyn Bucket, key: &str) -> Option<Bytes> {
    bucket.get(key).await.expect("the bucket answers").map(|entry| entry.value)
}

async fn a_value_is_there_until_it_is_deleted(bucket: Arc<dyn Bucket>) {
    assert_eq!(value(&*bucket, "a").await, None);
    let first = put(&*bucket, "a", "1").await;
    let other = put(&*bucket, "b", "x").await;
    let second = put(&*bucket, "a", "2").await;
    assert!(first < other && other < second);
    let entry = bucket.get("a").await.expect("the bucket answers").expect("there");
    assert_eq!((entry.key.as_str(), entry.value.as_ref(), entry.revision), ("a", &b"2"[..], second));
    bucket.delete("a").await.expect("deleted");
    bucket.delete("a").await.expect("deleted again");
    assert_eq!(value(&*bucket, "a").await, None);
    assert_eq!(value(&*bucket, "b").await, Some(Bytes::from("x")));
    assert!(put(&*bucket, "a", "").await > second);
    assert_eq!(value(&*bucket, "a").await, Some(Bytes::new()), "an empty value is a value");
}

async fn a_value_is_replaced_only_if_nobody_was_quicker(bucket: Arc<dyn Bucket>) {
    let large = Bytes::from(vec![b'x'; 3 << 20]);
    for first in [Bytes::from("1"), large.clone()] {
        let made = bucket.replace("a", first.clone(), None, None).await.expect("answered").expect("nothing was there");
        assert_eq!(bucket.replace("a", Bytes::from("2"), None, None).await.expect("answered"), None, "something is there");
        assert_eq!(
            bucket.replace("a", Bytes::from("2"), Some(made - 1), None).await.expect("answered"),
            None,
            "another is there"
        );
        assert_eq!(value(&*bucket, "a").await, Some(first));
        let put = put(&*bucket, "b", "x").await;
        let second = bucket.replace("a", large.clone(), Some(made), None).await.expect("answered").expect("it is still that one");
        assert!(second > put);
        assert_eq!(bucket.replace("a", Bytes::from("3"), Some(made), None).await.expect("answered"), None, "it was replaced");
        assert_eq!(value(&*bucket, "a").await, Some(large.clone()));
        bucket.delete("a").await.expect("deleted");
        assert_eq!(bucket.replace("a", Bytes::from("3"), Some(second), None).await.expect("answered"), None, "it was deleted");
    }
    let tasks = (0..20).map(|number| {
        let bucket = Arc::clone(&bucket);
        async move { bucket.replace("race", Bytes::from(number.to_string()), None, None).await.expect("answered") }
    });
    let won = futures_util::future::join_all(tasks).await.into_iter().flatten().count();
    assert_eq!(won, 1, "of all who found nothing, one was the first");
}

async fn a_value_is_removed_only_if_nobody_was_quicker(bucket: Arc<dyn Bucket>) {
    let mut watch = bucket.watch().await.expect("watched");
    let mut mirror = Mirror::default();
    assert!(!bucket.remove("a", 1).await.expect("answered"), "there is nothing");
    for value in [Bytes::from("1"), Bytes::from(vec![b'x'; 3 << 20])] {
        let first = bucket.put("a", value.clone(), None).await.expect("put");
        let second = bucket.put("a", value, None).await.expect("put");
        assert!(!bucket.remove("a", first).await.expect("answered"), "another is there");
        assert!(bucket.get("a").await.expect("answered").is_some());
        assert!(bucket.remove("a", second).await.expect("answered"));
        assert!(!bucket.remove("a", second).await.expect("answered"), "it was removed");
        assert!(bucket.get("a").await.expect("answered").is_none());
        assert!(bucket.replace("a", Bytes::from("2"), None, None).await.expect("answered").is_some(), "it can come again");
    }
    mirror.comes_to(&mut watch, &[("a", "2")]).await;
}

async fn any_text_is_a_key(bucket: Arc<dyn Bucket>) {
    let keys = ["", "a", "A", "a.b", "*", ">", "session/1 2", "ü", "=", ".", "a."];
    for (index, key) in keys.iter().enumerate() {
        put(&*bucket, key, &index.to_string()).await;
    }
    for (index, key) in keys.iter().enumerate() {
        assert_eq!(value(&*bucket, key).await, Some(Bytes::from(index.to_string())), "{key}");
    }
}

async fn a_value_goes_with_its_lifetime(bucket: Arc<dyn Bucket>) {
    let lifetime = Some(Duration::from_secs(1));
    bucket.put("short", Bytes::from("x"), lifetime).await.expect("put");
    bucket.put("prolonged", Bytes::from("x"), lifetime).await.expect("put");
    bucket.put("prolonged", Bytes::from("y"), Some(Duration::from_hours(1))).await.expect("put");
    let begun = bucket.replace("replaced", Bytes::from("x"), None, Some(Duration::from_hours(1))).await.expect("answered");
    let shortened = bucket.replace("replaced", Bytes::from("y"), begun, lifetime).await.expect("answered");
    assert!(shortened > begun);
    put(&*bucket, "long", "x").await;
    assert_eq!(value(&*bucket, "short").await, Some(Bytes::from("x")));
    let gone = async {
        while value(&*bucket, "short").await.is_some() || value(&*bucket, "replaced").await.is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, gone).await.expect("they go");
    assert_eq!(bucket.replace("replaced", Bytes::from("z"), shortened, None).await.expect("answered"), None, "it is gone");
    assert!(bucket.replace("replaced", Bytes::from("z"), None, None).await.expect("answered").is_some());
    assert_eq!(value(&*bucket, "prolonged").await, Some(Bytes::from("y")));
    assert_eq!(value(&*bucket, "long").await, Some(Bytes::from("x")));
}

async fn a_large_value_comes_back_whole(bucket: Arc<dyn Bucket>) {
    let large =
        |seed: u32, bytes: u32| (0..bytes).map(|index| (index.wrapping_mul(seed) >> 3).to_le_bytes()[0]).collect::<Bytes>();
    for (seed, bytes) in [(31, 3_000_000), (37, 5_500_001), (41, 600_000)] {
        let sent = large(seed, bytes);
        bucket.put("catalog", sent.clone(), None).await.expect("put");
        assert!(value(&*bucket, "catalog").await == Some(sent), "{bytes} bytes come back as they were");
    }
    put(&*bucket, "catalog", "small again").await;
    assert_eq!(value(&*bucket, "catalog").await, Some(Bytes::from("small again")));
    bucket.put("catalog", large(3, 2_000_000), None).await.expect("put");
    bucket.delete("catalog").await.expect("deleted");
    assert_eq!(value(&*bucket, "catalog").await, None);
}

async fn readers_of_a_large_value_never_see_a_mixture(bucket: Arc<dyn Bucket>) {
    let whole = |letter: u8| Bytes::from(vec![letter; 1_200_000]);
    bucket.put("catalog", whole(b'a'), None).await.expect("put");
    let tasks = TaskTracker::new();
    let mut writers = Vec::new();
    for letters in [b"bcdefg", b"hijklm"] {
        let bucket = Arc::clone(&bucket);
        writers.push(tasks.spawn(async move {
            for letter in letters {
                bucket.put("catalog", Bytes::from(vec![*letter; 1_200_000]), None).await.expect("put");
            }
        }));
    }
    while writers.iter().any(|writer| !writer.is_finished()) {
        match bucket.get("catalog").await {
            Ok(entry) => {
                let seen = entry.expect("there").value;
                assert!(seen == whole(seen[0]), "a mixture");
            }
            // A reader that is slower than two writers is told so.
            Err(error) => assert!(matches!(error, Error::Unavailable(_)), "{error}"),
        }
        // Memory never waits, and the writers need their turn.
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.expect("the writer did not panic");
    }
    let last = value(&*bucket, "catalog").await.expect("there");
    assert!(last == whole(b'g') || last == whole(b'm'));
}

async fn a_watcher_learns_what_is_there_and_what_changes(bucket: Arc<dyn Bucket>) {
    let mut empty = bucket.watch().await.expect("watched");
    assert_eq!(next(&mut empty).await, Told::Beginning);
    assert_eq!(next(&mut empty).await, Told::Current);
    put(&*bucket, "b b", "1").await;
    put(&*bucket, "a", "1").await;
    let mut watch = bucket.watch().await.expect("watched");
    let mut mirror = Mirror::default();
    assert_eq!(next(&mut watch).await, Told::Beginning);
    let mut first = Vec::new();
    loop {
        match next(&mut watch).await {
            Told::Current => break,
            told => {
                let Told::Put(entry) = &told else { panic!("{told:?}") };
                first.push(entry.key.clone());
                mirror.take(told);
            }
        }
    }
    assert_eq!(first, ["b b", "a"], "in the order in which they were put");
    put(&*bucket, "a", "2").await;
    put(&*bucket, "c", "1").await;
    mirror.comes_to(&mut watch, &[("a", "2"), ("b b", "1"), ("c", "1")]).await;
    bucket.delete("b b").await.expect("deleted");
    mirror.comes_to(&mut watch, &[("a", "2"), ("c", "1")]).await;
    assert_eq!(mirror.beginnings, 0, "the one beginning was taken above");
    let mut other = Mirror::default();
    other.comes_to(&mut empty, &[("a", "2"), ("c", "1")]).await;
}

async fn a_watcher_learns_of_the_end_of_a_lifetime(bucket: Arc<dyn Bucket>) {
    let mut watch = bucket.watch().await.expect("watched");
    let mut mirror = Mirror::default();
    put(&*bucket, "long", "1").await;
    bucket.put("short", Bytes::from("1"), Some(Duration::from_secs(1))).await.expect("put");
    mirror.comes_to(&mut watch, &[("long", "1"), ("short", "1")]).await;
    mirror.comes_to(&mut watch, &[("long", "1")]).await;
}

async fn a_watcher_gets_large_values(bucket: Arc<dyn Bucket>) {
    let large = "x".repeat(1_500_000);
    put(&*bucket, "before", &large).await;
    let mut watch = bucket.watch().await.expect("watched");
    let mut mirror = Mirror::default();
    mirror.comes_to(&mut watch, &[("before", &large)]).await;
    put(&*bucket, "after", &large).await;
    mirror.comes_to(&mut watch, &[("before", &large), ("after", &large)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_nobody_names_are_purged() {
    let subject = super::nats(&current()).await;
    let bucket = subject.bucket();
    for _ in 0..5 {
        bucket.put("catalog", Bytes::from(vec![b'x'; 3_000_000]), None).await.expect("put");
    }
    let bytes = || async {
        let stream = subject.raw.get_stream(format!("KV_{}", subject.name)).await.expect("there");
        stream.cached_info().state.bytes
    };
    let one = bytes().await;
    assert!((3_000_000..3_100_000).contains(&one), "{one}");
    bucket.delete("catalog").await.expect("deleted");
    let none = bytes().await;
    assert!(none < 10_000, "{none}");
    subject.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_bucket_says_so() {
    let subject = super::nats(&current()).await;
    let url = current();
    let full = super::open(&url, BucketSettings { max_bytes: 4000, name: subject.name.clone(), ..bucket_settings() }).await;
    full.put("a", Bytes::from(vec![0; 2000]), None).await.expect("put");
    let refused = full.put("b", Bytes::from(vec![0; 3000]), None).await;
    assert!(matches!(refused, Err(resolvespec::store::Error::Unusable(_))), "{refused:?}");
    subject.remove().await;
}
