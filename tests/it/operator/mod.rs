//! The operator and the custom resources on a real API server: what is applied is served, and what is told of it is true.

mod admission;
mod capturing;
mod crds;
mod faults;
mod leading;
mod nats;
mod referring;
mod resting;
mod rights;
mod secrets;
mod serving;
mod stage;
