//! Every reason that a conversation is ended for: one table with its code and text, and whether to come back.

use crate::protocol::Error;
use std::borrow::Cow;
use std::sync::Arc;

/// Why this side closes a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Close {
    /// The client's frames break the rules of WebSocket.
    Protocol,
    /// A text frame is not UTF-8.
    NotText,
    /// A message is larger than it may be.
    TooLarge,
    /// The service failed.
    Failed,
    /// The replica ends; others serve on, and take up the session, if there is one that is kept.
    Restart(Option<Arc<str>>),
    /// The token that the client came with has ended.
    TokenExpired,
    /// Nothing came from the client for too long.
    Unresponsive,
    /// A hook does not let the client in, with its words; or what alone it came for can't be done.
    Refused(Error),
    /// The client does not take what it is sent as fast as it comes.
    SlowConsumer,
}

/// Whether a client should come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnect {
    /// At once, to any replica.
    Yes,
    /// With a new token.
    WithNewToken,
    /// Not without a change of what it does.
    No,
}

/// What the text of a close frame may have beside its code.
const MAX_REASON: usize = 123;

impl Close {
    /// Each of them once; what a hook says is up to the hook.
    #[must_use]
    pub fn all() -> [Self; 9] {
        [
            Close::Protocol,
            Close::NotText,
            Close::TooLarge,
            Close::Failed,
            Close::Restart(None),
            Close::TokenExpired,
            Close::Unresponsive,
            Close::Refused(Error::new(crate::protocol::Code::HookError, "what a hook says")),
            Close::SlowConsumer,
        ]
    }

    /// The code on the wire, as RFC 6455 and its registry have it; those from 4000 are ours.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.row().0
    }

    /// The text on the wire.
    #[must_use]
    pub fn reason(&self) -> Cow<'_, str> {
        match self {
            Close::Refused(Error { message, .. }) => message[..message.floor_char_boundary(MAX_REASON)].into(),
            Close::Restart(Some(session)) => format!("{} session={session}", self.row().2).into(),
            other => other.row().2.into(),
        }
    }

    /// Whether the client should come back.
    #[must_use]
    pub fn reconnect(&self) -> Reconnect {
        self.row().3
    }

    /// The code as metrics label it.
    #[must_use]
    pub fn label(&self) -> &'static str {
        self.row().1
    }

    fn row(&self) -> (u16, &'static str, &'static str, Reconnect) {
        match self {
            Close::Protocol => (1002, "1002", "protocol_error: the frames break the rules of WebSocket", Reconnect::No),
            Close::NotText => (1007, "1007", "invalid_message: a text frame is not UTF-8", Reconnect::No),
            Close::TooLarge => (1009, "1009", "payload_too_large: the message is larger than it may be", Reconnect::No),
            Close::Failed => (1011, "1011", "internal_error: the service failed; reconnect", Reconnect::Yes),
            Close::Restart(_) => (1012, "1012", "unavailable: this replica ends; reconnect", Reconnect::Yes),
            Close::TokenExpired => {
                (4001, "4001", "token_expired: authenticate again and reconnect with the new token", Reconnect::WithNewToken)
            }
            Close::Unresponsive => (4002, "4002", "unresponsive: no pong came in time; reconnect", Reconnect::Yes),
            Close::Refused(_) => (4003, "4003", "", Reconnect::No),
            Close::SlowConsumer => {
                (4004, "4004", "slow_consumer: messages are not taken in time; reconnect and resume", Reconnect::Yes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_fits_into_a_close_frame_and_says_what_to_do() {
        let refused = Close::Refused(Error::new(crate::protocol::Code::HookError, "ä".repeat(200)));
        let told = Close::Restart(Some("51f0cb6e-3f5c-4a4a-9a3e-2f8a3b1f5c77".into()));
        for close in Close::all().into_iter().chain([refused, told]) {
            assert!(!close.reason().is_empty() && close.reason().len() <= MAX_REASON, "{close:?}");
            assert_eq!(close.code().to_string(), close.label());
            assert_eq!(close.reason().contains("reconnect"), close.reconnect() != Reconnect::No, "{close:?}");
        }
    }
}
