//! Who gets in: handshakes, pages, tokens, room, hooks.

use super::Shop;
use crate::support::client::{Call, Client};
use crate::support::session::{Session, handshake};
use async_trait::async_trait;
use axum::http::{HeaderMap, Method};
use resolvespec::auth::{Authentication, JwtSettings, KeySource, Secret};
use resolvespec::config::{Config, Pages};
use resolvespec::engine::{Hook, Refusal, Session as Joined};
use resolvespec::transport::ws::Settings;
use serde_json::json;
use std::sync::{Arc, Mutex};

const SECRET: &str = "a secret that only this test knows, and nobody else";

fn token(subject: &str, seconds: u64) -> String {
    crate::support::session::token(SECRET, subject, seconds)
}

async fn with_tokens() -> Shop {
    let jwt = JwtSettings::new(KeySource::Secret(Secret::new(SECRET)));
    Shop::open(|config| Config { authentication: Authentication::Jwt(jwt), ..config }, Vec::new()).await
}

/// The status of a refusal, or 101.
async fn status(shop: &Shop, query: &str, headers: &[(&'static str, &str)]) -> u16 {
    match Session::enter(handshake(shop.address, query, headers)).await {
        Ok(session) => {
            session.close().await;
            101
        }
        Err(status) => status,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_handshake_is_told_what_to_do() {
    let shop = Shop::usual().await;
    let client = Client::new(shop.address);
    for method in [Method::GET, Method::POST] {
        let answer = client.send(&Call::new(method, "/ws")).await.expect("an answer");
        assert_eq!((answer.status.as_u16(), answer.header("upgrade")), (426, "websocket"));
        assert_eq!(answer.header("sec-websocket-version"), "13");
        assert!(answer.body["error"]["message"].is_string(), "{}", answer.body);
    }
    let old: HeaderMap = handshake(shop.address, "", &[("sec-websocket-version", "8")]).headers().clone();
    let call = old
        .iter()
        .fold(Call::new(Method::GET, "/ws"), |call, (name, value)| call.header(name.as_str(), value.to_str().expect("text")));
    assert_eq!(client.send(&call).await.expect("an answer").status.as_u16(), 426);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_listed_pages_may_connect_and_who_is_no_page_passes() {
    let listed = |config: Config| Config { cors_origins: vec!["https://app.example".to_owned()], pages: Pages::Listed, ..config };
    let shop = Shop::open(listed, Vec::new()).await;
    assert_eq!(status(&shop, "", &[]).await, 101);
    assert_eq!(status(&shop, "", &[("origin", "https://app.example")]).await, 101);
    assert_eq!(status(&shop, "", &[("origin", "https://evil.example")]).await, 403);
    assert_eq!(status(&shop, "", &[("origin", "http://localhost:5173")]).await, 403);
    assert_eq!(status(&shop, "", &[("origin", "null")]).await, 403);
    shop.counts(r#"resolvespec_ws_connections_refused_total{code="forbidden"} 3"#).await;
    shop.close().await;
    let dev = Shop::usual().await;
    assert_eq!(status(&dev, "", &[("origin", "http://localhost:5173")]).await, 101);
    assert_eq!(status(&dev, "", &[("origin", "https://evil.example")]).await, 403);
    dev.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_be_a_header_a_query_or_a_subprotocol() {
    let shop = with_tokens().await;
    let good = token("ada", 60);
    let bearer = format!("Bearer {good}");
    let offered = format!("resolvespec, bearer.{good}");
    assert_eq!(status(&shop, "", &[]).await, 401);
    assert_eq!(status(&shop, "?token=", &[]).await, 401);
    assert_eq!(status(&shop, "?token=nonsense", &[]).await, 401);
    assert_eq!(status(&shop, "", &[("authorization", "Basic YTpi")]).await, 401);
    assert_eq!(status(&shop, "", &[("authorization", &bearer)]).await, 101);
    assert_eq!(status(&shop, &format!("?x=1&token={good}"), &[]).await, 101);
    assert_eq!(status(&shop, "", &[("sec-websocket-protocol", &offered)]).await, 101, "and the client's offer is answered");
    let mut session = Session::enter(handshake(shop.address, &format!("?token={good}"), &[])).await.expect("let in");
    let read = json!({"id": "r", "type": "request", "operation": "read", "entity": "items"});
    assert_eq!(session.ask(&read).await["success"], true);
    let listed = shop.page("/admin/connections").await;
    assert_eq!(listed["connections"][0]["subject"], "ada", "{listed}");
    assert!(!listed.to_string().contains(&good), "the token is told to nobody");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_with_its_token() {
    let shop = with_tokens().await;
    let short = token("ada", 2);
    let mut session = Session::enter(handshake(shop.address, &format!("?token={short}"), &[])).await.expect("let in");
    assert_eq!(session.ask(&json!({"type": "ping"})).await["type"], "pong");
    let (code, reason) = session.closed().await;
    assert_eq!(code, 4001);
    assert!(reason.contains("authenticate again"), "{reason}");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_room_for_so_many_and_a_place_is_given_back() {
    let settings = Settings { max_connections: 2, ..Settings::default() };
    let shop = Shop::open(|config| Config { ws: settings, ..config }, Vec::new()).await;
    let (first, _second) = (shop.session().await, shop.session().await);
    assert_eq!(status(&shop, "", &[]).await, 503);
    first.close().await;
    shop.counts("resolvespec_ws_connections 1").await;
    assert_eq!(status(&shop, "", &[]).await, 101);
    shop.close().await;
}

/// Lets in whom it likes, and notes who came and went.
#[derive(Default)]
struct Doorkeeper {
    open: bool,
    noted: Mutex<Vec<String>>,
}

impl Doorkeeper {
    fn note(&self, what: &str, session: Joined<'_>) {
        self.noted.lock().expect("no panic").push(format!("{what} {}", session.id));
        assert!(session.remote.is_some_and(|remote| remote.ip().is_loopback()));
    }
}

#[async_trait]
impl Hook for Doorkeeper {
    async fn before_connect(&self, session: Joined<'_>) -> Result<(), Refusal> {
        self.note("asks", session);
        if self.open { Ok(()) } else { Err(Refusal::new("not today")) }
    }

    async fn after_connect(&self, session: Joined<'_>) {
        self.note("comes", session);
    }

    async fn before_disconnect(&self, session: Joined<'_>) {
        self.note("leaves", session);
    }

    async fn after_disconnect(&self, session: Joined<'_>) {
        self.note("goes", session);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_refuses_with_its_words_and_is_told_who_goes() {
    let keeper = Arc::new(Doorkeeper::default());
    let shop = Shop::open(|config| config, vec![keeper.clone()]).await;
    assert_eq!(shop.session().await.closed().await, (4003, "not today".to_owned()));
    shop.counts(r#"resolvespec_ws_connections_closed_total{code="4003"} 1"#).await;
    shop.close().await;
    assert_eq!(keeper.noted.lock().expect("no panic").len(), 1, "who was refused neither comes nor goes");

    let keeper = Arc::new(Doorkeeper { open: true, ..Doorkeeper::default() });
    let shop = Shop::open(|config| config, vec![keeper.clone()]).await;
    shop.session().await.close().await;
    shop.counts("resolvespec_ws_connections 0").await;
    let noted = keeper.noted.lock().expect("no panic").clone();
    let (words, ids): (Vec<&str>, Vec<&str>) = noted.iter().filter_map(|note| note.split_once(' ')).unzip();
    assert_eq!(words, ["asks", "comes", "leaves", "goes"]);
    assert!(ids.iter().all(|id| id == &ids[0]), "{noted:?}");
    shop.close().await;
}
