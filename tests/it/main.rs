//! The integration tests: one binary, a file per behaviour.

mod conformance;
mod introspect;
mod support;
mod typescript_contract;
