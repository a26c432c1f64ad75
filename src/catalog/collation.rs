//! How a database compares and lowers texts, as far as it is known exactly.
//!
//! Facts for whoever has to answer as the database would without asking it. What is not known for certain is unknown;
//! nothing here is a guess.

/// How a column's values are compared as texts. Of a column that holds no texts: how its text form is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Collation {
    /// What is equal, and what comes first.
    pub comparison: TextComparison,
    /// What the database's lower case is.
    pub lowering: Lowering,
}

/// What is equal, and what comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TextComparison {
    /// The same bytes of UTF-8 are equal, and their order is the order.
    Bytes,
    /// The same bytes are equal; the order is a locale's.
    BytesUnordered,
    /// As bytes, the shorter text followed by spaces without end.
    Padded,
    /// As bytes, spaces at the end left out.
    Trimmed,
    /// The same bytes without spaces at the end are equal; the order is a locale's.
    TrimmedUnordered,
    /// As bytes, with the letters of ASCII in lower case: SQLite's NOCASE.
    Nocase,
    /// By rules that are not known here.
    #[default]
    Unknown,
}

impl TextComparison {
    /// Whether it is known what is equal.
    #[must_use]
    pub fn tells_equal(self) -> bool {
        self != TextComparison::Unknown
    }

    /// Whether it is known what comes first.
    #[must_use]
    pub fn tells_order(self) -> bool {
        use TextComparison::{Bytes, Nocase, Padded, Trimmed};
        matches!(self, Bytes | Padded | Trimmed | Nocase)
    }
}

/// What a lower case is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Lowering {
    /// The letters of ASCII alone have one.
    Ascii,
    /// Each character has one of its own, as Unicode says it; how new a Unicode is not known.
    Simple,
    /// It is made in this process.
    Process,
    /// By rules that are not known here.
    #[default]
    Unknown,
}
