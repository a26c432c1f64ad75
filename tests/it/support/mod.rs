//! What integration tests stand on: databases of their own, the real replica, and a plain HTTP client.

pub(crate) mod client;
pub(crate) mod database;
pub(crate) mod nats;
pub(crate) mod own;
pub(crate) mod replica;
pub(crate) mod server;
pub(crate) mod session;
