//! Which columns a CHECK constraint or an index of expressions names, read from its SQL where the database's catalog does not tell.
//!
//! Only words and parentheses are understood, which is enough to name a column in an error; no decision rests on it.

use crate::catalog::facts::Check;
use crate::catalog::lexer::{Token, lex};
use crate::database::Dialect;

/// The CHECK constraints of SQLite's `CREATE TABLE`, by name, or by their condition as its errors say it.
pub(super) fn checks_of(create: &str, columns: &[&str]) -> Vec<Check> {
    let tokens = lex(create, Dialect::Sqlite).tokens;
    let mut checks = Vec::new();
    for (place, token) in tokens.iter().enumerate() {
        let opens = tokens.get(place + 1).is_some_and(|next| next.text == "(");
        if !token.is_bare("check") || !opens {
            continue;
        }
        let Some(end) = closing(&tokens[place + 1..]) else { continue };
        let condition = &create[tokens[place + 1].end..tokens[place + 1 + end].start];
        let name = match place.checked_sub(2).map(|before| &tokens[before..place]) {
            Some([word, name]) if word.is_bare("constraint") => name.name(),
            _ => condition.trim().to_owned(),
        };
        checks.push(Check { name, columns: named_columns(condition, columns, Dialect::Sqlite) });
    }
    checks
}

/// The columns that the expressions of SQLite's `CREATE INDEX` name.
pub(super) fn indexed_columns(create: &str, columns: &[&str]) -> Vec<String> {
    let tokens = lex(create, Dialect::Sqlite).tokens;
    let open = tokens.iter().position(|token| token.text == "(");
    let inner = open.and_then(|open| closing(&tokens[open..]).map(|end| &create[tokens[open].end..tokens[open + end].start]));
    inner.map(|inner| named_columns(inner, columns, Dialect::Sqlite)).unwrap_or_default()
}

/// The columns that a condition names, in the order of the table.
pub(super) fn named_columns(condition: &str, columns: &[&str], dialect: Dialect) -> Vec<String> {
    let words: Vec<String> = lex(condition, dialect).tokens.iter().filter(|token| !token.is_string()).map(Token::name).collect();
    let is_named = |column: &&&str| words.iter().any(|word| word.eq_ignore_ascii_case(column));
    columns.iter().filter(is_named).map(|column| (*column).to_owned()).collect()
}

/// How many tokens after an opening parenthesis its closing one stands.
fn closing(tokens: &[Token<'_>]) -> Option<usize> {
    let mut depth = 0_usize;
    for (place, token) in tokens.iter().enumerate() {
        match token.text {
            "(" => depth += 1,
            ")" if depth == 1 => return Some(place),
            ")" => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{checks_of, indexed_columns, named_columns};
    use crate::database::Dialect;

    #[test]
    fn named_checks_keep_their_name_and_others_their_condition() {
        let create = "CREATE TABLE t (
            age integer CHECK ( age > 0 AND note <> 'check (x) it''s' ), -- check (nothing)
            \"first name\" text CONSTRAINT [has name] CHECK(length(\"first name\") > 0 and x = ')'),
            x int, note text, /* check (x) */
            constraint `both` check ((age > x)))";
        let columns = ["age", "first name", "x", "note"];
        let checks = checks_of(create, &columns);
        let said: Vec<(&str, String)> = checks.iter().map(|check| (check.name.as_str(), check.columns.join(","))).collect();
        assert_eq!(
            said,
            [
                ("age > 0 AND note <> 'check (x) it''s'", "age,note".to_owned()),
                ("has name", "first name,x".to_owned()),
                ("both", "age,x".to_owned()),
            ]
        );
    }

    #[test]
    fn an_index_names_the_columns_of_its_expressions() {
        let create = "CREATE UNIQUE INDEX i ON t (lower(\"first name\"), x || 'note') WHERE age > 1";
        assert_eq!(indexed_columns(create, &["age", "first name", "x", "note"]), ["first name", "x"]);
    }

    #[test]
    fn broken_sql_names_what_it_can() {
        assert!(checks_of("create table t (a check (a > 'x", &["a"]).is_empty());
        assert_eq!(named_columns("`A` > [b and \"", &["a", "b"], Dialect::Sqlite), ["a"]);
    }
}
