//! REST: the body style at `/api`, the header style at `/rest`, and what both share.

pub mod answer;
pub mod body;
pub mod gate;
pub mod header;
mod header_routes;
pub mod router;
pub mod status;

pub use router::{Rest, router};
