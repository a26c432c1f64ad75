//! What is answered, where, and in which order.

use super::{Shop, code, create, named, own_broker, read, until};
use crate::support::client::Client;
use crate::support::mqtt::{Beside, Spoken, Station, shared};
use resolvespec::transport::mqtt::{Settings, Sharing};
use serde_json::{Value, json};
use std::time::Duration;

const BOTH: [Spoken; 2] = [Spoken::V5, Spoken::V4];

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_under_their_ids_in_both_versions() {
    let shop = Shop::open(&shared(), |settings| settings).await;
    for spoken in BOTH {
        let mut station = Station::connect(&shared(), &format!("{}-{spoken:?}", shop.prefix), &shop.prefix, spoken).await;
        station.wait_for_service().await;
        let pong = station.ask(&json!({"id": "p", "type": "ping"})).await;
        assert_eq!((&pong["id"], &pong["type"], &pong["success"]), (&json!("p"), &json!("pong"), &json!(true)), "{pong}");
        let nameless = station.ask(&json!({"type": "ping"})).await;
        assert_eq!((&nameless["id"], &nameless["success"]), (&Value::Null, &json!(true)), "{nameless}");
        let list = station.ask(&read("1")).await;
        assert!(list["data"].as_array().is_some_and(|rows| rows.len() >= 2), "{list}");
        let one = json!({"id": "2", "type": "request", "operation": "read", "entity": "items", "data": {"id": 1}});
        assert_eq!(station.ask(&one).await["data"], json!({"id": 1, "name": "pen"}));
        let name = format!("{spoken:?}");
        let made = station.ask(&create("3", &name)).await;
        let id = made["data"]["id"].clone();
        let change =
            json!({"id": "4", "type": "request", "operation": "update", "entity": "items", "data": {"id": id, "name": "x"}});
        assert_eq!(station.ask(&change).await["data"], json!({"id": id, "name": "x"}));
        let gone = json!({"id": "5", "type": "request", "operation": "delete", "entity": "items", "data": {"id": id}});
        assert_eq!(station.ask(&gone).await["data"], json!({"deleted": true}));
        let meta = json!({"id": "6", "type": "request", "operation": "meta", "entity": "items"});
        assert_eq!(station.ask(&meta).await["data"]["primary_key"], "id");
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_read_is_answered_without_an_id() {
    let shop = Shop::open(&shared(), |settings| settings).await;
    let mut station = Station::connect(&shared(), &format!("{}-c", shop.prefix), &shop.prefix, Spoken::V5).await;
    station.wait_for_service().await;
    let topic = format!("{}/{}/request", shop.prefix, station.id);
    for bytes in [&b"{"[..], b"", b"[1]", &[0xff, 0xfe]] {
        station.publish(&topic, bytes.to_vec(), Beside::default()).await.unwrap();
        let answer = station.hear().await.body;
        assert_eq!((&answer["id"], code(&answer)), (&json!(""), "invalid_message"), "{answer}");
    }
    let answer = station.ask(&json!({"id": "a", "type": "request", "operation": "read"})).await;
    assert_eq!((&answer["id"], code(&answer)), (&json!("a"), "invalid_message"));
    let asked = json!({"id": "s", "type": "subscription", "operation": "subscribe", "entity": "items"});
    assert_eq!(code(&station.ask(&asked).await), "not_captured");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_not_named_can_not_end() {
    let shop = Shop::open(&shared(), |settings| settings).await;
    for spoken in BOTH {
        let mut station = Station::connect(&shared(), &format!("{}-{spoken:?}", shop.prefix), &shop.prefix, spoken).await;
        station.wait_for_service().await;
        for nameless in [Value::Null, json!("")] {
            let end = json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": nameless});
            let refused = station.ask(&end).await;
            assert_eq!((&refused["id"], code(&refused)), (&json!("u"), "invalid_subscription"), "{refused}");
        }
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_topic_of_the_client_gets_the_answer_too_and_no_other_does() {
    let shop = Shop::open(&shared(), |settings| settings).await;
    let mut station = Station::connect(&shared(), &format!("{}-c", shop.prefix), &shop.prefix, Spoken::V5).await;
    station.wait_for_service().await;
    let own = format!("{}/{}/answers/7", shop.prefix, station.id);
    station.subscribe(&own).await.unwrap();
    let beside = |topic: &str| Beside {
        response_topic: Some(topic.to_owned()),
        correlation: Some(b"seven".to_vec()),
        ..Beside::default()
    };
    station.say_with(&read("1"), beside(&own)).await;
    let mut both = [station.hear().await, station.hear().await];
    both.sort_by_key(|heard| heard.topic.clone());
    let [first, second] = both;
    assert_eq!((first.topic.as_str(), first.correlation.as_deref()), (own.as_str(), Some(&b"seven"[..])));
    assert_eq!(second.topic, format!("{}/{}/response", shop.prefix, station.id));
    assert_eq!(first.body, second.body);
    let usual = second.topic;
    station.say_with(&read("2"), beside(&usual)).await;
    let heard = station.hear().await;
    assert_eq!((heard.topic.as_str(), heard.correlation.as_deref()), (usual.as_str(), Some(&b"seven"[..])));

    let victim = format!("{}/victim/response", shop.prefix);
    let mut other = Station::connect(&shared(), &format!("{}-v", shop.prefix), &shop.prefix, Spoken::V5).await;
    other.subscribe(&victim).await.unwrap();
    for elsewhere in [victim, format!("{}/{}/request", shop.prefix, station.id), "anywhere".to_owned()] {
        station.say_with(&create("3", "stray"), beside(&elsewhere)).await;
        let answer = station.hear().await.body;
        assert_eq!((&answer["id"], code(&answer)), (&json!("3"), "forbidden"), "{answer}");
    }
    assert!(other.hears(Duration::from_millis(300)).await.is_none());
    assert_eq!(named(&Client::new(shop.address), "stray").await, 0);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_answered_in_order_while_others_are_answered_too() {
    let shop = Shop::open(&shared(), |settings| Settings { max_queued: 40, ..settings }).await;
    let mut stations = Vec::new();
    for number in 0..5 {
        let id = format!("{}-{number}", shop.prefix);
        stations.push(Station::connect(&shared(), &id, &shop.prefix, Spoken::V5).await);
    }
    stations[0].wait_for_service().await;
    for round in 0..40 {
        for station in &stations {
            let id = round.to_string();
            let message = if round % 3 == 0 { create(&id, "many") } else { read(&id) };
            let topic = format!("{}/{}/request", shop.prefix, station.id);
            station.publish(&topic, message.to_string().into_bytes(), Beside::default()).await.unwrap();
        }
    }
    for station in &mut stations {
        let mut ids = Vec::new();
        for _ in 0..40 {
            ids.push(station.hear().await.body["id"].as_str().expect("an id").parse::<u32>().expect("a number"));
        }
        assert_eq!(ids, (0..40).collect::<Vec<_>>());
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_is_done_once_and_another_under_its_id_is_another() {
    let shop = Shop::open(&shared(), |settings| settings).await;
    let client = Client::new(shop.address);
    let mut station = Station::connect(&shared(), &format!("{}-c", shop.prefix), &shop.prefix, Spoken::V5).await;
    station.wait_for_service().await;
    let first = station.ask(&create("1", "once")).await;
    let again = station.ask(&create("1", "once")).await;
    assert_eq!(first["data"], again["data"]);
    assert_eq!(again["idempotency_replayed"], true);
    assert_eq!(named(&client, "once").await, 1);
    // A client that counts from 1 again.
    assert_eq!(station.ask(&create("1", "anew")).await["success"], true);
    assert_eq!(named(&client, "anew").await, 1);
    // Another client's message is another's, though its bytes are the same.
    let mut other = Station::connect(&shared(), &format!("{}-d", shop.prefix), &shop.prefix, Spoken::V4).await;
    assert_eq!(other.ask(&create("1", "once")).await["idempotency_replayed"], Value::Null);
    assert_eq!(named(&client, "once").await, 2);
    // The client's own key comes before ours, in the message or beside it.
    for name in ["k1", "k2"] {
        let mut message = create(name, "keyed");
        message["idempotency_key"] = "mine".into();
        assert_eq!(station.ask(&message).await["success"], true);
    }
    assert_eq!(named(&client, "keyed").await, 1);
    for id in ["b1", "b2"] {
        let beside = Beside { properties: vec![("idempotency_key".to_owned(), "beside".to_owned())], ..Beside::default() };
        assert_eq!(station.ask_with(&create(id, "beside"), beside).await["success"], true);
    }
    assert_eq!(named(&client, "beside").await, 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_in_both_directions() {
    let shop = Shop::open(&shared(), |mut settings| {
        settings.max_message_bytes = 2000;
        settings
    })
    .await;
    for spoken in BOTH {
        let mut station = Station::connect(&shared(), &format!("{}-{spoken:?}", shop.prefix), &shop.prefix, spoken).await;
        station.wait_for_service().await;
        assert_eq!(code(&station.ask(&create("1", &"x".repeat(3000))).await), "payload_too_large");
        assert_eq!(station.ask(&create("2", &"y".repeat(1000))).await["success"], true);
        assert_eq!(station.ask(&create("3", &"z".repeat(1000))).await["success"], true);
        assert_eq!(code(&station.ask(&read("4")).await), "limit_exceeded");
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_id_is_too_long_is_told_so() {
    let shop = Shop::open(&shared(), |settings| settings).await;
    for spoken in BOTH {
        // Longer than a name can be at NATS, and than a broker minds.
        let id = format!("{}-{spoken:?}-{}", shop.prefix, "x".repeat(5000));
        let mut station = Station::connect(&shared(), &id, &shop.prefix, spoken).await;
        station.wait_for_service().await;
        let refused = station.ask(&read("1")).await;
        assert_eq!((&refused["id"], code(&refused)), (&json!("1"), "limit_exceeded"), "{refused}");
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_dies_is_told_and_found_again() {
    let broker = own_broker("dies");
    let shop = Shop::open(&broker.url(), |settings| settings).await;
    until("the broker is there", async || !shop.is_degraded().await).await;
    broker.kill();
    until("the broker is missed", async || shop.is_degraded().await).await;
    let lost = format!("resolvespec_mqtt_connected{{broker=\"{}\"}} 0", broker.url().split_once('@').expect("a user").1);
    assert!(shop.page("/metrics").await.as_str().is_some_and(|text| text.contains(&lost)));
    broker.restart();
    until("the broker is found again", async || !shop.is_degraded().await).await;
    let mut station = Station::connect(&broker.url(), "c", &shop.prefix, Spoken::V5).await;
    assert_eq!(station.ask(&read("1")).await["success"], true);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_ends_answers_what_it_has_and_leaves_the_rest_to_others() {
    let broker = own_broker("leaves");
    // Without NATS there is nothing by which they could agree on a group.
    let group = Sharing::Group("both".to_owned());
    let first = Shop::open(&broker.url(), |settings| Settings { sharing: group.clone(), max_queued: 200, ..settings }).await;
    let prefix = first.prefix.clone();
    let second = Shop::open(&broker.url(), |mut settings| {
        settings.prefix.clone_from(&prefix);
        Settings { sharing: group, max_queued: 200, ..settings }
    })
    .await;
    until("both are there", async || !first.is_degraded().await && !second.is_degraded().await).await;
    let mut station = Station::connect(&broker.url(), "c", &prefix, Spoken::V5).await;
    let mut first = Some(first);
    for number in 0..200 {
        station.say(&read(&number.to_string())).await;
        if number == 100 {
            first.as_mut().expect("it is there").running.end();
        }
    }
    let mut ids = Vec::new();
    for _ in 0..200 {
        ids.push(station.hear().await.body["id"].as_str().expect("an id").parse::<u32>().expect("a number"));
    }
    ids.sort_unstable();
    assert_eq!(ids, (0..200).collect::<Vec<_>>());
    first.take().expect("it is there").close().await;
    second.close().await;
}
