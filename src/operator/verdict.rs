//! What was found out about one resource, on its way to conditions.

use crate::manifest::Problem;
use crate::manifest::problem::Cause;
use crate::manifest::status::Truth;

/// Whether something holds, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) truth: Truth,
    pub(super) reason: String,
    pub(super) message: String,
}

/// What holds for one resource before anything is done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) accepted: Finding,
    pub(super) resolved: Finding,
    /// What is wrong although it is served, or was.
    pub(super) degraded: Option<Finding>,
    /// Why its database can't be used now, and so nobody can use what is in it, though every replica may have it.
    pub(super) away: Option<String>,
}

/// The word for a database that can't be used now.
pub(super) const UNAVAILABLE: &str = "DatabaseUnavailable";
/// The word for a relation that leads nowhere.
pub(super) const NO_RELATION: &str = "RelationNotFound";

impl Finding {
    pub(super) fn new(truth: Truth, reason: &str, message: impl Into<String>) -> Self {
        Self { truth, reason: reason.to_owned(), message: message.into() }
    }

    pub(super) fn yes(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Truth::True, reason, message)
    }

    pub(super) fn no(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Truth::False, reason, message)
    }

    pub(super) fn unknown(reason: &str, message: impl Into<String>) -> Self {
        Self::new(Truth::Unknown, reason, message)
    }

    pub(super) fn holds(&self) -> bool {
        self.truth == Truth::True
    }

    /// What is wrong with a manifest; the first problem tells the reason.
    pub(super) fn of(problems: &[Problem]) -> Self {
        let reason = problems.first().map_or("Invalid", |problem| reason(problem.cause));
        Self::no(reason, told(problems))
    }
}

impl Verdict {
    /// Nothing is wrong.
    pub(super) fn good() -> Self {
        Self {
            accepted: Finding::yes("Accepted", "the manifest and the database agree"),
            resolved: Finding::yes("ResolvedRefs", "everything that it refers to is there"),
            degraded: None,
            away: None,
        }
    }

    /// The manifest can't be served.
    pub(super) fn refused(finding: Finding) -> Self {
        Self { accepted: finding, ..Self::good() }
    }

    /// What it refers to is not there, so that nothing else can be said.
    pub(super) fn unresolved(finding: Finding) -> Self {
        let accepted = Finding::unknown("UnresolvedRefs", "what it refers to has to be there first");
        Self { accepted, resolved: finding, degraded: None, away: None }
    }

    /// What is told as degraded: what is wrong by itself, or else that its database is away.
    pub(super) fn degraded(&self) -> Option<Finding> {
        let away = || self.away.as_ref().map(|why| Finding::yes(UNAVAILABLE, why));
        self.degraded.clone().or_else(away)
    }

    /// Why nobody can use it though every replica may have it.
    pub(super) fn unusable(&self) -> Option<Finding> {
        self.away.as_ref().map(|why| Finding::no(UNAVAILABLE, why))
    }
}

/// The word for programs.
pub(super) fn reason(cause: Cause) -> &'static str {
    match cause {
        Cause::Invalid => "Invalid",
        Cause::NoSource => "DataSourceNotFound",
        Cause::NoTable => "TableNotFound",
        Cause::PathTaken => "PathConflict",
        Cause::Relation(_) => NO_RELATION,
        Cause::Database => UNAVAILABLE,
    }
}

/// What is shown of a list of problems, without the resource's own name, which whoever reads it has asked for.
pub(super) fn told(problems: &[Problem]) -> String {
    const MOST: usize = 1024;
    let one = |problem: &Problem| Problem { file: None, ..problem.clone() }.to_string();
    let mut text = problems.iter().map(one).collect::<Vec<_>>().join("; ");
    if text.len() > MOST {
        text.truncate(text.floor_char_boundary(MOST));
        text.push('…');
    }
    text
}
