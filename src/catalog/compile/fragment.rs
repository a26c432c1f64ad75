//! The SQL that a manifest declares: computed columns and custom operators.
//!
//! The manifest's author is trusted, but a fragment must be one whole expression, so that what surrounds it in a statement
//! keeps its meaning. Whether the database understands it is for `load` to find out.

use super::columns::{Columns, check_name};
use super::near::advice;
use super::said::kind_of;
use crate::catalog::entity::{Computed, CustomOperator, DeclaredParameter, Piece};
use crate::catalog::lexer::lex;
use crate::database::Dialect;
use crate::manifest::entity::{ColumnType, OperatorSpec, ParameterSpec};
use crate::manifest::{self, Declared, Problem};

type Manifest = Declared<manifest::Entity>;

/// The declared columns; what is wrong with them by themselves is told by `alone`.
pub(super) fn computed(declared: &Manifest, columns: &Columns, problems: &mut Vec<Problem>) -> Vec<Computed> {
    let compile = |(place, spec): (usize, &manifest::entity::ComputedSpec)| {
        if let Some(column) = columns.public_name_like(&spec.name) {
            let reason = format!("'{}' is also a column: '{column}'", spec.name);
            let path = format!("spec.computed[{place}].name");
            problems.push(declared.problem(&path, reason).advise("give it another name"));
        }
        Computed { name: spec.name.clone(), expression: spec.expression.trim().to_owned(), kind: kind_of(spec.kind, &[]) }
    };
    declared.resource.spec.computed.iter().enumerate().map(compile).collect()
}

/// The declared conditions; what is wrong with them is told by `alone`.
pub(super) fn operators(declared: &Manifest, dialect: Dialect) -> Vec<CustomOperator> {
    let parameter = |spec: &ParameterSpec| DeclaredParameter { name: spec.name.clone(), kind: kind_of(spec.kind, &[]) };
    let compile = |spec: &OperatorSpec| CustomOperator {
        name: spec.name.clone(),
        pieces: pieces(spec, dialect).unwrap_or_default(),
        parameters: spec.parameters.iter().map(parameter).collect(),
    };
    declared.resource.spec.operators.iter().map(compile).collect()
}

/// What is wrong with declared SQL, whatever columns there are: as all of these dialects see it.
pub(super) fn alone(declared: &Manifest, dialects: &[Dialect], problems: &mut Vec<Problem>) {
    let (computed, operators) = (&declared.resource.spec.computed, &declared.resource.spec.operators);
    for (place, spec) in computed.iter().enumerate() {
        let path = format!("spec.computed[{place}]");
        let earlier = computed[..place].iter().map(|earlier| earlier.name.as_str());
        problems.extend(name_faults(declared, &path, &spec.name, earlier));
        let fault = agreed(dialects, |dialect| fault(&spec.expression, dialect));
        problems.extend(fault.map(|fault| declared.problem(&format!("{path}.expression"), fault)));
        problems.extend(values_untold(declared, &path, spec.kind));
    }
    for (place, spec) in operators.iter().enumerate() {
        let path = format!("spec.operators[{place}]");
        let earlier = operators[..place].iter().map(|earlier| earlier.name.as_str());
        problems.extend(name_faults(declared, &path, &spec.name, earlier));
        parameters(declared, spec, &path, problems);
        condition(declared, spec, &path, dialects, problems);
    }
}

/// What all dialects say; nothing if one says something else, since it may be the one that counts.
fn agreed<T: PartialEq>(dialects: &[Dialect], say: impl Fn(Dialect) -> Option<T>) -> Option<T> {
    let (first, others) = dialects.split_first()?;
    let said = say(*first)?;
    others.iter().all(|other| say(*other).as_ref() == Some(&said)).then_some(said)
}

fn name_faults<'e>(
    declared: &Manifest,
    path: &str,
    name: &str,
    mut earlier: impl Iterator<Item = &'e str>,
) -> impl Iterator<Item = Problem> {
    let path = format!("{path}.name");
    let twice = earlier.any(|earlier| earlier.eq_ignore_ascii_case(name));
    let twice = twice.then(|| declared.problem(&path, format!("'{name}' is declared twice")));
    check_name(declared, &path, name).into_iter().chain(twice)
}

fn condition(declared: &Manifest, spec: &OperatorSpec, path: &str, dialects: &[Dialect], problems: &mut Vec<Problem>) {
    let condition = format!("{path}.condition");
    let fault = agreed(dialects, |dialect| fault(&spec.condition, dialect));
    problems.extend(fault.map(|fault| declared.problem(&condition, fault)));
    if let Some(name) = agreed(dialects, |dialect| pieces(spec, dialect).err()) {
        let reason = match name.as_str() {
            "" => "a '{' must be followed by a parameter's name and '}'".to_owned(),
            name => format!("'{{{name}}}' is not a declared parameter"),
        };
        let names = spec.parameters.iter().map(|parameter| parameter.name.as_str());
        problems.push(declared.problem(&condition, reason).advise(advice(&name, names)));
    }
    let unused = agreed(dialects, |dialect| pieces(spec, dialect).ok().map(|pieces| unused(spec, &pieces)));
    problems.extend(unused.unwrap_or_default().into_iter().map(|place| {
        let name = &spec.parameters[place].name;
        let path = format!("{path}.parameters[{place}].name");
        let problem = declared.problem(&path, format!("the parameter '{name}' is not used"));
        problem.advise(format!("write {{{name}}} in the condition, outside of quotes, or remove the parameter"))
    }));
}

fn parameters(declared: &Manifest, spec: &OperatorSpec, path: &str, problems: &mut Vec<Problem>) {
    for (place, parameter) in spec.parameters.iter().enumerate() {
        let path = format!("{path}.parameters[{place}]");
        if parameter.name.is_empty()
            || parameter.name.contains(|character: char| !character.is_alphanumeric() && character != '_')
        {
            let problem = declared.problem(&format!("{path}.name"), format!("'{}' can't be a parameter's name", parameter.name));
            problems.push(problem.advise("use letters, digits and '_'"));
        }
        if spec.parameters[..place].iter().any(|earlier| earlier.name == parameter.name) {
            problems.push(declared.problem(&format!("{path}.name"), format!("'{}' is declared twice", parameter.name)));
        }
        problems.extend(values_untold(declared, &path, parameter.kind));
    }
}

fn values_untold(declared: &Manifest, path: &str, kind: ColumnType) -> Option<Problem> {
    let problem = || declared.problem(&format!("{path}.type"), "an enum's values can't be told here").advise("use text");
    (kind == ColumnType::Enum).then(problem)
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

/// The places of parameters that the condition does not name.
fn unused(spec: &OperatorSpec, pieces: &[Piece]) -> Vec<usize> {
    (0..spec.parameters.len()).filter(|place| !pieces.contains(&Piece::Parameter(*place))).collect()
}
