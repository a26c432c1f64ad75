//! Filters as the client wrote them, grouped into one tree.
//!
//! The wire has a flat list with `logic_operator`, read by two grouping rules, and our extension of nested groups.
//! Both become a [`Condition`]. Column names are still text here; the planner resolves them.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A tree of comparisons.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// All must hold; an empty list always holds.
    All(Vec<Condition>),
    /// One must hold; an empty list never holds.
    Any(Vec<Condition>),
    /// Must not hold.
    Not(Box<Condition>),
    /// One comparison.
    Leaf(Leaf),
}

/// One comparison of a column with a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// A column, `all` for every column, or `column->path->>leaf` for a place in a JSON column.
    pub column: String,
    /// How to compare.
    pub operator: Operator,
    /// What to compare with; null for operators that need none.
    pub value: Value,
}

macro_rules! operators {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal $(| $other:literal)*,)+) => {
        /// How a column is compared, one table for every transport.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operator { $($(#[doc = $doc])+ $variant,)+ }

        impl Operator {
            /// Every operator.
            pub const ALL: &'static [Operator] = &[$(Operator::$variant,)+];

            /// The canonical word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Operator::$variant => $name,)+ }
            }

            /// Reads any spelling, without regard to case.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                match word.to_ascii_lowercase().as_str() {
                    $($name $(| $other)* => Some(Operator::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

operators! {
    /// Equal; null means IS NULL.
    Eq = "eq" | "=" | "==" | "equals" | "equal",
    /// Not equal; null means IS NOT NULL; rows with NULL do not match otherwise.
    Neq = "neq" | "!=" | "<>" | "ne" | "notequals" | "not_equals" | "notequal",
    /// Greater.
    Gt = "gt" | ">" | "greaterthan" | "greater_than",
    /// Greater or equal.
    Gte = "gte" | ">=" | "ge" | "greaterthanorequal" | "greaterthanorequals" | "greater_than_or_equal" | "greater_than_or_equals",
    /// Less.
    Lt = "lt" | "<" | "lessthan" | "less_than",
    /// Less or equal.
    Lte = "lte" | "<=" | "le" | "lessthanorequal" | "lessthanorequals" | "less_than_or_equal" | "less_than_or_equals",
    /// The caller's pattern, with regard to case.
    Like = "like",
    /// The caller's pattern, without regard to case.
    ILike = "ilike",
    /// Has the text, without regard to case.
    Contains = "contains" | "contain",
    /// Begins with the text, without regard to case.
    StartsWith = "startswith" | "starts_with" | "beginswith" | "begins_with",
    /// Ends with the text, without regard to case.
    EndsWith = "endswith" | "ends_with",
    /// One of a list; an empty list matches nothing.
    In = "in",
    /// Between two values, both excluded.
    Between = "between",
    /// Between two values, both included.
    BetweenInclusive = "between_inclusive" | "betweeninclusive",
    /// NULL.
    IsNull = "is_null" | "isnull" | "null",
    /// Not NULL.
    IsNotNull = "is_not_null" | "isnotnull" | "notnull" | "not_null",
    /// NULL, or the empty text in a text column.
    Empty = "empty" | "isempty" | "is_empty",
    /// Neither NULL nor, in a text column, the empty text.
    NotEmpty = "notempty" | "not_empty" | "isnotempty" | "is_not_empty",
}

impl Operator {
    /// Whether the operator reads no value.
    #[must_use]
    pub fn takes_no_value(self) -> bool {
        matches!(self, Operator::IsNull | Operator::IsNotNull | Operator::Empty | Operator::NotEmpty)
    }
}

/// How a filter joins the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logic {
    /// Both must hold.
    And,
    /// Either may hold.
    Or,
}

/// Whether the filter before the first OR belongs to the OR group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// Body style, WebSocket, MQTT, gRPC: `[A, B(OR), C(OR), D]` is `(A or B or C) and D`.
    PrecedingJoins,
    /// Header style: only the OR filters form the group, `A and (B or C) and D`.
    OrsOnly,
}

impl Condition {
    /// The condition that every row meets.
    #[must_use]
    pub fn always() -> Self {
        Condition::All(Vec::new())
    }

    /// Whether every row meets it because it says nothing.
    #[must_use]
    pub fn is_always(&self) -> bool {
        matches!(self, Condition::All(parts) if parts.is_empty())
    }

    /// Groups a flat list. A filter on the column `all` stays a group of its own.
    #[must_use]
    pub fn grouped(filters: Vec<(Logic, Condition)>, grouping: Grouping) -> Self {
        let mut groups: Vec<Vec<Condition>> = Vec::new();
        let mut open = false;
        for (logic, condition) in filters {
            let joinable = !matches!(&condition, Condition::Leaf(leaf) if leaf.column == "all");
            if logic == Logic::Or
                && open
                && joinable
                && let Some(group) = groups.last_mut()
            {
                group.push(condition);
                continue;
            }
            groups.push(vec![condition]);
            open = joinable && (logic == Logic::Or || grouping == Grouping::PrecedingJoins);
        }
        let mut parts: Vec<Condition> = groups
            .into_iter()
            .filter_map(|mut group| if group.len() == 1 { group.pop() } else { Some(Condition::Any(group)) })
            .collect();
        if parts.len() == 1 { parts.remove(0) } else { Condition::All(parts) }
    }

    /// Joins two conditions, both of which must hold.
    #[must_use]
    pub fn and(self, other: Condition) -> Self {
        match (self, other) {
            (left, right) if right.is_always() => left,
            (left, right) if left.is_always() => right,
            (Condition::All(mut left), right) => {
                left.push(right);
                Condition::All(left)
            }
            (left, right) => Condition::All(vec![left, right]),
        }
    }

    /// How many comparisons it holds.
    #[must_use]
    pub fn leaves(&self) -> usize {
        match self {
            Condition::All(parts) | Condition::Any(parts) => parts.iter().map(Condition::leaves).sum(),
            Condition::Not(part) => part.leaves(),
            Condition::Leaf(_) => 1,
        }
    }
}

/// One element of the wire's `filters` list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    column: Option<String>,
    operator: Option<String>,
    #[serde(default)]
    value: Value,
    logic_operator: Option<String>,
    and: Option<Vec<Wire>>,
    or: Option<Vec<Wire>>,
    not: Option<Box<Wire>>,
}

impl Wire {
    fn read(self) -> Result<(Logic, Condition), String> {
        let logic = match self.logic_operator.as_deref() {
            None => Logic::And,
            Some(word) if word.is_empty() || word.eq_ignore_ascii_case("and") => Logic::And,
            Some(word) if word.eq_ignore_ascii_case("or") => Logic::Or,
            Some(word) => return Err(format!("logic_operator is AND or OR, not '{word}'")),
        };
        let condition = match (self.column, self.and, self.or, self.not) {
            (Some(column), None, None, None) => {
                let word = self.operator.ok_or_else(|| format!("the filter on '{column}' has no operator"))?;
                let operator = Operator::parse(&word).ok_or_else(|| format!("unknown operator '{word}'"))?;
                Condition::Leaf(Leaf { column, operator, value: self.value })
            }
            (None, Some(parts), None, None) => Condition::All(read_each(parts)?),
            (None, None, Some(parts), None) => Condition::Any(read_each(parts)?),
            (None, None, None, Some(part)) => Condition::Not(Box::new(part.read()?.1)),
            _ => return Err("a filter has either column and operator, or one of and, or, not".to_owned()),
        };
        Ok((logic, condition))
    }
}

fn read_each(parts: Vec<Wire>) -> Result<Vec<Condition>, String> {
    parts.into_iter().map(|part| part.read().map(|(_, condition)| condition)).collect()
}

/// Reads the wire's `filters` by the body-style grouping rule.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Condition, D::Error> {
    let wires = Option::<Vec<Wire>>::deserialize(deserializer)?.unwrap_or_default();
    let filters = wires.into_iter().map(Wire::read).collect::<Result<Vec<_>, _>>().map_err(serde::de::Error::custom)?;
    Ok(Condition::grouped(filters, Grouping::PrecedingJoins))
}
