//! The first step: everything that is judged, gathered at one moment. What comes after needs nobody to ask.

use super::database::Look;
use super::grant::ReferenceGrant;
use super::handing::OwnSecret;
use super::illegible::Illegible;
use super::seen::Unreadable;
use super::trial::Trial;
use crate::auth::Secret;
use crate::generation::Generation;
use crate::manifest::{AccessPolicy, DataSource, Entity};
use std::collections::HashMap;
use std::sync::Arc;

/// What is judged.
pub(super) struct Dereferenced {
    pub(super) sources: Vec<SourceFound>,
    pub(super) entities: Vec<EntityFound>,
    pub(super) policies: Vec<Arc<AccessPolicy>>,
    pub(super) grants: Vec<Arc<ReferenceGrant>>,
    /// The Secret that no source may name.
    pub(super) own: OwnSecret,
    pub(super) unreadable: Vec<(&'static str, Unreadable)>,
    /// What is known all the same of sources that can't be read, and whose changes are captured.
    pub(super) illegible: Vec<Illegible>,
    /// What is published now.
    pub(super) published: Option<Arc<Generation>>,
    /// What databases say to the SQL that entities declare, by the entities' origins.
    pub(super) trials: HashMap<String, Trial>,
}

/// A source, and what is known of its database.
pub(super) struct SourceFound {
    pub(super) resource: Arc<DataSource>,
    pub(super) look: Look,
    /// The key and the file under which replicas find its URL, if it comes from a Secret.
    pub(super) place: Option<Place>,
    /// The URL that replicas were handed last, while its Secret does not tell one.
    pub(super) handed: Option<Secret>,
    /// What captures its changes is not installed yet, and its database is slow to take it.
    pub(super) is_held: bool,
}

/// Where replicas find a URL.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) key: String,
    pub(super) file: String,
    /// Whether every replica has it.
    pub(super) is_handed: bool,
}

/// An entity, and whether its database was looked at since it is what it is.
pub(super) struct EntityFound {
    pub(super) resource: Arc<Entity>,
    pub(super) is_looked_at: bool,
}
