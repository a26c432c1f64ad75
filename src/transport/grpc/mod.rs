//! gRPC: the service `resolvespec.v1` on the port of everything else, over HTTP/2.
//!
//! In reading order: `beside` sends what is gRPC here, `enter` is what happens to every call, `metadata` is what comes with
//! it, `service` answers it, `line` is how a conversation goes over a stream. `payload` is the form of messages, `status`
//! has the code of every error and every end. `health` tells whether to come here.
//!
//! The messages are those of WebSocket, and so is what they mean.

mod beside;
mod enter;
mod health;
mod line;
mod metadata;
mod payload;
pub mod proto;
mod service;
pub mod status;

pub use beside::Beside;
pub use enter::Enter;
pub use health::Health;

use super::conversation::Conversations;
use super::rest::Rest;
use crate::telemetry::{CallMetrics, SessionMetrics};
use axum::Router;
use axum::body::Body;
use proto::resolve_spec_server::ResolveSpecServer;
use tonic::codec::CompressionEncoding;
use tonic::server::NamedService;
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::server::{Builder, Error};

/// What gRPC needs. Cheap to clone.
#[derive(Clone)]
pub struct Grpc {
    /// What is said over streams, and what everything is answered with.
    pub conversations: Conversations,
    /// Whose drain and readiness these are as well.
    pub rest: Rest,
    /// What is counted of calls.
    pub calls: CallMetrics,
    /// What is counted of streams.
    pub streams: SessionMetrics,
}

/// All services, behind what happens to every call.
pub fn services(grpc: &Grpc, health: Health) -> Result<Enter, Error> {
    let described = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTION)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that tools can read the details of errors.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let largest = grpc.conversations.settings.max_message_bytes;
    let main = ResolveSpecServer::new(service::Service(grpc.clone()))
        .max_decoding_message_size(largest)
        .accept_compressed(CompressionEncoding::Gzip)
        .send_compressed(CompressionEncoding::Gzip);
    let (v1, v1alpha) = (described().build_v1()?, described().build_v1alpha()?);
    let router = Router::new()
        .route_service(&methods(&main), main)
        .route_service(&methods(&v1), v1)
        .route_service(&methods(&v1alpha), v1alpha)
        .route_service("/grpc.health.v1.Health/{method}", HealthServer::new(health))
        .fallback(async || tonic::Status::unimplemented("there is no such method; reflection lists them").into_http::<Body>());
    Ok(Enter { rest: grpc.rest.clone(), router, max_message_bytes: largest })
}

/// The paths of a service's methods.
fn methods<S: NamedService>(_: &S) -> String {
    format!("/{}/{{method}}", S::NAME)
}
