//! A data API over PostgreSQL, MySQL/MariaDB and SQLite: one JSON protocol, one engine, many transports.
//!
//! The modules in reading order: what people declare, what is said, how databases are reached, what is exposed, who
//! asks, what happens, who learns of it, how it arrives, and what is seen of it. ARCHITECTURE.md has the invariants.

pub mod auth;
#[cfg(feature = "embedded-broker")]
pub mod broker;
pub mod catalog;
pub mod cli;
pub mod cluster;
pub mod command;
pub mod config;
pub mod database;
pub mod drain;
pub mod engine;
pub mod event;
pub mod generation;
pub mod live;
pub mod load;
pub mod manifest;
pub mod nats;
pub mod observed;
pub mod operator;
pub mod ports;
pub mod protocol;
pub mod readiness;
pub mod serve;
pub mod store;
pub mod telemetry;
pub mod transport;
