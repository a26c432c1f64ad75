//! What is wrong with a JSON text, in the words of whoever sent it.
//!
//! The decoder speaks of its own types (`invalid type: sequence, expected u64`); clients know JSON. Where the words are
//! not known here, those of the decoder stay.

use serde_json::Error;

/// The reason; with line and column where the text is no JSON at all, since no path leads there.
#[must_use]
pub fn reason(error: &Error) -> String {
    let text = error.to_string();
    if error.is_syntax() || error.is_eof() {
        return match text.split_once(" at line ") {
            Some((what, place)) => format!("{} at line {place}", broken(what)),
            None => text,
        };
    }
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let mismatch = text.strip_prefix("invalid type: ").or_else(|| text.strip_prefix("invalid value: "));
    if let Some((got, expected)) = mismatch.and_then(|both| both.rsplit_once(", expected ")) {
        return format!("expected {}, not {}", wanted(expected), given(got));
    }
    if let Some(name) = text.strip_prefix("missing field ") {
        return format!("{} is missing", quoted(name));
    }
    if let Some((name, known)) = text.strip_prefix("unknown field ").and_then(|rest| rest.split_once(", expected ")) {
        let known = known.trim_start_matches("one of ").replace('`', "");
        return format!("{} is unknown; known are {}", quoted(name), known.replace(" or ", ", "));
    }
    text.to_owned()
}

fn broken(what: &str) -> &str {
    match what {
        "expected ident" | "expected value" => "no JSON value can be read",
        "EOF while parsing a list" => "the text ends within a list",
        "EOF while parsing an object" => "the text ends within an object",
        "EOF while parsing a string" => "the text ends within a string",
        "EOF while parsing a value" => "the text ends where a value should be",
        "key must be a string" => "a key must be a string in double quotes",
        "trailing characters" => "something follows the end of the value",
        "recursion limit exceeded" => "lists and objects are nested too deep",
        other => other,
    }
}

fn wanted(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "string" | "a borrowed string" => "a text",
        "a sequence" => "a list",
        "a map" => "an object",
        other if other.starts_with("struct ") => "an object",
        other => other,
    }
}

fn given(got: &str) -> String {
    match got {
        "sequence" => "a list".to_owned(),
        "map" => "an object".to_owned(),
        "unit value" => "null".to_owned(),
        got => {
            let (kind, value) = got.split_once(' ').unwrap_or(("", got));
            match kind {
                "string" => format!("the text {value}"),
                "integer" | "boolean" => value.trim_matches('`').to_owned(),
                "floating" => value.trim_start_matches("point ").trim_matches('`').to_owned(),
                _ => got.to_owned(),
            }
        }
    }
}

fn quoted(name: &str) -> String {
    format!("'{}'", name.trim_matches('`'))
}

#[cfg(test)]
mod tests {
    use super::reason;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Page {
        limit: u64,
        names: Option<Vec<String>>,
        ratio: Option<f64>,
    }

    fn said(text: &str) -> String {
        reason(&serde_json::from_str::<Page>(text).unwrap_err())
    }

    #[test]
    fn faults_are_told_in_the_words_of_json() {
        for (text, expected) in [
            (r#"{"limit": "many"}"#, r#"expected a whole number that is not negative, not the text "many""#),
            (r#"{"limit": -1}"#, "expected a whole number that is not negative, not -1"),
            (r#"{"limit": 1.5}"#, "expected a whole number that is not negative, not 1.5"),
            (r#"{"limit": null}"#, "expected a whole number that is not negative, not null"),
            (r#"{"limit": 1, "names": {}}"#, "expected a list, not an object"),
            (r#"{"limit": 1, "names": [true]}"#, "expected a text, not true"),
            (r#"{"limit": 1, "ratio": []}"#, "expected a number, not a list"),
            ("7", "expected an object, not 7"),
            ("{}", "'limit' is missing"),
            (r#"{"limits": 1}"#, "'limits' is unknown; known are limit, names, ratio"),
            (r#"{"limit": 1, "limit": 2}"#, "duplicate field `limit`"),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_told_with_its_place() {
        for (text, expected) in [
            ("nonsense", "no JSON value can be read at line 1 column 2"),
            ("{\"limit\": \n nil}", "no JSON value can be read at line 2 column 3"),
            ("{\"limit\": +1}", "no JSON value can be read at line 1 column 11"),
            ("", "the text ends where a value should be at line 1 column 0"),
            ("{\"limit\"", "the text ends within an object at line 1 column 8"),
            ("{\"limit\": 1} 2", "something follows the end of the value at line 1 column 14"),
            ("{limit: 1}", "a key must be a string in double quotes at line 1 column 2"),
            ("{\"limit\": 1,}", "trailing comma at line 1 column 13"),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
    }
}
