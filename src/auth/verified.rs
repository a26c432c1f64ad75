//! Tokens that a key has verified lately, with what they said.
//!
//! Checking an RSA or ECDSA signature takes longer than many a query, and a client sends the same token with each of its
//! requests. Each key has its own memory, so that forgetting a key forgets its tokens. Only tokens that were accepted
//! get in: a caller without a good one can't fill it.

use super::principal::Principal;
use std::collections::HashMap;
use std::mem;
use std::sync::{PoisonError, RwLock};

/// The tokens that one key has verified lately. It holds at most twice `GENERATION_SIZE`.
#[derive(Default)]
pub(super) struct Verified {
    generations: RwLock<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<Box<str>, Principal>,
    old: HashMap<Box<str>, Principal>,
}

const GENERATION_SIZE: usize = 1024;

impl Verified {
    /// What the token said, if it ends after this time, in seconds since 1970.
    pub(super) fn find(&self, token: &str, time: u64) -> Option<Principal> {
        let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
        let principal = generations.young.get(token).or_else(|| generations.old.get(token))?;
        principal.expires_at.filter(|expires_at| *expires_at > time).map(|_| principal.clone())
    }

    /// Keeps what the token said. When a generation is full, the one before it is forgotten.
    pub(super) fn remember(&self, token: &str, principal: &Principal) {
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        if generations.young.len() >= GENERATION_SIZE {
            generations.old = mem::take(&mut generations.young);
        }
        generations.young.insert(token.into(), principal.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_remembered_until_it_ends() {
        let verified = Verified::default();
        verified.remember("token", &Principal { expires_at: Some(100), ..Principal::default() });
        assert!(verified.find("token", 99).is_some());
        assert!(verified.find("token", 100).is_none());
        assert!(verified.find("another", 99).is_none());
    }

    #[test]
    fn the_memory_is_bounded_and_keeps_the_youngest() {
        let verified = Verified::default();
        let principal = Principal { expires_at: Some(100), ..Principal::default() };
        for number in 0..5 * GENERATION_SIZE {
            verified.remember(&number.to_string(), &principal);
        }
        let generations = verified.generations.read().unwrap();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION_SIZE);
        drop(generations);
        assert!(verified.find(&(5 * GENERATION_SIZE - 1).to_string(), 1).is_some());
        assert!(verified.find("0", 1).is_none());
    }
}
