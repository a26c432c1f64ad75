//! From manifests to what can be served: read, connect, introspect, compile, and try the SQL that they declare.
//!
//! A database that is connected already under the same settings is kept.

use crate::catalog::facts::FactsBySource;
use crate::catalog::{self, Capture, Catalog, Facts, compile, introspect, policy, scope};
use crate::database::{self, Database, place_of};
use crate::engine::{Served, sql::trial};
use crate::manifest::problem::Cause;
use crate::manifest::{self, DataSource, Declared, Manifests, Problem, connection, read};
use futures_util::future::join_all;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::timeout;
use tracing::warn;

/// How long a database that was looked at before may take to say that it is there.
const A_MOMENT: Duration = Duration::from_secs(1);

/// Why manifests can't be served.
#[derive(Debug, Clone, Default)]
pub struct Failure {
    /// What is wrong with them.
    pub problems: Vec<Problem>,
    /// The sources whose databases can't be entered or read; the manifests may be good.
    pub databases: Vec<String>,
}

/// Loads manifests. With `seed`, a SQLite file that is not there is made from the source's seed files.
pub async fn load(paths: &[PathBuf], known: &HashMap<String, Database>, seed: bool) -> Result<Served, Vec<Problem>> {
    let manifests = read::paths(paths)?;
    let served = resolve(&manifests, known, seed).await.map_err(|failure| failure.problems)?;
    let problems = policy::problems(&manifests, &served.catalog);
    if problems.is_empty() { Ok(served) } else { Err(problems) }
}

/// Makes manifests that were read into what can be served.
pub async fn resolve(manifests: &Manifests, known: &HashMap<String, Database>, seed: bool) -> Result<Served, Failure> {
    resolve_again(manifests, known, &mut Looked::default(), seed).await
}

/// What databases have, as far as they could be looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    facts: FactsBySource,
    /// The sources that were taken to have what they had.
    away: BTreeSet<String>,
}

impl Looked {
    /// Whether everything is as it is now.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.away.is_empty()
    }

    /// Whether databases had the same, whenever that was.
    #[must_use]
    pub fn has_same(&self, other: &Self) -> bool {
        self.facts == other.facts
    }
}

/// The same where databases were looked at before: one that is away now or hangs, and that is entered as it was, is taken to have
/// what it had, so that it keeps nobody else's entities from being served.
pub async fn resolve_again(
    manifests: &Manifests,
    known: &HashMap<String, Database>,
    before: &mut Looked,
    seed: bool,
) -> Result<Served, Failure> {
    let mut failure = Failure::default();
    let (mut databases, mut looked) = (HashMap::new(), Looked::default());
    let all = manifests.sources.iter().map(|source| look(source, manifests, known.get(&source.key()), before, seed));
    for (source, outcome) in manifests.sources.iter().zip(join_all(all).await) {
        match outcome {
            Ok((database, found)) => {
                databases.insert(source.key(), database);
                if found.is_none() {
                    looked.away.insert(source.key());
                }
                let found = found.or_else(|| before.facts.get(&source.key()).cloned());
                looked.facts.extend(found.map(|found| (source.key(), found)));
            }
            Err(more) => failure.add(more),
        }
    }
    if !failure.problems.is_empty() {
        return Err(failure);
    }
    let catalog: Catalog = compile::compile(manifests, &looked.facts, &compile::Settings::default())?;
    let served = Served { catalog, databases };
    let problems = captured_twice(manifests, &served);
    if !problems.is_empty() {
        return Err(problems.into());
    }
    let failure = try_all(manifests, &served, &looked.away).await;
    if !failure.problems.is_empty() {
        return Err(failure);
    }
    *before = looked;
    Ok(served)
}

/// What a source's database has; nothing if it is away or hangs, and was looked at before.
async fn look(
    source: &Declared<DataSource>,
    manifests: &Manifests,
    known: Option<&Database>,
    before: &Looked,
    seed: bool,
) -> Result<(Database, Option<Facts>), Failure> {
    let database = connect(source, known, seed).await?;
    let may_be_away =
        known.is_some_and(|known| known.settings() == database.settings()) && before.facts.contains_key(&source.key());
    let looking = async {
        if may_be_away {
            // It may take long to tell all that it has, and not to say that it is there.
            timeout(A_MOMENT, database.ping()).await.unwrap_or(Err(database::Error::Deadline))?;
        }
        introspect(&database, &scope(manifests, &source.key())).await
    };
    match looking.await {
        Ok(found) => Ok((database, Some(found))),
        Err(error) if may_be_away && error.is_absence() => {
            warn!(source = source.key(), %error, "the database is away, and is taken to have what it had");
            Ok((database, None))
        }
        Err(error) => Err(Failure::of(source, &error, "introspection failed: ")),
    }
}

impl Failure {
    fn of(source: &Declared<DataSource>, error: &database::Error, what: &str) -> Self {
        Self { problems: vec![source.problem("spec.connection", format!("{what}{error}"))], databases: vec![source.key()] }
    }

    fn add(&mut self, more: Failure) {
        self.problems.extend(more.problems);
        self.databases.extend(more.databases);
    }
}

impl From<Vec<Problem>> for Failure {
    fn from(problems: Vec<Problem>) -> Self {
        Self { problems, databases: Vec::new() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        f.write_str(&all.join("; "))
    }
}

/// A database has one outbox or one slot, and whoever tells its changes tells those of one source's entities. Another source would
/// be captured, and never be told anything.
fn captured_twice(manifests: &Manifests, served: &Served) -> Vec<Problem> {
    let mut first: HashMap<String, String> = HashMap::new();
    let mut problems = Vec::new();
    for source in &manifests.sources {
        let key = source.key();
        let Some(database) = served.databases.get(&key).filter(|_| served.catalog.capture(&key) != Capture::Off) else {
            continue;
        };
        let place = place_of(&database.settings().url);
        if let Some(earlier) = first.get(&place) {
            let reason = format!("'{earlier}' captures the same database, which only one DataSource can");
            problems.push(source.problem("spec.capture.mode", reason).advise("set the mode of one of them to `none`"));
        } else {
            first.insert(place, key);
        }
    }
    problems
}

/// Has each database read the SQL that was declared for it, so that a fault is told now and not to the first client.
async fn try_all(manifests: &Manifests, served: &Served, away: &BTreeSet<String>) -> Failure {
    let mut failure = Failure::default();
    // The catalog has its entities in the order of the manifests.
    for (declared, entity) in manifests.entities.iter().zip(served.catalog.entities()) {
        if let Some(database) = served.databases.get(&entity.source).filter(|_| !away.contains(&entity.source)) {
            match try_declared(declared, entity, database).await {
                Ok(problems) => failure.problems.extend(problems),
                Err(error) => {
                    let reason = format!("its database could not be asked about the SQL of {}: {error}", entity.full_name());
                    let problem = declared.problem("spec.source", reason).because(Cause::Database);
                    failure.add(Failure { problems: vec![problem], databases: vec![entity.source.clone()] });
                }
            }
        }
    }
    failure
}

/// Has a database read the SQL that was declared for one entity. An error says that it is away, and nothing of the SQL.
pub async fn try_declared(
    declared: &Declared<manifest::Entity>,
    entity: &catalog::Entity,
    database: &Database,
) -> Result<Vec<Problem>, database::Error> {
    let computed = entity.computed.iter().enumerate().map(|(place, computed)| {
        let path = format!("spec.computed[{place}].expression");
        (path, format!("the computed column '{}'", computed.name), trial::computed(entity, place))
    });
    let operators = entity.operators.iter().enumerate().map(|(place, operator)| {
        let path = format!("spec.operators[{place}].condition");
        (path, format!("the operator '{}'", operator.name), trial::operator(entity, place))
    });
    let mut problems = Vec::new();
    for (path, what, statement) in computed.chain(operators) {
        match database.prepare(&statement).await {
            Ok(()) => {}
            Err(error) if error.is_absence() => return Err(error),
            Err(error) => {
                let reason = format!("{what} of {} can't be used as its type says: {error}", entity.full_name());
                problems.push(declared.problem(&path, reason));
            }
        }
    }
    Ok(problems)
}

async fn connect(source: &Declared<DataSource>, known: Option<&Database>, seed: bool) -> Result<Database, Failure> {
    let settings = connection::settings(source, |name| std::env::var(name).ok())?;
    if let Some(database) = known.filter(|database| *database.settings() == settings) {
        return Ok(database.clone());
    }
    let problem = |reason: String| Failure::from(vec![source.problem("spec.connection", reason)]);
    let seeds = connection::seed_files(source);
    let path = settings.sqlite_path().to_owned();
    let fresh = seed && !seeds.is_empty() && !std::path::Path::new(&path).exists();
    if fresh {
        // The file is made here and nowhere else: a wrong path must not become an empty database.
        std::fs::File::create_new(&path).map_err(|error| problem(format!("{path} can't be made: {error}")))?;
    }
    let database = Database::connect(&settings).await.map_err(|error| Failure::of(source, &error, ""))?;
    if fresh && let Err(reason) = plant(&database, &seeds).await {
        // A half-filled database would be taken for a whole one at the next start.
        database.close().await;
        for suffix in ["", "-wal", "-shm"] {
            _ = std::fs::remove_file(format!("{path}{suffix}"));
        }
        return Err(vec![source.problem("spec.seed", reason)].into());
    }
    Ok(database)
}

async fn plant(database: &Database, seeds: &[PathBuf]) -> Result<(), String> {
    for file in seeds {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{} can't be read: {error}", file.display()))?;
        database.run_script(&text).await.map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}
