//! Which columns a CHECK constraint names, read from its SQL where the database's catalog does not tell.
//!
//! Only words and parentheses are understood, which is enough to name a column in an error; no decision rests on it.

use crate::catalog::facts::Check;

/// The CHECK constraints of SQLite's `CREATE TABLE`, by name, or by their condition as its errors say it.
pub(super) fn checks_of(create: &str, columns: &[&str]) -> Vec<Check> {
    let tokens = tokens(create);
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
        checks.push(Check { name, columns: named_columns(condition, columns) });
    }
    checks
}

/// The columns that a condition names, in the order of the table.
pub(super) fn named_columns(condition: &str, columns: &[&str]) -> Vec<String> {
    let words: Vec<String> = tokens(condition).iter().filter(|token| !token.is_string()).map(Token::name).collect();
    let is_named = |column: &&&str| words.iter().any(|word| word.eq_ignore_ascii_case(column));
    columns.iter().filter(is_named).map(|column| (*column).to_owned()).collect()
}

struct Token<'a> {
    text: &'a str,
    start: usize,
    end: usize,
}

impl Token<'_> {
    fn is_bare(&self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }

    fn is_string(&self) -> bool {
        self.text.starts_with('\'')
    }

    /// The word without its quotes.
    fn name(&self) -> String {
        let mut characters = self.text.chars();
        let close = match characters.next() {
            Some('[') => ']',
            Some(mark @ ('"' | '`' | '\'')) => mark,
            _ => return self.text.to_owned(),
        };
        let inner = characters.as_str();
        let inner = inner.strip_suffix(close).unwrap_or(inner);
        inner.replace(&format!("{close}{close}"), &close.to_string())
    }
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

/// Words, quoted words, strings and single marks; comments are left out.
fn tokens(sql: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while let Some(first) = sql[start..].chars().next() {
        let rest = &sql[start..];
        let length = match first {
            '"' | '`' | '\'' => quoted(rest, first),
            '[' => rest.find(']').map_or(rest.len(), |end| end + 1),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            _ if is_word(first) => rest.find(|character| !is_word(character)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let text = &rest[..length];
        if !first.is_whitespace() && !text.starts_with("--") && !text.starts_with("/*") {
            tokens.push(Token { text, start, end: start + length });
        }
        start += length;
    }
    tokens
}

/// The length of a quoted text, in which a doubled mark stands for itself.
fn quoted(rest: &str, mark: char) -> usize {
    let mut from = 1;
    while let Some(end) = rest[from..].find(mark) {
        from += end + 1;
        if !rest[from..].starts_with(mark) {
            return from;
        }
        from += 1;
    }
    rest.len()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$'
}

#[cfg(test)]
mod tests {
    use super::{checks_of, named_columns};

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
    fn broken_sql_names_what_it_can() {
        assert!(checks_of("create table t (a check (a > 'x", &["a"]).is_empty());
        assert_eq!(named_columns("`A` > [b and \"", &["a", "b"]), ["a"]);
    }
}
