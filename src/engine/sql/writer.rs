//! A statement in the making: text, binds and table aliases.

use super::value::to_bind;
use crate::catalog::{ColumnId, Entity, Ident, TableName};
use crate::database::{Bind, Dialect, Placeholders, RowForm, Statement};
use crate::engine::plan::Value;

/// A statement in the making. Binds are pushed where their placeholder stands, so their orders agree.
pub(super) struct Sql {
    pub(super) dialect: Dialect,
    text: String,
    binds: Vec<Bind>,
    placeholders: Vec<usize>,
    aliases: u32,
    /// What the columns of its rows are.
    pub(super) row: RowForm,
}

/// The result column that holds a row's text. It is a name that no column has: names in declared expressions must find
/// the table's columns, and databases look among the results first where rows are sorted.
pub(super) const ROW: &str = "resolvespec_row";

/// The result column that holds a row's place in its order.
pub(super) const PLACE: &str = "resolvespec_place";

/// A table's name within one statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alias(u32);

impl Sql {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            text: String::with_capacity(512),
            binds: Vec::new(),
            placeholders: Vec::new(),
            aliases: 0,
            row: RowForm::Text,
        }
    }

    /// The table that a statement writes to, where names need no alias or can't have one.
    pub(super) const UNNAMED: Alias = Alias(0);

    /// Ends it, with so many number columns beside the JSON text.
    pub(super) fn finish(self, numbers: usize) -> Statement {
        Statement { text: self.text, binds: self.binds, numbers, row: self.row, short: None }
    }

    /// Ends a statement that finds one row at most by a key.
    pub(super) fn finish_short(self) -> Statement {
        let short = Some(Placeholders(self.placeholders));
        Statement { text: self.text, binds: self.binds, numbers: 0, row: self.row, short }
    }

    /// A new name for a table.
    pub(super) fn alias(&mut self) -> Alias {
        self.aliases += 1;
        Alias(self.aliases)
    }

    /// Text of our own.
    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// A number of our own.
    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        self.text.push_str(itoa::Buffer::new().format(number));
        self
    }

    /// A table's alias.
    pub(super) fn name(&mut self, alias: Alias) -> &mut Self {
        self.push("t").number(alias.0.into())
    }

    /// `schema.table`.
    pub(super) fn table(&mut self, table: &TableName) -> &mut Self {
        table.quote_into(self.dialect, &mut self.text);
        self
    }

    /// `schema.table alias`.
    pub(super) fn table_as(&mut self, table: &TableName, alias: Alias) -> &mut Self {
        self.table(table).push(" ").name(alias)
    }

    /// A bare identifier.
    pub(super) fn ident(&mut self, ident: &Ident) -> &mut Self {
        ident.quote_into(self.dialect, &mut self.text);
        self
    }

    /// `alias.column`.
    pub(super) fn column(&mut self, alias: Alias, entity: &Entity, id: ColumnId) -> &mut Self {
        if alias != Self::UNNAMED {
            self.name(alias).push(".");
        }
        self.ident(&entity.column(id).ident)
    }

    /// A public name as a result column's alias.
    pub(super) fn public_name(&mut self, name: &str) -> &mut Self {
        crate::catalog::ident::quote(name, self.dialect, &mut self.text);
        self
    }

    /// A text of the catalog as a literal.
    pub(super) fn literal(&mut self, text: &str) -> &mut Self {
        self.text.push('\'');
        for character in text.chars() {
            match character {
                '\'' => self.text.push_str("''"),
                '\\' if matches!(self.dialect, Dialect::Mysql(_)) => self.text.push_str("\\\\"),
                other => self.text.push(other),
            }
        }
        self.text.push('\'');
        self
    }

    /// A value's placeholder.
    pub(super) fn bind(&mut self, bind: Bind) -> &mut Self {
        self.binds.push(bind);
        self.placeholders.push(self.text.len());
        let number = self.binds.len() as u64;
        match self.dialect {
            Dialect::Postgres => self.push("$").number(number),
            Dialect::Mysql(_) | Dialect::Sqlite => self.push("?"),
        }
    }

    /// A value's placeholder, in the form that the database stores.
    pub(super) fn value(&mut self, value: &Value) -> &mut Self {
        self.bind(to_bind(value, self.dialect))
    }

    /// Writes items with a separator between them.
    pub(super) fn separated<T>(
        &mut self,
        separator: &str,
        items: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Self, T),
    ) {
        for (place, item) in items.into_iter().enumerate() {
            if place > 0 {
                self.push(separator);
            }
            each(self, item);
        }
    }

    pub(super) fn is_mysql(&self) -> bool {
        matches!(self.dialect, Dialect::Mysql(_))
    }
}
