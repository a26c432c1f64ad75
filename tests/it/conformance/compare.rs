//! Whether an answer is the expected one: JSON by value.
//!
//! Numbers are equal when their digits are, without regard to zeros at the end of a fraction; the order of an object's
//! keys has no meaning, that of a list has.

use super::case::{Expected, Style};
use serde_json::{Map, Number, Value};

/// What is looked at of an answer, the same for every style.
#[derive(Debug)]
pub(crate) struct Seen {
    pub status: u16,
    pub code: Option<String>,
    pub detail: Option<String>,
    pub data: Value,
    pub metadata: Map<String, Value>,
}

/// Everything in which the answer is not as expected.
pub(crate) fn differences(expected: &Expected, style: Style, seen: &Seen) -> Vec<String> {
    let mut problems = Vec::new();
    if expected.status != seen.status {
        problems.push(format!("the status is {}, not {}", seen.status, expected.status));
    }
    if expected.code != seen.code {
        problems.push(format!("the code is {:?}, not {:?}", seen.code, expected.code));
    }
    if expected.detail.is_some() && expected.detail != seen.detail {
        problems.push(format!("the detail is {:?}, not {:?}", seen.detail, expected.detail));
    }
    if let Some(data) = &expected.data {
        find("data", data, &seen.data, &mut problems);
    }
    for (key, value) in expected.has.iter().flatten() {
        find(&format!("data.{key}"), value, &seen.data[key.as_str()], &mut problems);
    }
    for (key, value) in &expected.metadata {
        match seen.metadata.get(key) {
            Some(seen) => find(&format!("metadata.{key}"), value, seen, &mut problems),
            None if style.carries(key) => problems.push(format!("metadata.{key} is missing")),
            None => {}
        }
    }
    problems
}

/// Every difference between two values.
pub(crate) fn find(path: &str, expected: &Value, seen: &Value, problems: &mut Vec<String>) {
    match (expected, seen) {
        (Value::Object(left), Value::Object(right)) => {
            for (key, value) in left {
                match right.get(key) {
                    Some(other) => find(&format!("{path}.{key}"), value, other, problems),
                    None => problems.push(format!("{path}.{key} is missing")),
                }
            }
            let extra = right.keys().filter(|key| !left.contains_key(*key));
            problems.extend(extra.map(|key| format!("{path}.{key} is too much")));
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (place, (left, right)) in left.iter().zip(right).enumerate() {
                find(&format!("{path}[{place}]"), left, right, problems);
            }
        }
        (Value::Number(left), Value::Number(right)) if digits(left) == digits(right) => {}
        (left, right) if left == right => {}
        (left, right) => problems.push(format!("{path} is {right}, not {left}")),
    }
}

/// A number's text without what does not change a decimal.
fn digits(number: &Number) -> String {
    let text = number.to_string();
    let exponent = text.contains(['e', 'E']);
    match text.split_once('.') {
        Some(_) if !exponent => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        _ if exponent => number.as_f64().map_or(text, |value| value.to_string()),
        _ => text,
    }
}
