//! The subcommands, one function each.

#[cfg(feature = "embedded-broker")]
mod broker;
mod capture;
mod check;
mod crds;
mod dev;
mod introspect;
#[cfg(not(feature = "embedded-broker"))]
mod no_broker;
mod operator;
mod probe;
mod publish;
mod release;
mod serve;
mod watch;

pub use capture::capture;
pub use check::check;
pub use crds::crds;
pub use dev::dev;
pub use introspect::introspect;
pub use operator::operator;
pub use probe::probe;
pub use publish::publish;
pub use release::release;
pub use serve::serve;
