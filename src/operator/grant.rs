//! ReferenceGrant of the Gateway API: with it a namespace agrees to be referred to from another one.
//!
//! Only read. Where a cluster does not have the kind, nobody agrees to anything.

use kube::CustomResource;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Who may refer to what in the resource's namespace.
#[derive(CustomResource, Debug, Clone, Serialize, Deserialize)]
#[kube(group = "gateway.networking.k8s.io", version = "v1beta1", kind = "ReferenceGrant", namespaced, schema = "disabled")]
pub(super) struct ReferenceGrantSpec {
    /// Who.
    pub(super) from: Vec<From>,
    /// To what.
    pub(super) to: Vec<To>,
}

/// Resources that refer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct From {
    /// Their API group.
    pub(super) group: String,
    /// Their kind.
    pub(super) kind: String,
    /// Their namespace.
    pub(super) namespace: String,
}

/// Resources that are referred to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct To {
    /// Their API group; empty for the core.
    pub(super) group: String,
    /// Their kind.
    pub(super) kind: String,
    /// One of them; all unless given.
    #[serde(default)]
    pub(super) name: Option<String>,
}

/// A reference from one namespace into another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reference<'r> {
    pub(super) kind: &'r str,
    pub(super) namespace: &'r str,
    pub(super) to_group: &'r str,
    pub(super) to_kind: &'r str,
    pub(super) to_namespace: &'r str,
    pub(super) to_name: &'r str,
}

impl Reference<'_> {
    /// Whether it stays at home, or the other namespace agrees.
    pub(super) fn is_permitted(&self, grants: &[Arc<ReferenceGrant>]) -> bool {
        self.namespace == self.to_namespace || grants.iter().any(|grant| self.is_granted(grant))
    }

    fn is_granted(&self, grant: &ReferenceGrant) -> bool {
        let from = |from: &From| from.group == "resolvespec.dev" && from.kind == self.kind && from.namespace == self.namespace;
        let to = |to: &To| {
            let is_named = to.name.as_deref().is_none_or(|name| name.is_empty() || name == self.to_name);
            to.group == self.to_group && to.kind == self.to_kind && is_named
        };
        grant.metadata.namespace.as_deref() == Some(self.to_namespace)
            && grant.spec.from.iter().any(from)
            && grant.spec.to.iter().any(to)
    }

    /// What is missing, for whoever refers.
    pub(super) fn advice(&self) -> String {
        format!(
            "the namespace '{}' has no ReferenceGrant from {} in '{}' to the {} '{}'",
            self.to_namespace, self.kind, self.namespace, self.to_kind, self.to_name
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(namespace: &str, name: Option<&str>) -> Arc<ReferenceGrant> {
        let from = From { group: "resolvespec.dev".to_owned(), kind: "Entity".to_owned(), namespace: "apps".to_owned() };
        let to = To { group: "resolvespec.dev".to_owned(), kind: "DataSource".to_owned(), name: name.map(ToOwned::to_owned) };
        let mut grant = ReferenceGrant::new("grant", ReferenceGrantSpec { from: vec![from], to: vec![to] });
        grant.metadata.namespace = Some(namespace.to_owned());
        Arc::new(grant)
    }

    fn reference<'r>(from: &'r str, to: &'r str, name: &'r str) -> Reference<'r> {
        Reference {
            kind: "Entity",
            namespace: from,
            to_group: "resolvespec.dev",
            to_kind: "DataSource",
            to_namespace: to,
            to_name: name,
        }
    }

    #[test]
    fn only_the_other_namespace_can_agree() {
        assert!(reference("apps", "apps", "shop").is_permitted(&[]));
        assert!(!reference("apps", "data", "shop").is_permitted(&[]));
        assert!(reference("apps", "data", "shop").is_permitted(&[grant("data", None)]));
        assert!(!reference("apps", "data", "shop").is_permitted(&[grant("apps", None)]), "its own consent is none");
        assert!(!reference("others", "data", "shop").is_permitted(&[grant("data", None)]));
        assert!(!reference("apps", "data", "shop").is_permitted(&[grant("data", Some("bank"))]));
    }
}
