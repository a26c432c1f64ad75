//! What people declare: DataSource, Entity and AccessPolicy, the custom resources of `resolvespec.dev/v1alpha1`.
//!
//! `dev` reads them from files, the cluster from its API, and a replica from what was published; all are these types. Nothing here reaches a database.

pub mod access_policy;
pub mod connection;
pub mod data_source;
pub mod declared;
mod document;
pub mod entity;
pub mod problem;
pub mod read;
mod rules;
pub mod status;
mod tree;
pub mod values;
pub mod write;

pub use access_policy::{AccessPolicy, AccessPolicySpec};
pub use connection::{obstacles, seed_files, settings};
pub use data_source::{DataSource, DataSourceSpec};
pub use declared::{Declared, Place};
pub use entity::{Entity, EntitySpec};
pub use problem::{Cause, Problem};
pub use read::Manifests;

/// The API group and version of every resource.
pub const API_VERSION: &str = "resolvespec.dev/v1alpha1";
