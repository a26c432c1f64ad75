//! What holds for a source as a whole: what must be asked of its database, and how its changes are captured.

use super::introspect::Scope;
use crate::manifest::data_source::CaptureMode;
use crate::manifest::{self, Manifests, Problem};
use std::collections::HashMap;

/// How the committed changes of a source are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Capture {
    /// Triggers write an outbox.
    Trigger,
    /// Not at all.
    #[default]
    Off,
}

/// The schemas that the entities of a source name, given the source's key.
#[must_use]
pub fn scope(manifests: &Manifests, source: &str) -> Scope {
    let of_source = |entity: &&manifest::Declared<manifest::Entity>| {
        manifest::declared::key(entity.namespace(), &entity.resource.spec.source) == source
    };
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
pub(in crate::catalog) fn captures(manifests: &Manifests, problems: &mut Vec<Problem>) -> HashMap<String, Capture> {
    let mut captures = HashMap::new();
    for source in &manifests.sources {
        let capture = match source.resource.spec.capture.mode {
            CaptureMode::Trigger => Capture::Trigger,
            CaptureMode::None => Capture::Off,
            // Nothing pretends: what is not captured must not be promised.
            CaptureMode::Wal | CaptureMode::Api => {
                let problem = source.problem("spec.capture.mode", "this mode is not there yet");
                problems.push(problem.advise("use `trigger` or `none`"));
                continue;
            }
        };
        captures.insert(source.key(), capture);
    }
    captures
}
