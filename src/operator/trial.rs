//! Has databases read the SQL that entities declare, once for each entity and table as they are.

use super::validate::{JudgedEntity, Validated, origin};
use crate::load::try_declared;
use crate::manifest::entity::EntitySpec;
use crate::manifest::{Entity, Problem};
use futures_util::future::join_all;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// For one source's entities, in one turn.
const LONGEST: Duration = Duration::from_secs(5);
/// How long a fault is believed: the database may have changed since.
const BELIEVED: Duration = Duration::from_secs(30);

/// What databases said, by the entities' origins.
#[derive(Default)]
pub(super) struct Trials {
    said: HashMap<String, Said>,
}

struct Said {
    spec: EntitySpec,
    table: Option<String>,
    problems: Vec<Problem>,
    at: Instant,
}

impl Trials {
    /// Forgets what was said of entities that are gone or others now, and faults that may be mended.
    pub(super) fn forget(&mut self, entities: &[Arc<Entity>]) {
        let there: HashMap<String, &EntitySpec> = entities.iter().map(|entity| (origin(&**entity), &entity.spec)).collect();
        self.said.retain(|origin, said| {
            let is_believed = said.problems.is_empty() || said.at.elapsed() < BELIEVED;
            is_believed && there.get(origin).is_some_and(|spec| **spec == said.spec)
        });
    }

    /// The problems.
    pub(super) fn problems(&self) -> HashMap<String, Vec<Problem>> {
        self.said.iter().map(|(origin, said)| (origin.clone(), said.problems.clone())).collect()
    }

    /// Tries what was not tried yet, in all databases at once; whether anything is wrong that was judged good.
    pub(super) async fn run(&mut self, validated: &Validated) -> bool {
        let mut by_source: HashMap<&str, Vec<&JudgedEntity>> = HashMap::new();
        for entity in validated.entities.iter().filter(|entity| declares_sql(entity) && !entity.is_former) {
            let is_known = self.said.get(&origin(&*entity.resource)).is_some_and(|said| said.table == entity.table);
            if !is_known {
                by_source.entry(entity.source.as_str()).or_default().push(entity);
            }
        }
        let tried = join_all(by_source.into_values().map(|entities| try_those(entities, validated))).await;
        let mut found_faults = false;
        for (entity, problems) in tried.into_iter().flatten() {
            found_faults |= !problems.is_empty();
            let (spec, table) = (entity.resource.spec.clone(), entity.table.clone());
            self.said.insert(origin(&*entity.resource), Said { spec, table, problems, at: Instant::now() });
        }
        found_faults
    }
}

fn declares_sql(entity: &JudgedEntity) -> bool {
    !entity.resource.spec.computed.is_empty() || !entity.resource.spec.operators.is_empty()
}

/// What one source's database says of its entities, as far as it says so in time; the others are tried in another turn.
async fn try_those<'v>(entities: Vec<&'v JudgedEntity>, validated: &Validated) -> Vec<(&'v JudgedEntity, Vec<Problem>)> {
    let last = Instant::now() + LONGEST;
    let mut said = Vec::new();
    for entity in entities {
        let Ok(tried) = timeout_at(last, try_one(entity, validated)).await else { break };
        said.extend(tried.map(|problems| (entity, problems)));
    }
    said
}

/// What its database says; nothing if it is away, or is not to be asked now.
async fn try_one(entity: &JudgedEntity, validated: &Validated) -> Option<Vec<Problem>> {
    let declared = entity.outgoing.as_ref()?;
    let (schema, name) = entity.named.as_ref()?;
    let compiled = validated.catalog.named(schema, name)?;
    let look = &validated.sources.iter().find(|source| source.key == entity.source)?.look;
    let database = look.database.as_ref().filter(|_| look.fault.is_none())?;
    try_declared(declared, compiled, database).await.ok()
}
