//! What the main port answers, made for each core by itself: what is cloned with a request is no other core's, so that none waits
//! for another to count.

use crate::transport::admin;
use crate::transport::conversation::Conversations;
use crate::transport::grpc::{self, Beside};
use crate::transport::mqtt::{self, Durable, Mqtt};
use crate::transport::rest::{self, Enter, Packing, Rest};
use crate::transport::ws::{self, Ws};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use std::convert::Infallible;
use std::sync::Arc;
use tower::{Service, ServiceBuilder};
use tower_http::compression::CompressionLayer;

/// What the main port answers with.
#[derive(Clone)]
pub struct Routes {
    /// What REST needs.
    pub rest: Rest,
    /// What WebSocket connections need.
    pub ws: Ws,
    /// What calls of gRPC go to.
    pub grpc: grpc::Enter,
    /// What brokers ask.
    pub mqtt: Option<(Mqtt, Durable)>,
    /// Whether what is for operators is here too, and at no port of its own.
    pub has_admin: bool,
}

impl Routes {
    /// All of it for one core.
    #[must_use]
    pub fn of_core(
        &self,
    ) -> Beside<
        Packing<
            Enter<Router>,
            impl Service<Request, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + Sync + use<>,
        >,
    > {
        let rest = self.rest.of_core();
        let mut main = rest::router(rest.clone()).merge(ws::router(self.ws.clone()));
        if self.has_admin {
            let conversations = self.ws.conversations.clone();
            main = main.merge(admin::metrics_router(rest.clone())).merge(for_operators(conversations, self.mqtt.clone()));
        }
        let plain = Enter { rest: rest.clone(), inner: main };
        let packed = ServiceBuilder::new()
            .map_response(|answer: Response<_>| rest::with_range(answer.map(Body::new)))
            .option_layer(rest::cors(&rest))
            .layer(CompressionLayer::new())
            .service(plain.clone());
        let always = !rest.cors_origins.is_empty();
        Beside { grpc: Arc::new(self.grpc.clone()), other: Packing { plain, packed: Arc::new(packed), always } }
    }
}

/// What is asked by operators and brokers.
pub fn for_operators(conversations: Conversations, mqtt: Option<(Mqtt, Durable)>) -> Router {
    let brokers = |(mqtt, durable)| mqtt::admission_router(mqtt).merge(mqtt::durable_admin_router(durable));
    ws::admin_router(conversations).merge(mqtt.map_or_else(Router::new, brokers))
}
