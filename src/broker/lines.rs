//! What a client is sent while another connection takes its session over, and what was being written when its socket broke: the
//! library loses both. `takeover` says when that is.

use async_trait::async_trait;
use rmqtt::codec::types::QoS;
use rmqtt::hook::{Handler, HookResult, Parameter, ReturnType};
use rmqtt::inflight::{MomentStatus, OutInflightMessage};
use rmqtt::session::OfflineInfo;
use rmqtt::types::{ClientId, From, Id, Publish};
use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A message and who has sent it.
pub(super) type Sent = (From, Publish);

/// The lines of all clients. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Mutex<HashMap<ClientId, Line>>>);

#[derive(Default)]
struct Line {
    /// Written last by a session, and not acknowledged. The library counts it among those only after the write.
    written: Option<(Id, Sent)>,
    /// What is to be told to whoever has the session then, while it is taken over.
    waiting: Option<VecDeque<Sent>>,
}

impl Line {
    fn is_empty(&self) -> bool {
        self.written.is_none() && self.waiting.is_none()
    }
}

impl Lines {
    /// A session is about to be taken over: what its client is sent from now on waits.
    pub(super) fn hold(&self, client: &ClientId) {
        self.lines().entry(client.clone()).or_default().waiting = Some(VecDeque::new());
    }

    /// It is over: what has waited goes to `tell`, and what is sent after that goes its usual way.
    pub(super) fn release(&self, client: &ClientId, mut tell: impl FnMut(Sent)) {
        let mut lines = self.lines();
        let Some(line) = lines.get_mut(client) else { return };
        line.waiting.take().into_iter().flatten().for_each(&mut tell);
        if line.is_empty() {
            lines.remove(client);
        }
    }

    /// Lets a message wait, or has `tell` tell it. Nothing is taken over in between.
    pub(super) fn send<T>(&self, client: &ClientId, sent: Sent, tell: impl FnOnce(Sent) -> Option<T>) -> Option<T> {
        let mut lines = self.lines();
        match lines.get_mut(client).and_then(|line| line.waiting.as_mut()) {
            Some(waiting) => {
                waiting.push_back(sent);
                None
            }
            None => tell(sent),
        }
    }

    /// Takes what a session leaves to the next one before anything that waits, oldest first, and tells the highest id of the
    /// packets among it. What is owed of QoS 2 stays where it is.
    pub(super) fn inherit(&self, client: &ClientId, left: &mut OfflineInfo) -> u16 {
        let (mut first, second): (Vec<_>, Vec<_>) =
            left.inflight_messages.drain(..).partition(|message| matches!(message.status, MomentStatus::UnAck));
        // The library begins with the last.
        left.inflight_messages = second.into_iter().rev().collect();
        let mut lines = self.lines();
        let line = lines.entry(client.clone()).or_default();
        first.extend(line.written.take().and_then(|(_, written)| forgotten(&first, written)));
        let again = first.into_iter().map(|OutInflightMessage { from, mut publish, .. }| {
            publish.dup = true;
            (from, publish)
        });
        let inherited: VecDeque<Sent> = again.chain(left.offline_messages.drain(..)).collect();
        let highest = inherited.iter().filter_map(|(_, publish)| publish.packet_id.map(NonZeroU16::get)).max();
        let waiting = line.waiting.get_or_insert_default();
        *waiting = inherited.into_iter().chain(waiting.drain(..)).collect();
        highest.unwrap_or(0)
    }

    /// A client begins anew.
    pub(super) fn forget(&self, client: &ClientId) {
        if let Some(line) = self.lines().get_mut(client) {
            line.written = None;
        }
    }

    fn change(&self, client: &ClientId, change: impl FnOnce(&mut Line)) {
        let mut lines = self.lines();
        let line = lines.entry(client.clone()).or_default();
        change(line);
        if line.is_empty() {
            lines.remove(client);
        }
    }

    /// Held for as long as it takes to look something up or to put a message into a queue.
    fn lines(&self) -> MutexGuard<'_, HashMap<ClientId, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was written last, if it is not among what is known to be unacknowledged.
fn forgotten(known: &[OutInflightMessage], (from, publish): Sent) -> Option<OutInflightMessage> {
    let is_known = known.iter().any(|message| message.publish.packet_id == publish.packet_id);
    (!is_known).then(|| OutInflightMessage::new(MomentStatus::UnAck, from, publish))
}

#[async_trait]
impl Handler for Lines {
    async fn hook(&self, told: &Parameter, decided: Option<HookResult>) -> ReturnType {
        match told {
            Parameter::MessageDelivered(session, from, publish) if publish.qos == QoS::AtLeastOnce => {
                let written = (session.id.clone(), (from.clone(), Publish::clone(publish)));
                self.change(&session.id.client_id, |line| line.written = Some(written));
            }
            Parameter::MessageAcked(session, _, publish) => self.change(&session.id.client_id, |line| {
                line.written = line.written.take().filter(|(_, (_, written))| written.packet_id != publish.packet_id);
            }),
            Parameter::SessionTerminated(session, _) => self.change(&session.id.client_id, |line| {
                line.written = line.written.take().filter(|(of, _)| *of != session.id);
            }),
            _ => {}
        }
        (true, decided)
    }
}
