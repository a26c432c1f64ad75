//! The documentation pages: static files of this process that read `/openapi` in the browser.
//!
//! They name no other host, and their policy would stop the browser if they did. They hold nothing secret and are public;
//! the document that they show is not, and asks for a token where the service does.

use super::router::Rest;
use axum::Router;
use axum::body::Body;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::routing::get;
use bytes::Bytes;

/// A file below `/docs`.
struct File {
    path: &'static str,
    media: &'static str,
    bytes: &'static [u8],
    /// A vendored bundle, kept compressed under a path with its version.
    bundle: bool,
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

macro_rules! file {
    ($path:literal, $media:expr, $file:literal) => {
        File { path: $path, media: $media, bytes: include_bytes!(concat!("../../../assets/docs/", $file)), bundle: false }
    };
}

macro_rules! bundle {
    ($path:literal, $media:expr, $file:literal) => {
        File { path: $path, media: $media, bytes: include_bytes!(concat!("../../../assets/docs/", $file)), bundle: true }
    };
}

const FILES: [File; 13] = [
    file!("/docs", HTML, "index.html"),
    file!("/docs/swagger", HTML, "swagger.html"),
    file!("/docs/redoc", HTML, "redoc.html"),
    file!("/docs/rapidoc", HTML, "rapidoc.html"),
    file!("/docs/page.css", STYLE, "page.css"),
    file!("/docs/page.js", SCRIPT, "page.js"),
    file!("/docs/swagger.js", SCRIPT, "swagger.js"),
    file!("/docs/redoc.js", SCRIPT, "redoc.js"),
    file!("/docs/rapidoc.js", SCRIPT, "rapidoc.js"),
    bundle!("/docs/swagger-ui-5.35.0.js", SCRIPT, "swagger-ui.js.gz"),
    bundle!("/docs/swagger-ui-5.35.0.css", STYLE, "swagger-ui.css.gz"),
    bundle!("/docs/redoc-2.5.4.js", SCRIPT, "redoc.js.gz"),
    bundle!("/docs/rapidoc-9.3.8.js", SCRIPT, "rapidoc.js.gz"),
];

/// This process alone, with the styles that the bundles write into the page; Redoc searches in a worker of its own text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// All routes below `/docs`.
pub(super) fn routes() -> Router<Rest> {
    FILES.iter().fold(Router::new(), |router, file| {
        router.route(file.path, get(move |headers: HeaderMap| async move { serve(file, &headers) }))
    })
}

fn serve(file: &'static File, request: &HeaderMap) -> Response<Body> {
    if file.bundle && !takes_gzip(request) {
        return refuse();
    }
    let tag = crate::protocol::response::entity_tag(file.bytes);
    let known = request.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let unchanged =
        known.is_some_and(|known| known.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag));
    let mut response = Response::new(if unchanged { Body::empty() } else { Body::from(Bytes::from_static(file.bytes)) });
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.media));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    let caching = if file.bundle { "public, max-age=31536000, immutable" } else { "public, no-cache" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    if file.bundle {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    }
    response
}

/// The bundles exist compressed only; every browser takes that.
fn refuse() -> Response<Body> {
    let text = "this file is served with gzip only; send Accept-Encoding: gzip\n";
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::NOT_ACCEPTABLE;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Whether the client takes gzip, by its name or by `*`, unless it gives it the weight 0.
fn takes_gzip(request: &HeaderMap) -> bool {
    let weight = |name: &str| {
        let values = request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let mut codings = values.flat_map(|value| value.split(','));
        codings.find_map(|coding| {
            let (word, parameters) = coding.split_once(';').unwrap_or((coding, ""));
            let weight = parameters.trim().strip_prefix("q=").map_or(Some(1.0), |text| text.trim().parse::<f32>().ok());
            word.trim().eq_ignore_ascii_case(name).then_some(weight.unwrap_or(0.0))
        })
    };
    weight("gzip").or_else(|| weight("*")).is_some_and(|weight| weight > 0.0)
}

#[cfg(test)]
mod tests;
