//! The integration tests: one binary, a file per behaviour.

mod capture;
mod conformance;
mod draining;
mod flights;
mod hooks;
mod introspect;
mod malformed;
mod memory;
mod outage;
mod properties;
mod serving;
mod statements;
mod support;
mod tidy;
mod typescript_contract;
