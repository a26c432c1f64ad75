//! How headers and queries become names and values.

use super::tests::{leaves, read};
use super::{Parameters, decode};
use crate::protocol::{Code, Condition};
use axum::http::{HeaderMap, HeaderValue};
use serde_json::json;

#[test]
fn wrapped_values_are_unwrapped_and_plain_ones_stay() {
    let value = |text: &str| {
        let request = read(&[("X-FieldFilter-a", text)], None).expect(text);
        let Condition::Leaf(leaf) = request.options.filters else { panic!("{text} is one filter") };
        leaf.value
    };
    assert_eq!(value("ZIP_w6R0dA=="), json!("ätt"));
    assert_eq!(value("__WklQX1lXSmo="), json!("abc"));
    assert_eq!(value("__init__"), json!("__init__"));
}

#[test]
fn the_first_of_equal_names_counts_and_the_query_comes_before_headers() {
    let limit = |headers: &[(&str, &str)], query| read(headers, query).expect("readable").options.limit;
    assert_eq!(limit(&[("x-limit", "1"), ("x-limit", "2")], None), Some(1));
    assert_eq!(limit(&[("x-limit", "1")], Some("X-Limit=3&x-limit=4")), Some(3));
}

#[test]
fn the_query_is_read_as_forms_write_it_and_headers_as_utf_8_or_latin_1() {
    let options = read(&[], Some("x-fieldfilter-city=New+York&x-sort=+a,%2Bb,-c")).expect("readable").options;
    assert_eq!(leaves(&options.filters), ["city eq \"New York\""]);
    let keys: Vec<&str> = options.sort.iter().map(|key| key.column.as_str()).collect();
    assert_eq!(keys, ["a", "b", "c"]);
    for bytes in [&b"\xc3\xa4tt"[..], b"\xe4tt", b"ZIP_w6R0dA==", b"__5HR0", b"__w6R0\r dA==".as_slice()] {
        let mut map = HeaderMap::new();
        let bytes: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != b'\r').collect();
        map.insert("x-fieldfilter-a", HeaderValue::from_bytes(&bytes).expect("a value"));
        let request = Parameters::collect(&map, None).and_then(|parameters| decode(&parameters)).expect("readable");
        assert_eq!(leaves(&request.options.filters), ["a eq \"ätt\""], "{bytes:?}");
    }
    assert_eq!(read(&[], Some("x-sort=%ff")).expect_err("not UTF-8").code, Code::InvalidRequest);
}

#[test]
fn too_many_or_too_long_parameters_are_refused() {
    let many: Vec<String> = (0..257).map(|number| format!("x-fieldfilter-a{number}=1")).collect();
    assert_eq!(read(&[], Some(&many.join("&"))).expect_err("too many").code, Code::LimitExceeded);
    let long = format!("x-fieldfilter-a={}", "a".repeat(300 * 1024));
    assert_eq!(read(&[], Some(&long)).expect_err("too long").code, Code::LimitExceeded);
}
