//! Reads manifests: files, folders and texts, each a stream of YAML documents.
//!
//! Every fault of every document is reported, with file, line and column. Nothing here knows what a database has:
//! that is the catalog's part.

use super::access_policy::{AccessPolicy, AccessPolicySpec};
use super::data_source::{DataSource, DataSourceSpec};
use super::declared::{Declared, Place};
use super::document::Document;
use super::entity::{Entity, EntitySpec};
use super::problem::Problem;
use super::tree::Tree;
use kube::Resource;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything that was declared, in the order of the files and of the documents in them.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    /// The databases.
    pub sources: Vec<Declared<DataSource>>,
    /// The tables and views.
    pub entities: Vec<Declared<Entity>>,
    /// The policies.
    pub policies: Vec<Declared<AccessPolicy>>,
}

/// Reads files, and all `*.yaml` and `*.yml` below folders in the order of their names.
pub fn paths(paths: &[PathBuf]) -> Result<Manifests, Vec<Problem>> {
    let mut reader = Reader::default();
    for path in paths {
        let mut files = Vec::new();
        if let Err(error) = gather(path, &mut files) {
            reader.problems.push(unreadable(path, &error));
        }
        if files.is_empty() && reader.problems.is_empty() {
            reader.problems.push(at(path, "there is no *.yaml or *.yml file here"));
        }
        for file in files {
            match std::fs::read_to_string(&file) {
                Ok(text) => reader.text(&file, &text),
                Err(error) => reader.problems.push(unreadable(&file, &error)),
            }
        }
    }
    reader.finish()
}

/// Reads one text; `file` is the name that problems call it.
pub fn text(file: &Path, text: &str) -> Result<Manifests, Vec<Problem>> {
    let mut reader = Reader::default();
    reader.text(file, text);
    reader.finish()
}

/// Reads resources that are JSON values already, each with the name that problems call it.
pub(super) fn values(values: impl IntoIterator<Item = (PathBuf, Value)>) -> Result<Manifests, Vec<Problem>> {
    let mut reader = Reader::default();
    for (origin, value) in values {
        reader.document(Document::new(value, Place::without_lines(origin)));
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    manifests: Manifests,
    problems: Vec<Problem>,
}

impl Reader {
    fn text(&mut self, file: &Path, text: &str) {
        let file: Arc<Path> = Arc::from(file);
        // A column may well be named `no` or `on`; these words are texts here, as in YAML 1.2.
        let options = serde_saphyr::options! { strict_booleans: true };
        for document in serde_saphyr::read_with_options::<_, Tree>(&mut text.as_bytes(), options) {
            match document {
                Ok(tree) => {
                    let (value, lines) = tree.into_value();
                    self.document(Document::new(value, Place::new(Arc::clone(&file), lines)));
                }
                Err(error) => self.problems.push(malformed(&file, &error)),
            }
        }
    }

    fn document(&mut self, document: Document) {
        let result = match document.kind() {
            Ok("DataSource") => document
                .parse(|metadata, spec: DataSourceSpec| DataSource { metadata, spec, status: None })
                .map(|declared| self.manifests.sources.push(declared)),
            Ok("Entity") => document
                .parse(|metadata, spec: EntitySpec| Entity { metadata, spec, status: None })
                .map(|declared| self.manifests.entities.push(declared)),
            Ok("AccessPolicy") => document
                .parse(|metadata, spec: AccessPolicySpec| AccessPolicy { metadata, spec, status: None })
                .map(|declared| self.manifests.policies.push(declared)),
            Ok(other) => {
                let known = "this version knows DataSource, Entity and AccessPolicy";
                Err(vec![document.place.problem("kind", format!("unknown kind '{other}'")).advise(known)])
            }
            Err(problem) => Err(vec![problem]),
        };
        if let Err(problems) = result {
            self.problems.extend(problems);
        }
    }

    fn finish(mut self) -> Result<Manifests, Vec<Problem>> {
        find_duplicates("DataSource", &self.manifests.sources, &mut self.problems);
        find_duplicates("Entity", &self.manifests.entities, &mut self.problems);
        find_duplicates("AccessPolicy", &self.manifests.policies, &mut self.problems);
        if self.problems.is_empty() { Ok(self.manifests) } else { Err(self.problems) }
    }
}

fn find_duplicates<T: Resource>(kind: &str, declared: &[Declared<T>], problems: &mut Vec<Problem>) {
    let mut first: HashMap<String, &Place> = HashMap::new();
    for one in declared {
        if let Some(earlier) = first.insert(one.key(), &one.place) {
            let reason = format!("{kind} '{}' is declared twice, first at {earlier}", one.key());
            problems.push(one.problem("metadata.name", reason).advise("rename or remove one of them"));
        }
    }
}

/// Folders are walked in the order of names. Names with a leading dot are left out, as are links to folders, so that a
/// folder that Kubernetes mounts is read once.
fn gather(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !std::fs::metadata(path)?.is_dir() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    let mut entries = std::fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let is_manifest = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() || (is_manifest && path.is_file()) {
            gather(&path, files)?;
        }
    }
    Ok(())
}

fn at(file: &Path, reason: impl Into<String>) -> Problem {
    Problem { file: Some(file.to_path_buf()), ..Problem::new(reason) }
}

fn unreadable(file: &Path, error: &std::io::Error) -> Problem {
    at(file, format!("can't be read: {error}"))
}

fn malformed(file: &Path, error: &serde_saphyr::Error) -> Problem {
    let text = error.without_snippet().to_string();
    // The place is told in its own fields.
    let reason = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
    let (line, column) = error.location().map_or((0, 0), |location| (location.line(), location.column()));
    Problem { line, column, ..at(file, format!("this is not YAML that can be read: {reason}")) }
}

#[cfg(test)]
mod tests;
