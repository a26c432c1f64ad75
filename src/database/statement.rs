//! One statement: its text, its binds, and what it answers.

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
    Fields(Vec<RowField>),
}

/// A field of a row that is encoded here.
#[derive(Debug, Clone, PartialEq)]
pub struct RowField {
    /// The text before the value, such as `,"name":`.
    pub lead: String,
    /// How the value is encoded.
    pub form: ValueForm,
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
