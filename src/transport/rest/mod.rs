//! REST: the body style at `/api`, the header style at `/rest`, what both share, and what documents them.

pub mod answer;
mod asyncapi_routes;
pub mod body;
mod cors;
mod docs;
pub mod enter;
pub mod gate;
pub mod header;
mod header_routes;
pub mod openapi;
mod openapi_routes;
mod packing;
pub mod router;
pub mod status;
pub mod style;

pub(crate) use cors::cors;
pub use enter::{Enter, with_range};
pub use packing::Packing;
pub use router::{Parts, Rest, refused, router};
