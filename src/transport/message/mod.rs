//! The JSON messages of a session: one flat object in, one object out (§1.2 to §1.8 of the protocol).
//!
//! Made for WebSocket and not tied to it; it knows no socket. Beside what the protocol has, a request may carry
//! `idempotency_key` and `if_match`, which over HTTP are headers; a record that was read carries its `etag` in the
//! metadata, and an answer that an idempotency key found again has `"idempotency_replayed":true`.

mod begun;
mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use begun::{begun, head};
pub use decode::{Message, Said, Subscription, Unreadable, decode, decode_alone};
pub use encode::{answer, data, failure, pong, pong_of_success, success};
