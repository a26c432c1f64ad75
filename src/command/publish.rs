//! `publish`: manifests become the wanted generation of a cluster's catalog.

use crate::catalog::policy;
use crate::cli::Error;
use crate::cluster;
use crate::config::PublishArgs;
use crate::database::Database;
use crate::engine::Served;
use crate::generation::{Generation, Published, Publisher};
use crate::load::resolve;
use crate::manifest::values::carry;
use crate::manifest::{Manifests, read};
use std::collections::HashMap;
use std::io::Write;

/// Checks manifests as `check` does, and puts them where replicas take them from.
pub async fn publish(args: PublishArgs) -> Result<(), Error> {
    let (paths, offline, nats) = args.resolve()?;
    let manifests = read::paths(&paths).map_err(Error::Manifests)?;
    let carried = carry(&manifests).map_err(Error::Manifests)?;
    // What is there is looked at before the check, which can take a while, so that whoever publishes meanwhile is noticed.
    let publisher = Publisher::begin(cluster::catalog(&nats).await?).await?;
    if !offline {
        let served = resolve(&manifests, &HashMap::new(), false).await.map_err(|failure| Error::Manifests(failure.problems))?;
        close(&served).await;
        let problems = policy::problems(&manifests, &served.catalog);
        if !problems.is_empty() {
            return Err(Error::Manifests(problems));
        }
    }
    tell(&manifests, &publisher.publish(carried).await?)
}

async fn close(served: &Served) {
    futures_util::future::join_all(served.databases.values().map(Database::close)).await;
}

fn tell(manifests: &Manifests, published: &Published) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    let Generation { number, published_at, .. } = match published {
        Published::Unchanged(generation) => {
            let Generation { number, published_at, .. } = generation;
            writeln!(out, "unchanged: generation {number}, published {published_at}, has the same content")?;
            return Ok(());
        }
        Published::New(generation) => generation,
    };
    writeln!(out, "published: generation {number}, {published_at}")?;
    for source in &manifests.sources {
        writeln!(out, "  DataSource {} ({})", source.key(), source.resource.spec.engine.as_str())?;
    }
    for entity in &manifests.entities {
        writeln!(out, "  Entity {}", entity.key())?;
    }
    for policy in &manifests.policies {
        let entity = policy::entity_key(policy);
        writeln!(out, "  AccessPolicy {} (can't be enforced yet: nobody may use the Entity {entity})", policy.key())?;
    }
    Ok(())
}
