//! Longer texts of the document.

/// What the API is, for who reads the document first.
pub(super) const INTRODUCTION: &str = "Rows of declared entities in one JSON protocol. `/api` takes the operation and its \
    options in the body; `/rest` takes the operation as the method and the options as headers, or as query parameters of the \
    same names. The document shows what the caller may see and do.";

/// How the header style filters, since the names of its parameters hold operators and columns.
pub(super) const HEADER_FILTERS: &str = "Filters are parameters whose names hold the operator and the column: \
    `X-SearchOp-{operator}-{column}` (all must hold) and `X-SearchOr-{operator}-{column}` (one of them must hold), with the \
    value as text; `in`, `between` and `betweeninclusive` take their values with commas between them. `X-SearchFilter-{column}` \
    looks for a part of the text. Every parameter can be a header or a query parameter.";
