//! What is made of the proto files: messages, the server's trait, and a client for whoever has a channel.

#![allow(clippy::pedantic, missing_docs, unreachable_pub, clippy::allow_attributes_without_reason, reason = "it is generated")]

tonic::include_proto!("resolvespec.v1");

/// The files in the form that reflection tells.
pub const DESCRIPTION: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/resolvespec.v1.bin"));
