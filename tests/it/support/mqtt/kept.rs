//! What a client of a test remembers of the session that its broker has kept: that it has nothing of its own to send again.

use futures_util::future::BoxFuture;
use rumqttc_v5::{PersistedAckMode, PersistedSession, SessionStore, SessionStoreError, SessionStoreKey};

#[derive(Debug)]
pub(super) struct NothingToSend {
    pub(super) expiry: Option<u32>,
}

type Stored<'a, T> = BoxFuture<'a, Result<T, SessionStoreError>>;

impl SessionStore for NothingToSend {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Stored<'a, Option<PersistedSession>> {
        let session = PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: self.expiry,
            outgoing_inflight_upper_limit: None,
            ack_mode: PersistedAckMode::Automatic,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(std::future::ready(Ok(Some(session))))
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> Stored<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Stored<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}
