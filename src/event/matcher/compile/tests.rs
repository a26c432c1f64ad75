//! What is compiled, what is refused, and what a filter answers; that it answers as databases do is tried on them.

use crate::auth::Principal;
use crate::catalog::test_shop::{catalog, entity};
use crate::catalog::{Catalog, Entity};
use crate::engine::plan::{Key, Predicate, Scope, Value};
use crate::event::matcher::{Error, Filter, Image};
use crate::protocol::{Code, Options};
use serde_json::json;

fn shop() -> Catalog {
    let orders = "  computed:\n    - {name: twice, expression: amount * 2, type: decimal}\n  operators:\n    - {name: dear, condition: amount > 100}";
    catalog(&[entity("orders", orders), entity("order_products", ""), entity("log", "")])
}

fn compile(catalog: &Catalog, entity: &Entity, filter: &serde_json::Value) -> Result<Filter, crate::protocol::Error> {
    let options: Options = serde_json::from_value(json!({"filters": [filter]})).expect("the filter is well-formed");
    let principal = Principal::anonymous();
    let predicate = Predicate::resolve(&mut Scope::new(catalog, &principal, entity), entity, &options.filters);
    Filter::compile(entity, &predicate.expect("the filter fits the entity"))
}

const ORDER: &str = r#"{"id":1,"customer_id":7,"payer":null,"note":"a \u0041","amount":12.5,"state":"glad","double":25}"#;

#[test]
fn what_only_the_database_evaluates_is_refused() {
    let catalog = shop();
    let orders = &catalog.entities()[0];
    let refused = compile(&catalog, orders, &json!({"column": "twice", "operator": "eq", "value": 1})).expect_err("it is SQL");
    assert_eq!((refused.code, refused.detail.as_deref()), (Code::UnmatchableFilter, Some("twice")));
    let declared = Predicate::Any(vec![Predicate::always(), Predicate::Declared(0, Vec::new())]);
    let refused = Filter::compile(orders, &declared).expect_err("it is SQL");
    assert_eq!((refused.code, refused.detail.as_deref()), (Code::UnmatchableFilter, Some("dear")));
}

#[test]
fn a_pattern_for_which_a_text_would_be_read_again_and_again_is_refused() {
    let catalog = shop();
    let orders = &catalog.entities()[0];
    let like = |gaps: usize| json!({"column": "note", "operator": "like", "value": format!("%a{}b%", "_".repeat(gaps))});
    assert!(compile(&catalog, orders, &like(100)).is_ok());
    let refused = compile(&catalog, orders, &like(200)).expect_err("it is too long");
    assert_eq!((refused.code, refused.detail.as_deref()), (Code::UnmatchableFilter, Some("note")));
    assert!(refused.message.contains("between two % it has more than 128 characters with _ among them"), "{}", refused.message);
}

#[test]
fn unknown_is_not_true_and_neither_is_its_opposite() {
    let catalog = shop();
    let orders = &catalog.entities()[0];
    let image = Image::read(orders, ORDER).expect("it is a row");
    let payer = json!({"column": "payer", "operator": "eq", "value": 1});
    let note = json!({"column": "note", "operator": "eq", "value": "a A"});
    let cases = [
        (payer.clone(), false),
        (json!({"not": payer}), false),
        (json!({"or": [payer, note]}), true),
        (json!({"and": [payer, note]}), false),
        (json!({"not": {"and": [payer, {"not": note}]}}), true),
        (json!({"column": "payer", "operator": "in", "value": []}), false),
        (json!({"not": {"column": "payer", "operator": "in", "value": []}}), true),
        (json!({"column": "state", "operator": "gt", "value": "sad"}), true),
        (json!({"column": "state", "operator": "between", "value": ["sad", "glad"]}), false),
    ];
    for (filter, expected) in cases {
        let compiled = compile(&catalog, orders, &filter).expect("it can be mirrored");
        assert_eq!(compiled.matches(&image), Ok(expected), "{filter}");
    }
}

#[test]
fn a_malformed_image_is_an_error() {
    let catalog = shop();
    let orders = &catalog.entities()[0];
    for text in ["", "[]", "{\"id\":1", "{\"nothing\":1}", "{\"id\":1,\"id\":2}", "{\"id\":1} x"] {
        assert!(matches!(Image::read(orders, text), Err(Error::Malformed(_))), "{text}");
    }
    let by_state = compile(&catalog, orders, &json!({"column": "state", "operator": "eq", "value": "sad"})).expect("it compiles");
    for text in ["{\"id\":1}", "{\"state\":true}", "{\"state\":{}}", "{\"state\":\"\\ud800\"}"] {
        let image = Image::read(orders, text).expect("it is an object of columns");
        assert!(matches!(by_state.matches(&image), Err(Error::Malformed(_))), "{text}");
    }
}

#[test]
fn what_is_decided_needs_no_part_that_can_not_be() {
    let catalog = shop();
    let orders = &catalog.entities()[0];
    let image = Image::read(orders, r#"{"id":1,"customer_id":7}"#).expect("it is an object of columns");
    let absent = json!({"column": "state", "operator": "eq", "value": "sad"});
    let (seven, eight) = (
        json!({"column": "customer_id", "operator": "eq", "value": 7}),
        json!({"column": "customer_id", "operator": "eq", "value": 8}),
    );
    let matches = |filter| compile(&catalog, orders, &filter).expect("it compiles").matches(&image);
    assert_eq!(matches(json!({"and": [absent, eight]})), Ok(false));
    assert_eq!(matches(json!({"or": [absent, seven]})), Ok(true));
    assert!(matches(json!({"and": [absent, seven]})).is_err());
}

#[test]
fn keys_of_several_columns_match_as_a_whole() {
    let catalog = shop();
    let lines = &catalog.entities()[1];
    let key = |order, product| Key(vec![Value::Integer(order), Value::Integer(product)]);
    let filter = Filter::compile(lines, &Predicate::Keys(vec![key(1, 2), key(3, 4)])).expect("keys are equal or not");
    for (text, expected) in [
        (r#"{"order_id":1,"product_id":2}"#, true),
        (r#"{"order_id":3,"product_id":4}"#, true),
        (r#"{"order_id":1,"product_id":4}"#, false),
    ] {
        let image = Image::read(lines, text).expect("it is a row");
        assert_eq!(filter.matches(&image), Ok(expected), "{text}");
    }
}
