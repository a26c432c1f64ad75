//! The third step, which asks nobody either: from what can be served to what has to be there.

use super::finalizer;
use super::validate::{JudgedSource, Validated, declared_source, is_leaving, origin};
use crate::auth::Secret;
use crate::catalog::policy;
use crate::database::{Database, place_of};
use crate::manifest::data_source::CaptureMode;
use crate::manifest::values::{Carried, carry};
use crate::manifest::{DataSource, Declared, Manifests};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// What has to be there.
pub(super) struct Prepared {
    /// The generation's resources.
    pub(super) carried: Vec<Carried>,
    /// The URLs that replicas have to have, by their keys.
    pub(super) urls: BTreeMap<String, Secret>,
    /// Where changes have to be captured.
    pub(super) captures: Vec<Capture>,
    /// Where they have to be captured no more.
    pub(super) undone: Vec<Undone>,
}

/// A database whose changes have to be captured.
#[derive(Clone)]
pub(super) struct Capture {
    pub(super) resource: Arc<DataSource>,
    pub(super) key: String,
    pub(super) database: Database,
    /// What it has to be captured for; another one means that there is something to do.
    pub(super) fingerprint: u128,
    /// Another source that captures the same database.
    pub(super) rival: Option<String>,
}

/// A database whose changes have to be captured no more.
#[derive(Clone)]
pub(super) struct Undone {
    pub(super) resource: Arc<DataSource>,
    pub(super) key: String,
    pub(super) database: Option<Database>,
    /// Another source captures the same database still, so that nothing may be taken away.
    pub(super) is_shared: bool,
}

/// Says what has to be there.
pub(super) fn build(validated: &Validated) -> Result<Prepared, String> {
    let rivals = rivals(validated);
    let (captures, undone) = captures(validated, &rivals);
    Ok(Prepared { carried: carried(validated, &rivals)?, urls: urls(validated), captures, undone })
}

/// Sources that would capture a database that an older one captures, by their keys, and the older one's.
fn rivals(validated: &Validated) -> HashMap<&str, &str> {
    let mut first: HashMap<String, &str> = HashMap::new();
    let mut rivals = HashMap::new();
    // What is held captures soon, whatever was published of it.
    let is_about_to = |source: &JudgedSource| source.is_held && source.resource.spec.capture.mode != CaptureMode::None;
    let is_captured = |source: &&JudgedSource| is_about_to(source) || source.outgoing.as_ref().is_some_and(captures_changes);
    for source in validated.sources.iter().filter(is_captured) {
        let Some(place) = place(source) else { continue };
        if let Some(older) = first.get(&place) {
            rivals.insert(source.key.as_str(), *older);
        } else {
            first.insert(place, source.key.as_str());
        }
    }
    rivals
}

fn captures_changes(source: &Declared<DataSource>) -> bool {
    source.resource.spec.capture.mode != CaptureMode::None
}

/// The database that a source leads to. One whose Secret can't be read leads where its replicas were led: it captures there still,
/// and an operator that has just begun knows it no other way.
fn place(source: &JudgedSource) -> Option<String> {
    source.look.url.as_ref().or(source.handed.as_ref()).and_then(place_at)
}

fn place_at(url: &Secret) -> Option<String> {
    url.text().map(place_of)
}

/// A source as it is published. Replicas refuse whatever captures a database twice, and the rest of the catalog is not to suffer.
fn published(source: &JudgedSource, rivals: &HashMap<&str, &str>) -> Option<Declared<DataSource>> {
    let mut outgoing = source.outgoing.clone()?;
    if rivals.contains_key(source.key.as_str()) {
        outgoing.resource.spec.capture.mode = CaptureMode::None;
    }
    Some(outgoing)
}

/// Sources without an entity are not published: a replica would connect to them, and wait for them, for nothing. One whose changes
/// were captured is, until it is undone: somebody has to relay what goes on being written down, or it fills the database's disk.
fn carried(validated: &Validated, rivals: &HashMap<&str, &str>) -> Result<Vec<Carried>, String> {
    let outgoing_sources: HashSet<&str> =
        validated.sources.iter().filter(|one| one.outgoing.is_some()).map(|one| one.key.as_str()).collect();
    let outgoing = || {
        let reachable = validated.entities.iter().filter(|entity| outgoing_sources.contains(entity.source.as_str()));
        reachable.filter_map(|entity| Some((entity.outgoing.as_ref()?, entity)))
    };
    let used: HashSet<&str> = outgoing().map(|(_, entity)| entity.source.as_str()).collect();
    let is_relayed =
        |source: &JudgedSource| source.was_captured && published(source, rivals).as_ref().is_some_and(captures_changes);
    let sources = validated.sources.iter().filter(|source| used.contains(source.key.as_str()) || is_relayed(source));
    let names: HashSet<String> = outgoing().map(|(declared, _)| declared.key()).collect();
    let policies = validated
        .policies
        .iter()
        .filter(|policy| policy.outgoing.as_ref().is_some_and(|declared| names.contains(&policy::entity_key(declared))));
    let manifests = Manifests {
        sources: sources.filter_map(|source| published(source, rivals)).collect(),
        entities: outgoing().map(|(declared, _)| declared.clone()).collect(),
        policies: policies.filter_map(|policy| policy.outgoing.clone()).collect(),
    };
    let mut carried = carry(&manifests).map_err(|problems| format!("what was judged good can't be published: {problems:?}"))?;
    let tables: HashMap<String, &String> =
        outgoing().filter_map(|(_, entity)| Some((origin(&*entity.resource), entity.table.as_ref()?))).collect();
    for one in &mut carried {
        one.table = tables.get(&one.origin).map(|table| (*table).clone());
    }
    Ok(carried)
}

/// What one that is not to be used has told is handed over no longer; replicas that serve by it still keep it for as long as they do.
fn urls(validated: &Validated) -> BTreeMap<String, Secret> {
    let is_used = |source: &&JudgedSource| {
        let is_refused = source.verdict.accepted.truth == crate::manifest::status::Truth::False || source.is_shut();
        !is_leaving(&*source.resource) && !is_refused
    };
    let sources = validated.sources.iter().filter(is_used);
    sources.filter_map(|source| Some((source.place.as_ref()?.key.clone(), source.look.url.clone()?))).collect()
}

fn captures(validated: &Validated, rivals: &HashMap<&str, &str>) -> (Vec<Capture>, Vec<Undone>) {
    // Also of those that are paused, or can't be served now: what they have captured goes on.
    let captures_still = |source: &&JudgedSource| {
        let now = source.resource.spec.capture.mode != CaptureMode::None && !source.is_shut();
        !is_leaving(&*source.resource) && (now || source.outgoing.as_ref().is_some_and(captures_changes))
    };
    let kept = validated.illegible.iter().filter(|one| !is_leaving(&*one.resource));
    let kept = kept.filter_map(|one| one.url.as_ref().and_then(place_at));
    let places: HashSet<String> = validated.sources.iter().filter(captures_still).filter_map(place).chain(kept).collect();
    let (mut captures, mut undone) = (Vec::new(), Vec::new());
    for source in validated.sources.iter().filter(|source| !source.is_paused) {
        let is_captured = source.resource.spec.capture.mode != CaptureMode::None;
        if !is_captured || is_leaving(&*source.resource) || source.outgoing.is_none() {
            continue;
        }
        let (Some(database), Some(url)) = (&source.look.database, &source.look.url) else { continue };
        // A database that is away is looked at when it is back.
        if source.look.fault.is_some() {
            continue;
        }
        captures.push(Capture {
            resource: Arc::clone(&source.resource),
            key: source.key.clone(),
            database: database.clone(),
            fingerprint: fingerprint(validated, &source.key, source.resource.spec.capture.mode, url.bytes()),
            rival: rivals.get(source.key.as_str()).map(|older| (*older).to_owned()),
        });
    }
    for source in validated.sources.iter().filter(|source| finalizer::keeps(&source.resource.metadata)) {
        // One that is still published as it was, captured, is over when it is not: until it has been looked at, say.
        let is_off =
            source.resource.spec.capture.mode == CaptureMode::None && !source.outgoing.as_ref().is_some_and(captures_changes);
        // Nobody relays what one that is not to be used at all goes on writing down.
        let is_over = is_leaving(&*source.resource) || (is_off && !source.is_paused) || source.is_shut();
        if is_over {
            undone.push(Undone {
                resource: Arc::clone(&source.resource),
                key: source.key.clone(),
                database: source.look.database.clone(),
                is_shared: place(source).is_some_and(|place| places.contains(&place)),
            });
        }
    }
    for one in validated.illegible.iter().filter(|one| is_leaving(&*one.resource)) {
        undone.push(Undone {
            resource: Arc::clone(&one.resource),
            key: declared_source(&one.resource).key(),
            database: None,
            is_shared: one.url.as_ref().and_then(place_at).is_some_and(|place| places.contains(&place)),
        });
    }
    (captures, undone)
}

/// What is captured, and where: the mode, the database, and the tables as they are.
fn fingerprint(validated: &Validated, source: &str, mode: CaptureMode, url: &[u8]) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(url);
    hash.update(format!("{mode:?}").as_bytes());
    let mut tables: Vec<&str> =
        validated.entities.iter().filter(|entity| entity.source == source).filter_map(|entity| entity.table.as_deref()).collect();
    tables.sort_unstable();
    for table in tables {
        hash.update(table.as_bytes());
    }
    hash.digest128()
}

#[cfg(test)]
mod tests;
