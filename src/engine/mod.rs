//! What happens: the pipeline from a request to its answer.
//!
//! `resolve → authorize → plan → hooks.before → sql → execute → hooks.after`. The same for every transport, which
//! decodes, calls [`Engine::handle`], and encodes.

pub mod authorize;
mod caught;
pub mod error;
pub mod execute;
mod guard;
pub mod hook;
pub mod observe;
pub mod pipeline;
pub mod plan;
pub mod sql;
pub mod subscribe;

pub use hook::{Context, Hook, NarrowRead, NarrowWrite, Refusal, Session};
pub use observe::{End, Observe, Tally, Verb};
pub use pipeline::{Current, Engine, Served};
pub use subscribe::SubscriptionPlan;
