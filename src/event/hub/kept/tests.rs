//! One has a session at a time, whenever somebody comes in between.

use super::*;
use crate::protocol::Target;
use crate::store::Busy;
use serde_json::json;

const SESSION: &str = "51f0cb6e-3f5c-4a4a-9a3e-2f8a3b1f5c77";

fn head(term: u64, parts: usize) -> Head {
    Head { identity: Principal::anonymous().identity(), term, parts }
}

fn part(term: u64, offset: u64) -> Part {
    let target = Target { schema: None, entity: "items".to_owned() };
    let position = Some(Position { epoch: "e".to_owned(), offset });
    let one = StoredSubscription { id: "s".to_owned(), said: Said::new(&target, Value::Null, None), position, form: Some(1) };
    Part { term, subscriptions: vec![one] }
}

/// Sessions in a bucket where one of one part is, and another value comes under a key as soon as somebody has looked at it.
async fn busy(then: Option<(String, Bytes)>) -> (Kept, Arc<Busy>) {
    let bucket = Arc::new(Busy::default());
    let kept = Kept { bucket: Arc::<Busy>::clone(&bucket), lifetime: Duration::from_mins(1) };
    assert!(is_kept(&kept, 0, &part(1, 1)).await);
    assert!(matches!(kept.write_head(SESSION, &head(1, 1), None).await.unwrap(), Written::Kept(_)));
    *bucket.then.lock().unwrap() = then;
    (kept, bucket)
}

async fn is_kept(kept: &Kept, number: usize, part: &Part) -> bool {
    matches!(kept.write_part(SESSION, number, part, None).await.unwrap(), Written::Kept(_))
}

async fn now<T: DeserializeOwned>(bucket: &Busy, key: &str) -> T {
    serde_json::from_slice(&bucket.inner.get(key).await.unwrap().unwrap().value).unwrap()
}

#[tokio::test]
async fn who_ends_does_not_take_its_session_back_from_who_has_just_taken_it() {
    let key = part_key(SESSION, 0);
    let (kept, bucket) = busy(Some((key.clone(), text(&part(2, 1)).unwrap()))).await;
    assert!(!is_kept(&kept, 0, &part(1, 2)).await);
    assert_eq!(now::<Part>(&bucket, &key).await, part(2, 1));
    assert!(is_kept(&kept, 0, &part(2, 3)).await, "and who has it goes on writing");
}

#[tokio::test]
async fn who_takes_a_session_gets_what_is_written_at_that_moment() {
    let key = part_key(SESSION, 0);
    let (kept, bucket) = busy(Some((key.clone(), text(&part(1, 2)).unwrap()))).await;
    let taken = kept.take(SESSION, &Principal::anonymous()).await.unwrap();
    assert_eq!((taken.term, taken.parts.len()), (2, 1));
    assert_eq!(taken.parts[0].0, part(1, 2).subscriptions);
    assert_eq!(now::<Part>(&bucket, &key).await, part(2, 2));
    assert_eq!(now::<Head>(&bucket, &head_key(SESSION)).await, head(2, 1));
}

#[tokio::test]
async fn who_had_a_session_adds_no_part_to_it() {
    let (kept, _) = busy(None).await;
    let taken = kept.take(SESSION, &Principal::anonymous()).await.unwrap();
    // There is no such part yet, so nothing is in the way; but it can't be counted.
    assert!(is_kept(&kept, 1, &part(1, 7)).await);
    assert!(matches!(kept.write_head(SESSION, &head(1, 2), None).await.unwrap(), Written::Taken));
    // Who has the session adds its own over it, and is not hindered.
    assert!(is_kept(&kept, 1, &part(taken.term, 8)).await);
    let counted = kept.write_head(SESSION, &head(taken.term, 2), Some(taken.head)).await.unwrap();
    assert!(matches!(counted, Written::Kept(_)));
    let again = kept.take(SESSION, &Principal::anonymous()).await.unwrap();
    assert_eq!(again.parts[1].0, part(1, 8).subscriptions);
    assert!(!is_kept(&kept, 1, &part(taken.term, 9)).await, "and not any more when it was taken");
}

#[tokio::test]
async fn who_takes_a_session_late_leaves_its_parts_to_who_has_taken_it_since() {
    let (kept, bucket) = busy(Some((part_key(SESSION, 0), text(&part(3, 1)).unwrap()))).await;
    let error = kept.take(SESSION, &Principal::anonymous()).await.err().expect("another was quicker");
    assert_eq!(error.code, Code::Unavailable);
    assert_eq!(now::<Part>(&bucket, &part_key(SESSION, 0)).await, part(3, 1));
}

#[tokio::test]
async fn a_session_with_a_part_whose_time_is_over_is_not_there() {
    let (kept, bucket) = busy(None).await;
    assert!(is_kept(&kept, 1, &part(1, 7)).await);
    assert!(matches!(kept.write_head(SESSION, &head(1, 2), None).await.unwrap(), Written::Kept(_)));
    bucket.delete(&part_key(SESSION, 0)).await.unwrap();
    let error = kept.take(SESSION, &Principal::anonymous()).await.err().expect("a half is not the whole");
    assert_eq!(error.code, Code::SessionNotFound);
}

fn principal(claims: &Value) -> Principal {
    let claims = claims.as_object().expect("an object").clone();
    let subject = claims.get("sub").and_then(Value::as_str).map(ToOwned::to_owned);
    Principal { subject, claims, ..Principal::default() }
}

#[test]
fn a_new_token_is_the_same_one_and_another_subject_is_not() {
    let ada = principal(&json!({"sub": "ada", "iss": "here", "exp": 1, "roles": ["a"]})).identity();
    assert_eq!(ada, principal(&json!({"sub": "ada", "iss": "here", "exp": 2, "roles": []})).identity());
    assert_ne!(ada, principal(&json!({"sub": "bob", "iss": "here", "exp": 1})).identity());
    assert_ne!(ada, principal(&json!({"sub": "ada", "iss": "there", "exp": 1})).identity());
    let nameless = principal(&json!({"device": 7, "exp": 1, "jti": "x"})).identity();
    assert_eq!(nameless, principal(&json!({"device": 7, "exp": 2, "jti": "y"})).identity());
    assert_ne!(nameless, principal(&json!({"device": 8, "exp": 1})).identity());
    assert_ne!(nameless, Principal::anonymous().identity());
}
