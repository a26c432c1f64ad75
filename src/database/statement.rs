//! One statement: its text, its binds, and what it answers.

use std::sync::Arc;

/// A statement whose first columns make a row's JSON text, and whose other columns are whole numbers about the result.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Statement {
    /// The text with the dialect's placeholders.
    pub text: String,
    /// The values, in the order of the placeholders.
    pub binds: Vec<Bind>,
    /// How many number columns follow the row.
    pub numbers: usize,
    /// Where its placeholders stand, if it finds one row at most by a key and does nothing else: the database answers such a
    /// statement at once, and may be asked it for many keys together.
    pub short: Option<Placeholders>,
    /// What the columns of the row are.
    pub row: RowForm,
}

/// The places in a statement's text at which its placeholders begin, in the order of the binds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Placeholders(pub Vec<usize>);

/// What the columns of a row are.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum RowForm {
    /// One column with the JSON text.
    #[default]
    Text,
    /// A column for each field. Of SQLite and PostgreSQL: encoding a value here costs less than having it made and joined in SQL.
    Fields(Arc<RowFields>),
}

/// The fields of a row that is encoded here. All that they are named by is one text, which costs a read little to make.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RowFields {
    leads: Vec<u8>,
    /// Where the text before each value ends, and how the value is encoded.
    fields: Vec<(usize, ValueForm)>,
}

impl RowFields {
    /// No field yet, with room for so many.
    #[must_use]
    pub fn with_capacity(fields: usize) -> Self {
        Self { leads: Vec::with_capacity(16 * fields), fields: Vec::with_capacity(fields) }
    }

    /// Adds a field behind the others.
    pub fn push(&mut self, name: &str, form: ValueForm) {
        self.leads.push(if self.fields.is_empty() { b'{' } else { b',' });
        // A text can be written into memory whatever it is.
        _ = serde_json::to_writer(&mut self.leads, name);
        self.leads.push(b':');
        self.fields.push((self.leads.len(), form));
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Each field's text before the value, such as `,"name":`, and how the value is encoded.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], ValueForm)> {
        let begins = std::iter::once(0).chain(self.fields.iter().map(|(end, _)| *end));
        begins.zip(&self.fields).map(|(begin, (end, form))| (&self.leads[begin..*end], *form))
    }
}

/// How a value is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueForm {
    /// It is a JSON text already.
    Json,
    /// By the type that it is stored with.
    Stored,
    /// A decimal's text, on PostgreSQL.
    Number,
    /// A number as a truth value, on SQLite.
    Boolean,
    /// As RFC 3339, on SQLite.
    Timestamp,
    /// As base64, on SQLite.
    Bytes,
}

impl Statement {
    /// A statement without binds.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A statement with binds.
    pub fn with_binds(text: impl Into<String>, binds: Vec<Bind>) -> Self {
        Self { text: text.into(), binds, ..Self::default() }
    }
}

/// A value as it is bound.
///
/// PostgreSQL gets every value as text and reads it as the type it expects; the others get these types.
#[derive(Debug, Clone, PartialEq)]
pub enum Bind {
    /// NULL.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A floating-point number.
    Float(f64),
    /// A text, also of decimals, times and JSON.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl From<&str> for Bind {
    fn from(text: &str) -> Self {
        Bind::Text(text.to_owned())
    }
}

impl From<String> for Bind {
    fn from(text: String) -> Self {
        Bind::Text(text)
    }
}

impl From<i64> for Bind {
    fn from(number: i64) -> Self {
        Bind::Integer(number)
    }
}
