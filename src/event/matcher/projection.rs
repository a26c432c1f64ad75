//! The columns of a subscription, taken out of an image without encoding a value again.

use super::Error;
use super::image::Image;
use crate::catalog::{ColumnId, Entity, Kind};
use crate::engine::plan::Field;
use crate::protocol::{Code, Error as Refusal};
use std::hash::{Hash, Hasher};

/// The columns of an answer in their order, each with the JSON text that comes before its value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Projection(Box<[(ColumnId, Box<str>)]>);

impl Projection {
    /// Takes the fields of a read. What only the database can make of a row is refused.
    pub fn compile(entity: &Entity, fields: &[Field<'_>]) -> Result<Self, Refusal> {
        let part = |(place, field): (usize, &Field<'_>)| {
            let lead = if place == 0 { '{' } else { ',' };
            let key = |name: &str| format!("{lead}{}:", serde_json::Value::from(name)).into_boxed_str();
            match field {
                Field::Column(id) => Ok((*id, key(&entity.column(*id).name))),
                Field::Computed(place) => Err(refuse(&entity.computed[*place].name, "a computed column")),
                Field::Preload(plan) => Err(refuse(&plan.relation.name, "a preload")),
            }
        };
        fields.iter().enumerate().map(part).collect::<Result<_, _>>().map(Self)
    }

    /// Writes the row with these columns.
    pub fn write(&self, image: &Image<'_>) -> Result<String, Error> {
        let mut text = String::with_capacity(self.0.len() * 24 + 2);
        for (id, lead) in &self.0 {
            text.push_str(lead);
            text.push_str(image.raw(*id)?);
        }
        text.push_str(if self.0.is_empty() { "{}" } else { "}" });
        Ok(text)
    }

    /// Hashes what is told: under which names, of which columns, and how values are written. Another catalog may have other
    /// places for the same.
    pub fn hash_meaning(&self, entity: &Entity, state: &mut impl Hasher) {
        self.0.len().hash(state);
        for (id, lead) in &self.0 {
            let column = entity.column(*id);
            (lead, &column.ident).hash(state);
            let mut kind = &column.kind;
            while let Kind::Array(item) = kind {
                kind.as_str().hash(state);
                kind = item;
            }
            kind.as_str().hash(state);
        }
    }
}

fn refuse(name: &str, what: &str) -> Refusal {
    let message = format!("{what} such as '{name}' is not told with changes; leave it out, and read it when the change arrives");
    Refusal::new(Code::UnmatchableFilter, message).with_detail(name)
}

#[cfg(test)]
mod tests {
    use super::Projection;
    use crate::catalog::test_shop::{catalog, entity};
    use crate::engine::plan::Field;
    use crate::event::matcher::{Error, Image};
    use crate::protocol::Code;

    #[test]
    fn values_keep_their_text_and_the_subscription_its_order() {
        let computed = "  computed:\n    - {name: twice, expression: id * 2, type: integer}";
        let catalog = catalog(&[entity("products", computed)]);
        let products = &catalog.entities()[0];
        let column = |name: &str| Field::Column(products.find_column(name).expect("the column is there"));
        let projection = Projection::compile(products, &[column("label"), column("id")]).expect("both are columns");
        let image = Image::read(products, r#"{"id":1.50, "label" : "\u0041\/"}"#).expect("it is a row");
        assert_eq!(projection.write(&image).as_deref(), Ok(r#"{"label":"\u0041\/","id":1.50}"#));
        let part = Image::read(products, r#"{"id":1}"#).expect("it is an object of columns");
        assert!(matches!(projection.write(&part), Err(Error::Malformed(_))));
        let refused = Projection::compile(products, &[Field::Computed(0)]).expect_err("it is SQL");
        assert_eq!(refused.code, Code::UnmatchableFilter);
    }
}
