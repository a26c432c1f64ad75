//! A body-style request from its JSON.

use crate::protocol::options::{Object, code_of};
use crate::protocol::{Code, Error, KeyInput, Operation, Options, Request, Selector, Target, reason as words};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(default)]
    operation: Option<String>,
    #[serde(default)]
    id: Value,
    #[serde(default)]
    data: Option<Value>,
    #[serde(default)]
    options: Option<Box<Object<Options>>>,
}

/// Reads a request. The id of the path comes before the one of the body.
pub fn decode(target: Target, path_id: Option<String>, body: &[u8]) -> Result<Request, Error> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::new(Code::InvalidRequest, "the body is empty; send a JSON object with an operation"));
    }
    // A list would be read as the fields in their order.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(Error::new(Code::InvalidRequest, "the body is a list; send a JSON object with an operation"));
    }
    // To know where a fault is costs something at every value, so that it is only found out when there is one.
    let wire: Wire = serde_json::from_slice(body).or_else(|_| located(body))?;
    let word = wire.operation.as_deref().unwrap_or_default();
    let operation = Operation::parse(word).ok_or_else(|| {
        let short: String = word.chars().take(40).collect();
        Error::new(Code::InvalidOperation, format!("operation is read, create, update, delete or meta, not '{short}'"))
    })?;
    let body_id = Selector::from_json(wire.id).map_err(|reason| Error::new(Code::InvalidRequest, format!("id is {reason}")))?;
    let selector = match (path_id, operation) {
        (Some(id), Operation::Delete) if body_id != Selector::None => {
            _ = id;
            body_id
        }
        (Some(id), _) => Selector::One(KeyInput::Text(id)),
        (None, _) => body_id,
    };
    Ok(Request {
        selector,
        data: wire.data,
        options: wire.options.map(|options| Box::new(options.0)).unwrap_or_default(),
        ..Request::new(operation, target)
    })
}

/// Reads a body of which it is told where it can't be read.
fn located(body: &[u8]) -> Result<Wire, Error> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let wire = serde_path_to_error::deserialize(&mut json).map_err(|error| describe(&error))?;
    json.end().map_err(|error| Error::new(Code::InvalidRequest, format!("the body has more than one JSON value: {error}")))?;
    Ok(wire)
}

/// Says where in the body the fault is; a fault in the options is theirs.
fn describe(error: &serde_path_to_error::Error<serde_json::Error>) -> Error {
    let path = error.path().to_string();
    let reason = error.inner();
    let syntax = reason.is_syntax() || reason.is_eof();
    let text = words(reason);
    let code = match path.as_str() {
        _ if syntax => Code::InvalidRequest,
        path if path.starts_with("options") => code_of(path, &text),
        _ => Code::InvalidRequest,
    };
    let message = if syntax || path == "." { format!("the body can't be read: {text}") } else { format!("{path}: {text}") };
    let error = Error::new(code, message);
    if path == "." { error } else { error.with_detail(path) }
}
