//! What makes subscriptions the same: which rows, and what of them is told. Equal ones are matched and encoded once.

use crate::catalog::EntityId;
use crate::engine::SubscriptionPlan;
use crate::event::matcher::{Error as Unclear, Filter, Image, Projection};
use crate::protocol::Error;
use std::hash::{Hash, Hasher};
use xxhash_rust::xxh3::Xxh3;

/// Which rows of which entity, and what of them is told.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub(super) filter: Filter,
    projection: Projection,
    /// The columns of the key that may be seen; none if none may.
    key: Option<Projection>,
    /// Equal for all that tell the same rows in the same way, under whichever catalog and on whichever replica.
    pub(super) form: u64,
}

impl Shape {
    /// Compiles a plan. What can't be followed without the database is refused.
    pub(super) fn compile(plan: &SubscriptionPlan<'_>) -> Result<Self, Error> {
        let entity = plan.entity();
        let filter = Filter::compile(entity, &plan.rows())?;
        let projection = Projection::compile(entity, &plan.read.node.fields)?;
        let key = if plan.key.is_empty() { None } else { Some(Projection::compile(entity, &plan.key)?) };
        let mut form = Xxh3::new();
        (&entity.source, &entity.table, &entity.schema, &entity.name).hash(&mut form);
        filter.hash_meaning(entity, &mut form);
        for part in [Some(&projection), key.as_ref()].into_iter().flatten() {
            part.hash_meaning(entity, &mut form);
        }
        Ok(Self { filter, projection, key, form: form.finish() })
    }

    pub(super) fn entity(&self) -> EntityId {
        self.filter.entity()
    }

    /// The row as it is told.
    pub(super) fn row(&self, image: &Image<'_>) -> Result<String, Unclear> {
        self.projection.write(image)
    }

    /// Whether anything of the key may be seen.
    pub(super) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// The row's key as it is told.
    pub(super) fn key(&self, image: &Image<'_>) -> Result<String, Unclear> {
        self.key.as_ref().map_or_else(|| Ok("{}".to_owned()), |key| key.write(image))
    }
}

#[cfg(test)]
mod tests {
    use super::Shape;
    use crate::auth::Principal;
    use crate::catalog::test_shop::{catalog, entity};
    use crate::engine::{Engine, Served};
    use crate::observed::Observed;
    use crate::protocol::{Said, Subscribe, Target};
    use crate::telemetry::Metrics;
    use serde_json::{Value, json};
    use std::collections::HashMap;
    use std::sync::Arc;

    /// The form of a subscription to customers under a catalog.
    async fn form(manifest: &str, options: &Value) -> u64 {
        let served = Served { catalog: catalog(&[entity("customers", manifest)]), databases: HashMap::new() };
        let engine = Engine::new(served, Vec::new(), Arc::new(Observed(Metrics::new().unwrap())));
        let target = Target { schema: None, entity: "customers".to_owned() };
        let asked = Subscribe::read(Said::new(&target, Value::Null, Some(&options.to_string()))).unwrap();
        let (current, principal) = (engine.current(), Principal::anonymous());
        let plan = engine.plan_subscription(&current, &principal, &asked).await.unwrap();
        Shape::compile(&plan).unwrap().form
    }

    #[tokio::test]
    async fn what_is_told_makes_the_form_and_nothing_else_of_a_catalog_does() {
        let old = ["id", "name"];
        let some = json!({"columns": old, "filters": [{"column": "age", "operator": "gt", "value": 17}]});
        let (all, few) = (form("", &json!({})).await, form("", &some).await);
        assert_ne!(all, few);
        let secret = "  columns: [{name: secret, hidden: true}]";
        assert_ne!(form(secret, &json!({})).await, all, "a column less");
        assert_eq!(form(secret, &some).await, few, "which nobody here was told");
        let renamed = "  columns: [{name: mood, alias: name}, {name: name, alias: mood}]";
        assert_ne!(form(renamed, &some).await, few, "the same name for another column");
        let typed = "  columns: [{name: name, type: json}]";
        assert_ne!(form(typed, &some).await, few, "the same values written in another way");
        let moved = "  table: friends\n  name: customers\n  columns: [{name: who, alias: id}, {name: whom, alias: name}]";
        let ids = json!({"columns": ["id"]});
        assert_ne!(form(moved, &ids).await, form("", &ids).await, "rows of another table");
        let other = json!({"columns": old, "filters": [{"column": "age", "operator": "gt", "value": 18}]});
        assert_ne!(form("", &other).await, few, "other rows");
        assert_eq!(form("  defaultSort: [{column: name}]\n  limits: {maxRows: 7}", &some).await, few);
    }
}
