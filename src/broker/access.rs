//! Who may use which topic: a client those below its own name, the service every one.
//!
//! Whoever knows the secret is the service. Everybody else gets in, since `dev` is open to this machine, under no name that
//! would be several topics. A client's name is its client id, or the user that it says it is: two programs of one user, such as
//! mosquitto_sub and mosquitto_pub, can't have the same client id at once.

use async_trait::async_trait;
use rmqtt::codec::v5::SubscribeAckReason;
use rmqtt::hook::{Handler, HookResult, Parameter, ReturnType};
use rmqtt::types::{AuthResult, ConnectInfo, Id, LastWill, PublishAclResult, SubscribeAclResult};
use std::sync::Arc;
use uuid::Uuid;

/// What the service says to the broker, new with every process.
#[derive(Clone)]
pub(super) struct Secret {
    pub(super) user: String,
    pub(super) password: String,
}

/// The rules. Cheap to clone.
#[derive(Clone)]
pub(super) struct Access(Arc<Rules>);

struct Rules {
    prefix: String,
    secret: Secret,
}

impl Access {
    /// The rules for topics that begin with a prefix.
    pub(super) fn new(prefix: &str) -> Self {
        let secret = Secret { user: "resolvespec".to_owned(), password: Uuid::new_v4().simple().to_string() };
        Self(Arc::new(Rules { prefix: prefix.to_owned(), secret }))
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.0.secret
    }

    fn enter(&self, who: &ConnectInfo) -> AuthResult {
        let Secret { user, password } = &self.0.secret;
        if who.username().is_some_and(|name| **name == **user) {
            let knows = who.password().is_some_and(|given| **given == *password.as_bytes());
            return if knows { AuthResult::Allow(true, None) } else { AuthResult::BadUsernameOrPassword };
        }
        let will = who.last_will();
        let will = will.as_ref().map(|will| match will {
            LastWill::V3(will) => &*will.topic,
            LastWill::V5(will) => &*will.topic,
        });
        // A will is published by the broker, which asks nobody then.
        let plain = is_plain(who.client_id()) && who.username().is_none_or(|name| is_plain(name));
        if plain && will.is_none_or(|topic| self.admits(who.id(), topic)) {
            AuthResult::Allow(false, None)
        } else {
            AuthResult::NotAuthorized
        }
    }

    /// Whether somebody may use a topic, or the topics of a filter.
    fn admits(&self, who: &Id, topic: &str) -> bool {
        self.may(&who.client_id, topic) || who.username.as_ref().is_some_and(|name| self.may(name, topic))
    }

    /// Whether a topic, or every topic of a filter, is below a name.
    fn may(&self, name: &str, topic: &str) -> bool {
        let below = topic.strip_prefix(&*self.0.prefix).and_then(|rest| rest.strip_prefix('/'));
        below.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// Whether a name is one level of a topic, and of one topic alone. Those that begin with $ are the service's.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('$') && !name.contains(['/', '+', '#'])
}

#[async_trait]
impl Handler for Access {
    async fn hook(&self, asked: &Parameter, decided: Option<HookResult>) -> ReturnType {
        let answer = match asked {
            Parameter::ClientAuthenticate(who) => HookResult::AuthResult(self.enter(who)),
            Parameter::ClientSubscribeCheckAcl(session, wish) => {
                HookResult::SubscribeAclResult(if self.admits(&session.id, &wish.topic_filter) {
                    SubscribeAclResult::new_success(wish.opts.qos(), None)
                } else {
                    SubscribeAclResult::new_failure(SubscribeAckReason::NotAuthorized)
                })
            }
            Parameter::MessagePublishCheckAcl(session, message) => {
                let own = self.admits(&session.id, &message.topic);
                // MQTT 3.1.1 has no word for a refusal, so that the end of the connection is the only one that it would hear.
                HookResult::PublishAclResult(if own { PublishAclResult::allow() } else { PublishAclResult::rejected(true, None) })
            }
            _ => return (true, decided),
        };
        (false, Some(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::{Access, is_plain};

    #[test]
    fn a_client_may_use_what_is_below_its_own_name_alone() {
        let access = Access::new("spec");
        for (topic, may) in [
            ("spec/a/request", true),
            ("spec/a/#", true),
            ("spec/a/notify/+", true),
            ("spec/a", false),
            ("spec/ab/request", false),
            ("spec/b/request", false),
            ("spec/+/response", false),
            ("spec/#", false),
            ("+/a/request", false),
            ("#", false),
            ("specs/a/request", false),
            ("$SYS/a/request", false),
        ] {
            assert_eq!(access.may("a", topic), may, "{topic}");
        }
    }

    #[test]
    fn a_client_is_no_part_of_a_pattern() {
        for (client, plain) in
            [("a", true), ("a.b-ü", true), ("", false), ("+", false), ("a/b", false), ("#", false), ("$x", false)]
        {
            assert_eq!(is_plain(client), plain, "{client}");
        }
    }
}
