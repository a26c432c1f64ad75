//! One generation: a number, and the manifests that it is made of.

use crate::manifest::values::{Carried, unpack};
use crate::manifest::{Manifests, Problem};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use xxhash_rust::xxh3::Xxh3;

/// A generation of the catalog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Generation {
    /// Its number; a later one has a higher one.
    pub number: u64,
    /// What its resources come to; the same for the same resources.
    pub digest: String,
    /// When it was published.
    pub published_at: String,
    /// What it is made of.
    pub manifests: Vec<Carried>,
}

impl Generation {
    /// The generation after another.
    #[must_use]
    pub fn after(before: Option<&Generation>, manifests: Vec<Carried>) -> Self {
        let number = before.map_or(1, |before| before.number + 1);
        Self {
            number,
            digest: digest(&manifests),
            published_at: jiff::Timestamp::now().to_string(),
            manifests: dated(before, number, manifests),
        }
    }

    /// Reads what stands in the bucket.
    pub fn read(value: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(value)
    }

    /// What stands in the bucket.
    pub fn write(&self) -> Result<Bytes, serde_json::Error> {
        serde_json::to_vec(self).map(Bytes::from)
    }

    /// The manifests, read as if they stood in files.
    pub fn unpack(&self) -> Result<Manifests, Vec<Problem>> {
        unpack(&self.manifests)
    }

    /// Whether both are the same generation, and not two that happen to have one number.
    #[must_use]
    pub fn is(&self, other: &Generation) -> bool {
        self.number == other.number && self.digest == other.digest
    }
}

/// Each resource with the generation since which it is what it is, so that whoever reads this one alone knows which earlier
/// ones have it too.
fn dated(before: Option<&Generation>, number: u64, mut manifests: Vec<Carried>) -> Vec<Carried> {
    let earlier = before.iter().flat_map(|before| before.manifests.iter().map(|one| (one.identity(), (one, before.number))));
    let earlier: HashMap<String, (&Carried, u64)> = earlier.collect();
    for one in &mut manifests {
        let same = earlier.get(&one.identity()).filter(|(earlier, _)| earlier.says_the_same(one));
        // One that was published by an earlier version tells nothing, and is in the generation before at least.
        let since = same.map(|(earlier, before)| earlier.since.unwrap_or(*before));
        one.since = Some(since.unwrap_or(number));
    }
    manifests
}

/// The order counts, since the catalog's follows it, and so do the tables; where a resource was declared, and since when, does
/// not.
fn digest(manifests: &[Carried]) -> String {
    let mut hash = Xxh3::new();
    for carried in manifests {
        hash.update(carried.resource.to_string().as_bytes());
        if let Some(table) = &carried.table {
            hash.update(b"\t");
            hash.update(table.as_bytes());
        }
        hash.update(b"\n");
    }
    format!("{:032x}", hash.digest128())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn carried(origin: &str, name: &str) -> Carried {
        let resource = json!({"kind": "Entity", "metadata": {"name": name}});
        Carried { origin: origin.to_owned(), resource, table: None, since: None }
    }

    #[test]
    fn the_digest_is_of_the_resources_alone() {
        let first = Generation::after(None, vec![carried("a:1", "x"), carried("a:2", "y")]);
        let moved = Generation::after(Some(&first), vec![carried("b:9", "x"), carried("b:1", "y")]);
        assert_eq!((first.number, moved.number), (1, 2));
        assert_eq!(first.digest, moved.digest);
        assert!(!first.is(&moved));
        assert_ne!(first.digest, Generation::after(None, vec![carried("a:2", "y"), carried("a:1", "x")]).digest);
    }

    #[test]
    fn a_resource_knows_since_when_it_is_what_it_is() {
        let since = |generation: &Generation| generation.manifests.iter().map(|one| one.since).collect::<Vec<_>>();
        let first = Generation::after(None, vec![carried("a:1", "x"), carried("a:2", "y")]);
        assert_eq!(since(&first), [Some(1), Some(1)]);
        let other_table = Carried { table: Some("another".to_owned()), ..carried("a:2", "y") };
        let second = Generation::after(Some(&first), vec![carried("b:1", "z"), carried("b:2", "x"), other_table.clone()]);
        assert_eq!(since(&second), [Some(2), Some(1), Some(2)]);
        let mut bare = second.clone();
        bare.manifests.iter_mut().for_each(|one| one.since = None);
        let third = Generation::after(Some(&bare), vec![other_table, carried("c:1", "w")]);
        assert_eq!(since(&third), [Some(2), Some(3)], "an earlier version told nothing");
    }

    #[test]
    fn what_is_written_is_read() {
        let generation = Generation::after(None, vec![carried("a:1", "x")]);
        assert_eq!(Generation::read(&generation.write().unwrap()).unwrap(), generation);
        assert!(Generation::read(b"{}").is_err());
    }
}
