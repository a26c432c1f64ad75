//! The methods of `resolvespec.v1`: read what came, have the engine or a conversation answer it.

use super::Grpc;
use super::line::{Outbox, late, open};
use super::metadata::{authenticate, complete, deadline, form, session};
use super::payload::json;
use super::proto::Message;
use super::proto::resolve_spec_server::ResolveSpec;
use super::status::{name, status};
use crate::protocol::{Code, Error};
use crate::telemetry::CallTimer;
use crate::transport::conversation::{Begin, Seat};
use crate::transport::cores::Peer;
use crate::transport::message::{Said, Subscription, Unreadable, decode_alone, success};
use axum::extract::ConnectInfo;
use std::time::Instant;
use tokio::time::timeout_at;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status, Streaming};

/// The service.
pub(super) struct Service(pub(super) Grpc);

#[tonic::async_trait]
impl ResolveSpec for Service {
    type SubscribeStream = Outbox;
    type SessionStream = Outbox;

    async fn call(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        let timer = self.0.calls.start("Call");
        told(timer, self.answer(request).await)
    }

    async fn subscribe(&self, request: Request<Message>) -> Result<Response<Outbox>, Status> {
        let timer = self.0.calls.start("Subscribe");
        told(timer, self.tell(request).await)
    }

    async fn session(&self, request: Request<Streaming<Message>>) -> Result<Response<Outbox>, Status> {
        let timer = self.0.calls.start("Session");
        told(timer, self.converse(request).await)
    }
}

impl Service {
    async fn answer(&self, request: Request<Message>) -> Result<Message, Error> {
        let (metadata, _, message) = request.into_parts();
        let deadline = deadline(&metadata)?;
        let answer = Box::pin(self.answer_until(deadline, &metadata, message));
        match deadline {
            // What is dropped is cancelled, to its statement.
            Some(at) => timeout_at(at.into(), answer).await.unwrap_or_else(|_| Err(late())),
            None => answer.await,
        }
    }

    async fn answer_until(&self, deadline: Option<Instant>, metadata: &MetadataMap, message: Message) -> Result<Message, Error> {
        let principal = authenticate(&self.0, metadata).await?;
        let form = form(metadata)?;
        let message = json(message).and_then(|json| decode_alone(&json, "request")).map_err(reason)?;
        let Said::Request(request) = message.said else {
            let message = "Call answers a request; subscriptions are begun with Subscribe, or in a Session";
            return Err(Error::new(Code::InvalidMessageType, message));
        };
        let conversations = &self.0.conversations;
        let request = complete(*request, metadata, deadline)?;
        let response = conversations.engine.handle(&principal, &request).await?;
        let mut text = Vec::new();
        success(&mut text, &message.id, response, conversations.settings.max_answer_bytes).await?;
        Ok(form.message(text.into()))
    }

    async fn tell(&self, request: Request<Message>) -> Result<Outbox, Error> {
        let (metadata, extensions, message) = request.into_parts();
        let (deadline, form) = (deadline(&metadata)?, form(&metadata)?);
        let seat = self.enter(&metadata, &extensions).await?;
        let message = json(message).and_then(|json| decode_alone(&json, "subscription")).map_err(reason)?;
        let Said::Subscription(asked @ Subscription::Subscribe(_)) = message.said else {
            let message = "Subscribe takes an operation subscribe; it ends when the call is cancelled";
            return Err(Error::new(Code::InvalidSubscriptionOperation, message));
        };
        let (line, outbox) = open(None, form, deadline);
        let conversations = self.0.conversations.clone();
        self.0.conversations.spawn(conversations.hold(seat, || line, Begin::Subscribe(message.id, asked)));
        Ok(outbox)
    }

    async fn converse(&self, request: Request<Streaming<Message>>) -> Result<Outbox, Error> {
        let (metadata, extensions, messages) = request.into_parts();
        let (deadline, form) = (deadline(&metadata)?, form(&metadata)?);
        let begin = session(&metadata)?.map_or(Begin::Nothing, Begin::Restore);
        let seat = self.enter(&metadata, &extensions).await?;
        let (line, outbox) = open(Some(messages), form, deadline);
        let conversations = self.0.conversations.clone();
        self.0.conversations.spawn(conversations.hold(seat, || line, begin));
        Ok(outbox)
    }

    /// Lets a client in that stays.
    async fn enter(&self, metadata: &MetadataMap, extensions: &Extensions) -> Result<Seat, Error> {
        let streams = &self.0.streams;
        let entered = async {
            let principal = authenticate(&self.0, metadata).await?;
            let remote = extensions.get::<ConnectInfo<Peer>>().map(|info| info.0.0);
            self.0.conversations.admit(principal, remote, streams)
        };
        entered.await.inspect_err(|error| streams.refused(error.code.as_str()))
    }
}

fn reason(unreadable: Unreadable) -> Error {
    unreadable.error
}

/// Tells what came of a call, and counts it.
fn told<T>(timer: CallTimer, outcome: Result<T, Error>) -> Result<Response<T>, Status> {
    let told = outcome.map(Response::new).map_err(|error| status(&error));
    timer.finish(name(told.as_ref().map_or_else(Status::code, |_| tonic::Code::Ok)));
    told
}
