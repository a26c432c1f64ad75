//! Answers as HTTP: texts put together around rows that nobody parses, buffered or streamed.

use super::status::status;
use crate::protocol::response::{MoreRows, entity_tag};
use crate::protocol::{Code, Error, RowText};
use axum::body::Body;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, stream};

/// The headers of an answer beside its type.
pub type Headers = Vec<(HeaderName, HeaderValue)>;

/// Rows with text before and after them. The text after may tell how many there were.
pub struct Around {
    /// Text before the rows.
    pub before: Bytes,
    /// The first rows.
    pub rows: RowText,
    /// The rest of a large page.
    pub more: Option<MoreRows>,
    /// Text after the rows, made from their number.
    pub after: Box<dyn FnOnce(u64) -> Bytes + Send>,
}

/// Answers rows. A buffered answer carries an entity tag, and is left out if the client has it.
#[must_use]
pub fn rows(request: &HeaderMap, around: Around, headers: Headers) -> Response<Body> {
    let Around { before, rows, more, after } = around;
    let Some(more) = more else {
        let after = after(rows.count);
        let mut body = BytesMut::with_capacity(before.len() + rows.joined.len() + after.len());
        body.put(before);
        body.put(rows.joined);
        body.put(after);
        return whole(request, body.freeze(), headers);
    };
    let parts = stream::unfold(Part::Before(before, rows, more, after), |part| async move { part.next().await });
    let mut response = Response::new(Body::from_stream(parts));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().extend(headers.into_iter().map(|(name, value)| (Some(name), value)).collect::<HeaderPairs>().0);
    response
}

/// Collects pairs the way that a header map extends itself.
struct HeaderPairs(HeaderMap);

impl FromIterator<(Option<HeaderName>, HeaderValue)> for HeaderPairs {
    fn from_iter<T: IntoIterator<Item = (Option<HeaderName>, HeaderValue)>>(pairs: T) -> Self {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            if let Some(name) = name {
                map.append(name, value);
            }
        }
        Self(map)
    }
}

type After = Box<dyn FnOnce(u64) -> Bytes + Send>;

/// What of a streamed answer comes next.
enum Part {
    Before(Bytes, RowText, MoreRows, After),
    More(MoreRows, u64, After),
    End,
}

impl Part {
    async fn next(self) -> Option<(Result<Bytes, Error>, Part)> {
        match self {
            Part::Before(before, rows, more, after) => {
                let first = [before, rows.joined].concat();
                Some((Ok(Bytes::from(first)), Part::More(more, rows.count, after)))
            }
            Part::More(mut more, count, after) => match more.next().await {
                Some(Ok(rows)) if rows.count == 0 => Some((Ok(Bytes::new()), Part::More(more, count, after))),
                Some(Ok(rows)) => {
                    let mut text = BytesMut::with_capacity(rows.joined.len() + 1);
                    text.put_u8(b',');
                    text.put(rows.joined);
                    Some((Ok(text.freeze()), Part::More(more, count + rows.count, after)))
                }
                Some(Err(error)) => Some((Err(error), Part::End)),
                None => Some((Ok(after(count)), Part::End)),
            },
            Part::End => None,
        }
    }
}

/// Answers a whole text with its entity tag.
#[must_use]
pub fn whole(request: &HeaderMap, body: Bytes, headers: Headers) -> Response<Body> {
    let tag = entity_tag(&body);
    tagged(request, body, &tag, headers)
}

/// Answers a text, unless the client has what has this entity tag.
#[must_use]
pub fn tagged(request: &HeaderMap, body: Bytes, tag: &str, headers: Headers) -> Response<Body> {
    let known = request.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let unchanged =
        known.is_some_and(|known| known.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag));
    let mut response = if unchanged {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        plain(StatusCode::OK, body)
    };
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    for (name, value) in headers {
        response.headers_mut().append(name, value);
    }
    response
}

/// Answers a JSON text.
#[must_use]
pub fn plain(status: StatusCode, body: Bytes) -> Response<Body> {
    let length = body.len();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// Says of an answer whether it is the one that an earlier request with the same idempotency key got.
#[must_use]
pub fn marked(mut response: Response<Body>, replayed: bool) -> Response<Body> {
    if replayed {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    response
}

/// Says which methods a path takes, in an answer that refuses one.
#[must_use]
pub fn allowing(mut response: Response<Body>, methods: &'static str) -> Response<Body> {
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    }
    response
}

/// Answers an error with the body that the style gives it.
#[must_use]
pub fn failure(error: &Error, body: &serde_json::Value) -> Response<Body> {
    let mut response = plain(status(error.code), Bytes::from(body.to_string()));
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if error.code.retryable() {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if error.code == Code::Unauthorized {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
