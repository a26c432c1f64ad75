//! A resource and the place that declares it, so that whoever finds a fault can name file and line.

use super::entity::Entity;
use super::problem::{Cause, Problem};
use super::tree::Lines;
use kube::Resource;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The namespace of a manifest that names none, and that names leave out.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A resource and its place.
#[derive(Debug, Clone)]
pub struct Declared<T> {
    /// The resource.
    pub resource: T,
    /// Where it is declared.
    pub place: Place,
}

/// A document in a file.
#[derive(Debug, Clone)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// The document's first line.
    pub line: u64,
    lines: Arc<Lines>,
}

impl Place {
    pub(super) fn new(file: Arc<Path>, lines: Lines) -> Self {
        let (line, _) = lines.find("");
        Self { file, line, lines: Arc::new(lines) }
    }

    pub(super) fn without_lines(origin: PathBuf) -> Self {
        Self::new(Arc::from(origin), Lines::default())
    }

    /// The line of a path such as `spec.columns[2].name`, or of the nearest thing around it that is there.
    #[must_use]
    pub fn line_of(&self, path: &str) -> u64 {
        self.lines.find(path).0
    }

    /// A problem at a path.
    pub fn problem(&self, path: &str, reason: impl Into<String>) -> Problem {
        let (line, column) = self.lines.find(path);
        let path = (!path.is_empty()).then(|| path.to_owned());
        Problem {
            file: Some(self.file.to_path_buf()),
            line,
            column,
            path,
            reason: reason.into(),
            advice: None,
            cause: Cause::Invalid,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}

impl<T: Resource> Declared<T> {
    /// A resource that is in no file, such as one from an API; `origin` stands for the file's name.
    pub fn without_lines(resource: T, origin: impl Into<PathBuf>) -> Self {
        Self { resource, place: Place::without_lines(origin.into()) }
    }

    /// The resource's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.resource.meta().name.as_deref().unwrap_or_default()
    }

    /// The resource's namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.resource.meta().namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
    }

    /// The name by which the whole catalog knows it: `name`, or `namespace/name` outside the default namespace.
    #[must_use]
    pub fn key(&self) -> String {
        key(self.namespace(), self.name())
    }

    /// A problem at a path of this resource.
    pub fn problem(&self, path: &str, reason: impl Into<String>) -> Problem {
        self.place.problem(path, reason)
    }
}

impl Declared<Entity> {
    /// The namespace of its DataSource.
    #[must_use]
    pub fn source_namespace(&self) -> &str {
        self.resource.spec.source_namespace.as_deref().unwrap_or_else(|| self.namespace())
    }

    /// The key of its DataSource.
    #[must_use]
    pub fn source_key(&self) -> String {
        key(self.source_namespace(), &self.resource.spec.source)
    }
}

/// `name`, or `namespace/name` outside the default namespace.
#[must_use]
pub fn key(namespace: &str, name: &str) -> String {
    if namespace == DEFAULT_NAMESPACE { name.to_owned() } else { format!("{namespace}/{name}") }
}
