//! Any text as a query and as header values of the header style: `cargo +nightly fuzz run header`.
#![no_main]

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use resolvespec::transport::rest::header::{Parameters, decode};

const NAMES: [&str; 8] = [
    "x-sort",
    "x-files",
    "x-preload",
    "x-limit",
    "x-searchop-in-a",
    "x-searchor-between-b",
    "x-custom-sql-w",
    "x-cursor-forward",
];

fuzz_target!(|input: (u8, Vec<u8>, String)| {
    let (place, value, query) = input;
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(&value) {
        headers.insert(HeaderName::from_static(NAMES[usize::from(place) % NAMES.len()]), value);
    }
    if let Ok(parameters) = Parameters::collect(&headers, Some(&query)) {
        let _outcome = decode(&parameters);
    }
});
