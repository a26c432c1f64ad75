//! Which column breaks a reference, where the database does not say it, as SQLite does not.
//!
//! Asks once a statement has failed, in its transaction; a statement that succeeds pays nothing for it.

use super::run::Writer;
use crate::catalog::{ColumnId, Entity, RelationKind};
use crate::database::{self, Dialect, Violation};
use crate::engine::error::from_database;
use crate::engine::plan::Value;
use crate::engine::sql::write as statements;
use crate::protocol::{Code, Error};

/// The same error, with the column to blame if there is one. Only of a key that changes can others still refer to the old one.
pub(super) async fn blamed(
    writer: &mut Writer<'_>,
    entity: &Entity,
    values: &[(ColumnId, Value)],
    changes_key: bool,
    error: Error,
) -> Error {
    if !is_untold(entity, &error) {
        return error;
    }
    let given = |id: &ColumnId| values.iter().find(|(other, value)| other == id && *value != Value::Null).map(|(_, value)| value);
    for relation in entity.relations.iter().filter(|relation| matches!(relation.kind, RelationKind::BelongsTo)) {
        let Some(held) = relation.columns.iter().map(given).collect::<Option<Vec<_>>>() else { continue };
        let target = writer.catalog.entity(relation.target);
        if target.source != entity.source {
            continue;
        }
        match writer.select(target, statements::holding(target, &relation.target_columns, &held)).await {
            Ok(found) if found.rows.count == 0 => return named(entity, &relation.columns),
            Ok(_) => {}
            // What failed first is what the client is told.
            Err(_) => return error,
        }
    }
    if changes_key { named(entity, &entity.primary_key) } else { error }
}

/// The error of a row that can't be removed, since others refer to it.
pub(super) fn still_referred(entity: &Entity, error: Error) -> Error {
    if is_untold(entity, &error) { named(entity, &entity.primary_key) } else { error }
}

fn is_untold(entity: &Entity, error: &Error) -> bool {
    entity.dialect == Dialect::Sqlite && error.code == Code::ForeignKeyViolation && error.detail.is_none()
}

fn named(entity: &Entity, columns: &[ColumnId]) -> Error {
    let columns = columns.iter().map(|id| entity.column(*id).ident.as_str().to_owned()).collect();
    let text = "FOREIGN KEY constraint failed".to_owned();
    from_database(database::Error::Violation { kind: Violation::ForeignKey, constraint: None, columns, text }, entity)
}
