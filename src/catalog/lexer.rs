//! SQL of a manifest or of a database, cut into words.
//!
//! No grammar: words, quoted words, strings and single marks, enough to find parameters and columns in a condition and to
//! see that a fragment is one expression. What the words mean is the callers' part.

use crate::database::Dialect;

/// A piece of SQL that is neither space nor comment.
#[derive(Debug, Clone, Copy)]
pub(in crate::catalog) struct Token<'a> {
    /// As it is written, with its quotes.
    pub(in crate::catalog) text: &'a str,
    /// Where it begins.
    pub(in crate::catalog) start: usize,
    /// Where it ends.
    pub(in crate::catalog) end: usize,
}

impl Token<'_> {
    /// Whether it is this word, unquoted and in any case.
    pub(in crate::catalog) fn is_bare(&self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }

    /// Whether it is a string.
    pub(in crate::catalog) fn is_string(&self) -> bool {
        self.text.starts_with('\'')
    }

    /// The word without its quotes.
    pub(in crate::catalog) fn name(&self) -> String {
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

/// What a text is made of.
pub(in crate::catalog) struct Lexed<'a> {
    /// Its tokens.
    pub(in crate::catalog) tokens: Vec<Token<'a>>,
    /// Whether there is a comment in it.
    pub(in crate::catalog) has_comment: bool,
    /// Whether a quote or comment is never closed.
    pub(in crate::catalog) is_open: bool,
}

/// Cuts a text.
pub(in crate::catalog) fn lex(sql: &str, dialect: Dialect) -> Lexed<'_> {
    let mut lexed = Lexed { tokens: Vec::new(), has_comment: false, is_open: false };
    let mut start = 0;
    while let Some(first) = sql[start..].chars().next() {
        let rest = &sql[start..];
        let (end, is_comment) = match first {
            '"' | '`' | '\'' => (quoted(rest, first, dialect), false),
            '[' if dialect == Dialect::Sqlite => (rest.find(']').map(|end| end + 1), false),
            '-' if rest.starts_with("--") => (Some(rest.find('\n').unwrap_or(rest.len())), true),
            '#' if matches!(dialect, Dialect::Mysql(_)) => (Some(rest.find('\n').unwrap_or(rest.len())), true),
            '/' if rest.starts_with("/*") => (rest.find("*/").map(|end| end + 2), true),
            _ if is_word(first) => (Some(rest.find(|other| !is_word(other)).unwrap_or(rest.len())), false),
            _ => (Some(first.len_utf8()), false),
        };
        lexed.is_open |= end.is_none();
        lexed.has_comment |= is_comment;
        let length = end.unwrap_or(rest.len());
        if !first.is_whitespace() && !is_comment {
            lexed.tokens.push(Token { text: &rest[..length], start, end: start + length });
        }
        start += length;
    }
    lexed
}

/// The length of a quoted text, in which a doubled mark stands for itself, and in MySQL a mark after a backslash.
fn quoted(rest: &str, mark: char, dialect: Dialect) -> Option<usize> {
    let escapes = matches!(dialect, Dialect::Mysql(_)) && mark != '`';
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((place, character)) = characters.next() {
        if character == '\\' && escapes {
            characters.next();
        } else if character == mark && characters.next_if(|(_, next)| *next == mark).is_none() {
            return Some(place + mark.len_utf8());
        }
    }
    None
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$'
}
