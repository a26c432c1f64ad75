//! How NATS is reached: one connection for everything that a replica does there.
//!
//! The bus and the store stand on it. It knows neither changes nor keys.

mod connection;
pub mod pulling;
mod settings;
pub mod subject;

pub use connection::{ConnectError, Connection};
pub use settings::{ClientCertificate, Credentials, Settings, Storage, Tls};
