//! Has databases read the SQL that entities declare, once for each entity and table as they are.
//!
//! Each entity is tried beside the turns. Until its database has answered, it goes out as it did before: replicas try it as well,
//! and would refuse everything.

use super::beside::Beside;
use super::validate::{JudgedEntity, Validated, origin};
use crate::catalog::Catalog;
use crate::database::Database;
use crate::load::try_declared;
use crate::manifest::entity::EntitySpec;
use crate::manifest::{Declared, Entity, Problem};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

/// For one entity.
const LONGEST: Duration = Duration::from_secs(5);
/// How long a fault is believed: the database may have changed since.
const BELIEVED: Duration = Duration::from_secs(30);
/// When a database that has not answered is asked again.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// What is known of the SQL of one entity.
#[derive(Debug, Clone)]
pub(super) enum Trial {
    /// What its database has said; nothing if all is well.
    Answered(Vec<Problem>),
    /// It is being asked.
    Running,
    /// It did not answer in time.
    Unanswered,
}

/// What databases said, by the entities' origins.
pub(super) struct Trials {
    said: HashMap<String, Said>,
    /// Who is waited for in this turn.
    running: HashSet<String>,
    work: Beside<Said>,
}

struct Said {
    origin: String,
    spec: EntitySpec,
    table: Option<String>,
    /// Nothing, if it did not answer.
    problems: Option<Vec<Problem>>,
    at: Instant,
    pause: Duration,
}

impl Trials {
    pub(super) fn new(changed: Arc<Notify>, tasks: TaskTracker) -> Self {
        Self { said: HashMap::new(), running: HashSet::new(), work: Beside::new(changed, tasks) }
    }

    /// Takes note of what was answered by now, and forgets what was said of entities that are gone or others now, and faults that
    /// may be mended.
    pub(super) fn catch_up(&mut self, entities: &[Arc<Entity>]) {
        self.said.extend(self.work.ended().into_iter().map(|said| (said.origin.clone(), said)));
        let there: HashMap<String, &EntitySpec> = entities.iter().map(|entity| (origin(&**entity), &entity.spec)).collect();
        self.said.retain(|origin, said| {
            let is_believed = said.problems.as_ref().is_none_or(Vec::is_empty) || said.at.elapsed() < BELIEVED;
            is_believed && there.get(origin).is_some_and(|spec| **spec == said.spec)
        });
        self.running.clear();
    }

    /// What is known.
    pub(super) fn known(&self) -> HashMap<String, Trial> {
        let said = self.said.iter().filter_map(|(origin, said)| match &said.problems {
            Some(problems) => Some((origin.clone(), Trial::Answered(problems.clone()))),
            None => said.is_rest().then(|| (origin.clone(), Trial::Unanswered)),
        });
        said.chain(self.running.iter().map(|origin| (origin.clone(), Trial::Running))).collect()
    }

    /// When somebody is to be asked again.
    pub(super) fn again_at(&self) -> Option<Instant> {
        // What comes of one that is running begins a turn.
        let is_waited_for = |said: &&Said| said.problems.is_none() && !self.work.is_running(&said.origin);
        self.said.values().filter(is_waited_for).map(|said| said.at + said.pause).min()
    }

    /// Tries what was not tried yet; whether anything else is known now than what was judged by.
    pub(super) async fn run(&mut self, validated: &Validated) -> bool {
        let mut wanted = HashMap::new();
        for asked in validated.entities.iter().filter_map(|entity| Asked::of(entity, validated)) {
            let before = self.said.get(&asked.origin).filter(|said| said.table == asked.table);
            if before.is_some_and(|said| said.problems.is_some() || said.is_rest()) {
                continue;
            }
            let pause = before.map_or(FIRST_PAUSE, |said| (said.pause * 2).min(LONGEST_PAUSE));
            let origin = asked.origin.clone();
            wanted.insert(origin.clone(), (asked.spec.clone(), asked.table.clone()));
            self.work.begin(&origin, asked.answered(pause));
        }
        let mut is_news = false;
        for said in self.work.gather().await {
            // What was begun before the entity has changed says nothing of it as it is; it is tried in the next turn.
            if wanted.get(&said.origin).is_some_and(|(spec, table)| *spec == said.spec && *table == said.table) {
                is_news |= said.problems.as_ref().is_none_or(|problems| !problems.is_empty());
                wanted.remove(&said.origin);
                self.said.insert(said.origin.clone(), said);
            }
        }
        self.running = wanted.into_keys().collect();
        is_news || !self.running.is_empty()
    }
}

impl Said {
    /// Whether it is not to be asked again yet.
    fn is_rest(&self) -> bool {
        self.at.elapsed() < self.pause
    }
}

/// One entity's SQL, and whom to ask.
struct Asked {
    origin: String,
    spec: EntitySpec,
    table: Option<String>,
    declared: Declared<Entity>,
    catalog: Arc<Catalog>,
    named: (String, String),
    database: Database,
}

impl Asked {
    /// Nothing if there is nothing to try, or nobody to be asked now.
    fn of(entity: &JudgedEntity, validated: &Validated) -> Option<Self> {
        let spec = &entity.resource.spec;
        if (spec.computed.is_empty() && spec.operators.is_empty()) || entity.is_former {
            return None;
        }
        let look = &validated.sources.iter().find(|source| source.key == entity.source)?.look;
        Some(Self {
            origin: origin(&*entity.resource),
            spec: spec.clone(),
            table: entity.table.clone(),
            declared: entity.outgoing.clone()?,
            catalog: Arc::clone(&validated.catalog),
            named: entity.named.clone()?,
            database: look.database.clone().filter(|_| look.fault.is_none())?,
        })
    }

    /// What its database says, if it says so in time.
    async fn answered(self, pause: Duration) -> Said {
        let Self { origin, spec, table, declared, catalog, named: (schema, name), database } = self;
        let tried = async {
            let compiled = catalog.named(&schema, &name)?;
            try_declared(&declared, compiled, &database).await.ok()
        };
        let problems = timeout(LONGEST, tried).await.unwrap_or_default();
        Said { origin, spec, table, problems, at: Instant::now(), pause }
    }
}
