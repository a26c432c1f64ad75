//! `check`: holds manifests against their live databases, and their capture modes against what those can do.

use crate::catalog::Capture;
use crate::cli::{CheckArgs, Error};
use crate::engine::Served;
use crate::event::capture::setup::{self, State};
use crate::load::load;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;

/// Says that all is well, or every contradiction.
pub async fn check(args: CheckArgs) -> Result<(), Error> {
    let served = load(&args.paths, &HashMap::new(), false).await.map_err(Error::Manifests)?;
    let captured = captured(&served).await?;
    let mut out = std::io::stdout().lock();
    for entity in served.catalog.entities() {
        let relations: Vec<&str> = entity.relations.iter().map(|relation| relation.name.as_str()).collect();
        let relations = if relations.is_empty() { String::new() } else { format!(", relations: {}", relations.join(", ")) };
        writeln!(out, "ok  {} ({}, {} columns{relations})", entity.full_name(), entity.source, entity.columns.len())?;
        if entity.is_closed {
            writeln!(
                out,
                "warning  {}: an AccessPolicy holds for it, which can't be enforced yet: nobody may use it",
                entity.full_name()
            )?;
        }
    }
    for line in captured {
        writeln!(out, "{line}")?;
    }
    let count = served.catalog.entities().len();
    writeln!(out, "{count} {} against {} databases", if count == 1 { "entity" } else { "entities" }, served.databases.len())?;
    Ok(())
}

/// How far each source's changes are captured, and what is to be known of it; fails where its database can't do it at all.
async fn captured(served: &Served) -> Result<Vec<String>, Error> {
    let sources: BTreeMap<_, _> = served.databases.iter().collect();
    let mut lines = Vec::new();
    for (source, database) in sources {
        if served.catalog.capture(source) == Capture::Off {
            continue;
        }
        let survey = setup::survey(database, &served.catalog, source).await?;
        survey.fit()?;
        let (all, installed) =
            (survey.tables().len(), survey.tables().iter().filter(|table| table.state == State::Installed).count());
        let advice = if installed < all { "; run `resolvespec capture install`" } else { "" };
        lines.push(format!("ok  changes of {source}: {installed} of {all} tables are captured{advice}"));
        lines.extend(survey.warnings.iter().map(|warning| format!("warning  changes of {source}: {warning}")));
    }
    Ok(lines)
}
