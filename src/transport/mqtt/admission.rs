//! What brokers ask and tell us of their clients, on the admin port: `/mqtt/auth`, `/mqtt/acl`, `/mqtt/superuser`, `/mqtt/gone`.
//! Where several brokers are served, `/mqtt/auth/HOST:PORT` says which of them asks, since each has its own clients; so does
//! `/mqtt/gone/HOST:PORT`.
//!
//! The formats are those of EMQX 5 and of mosquitto-go-auth, JSON or form. A password is a bearer token. Who is let in is
//! remembered as that client, for requests that carry no token of their own. An ACL allows a client its own topics and
//! nothing else, and our own user what this service does.
//!
//! EMQX goes on to its next rule when it is answered with another status than 200, and lets everything through that no
//! rule denies; mosquitto-go-auth looks at the status first. So EMQX, which says so in its body, is denied with 200 and
//! everybody else with 403.
//!
//! A broker that gives a client's session up (a clean one at its end, another when it expires) keeps nothing for that client, so
//! what is told to it reaches nobody: its subscriptions end. The formats are those of VerneMQ's webhooks and of EMQX's rules.

use super::Mqtt;
use super::topic;
use crate::auth::{Credentials, Principal};
use crate::engine::Session;
use crate::store;
use crate::transport::rest::answer::plain;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The routes.
pub fn router(mqtt: Mqtt) -> Router {
    Router::new()
        .route("/mqtt/auth", post(authenticate))
        .route("/mqtt/auth/{broker}", post(authenticate_of))
        .route("/mqtt/acl", post(authorize))
        .route("/mqtt/gone", post(gone))
        .route("/mqtt/gone/{broker}", post(gone_of))
        .route("/mqtt/superuser", post(async || verdict(false, Verdict::Deny("nobody is a superuser".to_owned()))))
        .with_state(mqtt)
}

enum Verdict {
    Allow,
    Deny(String),
    Unknown(String),
}

/// What a broker said of a client.
struct Question(Map<String, Value>);

impl Question {
    fn read(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.starts_with("application/x-www-form-urlencoded") {
            let pairs = url::form_urlencoded::parse(body);
            return Some(Self(pairs.map(|(key, value)| (key.into_owned(), Value::String(value.into_owned()))).collect()));
        }
        serde_json::from_slice(body).ok().map(Self)
    }

    /// A value by any of its names; null and what EMQX writes for nothing are the empty text.
    fn text(&self, names: &[&str]) -> &str {
        let found = names.iter().find_map(|name| self.0.get(*name)).and_then(Value::as_str).unwrap_or_default();
        if found == "undefined" { "" } else { found }
    }

    fn client(&self) -> &str {
        self.text(&["clientid", "client_id"])
    }

    fn user(&self) -> &str {
        self.text(&["username"])
    }

    /// When it was, in milliseconds since 1970, if the broker says so.
    fn at(&self) -> Option<u64> {
        let said = self.0.get("disconnected_at").or_else(|| self.0.get("timestamp"))?;
        said.as_u64().or_else(|| said.as_str()?.parse().ok())
    }

    fn is_of_emqx(&self) -> bool {
        self.text(&["broker"]) == "emqx" || self.0.contains_key("action")
    }

    /// Whether it is asked for publishing, and whether for subscribing or being told.
    fn wants(&self) -> Option<(bool, bool)> {
        match self.text(&["action"]) {
            "publish" => return Some((true, false)),
            "subscribe" => return Some((false, true)),
            _ => {}
        }
        let access = self.0.get("acc").or_else(|| self.0.get("access"));
        let access = access.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()))?;
        // mosquitto-go-auth: 1 is told, 2 publishes, 3 both, 4 subscribes.
        match access {
            1 | 4 => Some((false, true)),
            2 => Some((true, false)),
            3 => Some((true, true)),
            _ => None,
        }
    }
}

async fn authenticate(State(mqtt): State<Mqtt>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let Some(question) = Question::read(&headers, &body) else { return unreadable() };
    let decided = match only(&mqtt) {
        Some(broker) => admit(&mqtt, broker, &question).await,
        None => Verdict::Deny(which("auth")),
    };
    decide(&question, decided)
}

async fn authenticate_of(
    State(mqtt): State<Mqtt>,
    Path(broker): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let Some(question) = Question::read(&headers, &body) else { return unreadable() };
    let decided =
        if is_served(&mqtt, &broker) { admit(&mqtt, &broker, &question).await } else { Verdict::Deny(STRANGE.to_owned()) };
    decide(&question, decided)
}

async fn gone(State(mqtt): State<Mqtt>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    match only(&mqtt) {
        Some(broker) => end_all(&mqtt, broker, &headers, &body).await,
        None => untaken(StatusCode::NOT_FOUND, &which("gone")),
    }
}

async fn gone_of(State(mqtt): State<Mqtt>, Path(broker): Path<String>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    if is_served(&mqtt, &broker) {
        end_all(&mqtt, &broker, &headers, &body).await
    } else {
        untaken(StatusCode::NOT_FOUND, STRANGE)
    }
}

const STRANGE: &str = "this broker is not one of those that are served";

fn is_served(mqtt: &Mqtt, broker: &str) -> bool {
    mqtt.settings.servers.iter().any(|server| server.name == broker)
}

/// The broker, if there is only one.
fn only(mqtt: &Mqtt) -> Option<&str> {
    match mqtt.settings.servers.as_slice() {
        [only] => Some(&only.name),
        _ => None,
    }
}

fn which(path: &str) -> String {
    format!("several brokers are served: ask at /mqtt/{path}/HOST:PORT, by the address that we have of you")
}

/// Ends what a client has that its broker has given up.
async fn end_all(mqtt: &Mqtt, broker: &str, headers: &HeaderMap, body: &Bytes) -> Response<Body> {
    let question = Question::read(headers, body);
    let Some(question) = question.filter(|question| topic::names_client(question.client())) else { return unreadable() };
    match mqtt.subscriptions.given_up(broker, question.client(), question.at()).await {
        Ok(ended) => {
            tracing::debug!(client = question.client(), ended, "a broker has given a client's session up");
            plain(StatusCode::OK, Bytes::from(json!({"result": "ok", "ended": ended}).to_string()))
        }
        Err(error) => untaken(StatusCode::SERVICE_UNAVAILABLE, &error.message),
    }
}

fn untaken(status: StatusCode, reason: &str) -> Response<Body> {
    plain(status, Bytes::from(json!({"result": "error", "error": reason}).to_string()))
}

fn decide(question: &Question, decided: Verdict) -> Response<Body> {
    if let Verdict::Deny(reason) | Verdict::Unknown(reason) = &decided {
        tracing::info!(client = question.client(), reason, "a client of a broker is not let in");
    }
    verdict(question.is_of_emqx(), decided)
}

/// What is said to somebody who comes in as a client: by what is kept under that name, and by the hooks. Where it comes from,
/// only the broker knows.
async fn welcome(mqtt: &Mqtt, (broker, client): (&str, &str), principal: &Principal) -> Verdict {
    match mqtt.subscriptions.are_of_another(broker, client, principal) {
        Some(false) => {}
        // Whoever has the id is told what is told of them, by the rights of who began them.
        Some(true) => {
            return Verdict::Deny(
                "somebody else's subscriptions are kept under this client id: take another id, or wait until they have ended, by \
                 unsubscribe_all of whose they are or --mqtt-subscription-seconds after that client was heard last"
                    .to_owned(),
            );
        }
        None => return Verdict::Unknown("whose subscriptions are kept under this client id is not known yet".to_owned()),
    }
    match mqtt.engine.may_connect(Session { id: Uuid::new_v4(), principal, remote: None }).await {
        Ok(()) => Verdict::Allow,
        Err(refused) => Verdict::Deny(refused.message),
    }
}

async fn admit(mqtt: &Mqtt, broker: &str, question: &Question) -> Verdict {
    let (client, user, password) = (question.client(), question.user(), question.text(&["password"]));
    let own = mqtt.settings.servers.iter().filter_map(|server| server.user.as_ref());
    if own.clone().any(|own| own.name == user) {
        return if own.clone().any(|own| own.is(user, password)) {
            Verdict::Allow
        } else {
            Verdict::Deny("it is not the service that it says it is".to_owned())
        };
    }
    if !topic::names_client(client) {
        return Verdict::Deny("its client id can't be a level of a topic".to_owned());
    }
    if let Err(error) = topic::check_client(client) {
        return Verdict::Deny(error.message);
    }
    let identity = &mqtt.0.identity;
    let key = identity.key(broker, client);
    if !identity.authenticator.takes_tokens() || (password.is_empty() && identity.authenticator.admits_anonymous()) {
        return match identity.remembered.find(&key).await {
            Ok(None) => welcome(mqtt, (broker, client), &Principal::anonymous()).await,
            Ok(Some(_)) => Verdict::Deny("the client id is somebody's who has a token".to_owned()),
            Err(error) => Verdict::Unknown(error.to_string()),
        };
    }
    let token = password.strip_prefix("Bearer ").unwrap_or(password);
    let credentials = if token.is_empty() { Credentials::none() } else { Credentials::bearer(token) };
    let principal = match identity.authenticator.authenticate(credentials).await {
        Ok(principal) => principal,
        Err(error) if error.retryable() => return Verdict::Unknown(error.to_string()),
        Err(error) => return Verdict::Deny(error.to_string()),
    };
    if let Err(error) = identity.check_claim(client, &principal) {
        return Verdict::Deny(error.message);
    }
    match welcome(mqtt, (broker, client), &principal).await {
        Verdict::Allow => {}
        refused => return refused,
    }
    match identity.remembered.remember(&key, &principal, identity.claim.is_some()).await {
        Ok(true) => Verdict::Allow,
        Ok(false) => Verdict::Deny("the client id is somebody else's".to_owned()),
        Err(error @ (store::Error::Unavailable(_) | store::Error::Unusable(_))) => Verdict::Unknown(error.to_string()),
    }
}

async fn authorize(State(mqtt): State<Mqtt>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let Some(question) = Question::read(&headers, &body) else { return unreadable() };
    let Some((publishes, hears)) = question.wants() else { return unreadable() };
    let (prefix, topic) = (&mqtt.settings.prefix, question.text(&["topic"]));
    let own = mqtt.settings.servers.iter().filter_map(|server| server.user.as_ref());
    let allowed = if own.into_iter().any(|own| own.name == question.user()) {
        let rest = topic.strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_prefix('/'));
        let of_client = rest.and_then(|rest| rest.split_once('/'));
        // Brokers ask with the group of a shared subscription or without it.
        let unshared = topic.strip_prefix("$share/").and_then(|rest| rest.split_once('/')).map_or(topic, |(_, filter)| filter);
        let may_publish = of_client.is_some_and(|(client, rest)| topic::is_own(prefix, client, topic) && rest != "request");
        let may_hear = unshared == format!("{prefix}/+/request") || topic::client_of(prefix, topic).is_some();
        (!publishes || may_publish) && (!hears || may_hear)
    } else {
        let client = question.client();
        let space = topic::names_client(client).then(|| format!("{prefix}/{client}/"));
        let below = space.as_ref().and_then(|space| topic.strip_prefix(space.as_str()));
        let may_publish = below == Some("request");
        (!publishes || may_publish) && (!hears || below.is_some_and(|rest| !rest.is_empty()))
    };
    let decided = if allowed { Verdict::Allow } else { Verdict::Deny("the topic is not the client's".to_owned()) };
    verdict(question.is_of_emqx(), decided)
}

fn unreadable() -> Response<Body> {
    let body = json!({"result": "deny", "ok": false, "error": "the question can't be read"});
    plain(StatusCode::BAD_REQUEST, Bytes::from(body.to_string()))
}

fn verdict(emqx: bool, verdict: Verdict) -> Response<Body> {
    let (status, body) = match verdict {
        Verdict::Allow => (StatusCode::OK, json!({"result": "allow", "ok": true, "is_superuser": false})),
        Verdict::Deny(reason) => {
            let status = if emqx { StatusCode::OK } else { StatusCode::FORBIDDEN };
            (status, json!({"result": "deny", "ok": false, "is_superuser": false, "error": reason}))
        }
        Verdict::Unknown(reason) if emqx => {
            // Nobody is let in for want of knowing who it is.
            (StatusCode::OK, json!({"result": "deny", "ok": false, "is_superuser": false, "error": reason}))
        }
        Verdict::Unknown(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, json!({"result": "deny", "ok": false, "is_superuser": false, "error": reason}))
        }
    };
    plain(status, Bytes::from(body.to_string()))
}
