//! One policy: whether it fits its entity. Nothing enforces it yet, and its entity is served to nobody meanwhile.

use super::JudgedEntity;
use crate::manifest::AccessPolicy;
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
