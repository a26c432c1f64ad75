//! What comes with a call and is not its message: who calls, until when, and what REST has in headers.

use super::Grpc;
use super::payload::Form;
use crate::auth::{Credentials, Principal};
use crate::protocol::{Code, Error, Request};
use crate::transport::rest;
use std::time::{Duration, Instant};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

/// Finds out who calls.
pub(super) async fn authenticate(grpc: &Grpc, metadata: &MetadataMap) -> Result<Principal, Error> {
    let header = metadata.get("authorization").map(MetadataValue::<Ascii>::to_str).transpose();
    let header = header.map_err(|_| Error::new(Code::Unauthorized, "the authorization metadata is not text"))?;
    let credentials = Credentials::from_authorization(header).map_err(rest::refused)?;
    grpc.conversations.authenticator.authenticate(credentials).await.map_err(rest::refused)
}

/// The form in which answers are wanted.
pub(super) fn form(metadata: &MetadataMap) -> Result<Form, Error> {
    match text(metadata, "resolvespec-form")?.as_deref() {
        None | Some("json") => Ok(Form::Json),
        Some("struct") => Ok(Form::Struct),
        Some(_) => Err(Error::new(Code::InvalidRequest, "resolvespec-form is json or struct").with_detail("resolvespec-form")),
    }
}

/// The session that is to go on; the empty one is none.
pub(super) fn session(metadata: &MetadataMap) -> Result<Option<String>, Error> {
    Ok(text(metadata, "resolvespec-session")?.filter(|session| !session.is_empty()))
}

/// When the client stops waiting: a number of at most eight digits and a unit.
pub(super) fn deadline(metadata: &MetadataMap) -> Result<Option<Instant>, Error> {
    let Some(time) = text(metadata, "grpc-timeout")? else { return Ok(None) };
    let read = || {
        let (digits, unit) = time.split_at_checked(time.len().checked_sub(1)?)?;
        let count: u64 =
            digits.parse().ok().filter(|_| digits.len() <= 8 && digits.bytes().all(|digit| digit.is_ascii_digit()))?;
        match unit {
            "H" => Some(Duration::from_hours(count)),
            "M" => Some(Duration::from_mins(count)),
            "S" => Some(Duration::from_secs(count)),
            "m" => Some(Duration::from_millis(count)),
            "u" => Some(Duration::from_micros(count)),
            "n" => Some(Duration::from_nanos(count)),
            _ => None,
        }
    };
    let unreadable = || Error::new(Code::InvalidRequest, "grpc-timeout can't be read").with_detail("grpc-timeout");
    // Whoever waits longer than clocks go waits for ever.
    Ok(Instant::now().checked_add(read().ok_or_else(unreadable)?))
}

/// Takes what a request may have in metadata; what the message says itself comes first.
pub(super) fn complete(request: Request, metadata: &MetadataMap, deadline: Option<Instant>) -> Result<Request, Error> {
    Ok(Request {
        idempotency_key: request.idempotency_key.or(text(metadata, "idempotency-key")?),
        if_match: request.if_match.or(text(metadata, "if-match")?),
        deadline,
        ..request
    })
}

fn text(metadata: &MetadataMap, name: &str) -> Result<Option<String>, Error> {
    match metadata.get(name).map(MetadataValue::to_str) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text.to_owned())),
        Some(Err(_)) => Err(Error::new(Code::InvalidRequest, format!("the metadata {name} is not ASCII text"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &str) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        metadata.insert(name, value.parse().unwrap());
        metadata
    }

    #[test]
    fn a_deadline_is_a_number_and_a_unit() {
        let now = Instant::now();
        for (text, time) in [
            ("2H", Duration::from_hours(2)),
            ("3M", Duration::from_mins(3)),
            ("10S", Duration::from_secs(10)),
            ("99999999m", Duration::from_millis(99_999_999)),
            ("1500000u", Duration::from_millis(1500)),
            ("0n", Duration::ZERO),
        ] {
            let at = deadline(&with("grpc-timeout", text)).unwrap().unwrap();
            let late = at.duration_since(now).checked_sub(time).unwrap();
            assert!(late < Duration::from_secs(5), "{text}");
        }
        for text in ["", "S", "10", "10s", "-1S", "+1S", "1.5S", "123456789S", "1 S"] {
            assert_eq!(deadline(&with("grpc-timeout", text)).unwrap_err().code, Code::InvalidRequest, "{text}");
        }
        assert_eq!(deadline(&MetadataMap::new()).unwrap(), None);
    }

    #[test]
    fn forms_are_json_and_struct() {
        assert!(matches!(form(&MetadataMap::new()), Ok(Form::Json)));
        assert!(matches!(form(&with("resolvespec-form", "struct")), Ok(Form::Struct)));
        assert_eq!(form(&with("resolvespec-form", "yaml")).unwrap_err().code, Code::InvalidRequest);
    }
}
