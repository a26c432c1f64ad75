//! The subcommands, one function each.

mod capture;
mod check;
mod crds;
mod dev;
mod introspect;
mod publish;
mod serve;
mod watch;

pub use capture::capture;
pub use check::check;
pub use crds::crds;
pub use dev::dev;
pub use introspect::introspect;
pub use publish::publish;
pub use serve::serve;
