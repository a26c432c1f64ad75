//! What brokers ask: the requests of EMQX 5 and of mosquitto-go-auth as they are sent, and what follows from the answers.

use super::{SECRET, Shop, code, read, until};
use crate::support::client::{Answer, Call, Client};
use crate::support::mqtt::{OwnMosquitto, Spoken, Station, shared};
use crate::support::session::token;
use resolvespec::auth::{Authentication, JwtSettings, KeySource, Secret};
use resolvespec::engine::{Hook, Refusal, Session as Joined};
use resolvespec::transport::mqtt::Sharing;
use serde_json::{Value, json};
use std::sync::Arc;

const SERVICE: &str = "resolvespec";

struct Asker {
    client: Client,
}

impl Asker {
    async fn json(&self, path: &str, body: &Value) -> Answer {
        self.client.send(&Call::post(path, body)).await.expect("an answer")
    }

    /// As mosquitto-go-auth with `http_params_mode form`.
    async fn form(&self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let mut call = Call::new(axum::http::Method::POST, path);
        call.headers.push(("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
        call.body = Some(body);
        self.client.send(&call).await.expect("an answer")
    }
}

fn verdict(answer: &Answer) -> (u16, bool, &str) {
    (answer.status.as_u16(), answer.body["ok"] == true, answer.body["result"].as_str().unwrap_or_default())
}

const ALLOWED: (u16, bool, &str) = (200, true, "allow");
/// What EMQX takes for a refusal.
const DENIED: (u16, bool, &str) = (200, false, "deny");
/// What mosquitto-go-auth takes for one.
const FORBIDDEN: (u16, bool, &str) = (403, false, "deny");

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_a_token_and_who_has_it_is_remembered() {
    let shop = Shop::guarded(&shared(), |settings| settings).await;
    let asker = Asker { client: Client::new(shop.address) };
    let id = format!("{}-dev", shop.prefix);
    let (ann, bob) = (token(SECRET, "ann", 600), token(SECRET, "bob", 600));
    let emqx = |password: &str| json!({"broker": "emqx", "clientid": id, "username": "whoever", "password": password});
    let go_auth = |password: &str| json!({"username": "whoever", "password": password, "clientid": id});

    assert_eq!(verdict(&asker.json("/mqtt/auth", &emqx("nonsense")).await), DENIED);
    assert_eq!(verdict(&asker.json("/mqtt/auth", &go_auth("nonsense")).await), FORBIDDEN);
    assert_eq!(verdict(&asker.json("/mqtt/auth", &go_auth("")).await), FORBIDDEN);
    assert_eq!(asker.json("/mqtt/auth", &json!([])).await.status.as_u16(), 400);

    // Before the broker has asked, the client is nobody.
    let mut station = Station::connect(&shared(), &id, &shop.prefix, Spoken::V4).await;
    station.wait_for_service().await;
    assert_eq!(code(&station.ask(&read("1")).await), "unauthorized");
    let answer = asker.json("/mqtt/auth", &emqx(&ann)).await;
    assert_eq!((verdict(&answer), &answer.body["is_superuser"]), (ALLOWED, &json!(false)));
    assert_eq!(station.ask(&read("2")).await["success"], true);

    // The client id is ann's now: bob neither gets in with it nor speaks by its topic.
    assert_eq!(verdict(&asker.json("/mqtt/auth", &emqx(&bob)).await), DENIED);
    let form = [("username", "x"), ("password", bob.as_str()), ("clientid", id.as_str())];
    assert_eq!(verdict(&asker.form("/mqtt/auth", &form).await), FORBIDDEN);
    let mut message = read("3");
    message["token"] = bob.clone().into();
    let refused = station.ask(&message).await;
    assert_eq!(code(&refused), "forbidden", "{refused}");
    message["id"] = "4".into();
    message["token"] = token(SECRET, "ann", 900).into();
    assert_eq!(station.ask(&message).await["success"], true);

    let (longest, too_long) = ("x".repeat(128), "x".repeat(129));
    assert_eq!(verdict(&asker.json("/mqtt/auth", &json!({"clientid": longest, "password": ann})).await), ALLOWED);
    for bad in ["", "a/b", "+", "#", &too_long] {
        let question = json!({"username": "x", "password": ann, "clientid": bad});
        assert_eq!(verdict(&asker.json("/mqtt/auth", &question).await), FORBIDDEN, "{bad}");
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_remembered_is_forgotten_when_the_token_ends() {
    let shop = Shop::guarded(&shared(), |settings| settings).await;
    let asker = Asker { client: Client::new(shop.address) };
    let id = format!("{}-dev", shop.prefix);
    let mut station = Station::connect(&shared(), &id, &shop.prefix, Spoken::V5).await;
    station.wait_for_service().await;
    let short = token(SECRET, "ann", 2);
    assert_eq!(verdict(&asker.json("/mqtt/auth", &json!({"clientid": id, "username": "", "password": short})).await), ALLOWED);
    assert_eq!(station.ask(&read("1")).await["success"], true);
    let mut number = 1;
    until("the token's end", async || {
        number += 1;
        code(&station.ask(&read(&number.to_string())).await) == "unauthorized"
    })
    .await;
    let bob = token(SECRET, "bob", 600);
    assert_eq!(verdict(&asker.json("/mqtt/auth", &json!({"clientid": id, "username": "", "password": bob})).await), ALLOWED);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_its_own_topics_and_the_service_has_its_part() {
    let shop = Shop::guarded(&shared(), |mut settings| {
        settings.prefix = "spec".to_owned();
        settings.sharing = Sharing::Group("unheard".to_owned());
        settings
    })
    .await;
    let asker = Asker { client: Client::new(shop.address) };
    let cases = [
        // Who, the topic, whether it may publish there, whether it may subscribe or be told.
        ("ann", "spec/dev/request", true, true),
        ("ann", "spec/dev/response", false, true),
        ("ann", "spec/dev/notify/7", false, true),
        ("ann", "spec/dev/#", false, true),
        ("ann", "spec/dev/notify/+", false, true),
        ("ann", "spec/dev/", false, false),
        ("ann", "spec/dev", false, false),
        ("ann", "spec/other/request", false, false),
        ("ann", "spec/+/response", false, false),
        ("ann", "spec/#", false, false),
        ("ann", "#", false, false),
        ("ann", "spec/device/response", false, false),
        ("ann", "$share/unheard/spec/+/request", false, false),
        (SERVICE, "spec/dev/response", true, false),
        (SERVICE, "spec/dev/notify/7", true, false),
        (SERVICE, "spec/dev/answers/7", true, false),
        (SERVICE, "spec/dev/request", false, true),
        (SERVICE, "spec/+/request", false, true),
        (SERVICE, "$share/unheard/spec/+/request", false, true),
        (SERVICE, "spec/#", false, false),
        (SERVICE, "other/dev/response", false, false),
    ];
    for (user, topic, publishes, hears) in cases {
        for (action, access, allowed) in [("publish", 2, publishes), ("subscribe", 4, hears), ("subscribe", 1, hears)] {
            let emqx = json!({"clientid": "dev", "username": user, "topic": topic, "action": action});
            let expected = if allowed { ALLOWED } else { DENIED };
            assert_eq!(verdict(&asker.json("/mqtt/acl", &emqx).await), expected, "{user} {action} {topic}");
            let go_auth = json!({"clientid": "dev", "username": user, "topic": topic, "acc": access});
            let expected = if allowed { ALLOWED } else { FORBIDDEN };
            assert_eq!(verdict(&asker.json("/mqtt/acl", &go_auth).await), expected, "{user} {access} {topic}");
            let text = access.to_string();
            let form = [("clientid", "dev"), ("username", user), ("topic", topic), ("acc", text.as_str())];
            assert_eq!(verdict(&asker.form("/mqtt/acl", &form).await), expected, "{user} {access} {topic}");
        }
    }
    // The name of the service is not free to take.
    let good = token(SECRET, "ann", 600);
    let question = json!({"clientid": "dev", "username": SERVICE, "password": good});
    assert_eq!(verdict(&asker.json("/mqtt/auth", &question).await), FORBIDDEN);
    let url: url::Url = shared().parse().expect("a URL");
    let question = json!({"clientid": "r1", "username": SERVICE, "password": url.password()});
    assert_eq!(verdict(&asker.json("/mqtt/auth", &question).await), ALLOWED);
    assert_eq!(asker.json("/mqtt/superuser", &json!({"username": SERVICE})).await.status.as_u16(), 403);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_decides_which_client_ids_a_token_may_have() {
    let shop = Shop::guarded(&shared(), |mut settings| {
        settings.client_claim = Some("sub".to_owned());
        settings
    })
    .await;
    let asker = Asker { client: Client::new(shop.address) };
    let ann = token(SECRET, "ann", 600);
    let question = |client: &str| json!({"broker": "emqx", "clientid": client, "username": "x", "password": ann});
    assert_eq!(verdict(&asker.json("/mqtt/auth", &question("ann")).await), ALLOWED);
    assert_eq!(verdict(&asker.json("/mqtt/auth", &question("bob")).await), DENIED);
    shop.close().await;
}

/// Lets nobody in but one.
struct Doorkeeper(&'static str);

#[async_trait::async_trait]
impl Hook for Doorkeeper {
    async fn before_connect(&self, session: Joined<'_>) -> Result<(), Refusal> {
        if session.principal.subject.as_deref() == Some(self.0) { Ok(()) } else { Err(Refusal::new("not today")) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_may_refuse_whom_a_broker_asks_about() {
    let guarded = Authentication::Jwt(JwtSettings::new(KeySource::Secret(Secret::new(SECRET))));
    let shop = Shop::hooked(&shared(), guarded, vec![Arc::new(Doorkeeper("ann"))], |settings| settings).await;
    let asker = Asker { client: Client::new(shop.address) };
    let question =
        |user: &str| json!({"broker": "emqx", "clientid": user, "username": "x", "password": token(SECRET, user, 600)});
    assert_eq!(verdict(&asker.json("/mqtt/auth", &question("ann")).await), ALLOWED);
    assert_eq!(verdict(&asker.json("/mqtt/auth", &question("bob")).await), DENIED);
    shop.close().await;
}

/// Ids of clients belong to their broker: whom one of them has let in is nobody at the other.
#[tokio::test(flavor = "multi_thread")]
async fn whom_a_broker_has_let_in_is_nobody_at_another() {
    let other = OwnMosquitto::start("admission-other");
    let mut names = Vec::new();
    let shop = Shop::guarded(&shared(), |mut settings| {
        settings.servers.extend(crate::support::mqtt::settings(&other.url(), &settings.prefix).servers);
        names.extend(settings.servers.iter().map(|server| server.name.clone()));
        settings
    })
    .await;
    let asker = Asker { client: Client::new(shop.address) };
    let id = format!("{}-dev", shop.prefix);
    let question = json!({"clientid": id, "username": "", "password": token(SECRET, "ann", 600)});
    assert_eq!(verdict(&asker.json("/mqtt/auth", &question).await), FORBIDDEN, "nobody says which broker asks");
    assert_eq!(verdict(&asker.json("/mqtt/auth/nowhere:1883", &question).await), FORBIDDEN);
    assert_eq!(verdict(&asker.json(&format!("/mqtt/auth/{}", names[0]), &question).await), ALLOWED);
    let mut here = Station::connect(&shared(), &id, &shop.prefix, Spoken::V5).await;
    here.wait_for_service().await;
    assert_eq!(here.ask(&read("1")).await["success"], true);
    let mut there = Station::connect(&other.url(), &id, &shop.prefix, Spoken::V5).await;
    there.wait_for_service().await;
    assert_eq!(code(&there.ask(&read("1")).await), "unauthorized");
    // Somebody else may have the id there.
    let bob = json!({"clientid": id, "username": "", "password": token(SECRET, "bob", 600)});
    assert_eq!(verdict(&asker.json(&format!("/mqtt/auth/{}", names[0]), &bob).await), FORBIDDEN);
    assert_eq!(verdict(&asker.json(&format!("/mqtt/auth/{}", names[1]), &bob).await), ALLOWED);
    shop.close().await;
}

/// The same bytes from the same id at two brokers are two requests.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_at_two_brokers_is_done_twice() {
    let other = OwnMosquitto::start("admission-twice");
    let shop = Shop::open(&shared(), |mut settings| {
        settings.servers.extend(crate::support::mqtt::settings(&other.url(), &settings.prefix).servers);
        settings
    })
    .await;
    let id = format!("{}-dev", shop.prefix);
    let create = json!({"id": "1", "type": "request", "operation": "create", "entity": "items", "data": {"name": "cup"}});
    let mut keys = Vec::new();
    for url in [shared(), other.url()] {
        let mut station = Station::connect(&url, &id, &shop.prefix, Spoken::V5).await;
        station.wait_for_service().await;
        let answer = station.ask(&create).await;
        assert_eq!(answer["success"], true, "{answer}");
        keys.push(answer["data"]["id"].clone());
        assert_eq!(station.ask(&create).await["data"]["id"], answer["data"]["id"], "said again at one it is one");
    }
    assert_ne!(keys[0], keys[1]);
    shop.close().await;
}
