//! Parameters into options: every name of the reference is honoured, mapped to a declared fragment, or refused.
//!
//! Headers outside the reference's families belong to others and are left alone; in the query they are an error.

use super::files;
use super::parameters::Parameters;
use super::preload::Preloads;
use super::search::{self, Filters};
use super::sort::sort_keys;
use crate::protocol::options::Fragment;
use crate::protocol::{Code, Error, KeyInput, Options};

/// How a read is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The rows alone.
    #[default]
    Simple,
    /// Rows with counts and fields.
    Detail,
    /// What Syncfusion's components read.
    Syncfusion,
}

/// What the parameters of a request say.
#[derive(Debug, PartialEq)]
pub struct HeaderRequest {
    /// How to read.
    pub options: Box<Options>,
    /// How the answer is laid out.
    pub format: Format,
    /// Whether a list of one row becomes the row.
    pub single_record_as_object: bool,
}

/// Beginnings of names that only this API has; a header that begins so and is not read would be a filter that is lost.
const FAMILIES: [&str; 8] =
    ["x-advsql", "x-cql-sel", "x-custom-sql", "x-fieldfilter", "x-searchand", "x-searchfilter", "x-searchop", "x-searchor"];

/// Reads the parameters.
pub fn decode(parameters: &Parameters) -> Result<HeaderRequest, Error> {
    let mut request = HeaderRequest { options: Box::default(), format: Format::default(), single_record_as_object: true };
    let (mut filters, mut preloads) = (Filters::default(), Preloads::default());
    for (name, parameter) in parameters.iter() {
        let known = one(name, &parameter.value, &mut request, &mut filters, &mut preloads)?;
        let ours = (parameter.from_query && name != "openapi") || FAMILIES.iter().any(|family| name.starts_with(family));
        if !known && ours {
            return Err(refused(Code::InvalidOption, name, "is not a parameter of this API"));
        }
    }
    let flat = filters.grouped();
    let own = std::mem::take(&mut request.options.filters);
    request.options.filters = flat.and(own);
    preloads.finish(&mut request.options.preload)?;
    Ok(request)
}

/// Reads one parameter; says whether it is one of ours.
fn one(
    name: &str,
    value: &str,
    request: &mut HeaderRequest,
    filters: &mut Filters,
    preloads: &mut Preloads,
) -> Result<bool, Error> {
    let options = &mut request.options;
    if search::read(name, value, filters)? || preloads.read(name, value)? || fragment(name, value, options)? {
        return Ok(true);
    }
    match name {
        _ if name.starts_with("x-select-fields") => options.columns = list(value),
        _ if name.starts_with("x-not-select-fields") => options.omit_columns.extend(list(value)),
        _ if name.starts_with("x-sort") => options.sort.extend(sort_keys(value)?),
        _ if name.starts_with("x-limit") => options.limit = count(name, value)?,
        _ if name.starts_with("x-offset") => options.offset = count(name, value)?,
        _ if name.starts_with("x-cursor-forward") => options.cursor_forward = key(value),
        _ if name.starts_with("x-cursor-backward") => options.cursor_backward = key(value),
        _ if name.starts_with("x-fetch-rownumber") => options.fetch_row_number = key(value),
        _ if name.starts_with("x-skipcount") => options.skip_count = truth(value),
        // Nothing is cached, and a write is always one transaction.
        _ if name.starts_with("x-skipcache") => {}
        _ if name.starts_with("x-transaction-atomic") => only(name, value, true)?,
        _ if name.starts_with("x-distinct") => only(name, value, false)?,
        _ if name.starts_with("x-clean-json") => only(name, value, false)?,
        _ if name.starts_with("x-pkrow") => {
            return Err(refused(Code::InvalidOption, name, "has no effect; use X-Fetch-RowNumber"));
        }
        _ if name.starts_with("x-searchcols") => {
            return Err(refused(Code::InvalidOption, name, "has no effect; use X-SearchOr-contains-{column}"));
        }
        _ if name.starts_with("x-simpleapi") => request.format = Format::Simple,
        _ if name.starts_with("x-detailapi") => request.format = Format::Detail,
        _ if name.starts_with("x-syncfusion") => request.format = Format::Syncfusion,
        _ if name.starts_with("x-single-record-as-object") => {
            request.single_record_as_object = !value.trim().eq_ignore_ascii_case("false");
        }
        _ if name.starts_with("x-files") => files::read(value, options)?,
        _ => return in_key(name, options),
    }
    Ok(true)
}

/// Declared fragments, and the parameters of the reference that carry SQL.
fn fragment(name: &str, value: &str, options: &mut Options) -> Result<bool, Error> {
    if let Some(column) = name.strip_prefix("x-cql-sel-") {
        let sql = Some(value.trim().to_owned()).filter(|text| !text.eq_ignore_ascii_case(column));
        let fragment = Fragment { name: column.to_owned(), sql };
        fragment.declared_name()?;
        options.computed_columns.push(fragment);
    } else if name.starts_with("x-custom-sql-w") {
        options.custom_operators.extend(declared_names(name, value)?);
    } else {
        let instead = match name {
            _ if name.starts_with("x-custom-sql-or") => {
                "has no form here: declare one operator that holds the whole OR, and name it"
            }
            _ if name.starts_with("x-custom-sql-join") => {
                "carries SQL; declare a relation in the Entity and name it in X-Preload"
            }
            _ if name.starts_with("x-advsql-") => "carries SQL; declare an operator in the Entity and name it in X-Custom-SQL-W",
            _ => return Ok(false),
        };
        if !value.trim().is_empty() {
            return Err(refused(Code::RawSqlRefused, name, instead));
        }
    }
    Ok(true)
}

/// `sort(a,-b)`, `limit(n)` and `limit(n,offset)` as keys of the query.
fn in_key(name: &str, options: &mut Options) -> Result<bool, Error> {
    let Some((word, rest)) = name.split_once('(') else { return Ok(false) };
    let Some(inner) = rest.strip_suffix(')') else { return Ok(false) };
    match word {
        "sort" => options.sort.extend(sort_keys(inner)?),
        "limit" => {
            let (limit, offset) = inner.split_once(',').map_or((inner, None), |(limit, offset)| (limit, Some(offset)));
            options.limit = count("limit()", limit)?;
            if let Some(offset) = offset {
                options.offset = count("limit()", offset)?;
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Names of declared conditions, joined by AND as the TypeScript client joins them.
pub(super) fn declared_names(place: &str, value: &str) -> Result<Vec<Fragment>, Error> {
    let refusal = || refused(Code::RawSqlRefused, place, "carries SQL; declare an operator in the Entity and send its name");
    let words: Vec<&str> = value.split_whitespace().collect();
    if !words.is_empty() && words.len().is_multiple_of(2) {
        return Err(refusal());
    }
    let mut names = Vec::new();
    for (position, word) in words.into_iter().enumerate() {
        match position % 2 {
            0 if is_name(word) => names.push(Fragment { name: word.to_owned(), sql: None }),
            1 if word.eq_ignore_ascii_case("and") => {}
            _ => return Err(refusal()),
        }
    }
    Ok(names)
}

/// Whether a text can be the name of something declared.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|character| character.is_alphanumeric() || matches!(character, '_' | '-' | '.'))
}

/// Items of a comma list; empty ones are left out.
pub(super) fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(ToOwned::to_owned).collect()
}

fn key(value: &str) -> Option<KeyInput> {
    (!value.is_empty()).then(|| KeyInput::Text(value.to_owned()))
}

fn count(name: &str, value: &str) -> Result<Option<u64>, Error> {
    let text = value.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let number: u64 =
        text.parse().map_err(|_| refused(Code::InvalidOption, name, "takes a whole number that is not negative"))?;
    Ok((number > 0).then_some(number))
}

fn truth(value: &str) -> bool {
    value.trim().eq_ignore_ascii_case("true")
}

/// A switch that has one position here.
fn only(name: &str, value: &str, position: bool) -> Result<(), Error> {
    if value.trim().is_empty() || truth(value) == position {
        return Ok(());
    }
    Err(refused(Code::InvalidOption, name, if position { "can't be switched off" } else { "is not supported" }))
}

pub(super) fn refused(code: Code, name: &str, reason: &str) -> Error {
    let short: String = name.chars().take(80).collect();
    Error::new(code, format!("{short} {reason}")).with_detail(short)
}
