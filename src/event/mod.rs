//! Who learns of it: committed changes on their way from the database to everyone who subscribed.
//!
//! In reading order: `capture` makes changes out of what the database recorded, `bus` carries them to every replica, `matcher`
//! finds whom each concerns, `hub` tells them.

pub mod bus;
pub mod capture;
pub mod hub;
pub mod matcher;
