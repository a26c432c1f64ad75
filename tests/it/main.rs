//! The integration tests: one binary, a file per behaviour.

mod conformance;
mod introspect;
mod support;
mod tidy;
mod typescript_contract;
