//! What holds for a source as a whole: what must be asked of its database, and how its changes are captured.

use super::introspect::Scope;
use crate::manifest::data_source::{CaptureMode, Engine, LEAST_RETAINED, LEAST_WAITING};
use crate::manifest::{self, Manifests, Problem};
use std::collections::HashMap;

/// How the committed changes of a source are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Capture {
    /// Triggers write an outbox.
    Trigger,
    /// PostgreSQL's logical replication tells them.
    Wal(Retained),
    /// The engine writes an outbox: only what is changed through it is seen.
    Api,
    /// Not at all, so that nobody can subscribe.
    #[default]
    Off,
}

/// How many bytes of its log PostgreSQL may keep for a slot; the relay's own bounds unless given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retained {
    /// Before it is warned of.
    pub warn: Option<u64>,
    /// Before the slot is given up.
    pub most: Option<u64>,
}

/// How the changes of one source are captured, with the bounds that it gives.
#[derive(Debug, Clone, Copy)]
pub(in crate::catalog) struct Captured {
    pub(in crate::catalog) how: Capture,
    pub(in crate::catalog) most_waiting: Option<u64>,
}

impl Capture {
    /// Whether there is an outbox.
    #[must_use]
    pub fn has_outbox(self) -> bool {
        match self {
            Capture::Trigger | Capture::Api => true,
            Capture::Wal(_) | Capture::Off => false,
        }
    }
}

/// The schemas that the entities of a source name, given the source's key.
#[must_use]
pub fn scope(manifests: &Manifests, source: &str) -> Scope {
    let of_source = |entity: &&manifest::Declared<manifest::Entity>| entity.source_key() == source;
    let mut default = false;
    let mut named = std::collections::BTreeSet::new();
    for entity in manifests.entities.iter().filter(of_source) {
        let spec = &entity.resource.spec;
        default |= spec.schema.is_none();
        let links = spec.relations.iter().flatten().filter_map(|relation| relation.through.as_ref());
        named.extend(spec.schema.iter().chain(links.filter_map(|link| link.schema.as_ref())).cloned());
    }
    Scope::Schemas { default, named }
}

/// How each source's changes are captured, by the sources' keys.
pub(in crate::catalog) fn captures(manifests: &Manifests, problems: &mut Vec<Problem>) -> HashMap<String, Captured> {
    let one = |source: &manifest::Declared<manifest::DataSource>| {
        let most_waiting = source.resource.spec.capture.max_waiting_rows;
        Some((source.key(), Captured { how: capture(source, problems)?, most_waiting }))
    };
    manifests.sources.iter().filter_map(one).collect()
}

/// How the changes of one source are captured; nothing if that can't be.
pub fn capture(source: &manifest::Declared<manifest::DataSource>, problems: &mut Vec<Problem>) -> Option<Capture> {
    let spec = &source.resource.spec;
    let capture = match spec.capture.mode {
        CaptureMode::Trigger => Capture::Trigger,
        CaptureMode::Wal if spec.engine == Engine::Postgres => {
            Capture::Wal(Retained { warn: spec.capture.warn_retained_bytes, most: spec.capture.max_retained_bytes })
        }
        CaptureMode::Wal => {
            let reason = format!("`wal` is PostgreSQL's logical replication, which {} does not have", spec.engine.as_str());
            problems.push(source.problem("spec.capture.mode", reason).advise("use `trigger`, `api` or `none`"));
            return None;
        }
        CaptureMode::Api => Capture::Api,
        CaptureMode::None => Capture::Off,
    };
    for (field, bytes) in
        [("warnRetainedBytes", spec.capture.warn_retained_bytes), ("maxRetainedBytes", spec.capture.max_retained_bytes)]
    {
        if bytes.is_some() && !matches!(capture, Capture::Wal(_)) {
            let reason = "only the mode `wal` makes the database retain its log";
            problems.push(source.problem(&format!("spec.capture.{field}"), reason).advise("leave it out"));
        }
    }
    let (warn, most) = (spec.capture.warn_retained_bytes, spec.capture.max_retained_bytes);
    if most.is_some_and(|most| most < LEAST_RETAINED.max(warn.unwrap_or_default())) {
        let reason = format!("a slot is given up with {LEAST_RETAINED} bytes at least, and not before it is warned of");
        problems.push(source.problem("spec.capture.maxRetainedBytes", reason).advise("leave it out for 32 GiB"));
    }
    if let Some(most) = spec.capture.max_waiting_rows {
        let problem = |reason: String| source.problem("spec.capture.maxWaitingRows", reason);
        if !capture.has_outbox() {
            problems.push(problem("only the modes `trigger` and `api` have an outbox".to_owned()).advise("leave it out"));
        }
        if most < LEAST_WAITING {
            let reason = format!("changes are given up with {LEAST_WAITING} of them at least");
            problems.push(problem(reason).advise("leave it out for 10,000,000"));
        }
    }
    Some(capture)
}
