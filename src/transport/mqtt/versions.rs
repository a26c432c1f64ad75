//! Which version of MQTT is spoken next: 5, and 3.1.1 only with a broker that says, or shows again and again, that it does not
//! know 5.
//!
//! A broker of 3.1.1 hangs up on a connection of MQTT 5, and so does a balancer whose broker is away. So one end of a connection
//! says nothing, and whoever has fallen back tries 5 again with the next connection.

use super::wire::{Refusal, Version};

/// So many connections in a row that are closed before any answer say that 5 is not known.
const CLOSED: u8 = 3;

/// What is known of the version that a broker speaks.
pub(super) struct Versions {
    next: Version,
    /// It is given and not found out.
    is_given: bool,
    /// It was spoken: whoever hangs up later has another reason.
    knows_5: bool,
    /// Connections in a row that were closed before any answer.
    closed: u8,
}

impl Versions {
    pub(super) fn new(given: Option<Version>) -> Self {
        Self { next: given.unwrap_or(Version::V5), is_given: given.is_some(), knows_5: false, closed: 0 }
    }

    pub(super) fn next(&self) -> Version {
        self.next
    }

    /// A connection has ended, that stood or never did. Whether another version is tried because of that.
    pub(super) fn ended(&mut self, stood: bool, refusal: Refusal) -> bool {
        let before = self.next;
        match (self.next, refusal) {
            _ if self.is_given => {}
            // One that hung up on 5 before need not do so as often again.
            (Version::V4, _) => (self.next, self.closed) = (Version::V5, if stood { CLOSED - 1 } else { 0 }),
            (Version::V5, _) if stood => (self.knows_5, self.closed) = (true, 0),
            (Version::V5, Refusal::OfVersion) => self.next = Version::V4,
            (Version::V5, Refusal::Closed) if !self.knows_5 => {
                self.closed += 1;
                if self.closed >= CLOSED {
                    (self.next, self.closed) = (Version::V4, 0);
                }
            }
            (Version::V5, Refusal::Closed | Refusal::Other) => self.closed = 0,
        }
        self.next != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Refusal::{Closed, OfVersion, Other};
    use Version::{V4, V5};

    /// Ends one connection after the other, and has the versions that were tried.
    fn tried(given: Option<Version>, ends: &[(bool, Refusal)]) -> Vec<Version> {
        let mut versions = Versions::new(given);
        let mut tried = vec![versions.next()];
        for (stood, refusal) in ends {
            versions.ended(*stood, *refusal);
            tried.push(versions.next());
        }
        tried
    }

    #[test]
    fn a_word_of_the_broker_is_enough_and_a_connection_that_is_closed_is_not() {
        assert_eq!(tried(None, &[(false, OfVersion)]), [V5, V4]);
        assert_eq!(tried(None, &[(false, Closed); 3]), [V5, V5, V5, V4]);
        assert_eq!(tried(None, &[(false, Closed), (false, Closed), (false, Other), (false, Closed)]), [V5; 5]);
        assert_eq!(tried(None, &[(false, Closed), (true, Other), (false, Closed), (false, Closed), (false, Closed)]), [V5; 6]);
        assert_eq!(tried(None, &[(true, Other), (false, OfVersion)]), [V5, V5, V4], "another broker may be there by now");
    }

    #[test]
    fn after_the_older_one_the_newer_is_tried_again() {
        assert_eq!(tried(None, &[(false, OfVersion), (false, Other), (false, OfVersion)]), [V5, V4, V5, V4]);
        let stood = [(false, OfVersion), (true, Other), (false, Closed)];
        assert_eq!(tried(None, &stood), [V5, V4, V5, V4], "it has spoken the older one, and hangs up on the newer");
    }

    #[test]
    fn a_version_that_is_given_is_spoken() {
        for version in [V4, V5] {
            assert_eq!(tried(Some(version), &[(false, OfVersion), (false, Closed), (true, Other)]), [version; 4]);
        }
    }
}
