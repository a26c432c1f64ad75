//! The integration tests: one binary, a file per behaviour.

mod introspect;
mod tidy;
