//! One statement: its text, its binds, and what it answers.

/// A statement whose first column is a row's JSON text, and whose other columns are whole numbers about the result.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Statement {
    /// The text with the dialect's placeholders.
    pub text: String,
    /// The values, in the order of the placeholders.
    pub binds: Vec<Bind>,
    /// How many number columns follow the JSON text.
    pub numbers: usize,
    /// Whether it finds one row at most, by a key, and does nothing else; the database answers it at once.
    pub short: bool,
}

impl Statement {
    /// A statement without binds.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), binds: Vec::new(), numbers: 0, short: false }
    }

    /// A statement with binds.
    pub fn with_binds(text: impl Into<String>, binds: Vec<Bind>) -> Self {
        Self { text: text.into(), binds, numbers: 0, short: false }
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
