//! Sessions that another connection takes over: the library's, with nothing lost that a client is sent meanwhile.
//!
//! From the moment at which a connection asks for a session until it has it, what its client is sent waits in its line.

use super::lines::{Lines, Sent};
use async_trait::async_trait;
use rmqtt::Result;
use rmqtt::context::ServerContext;
use rmqtt::session::Session;
use rmqtt::shared::{DefaultShared, Entry, RetainLoadCallback, Shared};
use rmqtt::types::{
    ForwardedCount, ForwardedRecipients, From, Id, IsAdmin, Message, MsgID, NodeId, OfflineSession, Publish, Reason,
    SessionStatus, SubRelation, SubRelations, SubRelationsMap, SubsSearchParams, SubsSearchResult, Subscribe, SubscribeReturn,
    SubscriptionOptions, To, TopicFilter, Tx, Unsubscribe,
};
use std::result::Result as Outcome;
use std::sync::Arc;

/// What could not be sent, and why.
type Failure = (To, From, Publish, Reason);

/// All sessions. There is one node, so that all subscribers are here.
pub(super) struct Sessions {
    inner: DefaultShared,
    context: ServerContext,
    lines: Lines,
}

impl Sessions {
    pub(super) fn new(context: &ServerContext, lines: Lines) -> Self {
        Self { inner: DefaultShared::new(Some(context.clone())), context: context.clone(), lines }
    }

    fn wrap(&self, inner: Box<dyn Entry>) -> Box<dyn Entry> {
        Box::new(Taking { inner, sessions: self.inner.clone(), lines: self.lines.clone(), holds: false, highest: 0 })
    }

    /// Who is to be told of a message.
    async fn subscribers(&self, from: &From, publish: &Publish) -> SubRelations {
        if let Some(client) = &publish.target_clientid {
            let mut options = SubscriptionOptions::default();
            options.set_qos(publish.qos);
            return vec![(publish.topic.clone(), client.clone(), options, None, None)];
        }
        match self.context.extends.router().await.matches(from.id.clone(), &publish.topic).await {
            Ok(mut found) => found.remove(&self.context.node.id()).unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, topic = &*publish.topic, "subscribers can't be found");
                SubRelations::default()
            }
        }
    }

    /// Sends a message to one of them, or says what is in the way.
    fn send(&self, from: &From, publish: &Publish, (_, client, options, ids, _): SubRelation) -> Option<Failure> {
        let mut own = publish.clone();
        own.dup = false;
        own.retain = publish.retain && options.retain_as_published().unwrap_or(false);
        own.qos = own.qos.less_value(options.qos());
        own.packet_id = None;
        if let (Some(ids), Some(properties)) = (ids, &mut own.properties) {
            properties.subscription_ids = ids;
        }
        self.lines.send(&client, (from.clone(), own), |sent| {
            let next = self.inner.tx(&client);
            let (from, own) = hand_over(next.as_ref().map(|(tx, _)| tx), sent)?;
            let to = next.map_or_else(|| To::from(0, client.clone()), |(_, to)| to);
            Some((to, from, own, Reason::from_static("it has no session")))
        })
    }
}

/// Hands a message to a session, and gives it back if there is none.
fn hand_over(session: Option<&Tx>, sent: Sent) -> Option<Sent> {
    let Some(session) = session else { return Some(sent) };
    let Err(error) = session.unbounded_send(Message::Forward(sent.0, sent.1)) else { return None };
    match error.into_inner() {
        Message::Forward(from, publish) => Some((from, publish)),
        _ => None,
    }
}

#[async_trait]
impl Shared for Sessions {
    fn entry(&self, id: Id) -> Box<dyn Entry> {
        self.wrap(self.inner.entry(id))
    }

    fn exist(&self, client: &str) -> bool {
        self.inner.exist(client)
    }

    async fn forwards(
        &self,
        _: Option<MsgID>,
        from: From,
        publish: Publish,
    ) -> Outcome<ForwardedCount, (ForwardedCount, Vec<Failure>)> {
        let subscribers = self.subscribers(&from, &publish).await;
        let told = self.forwards_to(from, &publish, subscribers, None).await;
        told.map(|told| told.len()).map_err(|(told, failures)| (told.len(), failures))
    }

    async fn forwards_and_get_shareds(
        &self,
        from: From,
        publish: Publish,
    ) -> Outcome<(SubRelationsMap, ForwardedRecipients), (ForwardedRecipients, Vec<Failure>)> {
        let subscribers = self.subscribers(&from, &publish).await;
        let told = self.forwards_to(from, &publish, subscribers, None).await?;
        // Those of groups are told as well: they are on no other node.
        Ok((SubRelationsMap::default(), told))
    }

    async fn forwards_to(
        &self,
        from: From,
        publish: &Publish,
        subscribers: SubRelations,
        _: Option<MsgID>,
    ) -> Outcome<ForwardedRecipients, (ForwardedRecipients, Vec<Failure>)> {
        let (mut told, mut failures) = (ForwardedRecipients::new(), Vec::new());
        for subscriber in subscribers {
            let client = subscriber.1.clone();
            match self.send(&from, publish, subscriber) {
                None => told.push((client, None)),
                Some(failure) => failures.push(failure),
            }
        }
        if failures.is_empty() { Ok(told) } else { Err((told, failures)) }
    }

    fn iter(&self) -> Box<dyn Iterator<Item = Box<dyn Entry>> + Sync + Send + '_> {
        Box::new(self.inner.iter().map(|entry| self.wrap(entry)))
    }

    fn random_session(&self) -> Option<Session> {
        self.inner.random_session()
    }

    async fn session_status(&self, client: &str) -> Option<SessionStatus> {
        self.inner.session_status(client).await
    }

    async fn client_states_count(&self) -> usize {
        self.inner.client_states_count().await
    }

    fn sessions_count(&self) -> usize {
        self.inner.sessions_count()
    }

    async fn query_subscriptions(&self, asked: &SubsSearchParams) -> Vec<SubsSearchResult> {
        self.inner.query_subscriptions(asked).await
    }

    async fn subscriptions_count(&self) -> usize {
        self.inner.subscriptions_count().await
    }

    async fn retain_load_with(&self, filter: &TopicFilter, told: Arc<dyn RetainLoadCallback>) -> Result<Vec<(NodeId, MsgID)>> {
        self.inner.retain_load_with(filter, told).await
    }
}

/// A session; locked, it is about to be somebody else's.
struct Taking {
    inner: Box<dyn Entry>,
    sessions: DefaultShared,
    lines: Lines,
    /// Whether what its client is sent waits for this to end.
    holds: bool,
    /// The highest id of the packets that are sent again under it.
    highest: u16,
}

impl Drop for Taking {
    fn drop(&mut self) {
        if self.holds {
            let id = self.inner.id();
            let next = self.sessions.tx(&id.client_id);
            self.lines.release(&id.client_id, |sent| {
                if hand_over(next.as_ref().map(|(tx, _)| tx), sent).is_some() {
                    tracing::debug!(client = &*id.client_id, "the session of a message is over");
                }
            });
        }
    }
}

#[async_trait]
impl Entry for Taking {
    async fn try_lock(&self) -> Result<Box<dyn Entry>> {
        let inner = self.inner.try_lock().await?;
        self.lines.hold(&inner.id().client_id);
        Ok(Box::new(Self { inner, sessions: self.sessions.clone(), lines: self.lines.clone(), holds: true, highest: 0 }))
    }

    fn id(&self) -> Id {
        self.inner.id()
    }

    fn id_same(&self) -> Option<bool> {
        self.inner.id_same()
    }

    async fn set(&mut self, session: Session, tx: Tx) -> Result<()> {
        session.out_inflight().write().await.advance_next_id(self.highest);
        self.inner.set(session, tx).await
    }

    async fn remove(&mut self) -> Result<Option<(Session, Tx)>> {
        self.inner.remove().await
    }

    async fn remove_with(&mut self, id: &Id) -> Result<Option<(Session, Tx)>> {
        self.inner.remove_with(id).await
    }

    async fn kick(&mut self, clean_start: bool, clear_subscriptions: bool, is_admin: IsAdmin) -> Result<OfflineSession> {
        let client = self.inner.id().client_id.clone();
        let mut left = self.inner.kick(clean_start, clear_subscriptions, is_admin).await?;
        match &mut left {
            OfflineSession::Exist(Some(left)) => self.highest = self.lines.inherit(&client, left),
            OfflineSession::Exist(None) | OfflineSession::NotExist => self.lines.forget(&client),
        }
        Ok(left)
    }

    async fn online(&self) -> bool {
        self.inner.online().await
    }

    async fn is_connected(&self) -> bool {
        self.inner.is_connected().await
    }

    fn session(&self) -> Option<Session> {
        self.inner.session()
    }

    fn exist(&self) -> bool {
        self.inner.exist()
    }

    fn tx(&self) -> Option<Tx> {
        self.inner.tx()
    }

    async fn subscribe(&self, subscribe: &Subscribe) -> Result<SubscribeReturn> {
        self.inner.subscribe(subscribe).await
    }

    async fn unsubscribe(&self, unsubscribe: &Unsubscribe) -> Result<bool> {
        self.inner.unsubscribe(unsubscribe).await
    }

    async fn publish(&self, from: From, publish: Publish) -> Outcome<(), (From, Publish, Reason)> {
        self.inner.publish(from, publish).await
    }

    async fn subscriptions(&self) -> Option<Vec<SubsSearchResult>> {
        self.inner.subscriptions().await
    }
}
