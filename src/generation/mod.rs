//! The catalog as a cluster has it: numbered generations of manifests in a bucket.
//!
//! In reading order: `document` is what stands in the bucket, `publish` puts it there, `bulletin` is the one watcher that a
//! replica has, `follow` makes what can be served of it, `announce` tells what is served and what is refused. Nothing secret is in a generation;
//! each replica resolves its references by itself.

mod announce;
mod bulletin;
mod document;
mod follow;
mod publish;

pub use announce::{Announcer, LIFETIME as ANNOUNCEMENT_LIFETIME};
pub use document::Generation;
pub use follow::{Follower, Refusal};
pub use publish::{Error, Published, Publisher};

/// The key of the generation that is wanted.
const WANTED: &str = "wanted";
/// The key of the latest one that a replica could serve; what is served when the wanted one can't be.
const GOOD: &str = "good";
