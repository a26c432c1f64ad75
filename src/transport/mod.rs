//! How requests arrive. A transport decodes, calls the engine, encodes; it holds no rule about data.

pub mod admin;
pub mod cores;
pub mod envelope;
pub mod http;
pub mod message;
pub mod rest;
pub mod ws;
