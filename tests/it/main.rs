//! The integration tests: one binary, a file per behaviour.

mod conformance;
mod introspect;
mod malformed;
mod support;
mod tidy;
mod typescript_contract;
