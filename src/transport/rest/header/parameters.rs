//! Header-style parameters: headers and query pairs under lower-case names, decoded, in the order of their names.
//!
//! A query pair comes before a header of the same name, and of equal names the first counts. Base64 is never taken off
//! names, and what they mean is not known here.

use crate::protocol::{Code, Error};
use axum::http::HeaderMap;
use base64::Engine as _;
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// The parameters of one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    pairs: BTreeMap<String, Parameter>,
}

/// One parameter.
#[derive(Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The decoded value.
    pub value: String,
    /// Whether it stood in the query, where nobody but the client writes.
    pub from_query: bool,
}

/// Parameters that a request may have.
const MAX_PARAMETERS: usize = 256;

/// Bytes that their names and values may have, as they were sent.
const MAX_BYTES: usize = 256 * 1024;

/// Times that a value may be wrapped in base64.
const MAX_WRAPS: usize = 4;

impl Parameters {
    /// Collects headers that begin with `x-`, and every query pair.
    pub fn collect(headers: &HeaderMap, query: Option<&str>) -> Result<Self, Error> {
        let (mut pairs, mut budget) = (BTreeMap::new(), Budget::default());
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            budget.spend(pair.len())?;
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let Entry::Vacant(place) = pairs.entry(decoded(name)?.to_lowercase()) {
                place.insert(Parameter { value: unwrap(decoded(value)?), from_query: true });
            }
        }
        for (name, value) in headers.iter().filter(|(name, _)| name.as_str().starts_with("x-")) {
            budget.spend(name.as_str().len() + value.len())?;
            if let Entry::Vacant(place) = pairs.entry(name.as_str().to_owned()) {
                place.insert(Parameter { value: unwrap(text(value.as_bytes())), from_query: false });
            }
        }
        Ok(Self { pairs })
    }

    /// Every parameter, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Parameter)> {
        self.pairs.iter().map(|(name, parameter)| (name.as_str(), parameter))
    }
}

/// What a request has used of its bounds.
#[derive(Default)]
struct Budget {
    parameters: usize,
    bytes: usize,
}

impl Budget {
    fn spend(&mut self, bytes: usize) -> Result<(), Error> {
        self.parameters += 1;
        self.bytes += bytes;
        let refused = |message| Err(Error::new(Code::LimitExceeded, message));
        if self.parameters > MAX_PARAMETERS {
            return refused(format!("the request has more than {MAX_PARAMETERS} parameters"));
        }
        if self.bytes > MAX_BYTES {
            return refused(format!("the request's parameters have more than {MAX_BYTES} bytes"));
        }
        Ok(())
    }
}

/// Decodes a part of the query. A plus is a blank, as forms write it; a sort key may begin with either.
fn decoded(part: &str) -> Result<String, Error> {
    let blanks = part.replace('+', " ");
    let text = percent_decode_str(&blanks).decode_utf8();
    text.map(std::borrow::Cow::into_owned).map_err(|_| Error::new(Code::InvalidRequest, "the query is not UTF-8"))
}

/// Header bytes are UTF-8, or else Latin-1, which every byte sequence is.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// Takes `ZIP_` and `__` wrappings of base64 off; a value that only looks like one stays as it is.
fn unwrap(mut value: String) -> String {
    for _ in 0..MAX_WRAPS {
        let Some(mark) = ["ZIP_", "__"].into_iter().find(|mark| value.starts_with(mark)) else { break };
        let bare: String = value.replace(mark, "").chars().filter(|character| !matches!(character, '\r' | '\n' | ' ')).collect();
        match base64::engine::general_purpose::STANDARD.decode(bare) {
            Ok(bytes) if is_readable(&text(&bytes)) => value = text(&bytes),
            _ => break,
        }
    }
    value
}

/// Whether a text has no control characters but blanks; a plain value that happens to be base64 as well hardly ever has none.
fn is_readable(text: &str) -> bool {
    text.chars().all(|character| !character.is_control() || matches!(character, '\t' | '\r' | '\n'))
}
