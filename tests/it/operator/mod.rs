//! The operator and the custom resources on a real API server: what is applied is served, and what is told of it is true.

mod admission;
mod capturing;
mod crds;
mod departing;
mod faults;
mod hanging;
mod leading;
mod modes;
mod nats;
mod pausing;
mod programmed;
mod referring;
mod refusing;
mod resting;
mod rights;
mod scraped;
mod secrets;
mod serving;
pub(crate) mod stage;
