//! What of each row is answered: columns, declared columns and preloads of one entity.

use super::operand::unknown_column;
use super::order::OrderKey;
use super::predicate::Predicate;
use super::preload::PreloadPlan;
use crate::catalog::{ColumnId, Entity};
use crate::engine::authorize::Grant;
use crate::protocol::Code;
use crate::protocol::Error;
use crate::protocol::options::Fragment;

/// Rows of one entity and what of them is answered.
#[derive(Debug, Clone)]
pub struct Node<'c> {
    /// Leave to read it; carries the entity and the rows that it holds for.
    pub grant: Grant<'c>,
    /// What is answered, in order.
    pub fields: Vec<Field<'c>>,
    /// Which rows, beside the grant's.
    pub filter: Predicate,
    /// In which order.
    pub order: Vec<OrderKey>,
}

impl<'c> Node<'c> {
    /// The entity.
    #[must_use]
    pub fn entity(&self) -> &'c Entity {
        self.grant.entity()
    }
}

/// One key of a row's JSON.
#[derive(Debug, Clone)]
pub enum Field<'c> {
    /// A column.
    Column(ColumnId),
    /// A declared column, by its place in the entity's list.
    Computed(usize),
    /// Related rows.
    Preload(Box<PreloadPlan<'c>>),
}

/// Resolves the columns of an answer. Names that are declared columns may stand among them.
pub(super) fn resolve_fields<'c>(
    entity: &Entity,
    columns: &[String],
    omit_columns: &[String],
    computed: &[Fragment],
) -> Result<Vec<Field<'c>>, Error> {
    let omitted = omit_columns.iter().map(|name| readable(entity, name)).collect::<Result<Vec<_>, _>>()?;
    let mut fields = Vec::new();
    let push = |fields: &mut Vec<Field<'c>>, field: Field<'c>| {
        let known = fields.iter().any(|other| match (other, &field) {
            (Field::Column(left), Field::Column(right)) => left == right,
            (Field::Computed(left), Field::Computed(right)) => left == right,
            _ => false,
        });
        if !known {
            fields.push(field);
        }
    };
    if columns.is_empty() {
        let all = entity.columns().filter(|(id, column)| column.readable() && !omitted.contains(id));
        fields.extend(all.map(|(id, _)| Field::Column(id)));
    }
    for name in columns {
        match find_computed(entity, name) {
            Some(place) if entity.find_column(name).is_none() => push(&mut fields, Field::Computed(place)),
            _ => {
                let id = readable(entity, name)?;
                if !omitted.contains(&id) {
                    push(&mut fields, Field::Column(id));
                }
            }
        }
    }
    for fragment in computed {
        let name = fragment.declared_name()?;
        let place = find_computed(entity, name).ok_or_else(|| {
            let message = format!("{} declares no computed column '{name}'", entity.full_name());
            Error::new(Code::InvalidColumn, message).with_detail(name)
        })?;
        push(&mut fields, Field::Computed(place));
    }
    Ok(fields)
}

fn readable(entity: &Entity, name: &str) -> Result<ColumnId, Error> {
    let id = entity.find_column(name).filter(|id| entity.column(*id).readable());
    id.ok_or_else(|| unknown_column(entity, name))
}

fn find_computed(entity: &Entity, name: &str) -> Option<usize> {
    entity.computed.iter().position(|computed| computed.name.eq_ignore_ascii_case(name))
}
