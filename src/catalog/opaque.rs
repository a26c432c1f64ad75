//! Types whose values are shown and searched as text, but neither compared nor sorted.
//!
//! PostgreSQL and MySQL have no operators for them, or such as clients don't expect: boxes are compared by their areas.

use super::entity::Column;
use super::kind::Kind;
use crate::database::Dialect;

/// The types, as the databases declare them.
const OPAQUE: [&str; 15] = [
    "box",
    "circle",
    "geomcollection",
    "geometry",
    "geometrycollection",
    "line",
    "linestring",
    "lseg",
    "multilinestring",
    "multipoint",
    "multipolygon",
    "path",
    "point",
    "polygon",
    "xml",
];

impl Column {
    /// Whether the database can neither compare nor sort the column's values. In SQLite a type is a word only.
    #[must_use]
    pub fn is_opaque(&self, dialect: Dialect) -> bool {
        let declared = self.declared_type.as_str();
        match self.native {
            Kind::Other => dialect != Dialect::Sqlite && OPAQUE.contains(&declared),
            // Lists are compared by their items.
            Kind::Array(_) => declared.strip_suffix("[]").is_some_and(|item| item == "json" || OPAQUE.contains(&item)),
            _ => false,
        }
    }
}
