//! What integration tests stand on: databases of their own, the real replica, and a plain HTTP client.

pub mod client;
pub mod database;
pub mod server;
