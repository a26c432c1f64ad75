//! From findings to conditions, and from conditions to what is worth an event. Pure.

use super::verdict::{Finding, UNAVAILABLE};
use crate::manifest::status::{Condition, Truth};

/// The conditions that every resource has.
pub(super) struct Conditions {
    pub(super) accepted: Finding,
    pub(super) resolved: Finding,
    pub(super) programmed: Finding,
    /// Why nobody can use it though every replica may have it.
    pub(super) closed: Option<Finding>,
    pub(super) degraded: Option<Finding>,
}

/// Something that has changed, for an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) is_good: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Conditions {
    /// The conditions as a status has them. One that holds as before keeps its time.
    pub(super) fn written(&self, before: &[Condition], generation: Option<i64>, now: &str) -> Vec<Condition> {
        let fine = Finding::no("AsExpected", "nothing is known to be wrong");
        let all = [
            ("Accepted", &self.accepted),
            ("ResolvedRefs", &self.resolved),
            ("Programmed", &self.programmed),
            ("Ready", &self.ready()),
            ("Degraded", self.degraded.as_ref().unwrap_or(&fine)),
        ];
        let condition = |(kind, finding): (&str, &Finding)| {
            let same = before.iter().find(|before| before.kind == kind && before.status == finding.truth);
            Condition {
                kind: kind.to_owned(),
                status: finding.truth,
                observed_generation: generation,
                last_transition_time: same.map_or_else(|| now.to_owned(), |same| same.last_transition_time.clone()),
                reason: finding.reason.clone(),
                message: finding.message.clone(),
            }
        };
        all.into_iter().map(condition).collect()
    }

    /// Clients can use it: the manifest is good, what it refers to is there, every replica has it, and nothing closes it to them.
    fn ready(&self) -> Finding {
        // What can't be judged since something is missing is said to lack that.
        let needed = [&self.resolved, &self.accepted, &self.programmed].into_iter().chain(&self.closed);
        match needed.into_iter().find(|finding| !finding.holds()) {
            None => Finding::yes("Ready", "every replica serves it"),
            Some(first) => Finding::new(
                if first.truth == Truth::Unknown { Truth::Unknown } else { Truth::False },
                &first.reason,
                first.message.clone(),
            ),
        }
    }
}

/// Whether two lists of conditions say the same, whenever they came to be so.
pub(super) fn say_the_same(one: &[Condition], other: &[Condition]) -> bool {
    let timeless = |condition: &Condition| Condition { last_transition_time: String::new(), ..condition.clone() };
    one.iter().map(timeless).eq(other.iter().map(timeless))
}

/// What is worth an event between two statuses: that it is ready, and what is wrong; not that it is being worked on. That a
/// database goes away and comes back is told by who `tells_of_databases`: a source does, and its many entities need not.
pub(super) fn transitions(tells_of_databases: bool, before: &[Condition], after: &[Condition]) -> Vec<Transition> {
    let was = |kind: &str| before.iter().find(|condition| condition.kind == kind);
    let mut transitions: Vec<Transition> = Vec::new();
    for condition in after {
        let is_news = was(&condition.kind).is_none_or(|was| was.status != condition.status || was.reason != condition.reason);
        let is_good = match (condition.kind.as_str(), condition.status) {
            ("Ready", Truth::True) => true,
            ("Accepted" | "ResolvedRefs", Truth::False) | ("Degraded", Truth::True) => false,
            _ => continue,
        };
        let was_away = || was("Ready").is_some_and(|was| was.status == Truth::False && was.reason == UNAVAILABLE);
        let is_of_database = if is_good { was_away() } else { condition.kind == "Degraded" && condition.reason == UNAVAILABLE };
        if is_of_database && !tells_of_databases {
            continue;
        }
        let is_told = transitions.iter().any(|told| told.reason == condition.reason && !told.is_good);
        if is_news && !is_told {
            let (reason, message) = (condition.reason.clone(), condition.message.clone());
            transitions.push(Transition { is_good, reason, message });
        }
    }
    transitions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(programmed: Finding) -> Conditions {
        Conditions {
            accepted: Finding::yes("Accepted", ""),
            resolved: Finding::yes("ResolvedRefs", ""),
            programmed,
            closed: None,
            degraded: None,
        }
    }

    fn truth(written: &[Condition], kind: &str) -> Truth {
        written.iter().find(|condition| condition.kind == kind).expect("it is there").status
    }

    #[test]
    fn only_what_has_changed_has_a_new_time() {
        let waiting = conditions(Finding::no("Pending", "one waits")).written(&[], Some(1), "then");
        assert_eq!(truth(&waiting, "Ready"), Truth::False);
        let done = conditions(Finding::yes("Programmed", "")).written(&waiting, Some(1), "now");
        assert_eq!(truth(&done, "Ready"), Truth::True);
        let times: Vec<&str> = done.iter().map(|condition| condition.last_transition_time.as_str()).collect();
        assert_eq!(times, ["then", "then", "now", "now", "then"]);
        let again = conditions(Finding::yes("Programmed", "")).written(&done, Some(1), "later");
        assert!(say_the_same(&done, &again) && done == again);
        assert!(!say_the_same(&waiting, &done));
    }

    #[test]
    fn only_news_is_told() {
        let waiting = conditions(Finding::no("Pending", "one waits")).written(&[], Some(1), "then");
        assert_eq!(transitions(true, &[], &waiting), [], "that it is being worked on is no news");
        let done = conditions(Finding::yes("Programmed", "")).written(&waiting, Some(1), "now");
        let told = transitions(true, &waiting, &done);
        assert_eq!((told.len(), told[0].is_good, told[0].reason.as_str()), (1, true, "Ready"));
        assert_eq!(transitions(true, &done, &done), []);
        let mut bad = conditions(Finding::no("NotAccepted", ""));
        bad.accepted = Finding::no("TableNotFound", "gone");
        bad.degraded = Some(Finding::yes("SchemaDrift", "gone"));
        let reasons: Vec<String> =
            transitions(true, &done, &bad.written(&done, Some(1), "later")).into_iter().map(|told| told.reason).collect();
        assert_eq!(reasons, ["TableNotFound", "SchemaDrift"]);
    }

    #[test]
    fn of_a_database_only_its_source_tells() {
        let waiting = conditions(Finding::no("Pending", "one waits")).written(&[], Some(1), "then");
        let good = conditions(Finding::yes("Programmed", ""));
        let done = good.written(&waiting, Some(1), "now");
        let away = Conditions {
            closed: Some(Finding::no(UNAVAILABLE, "no route")),
            degraded: Some(Finding::yes(UNAVAILABLE, "no route")),
            ..conditions(Finding::yes("Programmed", ""))
        };
        let away = away.written(&done, Some(1), "later");
        assert_eq!((truth(&away, "Ready"), truth(&away, "Programmed")), (Truth::False, Truth::True));
        let back = good.written(&away, Some(1), "at last");
        let reasons = |tells, before: &[Condition], after: &[Condition]| -> Vec<String> {
            transitions(tells, before, after).into_iter().map(|told| told.reason).collect()
        };
        assert_eq!(reasons(true, &done, &away), [UNAVAILABLE]);
        assert_eq!(reasons(true, &away, &back), ["Ready"]);
        assert_eq!(reasons(false, &done, &away), [""; 0]);
        assert_eq!(reasons(false, &away, &back), [""; 0]);
        assert_eq!(reasons(false, &waiting, &done), ["Ready"]);
    }
}
