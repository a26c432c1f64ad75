//! How a table is served: which entities it has, and what they make of its rows.
//!
//! Replicas can have different catalogs for a while. Two that say the same of a table mean the same by a change of its rows.

use super::entity::{Entity, EntityId};
use std::collections::{BTreeMap, HashMap};
use xxhash_rust::xxh3::Xxh3;

/// The tables of each source, by their names with a dot between them.
pub(in crate::catalog) type Servings = HashMap<String, BTreeMap<String, Serving>>;

/// A table, and who serves it.
#[derive(Debug)]
pub struct Serving {
    /// Its entities, in the order of the manifests.
    pub entities: Vec<EntityId>,
    /// The same word wherever the table is served alike.
    pub digest: String,
}

/// Gathers what serves each table. The changes of views are nobody's.
pub(in crate::catalog) fn servings(entities: &[Entity]) -> Servings {
    let mut by_table: HashMap<&str, BTreeMap<String, Vec<&Entity>>> = HashMap::new();
    for entity in entities.iter().filter(|entity| !entity.is_view) {
        by_table.entry(&entity.source).or_default().entry(entity.table.to_string()).or_default().push(entity);
    }
    let of_table = |(table, entities): (String, Vec<&Entity>)| {
        let ids = entities.iter().map(|entity| entity.id).collect();
        (table, Serving { entities: ids, digest: digest(entities) })
    };
    by_table.into_iter().map(|(source, tables)| (source.to_owned(), tables.into_iter().map(of_table).collect())).collect()
}

/// Of everything that the images of a row depend on, and of nothing else: another description is no other meaning.
fn digest(mut entities: Vec<&Entity>) -> String {
    entities.sort_by(|one, other| (&one.schema, &one.name).cmp(&(&other.schema, &other.name)));
    let mut hash = Xxh3::new();
    let mut say = |word: &str| {
        hash.update(word.as_bytes());
        hash.update(&[0]);
    };
    for entity in entities {
        say(&entity.schema);
        say(&entity.name);
        for (id, column) in entity.columns() {
            for word in [column.ident.as_str(), &column.name, column.kind.as_str(), &column.declared_type] {
                say(word);
            }
            say(if entity.primary_key.contains(&id) { "key" } else { "" });
        }
        // No column has such a name.
        say("\0");
    }
    format!("{:016x}", hash.digest())
}

#[cfg(test)]
mod tests {
    use crate::catalog::test_shop::{catalog, entity};

    fn digest(entities: &[String]) -> String {
        catalog(entities).serving("shop", "main.products").map(|served| served.digest.clone()).unwrap()
    }

    #[test]
    fn a_table_is_served_alike_unless_what_is_told_of_its_rows_differs() {
        let plain = digest(&[entity("products", "")]);
        let other = || entity("goods", "  table: products\n  apiSchema: crm");
        for same in [
            vec![entity("orders", ""), entity("products", "")],
            vec![entity("products", "  description: What is sold.")],
            vec![entity("products", "  limits: {maxRows: 5}")],
        ] {
            assert_eq!(digest(&same), plain, "{same:?}");
        }
        for different in [
            vec![entity("products", "  name: goods")],
            vec![entity("products", "  columns: [{name: label, alias: title}]")],
            vec![entity("products", ""), other()],
        ] {
            assert_ne!(digest(&different), plain, "{different:?}");
        }
        assert_eq!(digest(&[entity("products", ""), other()]), digest(&[other(), entity("products", "")]));
        assert!(catalog(&[entity("totals", "")]).serving("shop", "main.totals").is_none(), "a view has no changes");
    }
}
