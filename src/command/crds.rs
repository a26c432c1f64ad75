//! `crds`: prints the CustomResourceDefinitions that `crds/resolvespec.yaml` holds.

use crate::cli::Error;
use crate::manifest::{AccessPolicy, DataSource, Entity};
use kube::CustomResourceExt;
use std::io::Write;

/// Prints one YAML stream.
pub fn crds() -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "# Made by `resolvespec crds`; change src/manifest and make it again.")?;
    for definition in [DataSource::crd(), Entity::crd(), AccessPolicy::crd()] {
        let json = serde_json::to_value(&definition)?;
        write!(out, "---\n{}", serde_saphyr::to_string(&json)?)?;
    }
    Ok(())
}
