//! A row as a change tells it, read as far as filters ask for it.

use super::Error;
use super::datum::Datum;
use super::domain::Domain;
use super::json::each_member;
use crate::catalog::{ColumnId, Entity};
use crate::database::Dialect;
use std::sync::OnceLock;

/// A row's JSON text with its values by column. A value is decoded when the first filter asks for it, once for all.
#[derive(Debug)]
pub struct Image<'i> {
    entity: &'i Entity,
    slots: Box<[Slot<'i>]>,
}

#[derive(Debug, Default)]
struct Slot<'i> {
    raw: Option<&'i str>,
    datum: OnceLock<Option<Datum>>,
}

impl<'i> Image<'i> {
    /// Reads an object keyed by public column names. A name that is no column, or that is there twice, is an error.
    pub fn read(entity: &'i Entity, text: &'i str) -> Result<Self, Error> {
        let mut slots: Box<[Slot<'i>]> = entity.columns.iter().map(|_| Slot::default()).collect();
        each_member(text, |name, raw| {
            let unknown = || Error::Malformed(format!("{} has no column '{name}'", entity.full_name()));
            let id = entity.column_named(name).ok_or_else(unknown)?;
            match slots[id.index()].raw.replace(raw) {
                None => Ok(()),
                Some(_) => Err(Error::Malformed(format!("the column '{name}' is there twice"))),
            }
        })?;
        Ok(Self { entity, slots })
    }

    /// The entity that it is a row of.
    #[must_use]
    pub fn entity(&self) -> &'i Entity {
        self.entity
    }

    /// Whose database it is a row of.
    pub(super) fn dialect(&self) -> Dialect {
        self.entity.dialect
    }

    /// The JSON text of a column's value.
    pub fn raw(&self, id: ColumnId) -> Result<&'i str, Error> {
        let absent = || Error::Malformed(format!("the column '{}' is not there", self.entity.column(id).name));
        self.slots[id.index()].raw.ok_or_else(absent)
    }

    /// A column's value in its domain, which is one and the same for all who ask; none for NULL.
    pub(super) fn datum(&self, id: ColumnId, domain: Domain) -> Result<Option<&Datum>, Error> {
        let slot = &self.slots[id.index()];
        if let Some(datum) = slot.datum.get() {
            return Ok(datum.as_ref());
        }
        let named = |error: Error| match error {
            Error::Malformed(reason) => Error::Malformed(format!("{}: {reason}", self.entity.column(id).name)),
            undecided @ Error::Undecided(_) => undecided,
        };
        let datum = domain.read(self.raw(id)?).map_err(named)?;
        Ok(slot.datum.get_or_init(|| datum).as_ref())
    }
}
