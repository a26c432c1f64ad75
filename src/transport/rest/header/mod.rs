//! The header style: `/rest/{schema}/{entity}[/{id}]` with the verb as operation, and options in headers or the query.

mod decode;
mod encode;
mod files;
mod parameters;
mod preload;
mod search;
mod sort;

pub use decode::{Format, HeaderRequest, decode};
pub use encode::{Shown, encode, encode_error, encode_meta};
pub use parameters::Parameters;

#[cfg(test)]
mod encode_tests;
#[cfg(test)]
mod files_tests;
#[cfg(test)]
mod parameters_tests;
#[cfg(test)]
mod tests;
