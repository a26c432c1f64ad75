//! The SQL that a manifest declares: computed columns and custom operators.
//!
//! The manifest's author is trusted, but a fragment must be one whole expression, so that what surrounds it in a statement
//! keeps its meaning. Whether the database understands it is for `load` to find out.

use super::columns::{Columns, check_name};
use super::near::advice;
use super::said::kind_of;
use crate::catalog::entity::{Computed, CustomOperator, DeclaredParameter, Piece};
use crate::catalog::kind::Kind;
use crate::catalog::lexer::lex;
use crate::database::Dialect;
use crate::manifest::entity::{ColumnType, OperatorSpec};
use crate::manifest::{self, Declared, Problem};

type Manifest = Declared<manifest::Entity>;

/// The declared columns.
pub(super) fn computed(declared: &Manifest, columns: &Columns, dialect: Dialect, problems: &mut Vec<Problem>) -> Vec<Computed> {
    let specs = &declared.resource.spec.computed;
    let compile = |(place, spec): (usize, &manifest::entity::ComputedSpec)| {
        let path = format!("spec.computed[{place}]");
        problems.extend(check_name(declared, &format!("{path}.name"), &spec.name));
        let twice = specs[..place].iter().any(|earlier| earlier.name.eq_ignore_ascii_case(&spec.name));
        if let Some(column) = columns.public_name_like(&spec.name) {
            let reason = format!("'{}' is also a column: '{column}'", spec.name);
            problems.push(declared.problem(&format!("{path}.name"), reason).advise("give it another name"));
        } else if twice {
            problems.push(declared.problem(&format!("{path}.name"), format!("'{}' is declared twice", spec.name)));
        }
        problems.extend(fault(&spec.expression, dialect).map(|fault| declared.problem(&format!("{path}.expression"), fault)));
        let kind = plain_kind(declared, &path, spec.kind, problems);
        Computed { name: spec.name.clone(), expression: spec.expression.trim().to_owned(), kind }
    };
    specs.iter().enumerate().map(compile).collect()
}

/// The declared conditions.
pub(super) fn operators(declared: &Manifest, dialect: Dialect, problems: &mut Vec<Problem>) -> Vec<CustomOperator> {
    let specs = &declared.resource.spec.operators;
    let compile = |(place, spec): (usize, &OperatorSpec)| {
        let path = format!("spec.operators[{place}]");
        problems.extend(check_name(declared, &format!("{path}.name"), &spec.name));
        if specs[..place].iter().any(|earlier| earlier.name.eq_ignore_ascii_case(&spec.name)) {
            problems.push(declared.problem(&format!("{path}.name"), format!("'{}' is declared twice", spec.name)));
        }
        let parameters = parameters(declared, spec, &path, problems);
        let condition = format!("{path}.condition");
        problems.extend(fault(&spec.condition, dialect).map(|fault| declared.problem(&condition, fault)));
        let pieces = match pieces(spec, dialect) {
            Ok(pieces) => pieces,
            Err(name) => {
                let reason = match name.as_str() {
                    "" => "a '{' must be followed by a parameter's name and '}'".to_owned(),
                    name => format!("'{{{name}}}' is not a declared parameter"),
                };
                let names = spec.parameters.iter().map(|parameter| parameter.name.as_str());
                problems.push(declared.problem(&condition, reason).advise(advice(&name, names)));
                return CustomOperator { name: spec.name.clone(), pieces: Vec::new(), parameters };
            }
        };
        problems.extend(unused(spec, &pieces).map(|(place, name)| {
            let problem =
                declared.problem(&format!("{path}.parameters[{place}].name"), format!("the parameter '{name}' is not used"));
            problem.advise(format!("write {{{name}}} in the condition, outside of quotes, or remove the parameter"))
        }));
        CustomOperator { name: spec.name.clone(), pieces, parameters }
    };
    specs.iter().enumerate().map(compile).collect()
}

fn parameters(declared: &Manifest, spec: &OperatorSpec, path: &str, problems: &mut Vec<Problem>) -> Vec<DeclaredParameter> {
    let mut parameters: Vec<DeclaredParameter> = Vec::new();
    for (place, parameter) in spec.parameters.iter().enumerate() {
        let path = format!("{path}.parameters[{place}]");
        if parameter.name.is_empty()
            || parameter.name.contains(|character: char| !character.is_alphanumeric() && character != '_')
        {
            let problem = declared.problem(&format!("{path}.name"), format!("'{}' can't be a parameter's name", parameter.name));
            problems.push(problem.advise("use letters, digits and '_'"));
        }
        if parameters.iter().any(|earlier| earlier.name == parameter.name) {
            problems.push(declared.problem(&format!("{path}.name"), format!("'{}' is declared twice", parameter.name)));
        }
        let kind = plain_kind(declared, &path, parameter.kind, problems);
        parameters.push(DeclaredParameter { name: parameter.name.clone(), kind });
    }
    parameters
}

fn plain_kind(declared: &Manifest, path: &str, kind: ColumnType, problems: &mut Vec<Problem>) -> Kind {
    if kind == ColumnType::Enum {
        problems.push(declared.problem(&format!("{path}.type"), "an enum's values can't be told here").advise("use text"));
    }
    kind_of(kind, &[])
}

/// What keeps a text from being one expression.
fn fault(sql: &str, dialect: Dialect) -> Option<String> {
    let lexed = lex(sql, dialect);
    let mut depth = 0_i64;
    for token in &lexed.tokens {
        match token.text {
            "(" => depth += 1,
            ")" => depth -= 1,
            ";" => return Some("one expression is expected, without ';'".to_owned()),
            text if is_placeholder(text, dialect) => return Some(format!("'{text}' would stand for a value of the statement")),
            _ => {}
        }
        if depth < 0 {
            return Some("a ')' closes nothing".to_owned());
        }
    }
    match () {
        () if lexed.tokens.is_empty() => Some("an expression is missing".to_owned()),
        () if lexed.is_open => Some("a quote or a comment is not closed".to_owned()),
        () if lexed.has_comment => Some("a comment can't stand in an expression".to_owned()),
        () if depth > 0 => Some("a '(' is not closed".to_owned()),
        () => None,
    }
}

fn is_placeholder(text: &str, dialect: Dialect) -> bool {
    match dialect {
        Dialect::Postgres => {
            text.strip_prefix('$').is_some_and(|number| number.starts_with(|digit: char| digit.is_ascii_digit()))
        }
        Dialect::Mysql(_) => text == "?",
        Dialect::Sqlite => matches!(text, "?" | ":" | "@") || text.starts_with('$'),
    }
}

/// Cuts a condition at its parameters: `{name}`, unless it is in quotes. The error is a name that is no parameter,
/// or nothing.
fn pieces(spec: &OperatorSpec, dialect: Dialect) -> Result<Vec<Piece>, String> {
    let tokens = lex(&spec.condition, dialect).tokens;
    let mut pieces = Vec::new();
    let mut done = 0;
    let mut rest = tokens.as_slice();
    while let Some((token, after)) = rest.split_first() {
        rest = after;
        if token.text == "{" {
            let [name, close, ..] = after else { return Err(String::new()) };
            if close.text != "}" {
                return Err(String::new());
            }
            let known = spec.parameters.iter().position(|parameter| parameter.name == name.text);
            let parameter = known.ok_or_else(|| name.text.to_owned())?;
            pieces.push(Piece::Sql(spec.condition[done..token.start].to_owned()));
            pieces.push(Piece::Parameter(parameter));
            done = close.end;
            rest = &after[2..];
        }
    }
    pieces.push(Piece::Sql(spec.condition[done..].to_owned()));
    Ok(pieces)
}

fn unused<'a>(spec: &'a OperatorSpec, pieces: &'a [Piece]) -> impl Iterator<Item = (usize, &'a str)> {
    let parameters = spec.parameters.iter().enumerate().map(|(place, parameter)| (place, parameter.name.as_str()));
    parameters.filter(|(place, _)| !pieces.contains(&Piece::Parameter(*place)))
}
