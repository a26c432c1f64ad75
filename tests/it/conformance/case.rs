//! The form of a case: a request, and what its answer must be.

use crate::support::database::Kind;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// One request with its expected answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub name: String,
    /// The styles that it is sent in; all unless given. What the body style can say, WebSocket, gRPC and MQTT can.
    #[serde(default)]
    only: Vec<Style>,
    /// The databases that it holds for; all unless given.
    #[serde(default)]
    databases: Vec<String>,
    pub request: Wanted,
    pub expect: Expected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Style {
    Body,
    Header,
    Ws,
    Grpc,
    Mqtt5,
    Mqtt311,
}

impl Style {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Style::Body => "body",
            Style::Header => "header",
            Style::Ws => "ws",
            Style::Grpc => "grpc",
            Style::Mqtt5 => "mqtt 5",
            Style::Mqtt311 => "mqtt 3.1.1",
        }
    }

    /// Whether its answers have a place for this key of the metadata.
    pub(crate) fn carries(self, key: &str) -> bool {
        // Headers tell how many rows meet the filter, and nothing of the others.
        self != Style::Header || key != "total"
    }
}

/// A request in words that both styles can be made from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    pub operation: String,
    #[serde(default = "public")]
    pub schema: String,
    pub entity: String,
    /// A text or number goes into the path; a list or an object goes into the body.
    #[serde(default)]
    pub id: Value,
    #[serde(default)]
    pub data: Option<Value>,
    #[serde(default)]
    pub options: Option<Value>,
    /// Sent as they are, beside what the style makes of the options.
    #[serde(default)]
    pub headers: Map<String, Value>,
    /// The query of the header style.
    #[serde(default)]
    pub query: Option<String>,
    /// Keys of the body style's envelope that are none of the above.
    #[serde(default)]
    pub envelope: Map<String, Value>,
}

fn public() -> String {
    "public".to_owned()
}

/// What the answer must have; what is not given may be anything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    pub status: u16,
    #[serde(default)]
    pub code: Option<String>,
    /// The place that the error names.
    #[serde(default)]
    pub detail: Option<String>,
    #[serde(default)]
    pub data: Option<Value>,
    /// Keys of the data that are looked at alone.
    #[serde(default)]
    pub has: Option<Map<String, Value>>,
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

impl Expected {
    pub(crate) fn shown(&self) -> Value {
        let all = json!({"status": self.status, "code": self.code, "detail": self.detail, "data": self.data, "has": self.has,
            "metadata": self.metadata});
        let said = all.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        Value::Object(said.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl Case {
    pub(crate) fn writes(&self) -> bool {
        matches!(self.request.operation.as_str(), "create" | "update" | "delete")
    }

    pub(crate) fn runs_on(&self, kind: Kind, style: Style) -> bool {
        let database = self.databases.is_empty() || self.databases.iter().any(|name| name == kind.name());
        let said_as = if style == Style::Header { style } else { Style::Body };
        database && (self.only.is_empty() || self.only.contains(&said_as))
    }
}

macro_rules! topics {
    ($($topic:literal),+ $(,)?) => {
        /// Every topic with its cases.
        pub(crate) fn topics() -> Vec<(&'static str, Vec<Case>)> {
            vec![$(($topic, read($topic, include_str!(concat!("cases/", $topic, ".json"))))),+]
        }
    };
}

topics![
    "comparisons",
    "text_operators",
    "lists_and_ranges",
    "nulls",
    "grouping",
    "json_paths",
    "sort",
    "paging",
    "cursors",
    "row_numbers",
    "columns",
    "declared",
    "preloads",
    "types",
    "declared_types",
    "arrays",
    "keys",
    "metadata",
    "errors",
    "create",
    "update",
    "delete",
    "conditional_writes",
    "nested_writes",
    "constraints",
];

fn read(topic: &str, text: &str) -> Vec<Case> {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("cases/{topic}.json: {error}"))
}
