//! Topics: `<prefix>/<client>/request`, `…/response` and `…/notify/<subscription>`.
//!
//! A client's name is one level of its topics, so that a broker can hold each client to its own.

use crate::protocol::{Code, Error};

/// The longest id of a client, in bytes. It is in names of keys at NATS, which cuts a connection off whose lines are too long.
const MAX_CLIENT_BYTES: usize = 128;

/// The client whose request came by this topic.
pub(super) fn client_of<'t>(prefix: &str, topic: &'t str) -> Option<&'t str> {
    let client = topic.strip_prefix(prefix)?.strip_prefix('/')?.strip_suffix("/request")?;
    names_client(client).then_some(client)
}

/// Whether a text can be a client's level: not empty, and nothing that would make it another topic or several.
pub(super) fn names_client(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', '+', '#', '\0'])
}

/// Whether a client's name is short enough to be served.
pub(super) fn check_client(client: &str) -> Result<(), Error> {
    let bytes = client.len();
    if bytes <= MAX_CLIENT_BYTES {
        return Ok(());
    }
    Err(Error::new(Code::LimitExceeded, format!("the client id has {bytes} bytes, and {MAX_CLIENT_BYTES} are taken")))
}

/// Where a client's answers go.
pub(super) fn response(prefix: &str, client: &str) -> String {
    format!("{prefix}/{client}/response")
}

/// Where a client is told of a subscription's changes.
pub(super) fn notify(prefix: &str, client: &str, subscription: &str) -> String {
    format!("{prefix}/{client}/notify/{subscription}")
}

/// Whether a client may have an answer sent to this topic: one of its own, and not where requests come from.
pub(super) fn is_own(prefix: &str, client: &str, topic: &str) -> bool {
    let rest = topic.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/'));
    let rest = rest.and_then(|rest| rest.strip_prefix(client)).and_then(|rest| rest.strip_prefix('/'));
    rest.is_some_and(|rest| !rest.is_empty() && rest != "request" && !rest.contains(['+', '#', '\0']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_one_level_between_prefix_and_request() {
        assert_eq!(client_of("spec", "spec/dev-17/request"), Some("dev-17"));
        assert_eq!(client_of("a/b", "a/b/c/request"), Some("c"));
        for other in ["spec//request", "spec/a/b/request", "spec/a/response", "special/a/request", "spec/request", "a/request"] {
            assert_eq!(client_of("spec", other), None, "{other}");
        }
    }

    #[test]
    fn a_client_id_has_a_limit() {
        assert!(check_client(&"x".repeat(128)).is_ok());
        assert_eq!(check_client(&"ü".repeat(65)).unwrap_err().code, Code::LimitExceeded);
    }

    #[test]
    fn answers_go_to_topics_of_the_client_and_nowhere_else() {
        for own in ["spec/a/response", "spec/a/answers/7", "spec/a/x"] {
            assert!(is_own("spec", "a", own), "{own}");
        }
        for other in ["spec/b/response", "spec/ab/response", "spec/a", "spec/a/", "spec/a/request", "spec/a/+", "spec/a/#", "x"] {
            assert!(!is_own("spec", "a", other), "{other}");
        }
    }
}
