//! Keeps a DataSource from being deleted until what captures its changes is undone, and lets it go afterwards.

use super::FIELD_MANAGER;
use super::build::FINALIZER;
use crate::manifest::DataSource;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;

/// Adds the finalizer, unless it is there.
pub(super) async fn add(client: &Client, resource: &DataSource) -> Result<(), kube::Error> {
    if resource.finalizers().iter().any(|one| one == FINALIZER) {
        return Ok(());
    }
    apply(client, resource, &[FINALIZER]).await
}

/// Takes it away.
pub(super) async fn remove(client: &Client, resource: &DataSource) -> Result<(), kube::Error> {
    match apply(client, resource, &[]).await {
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        outcome => outcome,
    }
}

async fn apply(client: &Client, resource: &DataSource, finalizers: &[&str]) -> Result<(), kube::Error> {
    let api: Api<DataSource> = Api::namespaced(client.clone(), &resource.namespace().unwrap_or_default());
    let patch = json!({
        "apiVersion": DataSource::api_version(&()),
        "kind": DataSource::kind(&()),
        "metadata": {"name": resource.name_any(), "uid": resource.uid(), "finalizers": finalizers},
    });
    api.patch_metadata(&resource.name_any(), &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch)).await?;
    Ok(())
}
