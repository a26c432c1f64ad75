//! `X-Preload: Relation:column,column|Other.Nested`, its `X-Preload…-Where`, and `X-Expand`.
//!
//! Relations are joined once all names were seen, because `X-Expand` sorts before the preloads that it yields to.
//! Relations are not resolved here.

use super::decode::{is_name, list, refused};
use crate::protocol::{Code, Error, Preload};

/// Relations by the parameter that named them.
#[derive(Default)]
pub(super) struct Preloads {
    named: Vec<(String, Preload)>,
    expanded: Vec<Preload>,
    conditions: Vec<(String, String)>,
}

impl Preloads {
    /// Reads one parameter; says whether it names relations.
    pub(super) fn read(&mut self, name: &str, value: &str) -> Result<bool, Error> {
        if name.starts_with("x-expand") {
            self.expanded.extend(relations(value));
        } else if !name.starts_with("x-preload") {
            return Ok(false);
        } else if let Some(header) = name.strip_suffix("-where") {
            self.condition(header, name, value.trim())?;
        } else {
            self.named.extend(relations(value).into_iter().map(|preload| (name.to_owned(), preload)));
        }
        Ok(true)
    }

    /// Adds the relations to those that `X-Files` has.
    pub(super) fn finish(mut self, preloads: &mut Vec<Preload>) -> Result<(), Error> {
        for (header, condition) in &self.conditions {
            let mut reached = false;
            for (_, preload) in self.named.iter_mut().filter(|(from, _)| from == header) {
                preload.condition = Some(condition.clone());
                reached = true;
            }
            if !reached {
                return Err(refused(
                    Code::InvalidPreload,
                    &format!("{header}-where"),
                    "has no relation: its X-Preload is missing",
                ));
            }
        }
        for (header, preload) in self.named {
            match find(preloads, &preload) {
                None => preloads.push(preload),
                Some(known) if *known == preload || preload == Preload::of(preload.relation.as_str()) => {}
                Some(_) => {
                    let reason = format!("asks for the relation {} again, in another way", preload.relation);
                    return Err(refused(Code::InvalidPreload, &header, &reason));
                }
            }
        }
        for preload in self.expanded {
            if find(preloads, &preload).is_none() {
                preloads.push(preload);
            }
        }
        Ok(())
    }

    /// A declared condition for every relation of one header.
    fn condition(&mut self, header: &str, name: &str, value: &str) -> Result<(), Error> {
        if value.is_empty() {
            return Ok(());
        }
        if !is_name(value) {
            let reason = "carries SQL; declare an operator in the related Entity and send its name";
            return Err(refused(Code::RawSqlRefused, name, reason));
        }
        self.conditions.push((header.to_owned(), value.to_owned()));
        Ok(())
    }
}

/// The relations of one value; columns of a relation that is named twice come together.
fn relations(value: &str) -> Vec<Preload> {
    let mut preloads: Vec<Preload> = Vec::new();
    for part in value.split('|').map(str::trim).filter(|part| !part.is_empty()) {
        let (relation, columns) = part.split_once(':').unwrap_or((part, ""));
        let preload = Preload { columns: list(columns), ..Preload::of(relation.trim()) };
        match preloads.iter_mut().find(|known| same(known, &preload)) {
            None => preloads.push(preload),
            // A relation without columns has them all.
            Some(known) if known.columns.is_empty() || preload.columns.is_empty() => known.columns.clear(),
            Some(known) => known.columns.extend(preload.columns),
        }
    }
    preloads
}

fn find<'p>(preloads: &'p [Preload], wanted: &Preload) -> Option<&'p Preload> {
    preloads.iter().find(|known| same(known, wanted))
}

fn same(left: &Preload, right: &Preload) -> bool {
    left.relation.eq_ignore_ascii_case(&right.relation)
}
