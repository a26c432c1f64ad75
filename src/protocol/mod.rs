//! What is said: requests, options and answers as pure data.
//!
//! Every transport decodes into these types and encodes from them. Nothing here knows a database, a socket or the
//! catalog: names are still the client's text, and only the engine resolves them.

pub mod change;
pub mod error;
pub mod filter;
pub mod options;
pub mod reason;
pub mod request;
pub mod response;
pub mod subscribe;

pub use change::{Change, ChangeOperation, Position};
pub use error::{Code, Error};
pub use filter::{Condition, Leaf, Operator};
pub use options::{Options, Preload, Sort};
pub use reason::reason;
pub use request::{KeyInput, Operation, Request, Selector, Target};
pub use response::{Page, Response, RowText};
pub use subscribe::{Said, Subscribe};
