//! The integration tests: one binary, a file per behaviour.

mod bus;
mod capture;
mod conformance;
mod declared_sql;
mod draining;
mod flights;
mod hooks;
mod idempotency;
mod introspect;
mod limited_preloads;
mod live;
mod malformed;
mod matching;
mod memory;
mod observed;
mod outage;
mod properties;
mod serving;
mod stalls;
mod statements;
mod store;
mod support;
mod tidy;
mod traces;
mod typescript_contract;
mod ws;
