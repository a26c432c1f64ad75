//! What a column's values are, the same words for every database.
//!
//! The kind decides how a client's value is read, how it is bound and how it leaves as JSON.

/// The kind of a column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kind {
    /// true, false.
    Boolean,
    /// Whole numbers up to 64 bits, never rounded.
    Integer,
    /// Exact decimals, never rounded by us.
    Decimal,
    /// Floating point.
    Float,
    /// Text.
    Text,
    /// UUID, in lower case with dashes.
    Uuid,
    /// A day, `2026-03-01`.
    Date,
    /// A time of day, `10:00:00`.
    Time,
    /// A moment, RFC 3339 in UTC; a column without a zone is read as UTC.
    Timestamp {
        /// Whether the column keeps a zone.
        zoned: bool,
    },
    /// Bytes, base64 in JSON.
    Bytes,
    /// Any JSON.
    Json,
    /// One of some texts.
    Enum(Vec<String>),
    /// PostgreSQL's arrays, a JSON array.
    Array(Box<Kind>),
    /// A type that we pass through as the database's text.
    Other,
}

impl Kind {
    /// The word in metadata and manifests.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Kind::Boolean => "boolean",
            Kind::Integer => "integer",
            Kind::Decimal => "decimal",
            Kind::Float => "float",
            Kind::Text => "text",
            Kind::Uuid => "uuid",
            Kind::Date => "date",
            Kind::Time => "time",
            Kind::Timestamp { .. } => "timestamp",
            Kind::Bytes => "bytes",
            Kind::Json => "json",
            Kind::Enum(_) => "enum",
            Kind::Array(_) => "array",
            Kind::Other => "other",
        }
    }

    /// Whether its values are texts that text operators compare without a cast.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self, Kind::Text)
    }

    /// Whether values have an order that clients can use.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        !matches!(self, Kind::Json | Kind::Bytes | Kind::Array(_))
    }

    /// Whether a manifest may declare this kind for a column that the database has as `actual`.
    ///
    /// Text and loosely typed columns can hold anything; otherwise both must say the same.
    #[must_use]
    pub fn may_stand_for(&self, actual: &Kind) -> bool {
        if std::mem::discriminant(self) == std::mem::discriminant(actual) {
            return true;
        }
        matches!(
            (self, actual),
            (Kind::Json | Kind::Uuid | Kind::Enum(_) | Kind::Date | Kind::Time | Kind::Timestamp { .. }, Kind::Text)
                | (Kind::Boolean, Kind::Integer)
                | (Kind::Decimal, Kind::Float)
                | (Kind::Text, Kind::Uuid | Kind::Enum(_))
                | (_, Kind::Other)
        )
    }
}
