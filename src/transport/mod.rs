//! How requests arrive. A transport decodes, calls the engine, encodes; it holds no rule about data.

pub mod admin;
pub mod admission;
pub mod asyncapi;
pub mod conversation;
pub mod cores;
mod describe;
pub mod envelope;
pub mod grpc;
pub mod http;
pub mod message;
pub mod mqtt;
pub mod origin;
pub mod rest;
pub mod routes;
pub mod ws;
