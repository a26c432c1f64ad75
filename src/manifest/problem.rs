//! What is wrong with a manifest: where, why, and what to do.
//!
//! Reading and compiling gather all the problems that they find; nothing here decides what is a problem.

use std::path::PathBuf;

/// One thing that must change in a manifest, or in the database, before it can be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    /// The file, unless the manifests as a whole are meant.
    pub file: Option<PathBuf>,
    /// The line, from 1; 0 if no line is meant.
    pub line: u64,
    /// The column, from 1; 0 if no column is meant.
    pub column: u64,
    /// The place in the document, such as `spec.columns[2].name`.
    pub path: Option<String>,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub advice: Option<String>,
    /// What kind of fault it is, for programs.
    pub cause: Cause,
}

/// A kind of fault, as far as programs tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cause {
    /// The manifest contradicts itself or the database.
    #[default]
    Invalid,
    /// There is no such DataSource.
    NoSource,
    /// The database has no such table or view.
    NoTable,
    /// Another entity, declared before, has the same public name.
    PathTaken,
    /// A relation can't be resolved; the place of the relation in the manifest.
    Relation(u32),
    /// The database can't be entered, read, or does not do what is asked of it.
    Database,
}

impl Problem {
    /// A problem without a place.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { file: None, line: 0, column: 0, path: None, reason: reason.into(), advice: None, cause: Cause::Invalid }
    }

    /// Says what kind of fault it is.
    #[must_use]
    pub fn because(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if self.line > 0 {
                write!(f, "{}:", self.line)?;
            }
            if self.line > 0 && self.column > 0 {
                write!(f, "{}:", self.column)?;
            }
            f.write_str(" ")?;
        }
        if let Some(path) = &self.path {
            write!(f, "{path}: ")?;
        }
        f.write_str(&self.reason)?;
        match &self.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}
