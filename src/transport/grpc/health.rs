//! Whether calls should come here, as `grpc.health.v1` asks: what `/ready` says over HTTP, drain and all.
//!
//! Whoever watches is told by one observer for all, which looks only while somebody watches.

use super::proto::resolve_spec_server::SERVICE_NAME;
use crate::transport::admin;
use crate::transport::rest::Rest;
use axum::extract::State;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    rest: Rest,
    seen: watch::Sender<ServingStatus>,
}

/// Between two looks of the observer.
const INTERVAL: Duration = Duration::from_secs(1);

impl Health {
    /// Over the readiness of REST.
    #[must_use]
    pub fn new(rest: Rest) -> Self {
        Self { rest, seen: watch::Sender::new(ServingStatus::Unknown) }
    }

    /// Looks for those who watch, for as long as it is polled.
    pub async fn observe(&self) -> Infallible {
        loop {
            if self.seen.receiver_count() > 0 {
                let now = self.look().await;
                self.seen.send_if_modified(|seen| std::mem::replace(seen, now) != now);
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    async fn look(&self) -> ServingStatus {
        let ready = admin::ready(State(self.rest.clone())).await.status().is_success();
        if ready { ServingStatus::Serving } else { ServingStatus::NotServing }
    }

    async fn watched(&self) -> BoxStream<'static, Result<HealthCheckResponse, Status>> {
        let mut seen = self.seen.subscribe();
        let first = self.look().await;
        // So that the observer tells of what is different from this.
        self.seen.send_if_modified(|seen| std::mem::replace(seen, first) != first);
        seen.mark_unchanged();
        let drain = self.rest.drain.clone();
        let later = stream::unfold((seen, first), |(mut seen, mut told)| async move {
            loop {
                seen.changed().await.ok()?;
                let now = *seen.borrow_and_update();
                if now != told {
                    told = now;
                    return Some((now, (seen, told)));
                }
            }
        });
        let closed: BoxFuture<'static, ()> = Box::pin(async move { drain.closed().await });
        // At the end everyone is told, and goes away, so that the connection can be closed.
        let last = stream::iter([Ok(answer(ServingStatus::NotServing)), Err(Status::unavailable("this replica ends"))]);
        stream::iter([first]).chain(later).map(|now| Ok(answer(now))).take_until(closed).chain(last).boxed()
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        if !is_known(request.get_ref()) {
            return Err(Status::not_found("there is no such service"));
        }
        Ok(Response::new(answer(self.look().await)))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        if !is_known(request.get_ref()) {
            // The protocol has such a stream wait for the service to come, and there is none that could.
            let unknown = stream::iter([Ok(answer(ServingStatus::ServiceUnknown))]);
            return Ok(Response::new(unknown.boxed()));
        }
        Ok(Response::new(self.watched().await))
    }
}

fn is_known(request: &HealthCheckRequest) -> bool {
    matches!(request.service.as_str(), "" | SERVICE_NAME)
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
