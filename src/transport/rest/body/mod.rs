//! The body style: `POST /api/{schema}/{entity}[/{id}]` with the operation in the body, one envelope for every answer.

mod decode;
mod encode;

pub use decode::decode;
pub use encode::{encode, encode_error};
