//! Keeps a DataSource from being deleted until what captures its changes is undone, and lets it go afterwards.
//!
//! It knows a resource by its metadata alone, so that one that can't be read is let go as well.

use super::FIELD_MANAGER;
use crate::manifest::DataSource;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;

/// What keeps a DataSource until its capture is undone.
pub(super) const FINALIZER: &str = "resolvespec.dev/capture";

/// Whether a resource is kept.
pub(super) fn keeps(metadata: &ObjectMeta) -> bool {
    metadata.finalizers.iter().flatten().any(|one| one == FINALIZER)
}

/// Adds the finalizer, unless it is there.
pub(super) async fn add(client: &Client, resource: &DataSource) -> Result<(), kube::Error> {
    if keeps(resource.meta()) {
        return Ok(());
    }
    let patch = json!({
        "apiVersion": DataSource::api_version(&()),
        "kind": DataSource::kind(&()),
        "metadata": {"name": resource.name_any(), "uid": resource.uid(), "finalizers": [FINALIZER]},
    });
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    api(client, resource.meta()).patch_metadata(&resource.name_any(), &parameters, &Patch::Apply(&patch)).await?;
    Ok(())
}

/// Whether the API server does not want it, now and later. What it could not do just now may be done the next time.
pub(super) fn is_refusal(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    (400..500).contains(&status.code) && !matches!(status.code, 409 | 429)
}

/// What came of taking it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// It is taken away.
    Removed,
    /// There is no such resource any more.
    Gone,
    /// The resource has changed meanwhile, and may have it still.
    Conflict,
}

/// Takes it away, whoever has put it there: a resource that was restored from a backup has it from somebody else, and an apply
/// of ours would leave it.
pub(super) async fn remove(client: &Client, metadata: &ObjectMeta) -> Result<Removal, kube::Error> {
    let others: Vec<&String> = metadata.finalizers.iter().flatten().filter(|one| *one != FINALIZER).collect();
    // With its version, so that nobody else's is taken along; what has changed meanwhile is for the caller to see, and try again.
    let patch = json!({
        "metadata": {"uid": metadata.uid, "resourceVersion": metadata.resource_version, "finalizers": others},
    });
    let name = metadata.name.as_deref().unwrap_or_default();
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    match api(client, metadata).patch_metadata(name, &parameters, &Patch::Merge(&patch)).await {
        Ok(_) => Ok(Removal::Removed),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Removal::Gone),
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(Removal::Conflict),
        Err(error) => Err(error),
    }
}

fn api(client: &Client, metadata: &ObjectMeta) -> Api<DataSource> {
    Api::namespaced(client.clone(), metadata.namespace.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::test_cluster;
    use super::*;
    use serde_json::Value;

    fn status(code: u16) -> Value {
        let reason = match code {
            404 => "NotFound",
            409 => "Conflict",
            _ => "Another",
        };
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": "no"})
    }

    #[tokio::test]
    async fn what_came_of_taking_it_away_is_told_apart() {
        let removed = async |code: u16| {
            let there = json!({"metadata": {"name": "shop", "namespace": "apps"}});
            let answer = if code == 200 { there } else { status(code) };
            let client = test_cluster::client(move |_| Some((code, answer.clone())));
            let metadata =
                ObjectMeta { name: Some("shop".to_owned()), namespace: Some("apps".to_owned()), ..ObjectMeta::default() };
            remove(&client, &metadata).await
        };
        for (code, expected) in [(200, Removal::Removed), (404, Removal::Gone), (409, Removal::Conflict)] {
            assert_eq!(removed(code).await.expect("an answer"), expected, "{code}");
        }
        for (code, expected) in [(400, true), (403, true), (422, true), (429, false), (500, false), (503, false), (504, false)] {
            assert_eq!(is_refusal(&removed(code).await.expect_err("a fault")), expected, "{code}");
        }
        let conflict = kube::Error::Api(Box::new(serde_json::from_value(status(409)).expect("a status")));
        assert!(!is_refusal(&conflict), "it has changed meanwhile");
    }
}
