//! One policy: whether it fits its entity. Nothing enforces it yet, and its entity is served to nobody meanwhile.

use super::{JudgedEntity, origin};
use crate::manifest::{AccessPolicy, Declared};
use crate::operator::verdict::{Finding, Verdict};
use kube::ResourceExt;

/// Judges one policy.
pub(super) fn judge(policy: &AccessPolicy, entities: &[JudgedEntity]) -> Verdict {
    let is_named = |entity: &&JudgedEntity| {
        entity.resource.namespace() == policy.namespace() && entity.resource.name_any() == policy.spec.entity
    };
    if !entities.iter().any(|entity| is_named(&entity)) {
        let message = format!("there is no Entity '{}' in the namespace", policy.spec.entity);
        return Verdict::unresolved(Finding::no("EntityNotFound", message));
    }
    Verdict::good()
}

/// A policy of the cluster as if it stood in a file, without what the cluster adds.
pub(in crate::operator) fn declared(policy: &AccessPolicy) -> Declared<AccessPolicy> {
    let mut bare = AccessPolicy::new(&policy.name_any(), policy.spec.clone());
    bare.metadata.namespace = policy.namespace();
    Declared::without_lines(bare, origin(policy))
}
