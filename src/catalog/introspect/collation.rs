//! What the databases say of their collations, in the catalog's words.
//!
//! Only what holds for certain is said: a locale's order depends on libraries that change beneath the database, so it is
//! never taken for known.

use crate::catalog::collation::{Collation, Lowering, TextComparison};
use crate::catalog::lexer::{Token, lex};
use crate::database::Dialect;
use serde::Deserialize;

/// A collation of PostgreSQL.
#[derive(Deserialize)]
pub(super) struct Locale {
    /// `d` the database's own, `c` libc, `i` ICU, `b` built in.
    provider: String,
    deterministic: bool,
    collate: Option<String>,
    ctype: Option<String>,
    #[serde(rename = "locale")]
    name: Option<String>,
}

/// How a PostgreSQL database compares texts about which nothing else is said.
#[derive(Deserialize)]
pub(super) struct Default {
    encoding: String,
    locale: Locale,
}

/// The collation of a PostgreSQL column, by the name of its type.
pub(super) fn postgres(type_name: &str, own: Option<&Locale>, usual: &Default) -> Collation {
    let locale = own.filter(|locale| locale.provider != "d").unwrap_or(&usual.locale);
    // Names are cut to a length when they are compared, and extensions bring types with rules of their own.
    let has_own_rules = own.is_some() && !matches!(type_name, "text" | "varchar" | "bpchar");
    if usual.encoding != "UTF8" || !locale.deterministic || has_own_rules {
        return Collation::default();
    }
    let comparison = match (locale.is_bytewise(), type_name) {
        (true, "bpchar") => TextComparison::Trimmed,
        (false, "bpchar") => TextComparison::TrimmedUnordered,
        (true, _) => TextComparison::Bytes,
        (false, _) => TextComparison::BytesUnordered,
    };
    Collation { comparison, lowering: locale.lowering() }
}

impl Locale {
    /// The order of libc's `C.UTF-8` is its own affair; the built-in one is said to be that of the bytes.
    fn is_bytewise(&self) -> bool {
        match self.provider.as_str() {
            "c" => matches!(self.collate.as_deref(), Some("C" | "POSIX")),
            "b" => true,
            _ => false,
        }
    }

    fn lowering(&self) -> Lowering {
        match (self.provider.as_str(), self.ctype.as_deref(), self.name.as_deref()) {
            ("c", Some("C" | "POSIX"), _) | ("b", _, Some("C")) => Lowering::Ascii,
            ("c", Some(name), _) if is_usual_locale(name) => Lowering::Simple,
            ("b", _, Some("C.UTF-8")) => Lowering::Simple,
            _ => Lowering::Unknown,
        }
    }
}

/// Languages whose letters have the lower case that Unicode gives them, in UTF-8. Others, such as Turkish, differ.
fn is_usual_locale(name: &str) -> bool {
    const LANGUAGES: [&str; 16] = ["C", "cs", "da", "de", "en", "es", "fi", "fr", "hu", "it", "nb", "nl", "pl", "pt", "sv", "uk"];
    let Some((place, encoding)) = name.split_once('.') else { return false };
    let language = place.split('_').next().unwrap_or_default();
    LANGUAGES.contains(&language) && matches!(encoding, "UTF-8" | "utf8")
}

/// The collation of a MySQL or MariaDB column; one that holds no texts is compared as the session's texts are.
pub(super) fn mysql(name: Option<&str>) -> Collation {
    let name = name.unwrap_or("utf8mb4_bin");
    let comparison = match name {
        "utf8mb4_bin" => TextComparison::Padded,
        "utf8mb4_nopad_bin" | "utf8mb4_0900_bin" => TextComparison::Bytes,
        _ => TextComparison::Unknown,
    };
    let is_turkish = name.contains("turkish") || name.contains("_tr_");
    let lowering = if name.starts_with("utf8mb4_") && !is_turkish { Lowering::Simple } else { Lowering::Unknown };
    Collation { comparison, lowering }
}

/// The collation of a column of SQLite's `CREATE TABLE`.
pub(super) fn sqlite(create: &str, column: &str, is_utf8: bool) -> Collation {
    let named = definition(create, column).as_deref().map_or_else(|| Some("binary".to_owned()), collated);
    let comparison = match named.as_deref() {
        Some("binary") if is_utf8 => TextComparison::Bytes,
        Some("binary") => TextComparison::BytesUnordered,
        Some("nocase") => TextComparison::Nocase,
        Some("rtrim") if is_utf8 => TextComparison::Trimmed,
        Some("rtrim") => TextComparison::TrimmedUnordered,
        _ => TextComparison::Unknown,
    };
    Collation { comparison, lowering: Lowering::Process }
}

/// The tokens of a column's definition that are not within parentheses.
fn definition<'a>(create: &'a str, column: &str) -> Option<Vec<Token<'a>>> {
    let mut depth = 0_usize;
    let mut parts = vec![Vec::new()];
    for token in lex(create, Dialect::Sqlite).tokens {
        match (token.text, depth) {
            ("(", _) => depth += 1,
            (")", _) => depth = depth.saturating_sub(1),
            (",", 1) => parts.push(Vec::new()),
            (_, 1) => parts.last_mut()?.push(token),
            _ => {}
        }
    }
    parts.into_iter().find(|part| part.first().is_some_and(|name| name.name().eq_ignore_ascii_case(column)))
}

/// The collation that a definition names, the last if there are several; none if it is named in no way that is known.
fn collated(definition: &[Token<'_>]) -> Option<String> {
    let place = definition.iter().skip(1).rposition(|token| token.is_bare("collate"));
    place.map_or_else(|| Some("binary".to_owned()), |place| definition.get(place + 2).map(|name| name.name().to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::{mysql, sqlite};
    use crate::catalog::collation::TextComparison;

    #[test]
    fn a_column_of_sqlite_has_the_collation_of_its_definition() {
        let create = "create table \"t\" (id integer primary key, -- collate nocase
            a text default (upper('x' collate nocase)), \"b c\" varchar(10, 2) COLLATE nocase not null,
            [d] text collate \"RTRIM\", e text collate nocase collate binary, f text collate german,
            collate text, g text check (g collate nocase <> 'x'), primary key (a collate nocase))";
        let cases = [
            ("id", TextComparison::Bytes),
            ("a", TextComparison::Bytes),
            ("B C", TextComparison::Nocase),
            ("d", TextComparison::Trimmed),
            ("e", TextComparison::Bytes),
            ("f", TextComparison::Unknown),
            ("collate", TextComparison::Bytes),
            ("g", TextComparison::Bytes),
        ];
        for (column, expected) in cases {
            assert_eq!(sqlite(create, column, true).comparison, expected, "{column}");
        }
        assert_eq!(sqlite(create, "a", false).comparison, TextComparison::BytesUnordered);
    }

    #[test]
    fn a_column_of_mysql_is_known_by_its_name_alone() {
        assert_eq!(mysql(Some("utf8mb4_bin")).comparison, TextComparison::Padded);
        assert_eq!(mysql(Some("utf8mb4_nopad_bin")).comparison, TextComparison::Bytes);
        assert_eq!(mysql(Some("utf8mb4_general_ci")).comparison, TextComparison::Unknown);
        assert_eq!(mysql(Some("latin1_bin")).comparison, TextComparison::Unknown);
    }
}
