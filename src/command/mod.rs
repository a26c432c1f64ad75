//! The subcommands, one function each.

mod check;
mod crds;
mod dev;
mod introspect;
mod serve;
mod watch;

pub use check::check;
pub use crds::crds;
pub use dev::dev;
pub use introspect::introspect;
pub use serve::serve;
