//! The integration tests: one binary, a file per behaviour.

#![expect(unreachable_pub, reason = "the binary has no users; pub says what a file offers the others")]

mod conformance;
mod introspect;
mod support;
mod tidy;
mod typescript_contract;
