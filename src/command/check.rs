//! `check`: holds manifests against their live databases.

use crate::cli::{CheckArgs, Error};
use crate::load::load;
use std::collections::HashMap;
use std::io::Write;

/// Says that all is well, or every contradiction.
pub async fn check(args: CheckArgs) -> Result<(), Error> {
    let served = load(&args.paths, &HashMap::new(), false).await.map_err(Error::Manifests)?;
    let mut out = std::io::stdout().lock();
    for entity in served.catalog.entities() {
        let relations: Vec<&str> = entity.relations.iter().map(|relation| relation.name.as_str()).collect();
        let relations = if relations.is_empty() { String::new() } else { format!(", relations: {}", relations.join(", ")) };
        writeln!(out, "ok  {} ({}, {} columns{relations})", entity.full_name(), entity.source, entity.columns.len())?;
    }
    let count = served.catalog.entities().len();
    writeln!(out, "{count} {} against {} databases", if count == 1 { "entity" } else { "entities" }, served.databases.len())?;
    Ok(())
}
