//! What the values of MySQL's and MariaDB's types are.

use crate::catalog::kind::Kind;

/// The kind of a type: its bare word, and the whole as the column declares it.
pub(super) fn kind(data_type: &str, declared: &str) -> Kind {
    let lower = declared.to_ascii_lowercase();
    match data_type.to_ascii_lowercase().as_str() {
        "tinyint" | "bit" if ["tinyint(1)", "bit(1)"].contains(&lower.as_str()) => Kind::Boolean,
        // Half of its numbers are beyond a signed 64-bit integer.
        "bigint" if lower.contains("unsigned") => Kind::Decimal,
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "year" => Kind::Integer,
        "decimal" | "numeric" => Kind::Decimal,
        "float" | "double" | "real" => Kind::Float,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "set" => Kind::Text,
        "enum" => Kind::Enum(enum_values(declared)),
        "bit" | "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Kind::Bytes,
        "date" => Kind::Date,
        "time" => Kind::Time,
        "datetime" => Kind::Timestamp { zoned: false },
        "timestamp" => Kind::Timestamp { zoned: true },
        "json" => Kind::Json,
        "uuid" => Kind::Uuid,
        _ => Kind::Other,
    }
}

/// The texts of `enum('a','it''s')`.
fn enum_values(declared: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut rest = declared;
    while let Some(start) = rest.find('\'') {
        let mut value = String::new();
        let mut characters = rest[start + 1..].char_indices().peekable();
        let mut end = rest.len();
        while let Some((place, character)) = characters.next() {
            match character {
                '\'' if characters.peek().is_some_and(|(_, next)| *next == '\'') => {
                    characters.next();
                    value.push('\'');
                }
                '\'' => {
                    end = start + 1 + place + 1;
                    break;
                }
                other => value.push(other),
            }
        }
        values.push(value);
        rest = &rest[end..];
    }
    values
}

#[cfg(test)]
mod tests {
    use super::{enum_values, kind};
    use crate::catalog::kind::Kind;

    #[test]
    fn declared_types_have_their_kinds() {
        let cases = [
            ("tinyint", "tinyint(1)", Kind::Boolean),
            ("tinyint", "tinyint(1) unsigned", Kind::Integer),
            ("tinyint", "tinyint(4)", Kind::Integer),
            ("bit", "bit(1)", Kind::Boolean),
            ("bit", "bit(8)", Kind::Bytes),
            ("bigint", "bigint(20)", Kind::Integer),
            ("bigint", "bigint(20) unsigned", Kind::Decimal),
            ("int", "int(10) unsigned", Kind::Integer),
            ("timestamp", "timestamp(6)", Kind::Timestamp { zoned: true }),
            ("geometry", "geometry", Kind::Other),
        ];
        for (data_type, declared, expected) in cases {
            assert_eq!(kind(data_type, declared), expected, "{declared}");
        }
    }

    #[test]
    fn enum_values_keep_their_spelling() {
        assert_eq!(enum_values("enum('New','it''s','a,b','')"), ["New", "it's", "a,b", ""]);
    }
}
