//! The door: the handshake, where the page comes from, who it is, and whether there is room.
//!
//! Everything that is refused here is refused as HTTP, before the upgrade; only the hooks are asked after it. A browser can't
//! send headers, so a token may also be the query's `token`, or a subprotocol `bearer.<token>` beside `resolvespec`.

use super::Ws;
use super::socket::Socket;
use crate::auth::Credentials;
use crate::protocol::{Code, Error};
use crate::transport::conversation::{Begin, Seat};
use crate::transport::cores::Peer;
use crate::transport::rest;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{
    AUTHORIZATION, CONNECTION, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tungstenite::handshake::derive_accept_key;
use url::form_urlencoded;

/// The subprotocol that is chosen where a client offers it; browsers close a connection none of whose offers is chosen.
const SUBPROTOCOL: &str = "resolvespec";
const TOKEN_SUBPROTOCOL: &str = "bearer.";

/// Lets a client in, or tells it why not.
pub(super) async fn upgrade(State(ws): State<Ws>, request: Request) -> Response<Body> {
    let (mut request, _) = request.into_parts();
    let Some(handshake) = Handshake::read(&mut request) else { return no_handshake() };
    match enter(&ws, &request).await {
        Ok(seat) => {
            let session = request.uri.query().and_then(|query| value_of(query, "session"));
            ws.conversations.spawn(serve(ws.clone(), seat, handshake.upgrade, session));
            switch(&handshake.key, offers(&request.headers).any(|offer| offer == SUBPROTOCOL))
        }
        Err(error) => {
            ws.metrics.refused(error.code.as_str());
            rest::body::encode_error(&error)
        }
    }
}

/// What a client sends that wants to speak WebSocket.
struct Handshake {
    key: HeaderValue,
    upgrade: OnUpgrade,
}

impl Handshake {
    fn read(request: &mut Parts) -> Option<Self> {
        let headers = &request.headers;
        let wanted = request.method == Method::GET
            && has_word(headers, &CONNECTION, "upgrade")
            && has_word(headers, &UPGRADE, "websocket")
            && has_word(headers, &SEC_WEBSOCKET_VERSION, "13");
        let key = headers.get(SEC_WEBSOCKET_KEY).cloned().filter(|_| wanted)?;
        let upgrade = request.extensions.remove::<OnUpgrade>()?;
        Some(Self { key, upgrade })
    }
}

fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(word))
}

async fn enter(ws: &Ws, request: &Parts) -> Result<Seat, Error> {
    let headers = &request.headers;
    if !ws.origins.admits(headers.get(ORIGIN)) {
        return Err(Error::new(Code::Forbidden, "pages of this origin may not connect; an operator can list it"));
    }
    let header = headers.get(AUTHORIZATION).map(HeaderValue::to_str).transpose();
    let header = header.map_err(|_| Error::new(Code::Unauthorized, "the Authorization header is not text"))?;
    let offered = offers(headers).find_map(|offer| offer.strip_prefix(TOKEN_SUBPROTOCOL));
    let asked = request.uri.query().and_then(|query| value_of(query, "token"));
    let credentials = match (header, offered, &asked) {
        (Some(header), _, _) => Credentials::from_authorization(Some(header)).map_err(rest::refused)?,
        (None, Some(token), _) => Credentials::bearer(token),
        (None, None, Some(token)) => Credentials::bearer(token),
        (None, None, None) => Credentials::none(),
    };
    let principal = ws.conversations.authenticator.authenticate(credentials).await.map_err(rest::refused)?;
    let remote = request.extensions.get::<ConnectInfo<Peer>>().map(|info| info.0.0);
    ws.conversations.admit(principal, remote, &ws.metrics)
}

fn offers(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// A value of a query; an empty one is none.
fn value_of(query: &str, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.into_owned())
}

fn switch(key: &HeaderValue, chosen: bool) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    // The key's answer is base64, which every header can have.
    if let Ok(accept) = HeaderValue::try_from(derive_accept_key(key.as_bytes())) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if chosen {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    response
}

fn no_handshake() -> Response<Body> {
    let message = "this path speaks WebSocket, version 13 over HTTP/1.1; connect with a WebSocket client";
    let mut response = rest::body::encode_error(&Error::new(Code::InvalidRequest, message));
    *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

/// Takes the connection over, and has the conversation on it.
async fn serve(ws: Ws, seat: Seat, upgrade: OnUpgrade, wanted: Option<String>) {
    match upgrade.await {
        Ok(upgraded) => {
            let most = ws.conversations.settings.max_message_bytes;
            let socket = move || Socket::new(TokioIo::new(upgraded), most);
            ws.conversations.hold(seat, socket, wanted.map_or(Begin::Nothing, Begin::Restore)).await;
        }
        Err(error) => tracing::debug!(%error, "a client went away during the upgrade"),
    }
}
