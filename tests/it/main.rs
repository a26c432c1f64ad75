//! The integration tests: one binary, a file per behaviour.

mod conformance;
mod draining;
mod flights;
mod hooks;
mod introspect;
mod malformed;
mod matching;
mod memory;
mod outage;
mod properties;
mod serving;
mod statements;
mod support;
mod tidy;
mod typescript_contract;
