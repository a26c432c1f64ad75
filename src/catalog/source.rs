//! What must be asked of a source's database before its entities can be compiled.

use super::introspect::Scope;
use crate::manifest::{self, Manifests};

/// The schemas that the entities of a source name, given the source's key.
#[must_use]
pub fn scope(manifests: &Manifests, source: &str) -> Scope {
    let of_source = |entity: &&manifest::Declared<manifest::Entity>| {
        manifest::declared::key(entity.namespace(), &entity.resource.spec.source) == source
    };
    let mut default = false;
    let mut named = std::collections::BTreeSet::new();
    for entity in manifests.entities.iter().filter(of_source) {
        let spec = &entity.resource.spec;
        default |= spec.schema.is_none();
        let links = spec.relations.iter().flatten().filter_map(|relation| relation.through.as_ref());
        named.extend(spec.schema.iter().chain(links.filter_map(|link| link.schema.as_ref())).cloned());
    }
    Scope::Schemas { default, named }
}
