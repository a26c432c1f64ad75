//! Whether the pages hang together and stay within this process.

use super::{FILES, POLICY, serve, takes_gzip};
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};

fn with(name: axum::http::HeaderName, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
}

#[test]
fn pages_refer_to_files_that_are_served_and_to_no_other_host() {
    for file in FILES.iter().filter(|file| !file.bundle) {
        let text = std::str::from_utf8(file.bytes).unwrap();
        assert!(!text.contains("://") && !text.contains("src=\"//") && !text.contains("href=\"//"), "{}", file.path);
        for mark in ["src=\"", "href=\""] {
            for rest in text.split(mark).skip(1) {
                let target = rest.split('"').next().unwrap();
                let served = ["/openapi", "/asyncapi"].contains(&target)
                    || target == "data:,"
                    || FILES.iter().any(|file| file.path == target);
                assert!(served, "{} refers to {target}", file.path);
            }
        }
        assert!(!text.contains("<script>") && !text.contains("onclick"), "{} has a script that the policy stops", file.path);
    }
}

#[test]
fn the_policy_names_no_other_host_and_no_script_in_the_page() {
    assert!(!POLICY.contains("http") && !POLICY.contains('*') && !POLICY.contains("unsafe-eval"));
    assert!(POLICY.contains("script-src 'self';"));
    for file in &FILES {
        let response = serve(file, &with(ACCEPT_ENCODING, "gzip"));
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_SECURITY_POLICY], POLICY);
    }
}

#[test]
fn bundles_are_gzip_and_can_be_kept() {
    for file in FILES.iter().filter(|file| file.bundle) {
        assert_eq!(file.bytes[..2], [0x1f, 0x8b], "{}", file.path);
        let response = serve(file, &with(ACCEPT_ENCODING, "br, gzip"));
        assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
        assert!(response.headers()[CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        assert_eq!(serve(file, &HeaderMap::new()).status(), StatusCode::NOT_ACCEPTABLE);
        let mut again = with(ACCEPT_ENCODING, "gzip");
        again.insert(IF_NONE_MATCH, response.headers()[ETAG].clone());
        assert_eq!(serve(file, &again).status(), StatusCode::NOT_MODIFIED);
    }
}

#[test]
fn gzip_is_taken_by_name_or_by_the_star() {
    for (value, taken) in [
        ("gzip", true),
        ("deflate, GZIP;q=0.5", true),
        ("*", true),
        ("gzip;q=0, *", false),
        ("*;q=0", false),
        ("br", false),
        ("identity", false),
    ] {
        assert_eq!(takes_gzip(&with(ACCEPT_ENCODING, value)), taken, "{value}");
    }
}
