//! Plans carried out: statements rendered, run, and their rows handed on as texts.

mod blame;
mod graph;
pub(super) mod idempotency;
mod journal;
mod link;
pub(super) mod read;
mod run;
mod signature;
pub(super) mod snapshot;
pub(super) mod write;

pub(super) use run::Runner;
