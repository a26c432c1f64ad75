//! What hooks are told of a subscription: that it has begun, and that it has ended. Each is told to its end, whoever waits for it: a
//! client that breaks off meanwhile must not leave a hook with a beginning that it has half heard, or without the end of it.

use super::Hub;
use super::generation::Generation;
use super::shape::Shape;
use crate::auth::Principal;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// A subscription as hooks know it.
#[derive(Clone)]
pub(super) struct Hooked {
    pub(super) hub: Hub,
    pub(super) generation: Arc<Generation>,
    pub(super) shape: Arc<Shape>,
    pub(super) principal: Arc<Principal>,
    pub(super) id: Arc<str>,
}

/// A beginning that the hooks are being told, or have been.
pub(super) struct Beginning {
    of: Hooked,
    telling: JoinHandle<()>,
}

impl Hooked {
    /// Tells that it has begun.
    pub(super) fn begin(self) -> Beginning {
        let hooked = self.clone();
        let telling = self.hub.0.tasks.spawn(async move {
            let Self { hub, generation, shape, principal, id } = hooked;
            let entity = generation.catalog().entity(shape.entity());
            hub.0.parts.engine.subscribed(&generation.current, &principal, entity, &id).await;
        });
        Beginning { of: self, telling }
    }

    /// Tells that it has ended.
    pub(super) fn end(self) -> JoinHandle<()> {
        let tasks = self.hub.0.tasks.clone();
        tasks.spawn(async move { self.hub.0.tell_ended(&self.generation, &self.shape, &self.principal, &self.id).await })
    }
}

impl Beginning {
    /// Waits until it is told.
    pub(super) async fn told(&mut self) {
        // What panics in a hook is caught where it is asked.
        _ = (&mut self.telling).await;
    }

    /// Tells the end after it.
    pub(super) fn end(self) {
        let tasks = self.of.hub.0.tasks.clone();
        tasks.spawn(async move {
            let Self { of, mut telling } = self;
            if !telling.is_finished() {
                _ = (&mut telling).await;
            }
            _ = of.end().await;
        });
    }
}
