//! What the index finds is what evaluating every filter would find.

use super::{Index, Ticket, access};
use crate::auth::Principal;
use crate::catalog::test_shop::{catalog, entity};
use crate::catalog::{Catalog, Entity};
use crate::engine::plan::{Predicate, Scope};
use crate::event::matcher::{Entry, Filter, Image, Reason, Told, classify};
use crate::protocol::{ChangeOperation, Options};
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::sample::select;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

fn shop() -> Catalog {
    catalog(&[entity("orders", ""), entity("log", "")])
}

fn compile(catalog: &Catalog, entity: &Entity, filters: &Value) -> Filter {
    let options: Options = serde_json::from_value(json!({"filters": filters})).expect("the filters are well-formed");
    let principal = Principal::anonymous();
    let predicate = Predicate::resolve(&mut Scope::new(catalog, &principal, entity), entity, &options.filters);
    Filter::compile(entity, &predicate.expect("the filters fit the entity")).expect("they can be mirrored")
}

fn is(column: &str, value: impl Into<Value>) -> Value {
    json!({"column": column, "operator": "eq", "value": value.into()})
}

fn order(customer: i64, note: Option<&str>, amount: &str) -> String {
    let note = json!(note);
    format!(r#"{{"id":1,"customer_id":{customer},"payer":null,"note":{note},"amount":{amount},"state":"sad","double":0}}"#)
}

/// The entries whose filters the row may match.
fn candidates<T>(index: &Index<T>, entity: &Entity, row: &str) -> Vec<Arc<Entry<T>>> {
    let image = Image::read(entity, row).expect("it is a row");
    let entity = entity.id;
    let (followed, mut hashes) = (&index.entities[entity.index()], Vec::new());
    index.hash_images(followed, &[None, Some(image)], 0, &mut hashes).expect("the image is whole");
    let keyed = followed.keyed(entity, &hashes).into_iter().map(|(_, entry)| entry);
    keyed.chain(followed.scanned.all()).collect()
}

#[test]
fn a_change_is_told_by_what_matched_before_and_after() {
    use ChangeOperation::{Create, Delete, Update};
    let catalog = shop();
    let orders = &catalog.entities()[0];
    let index = Index::new(&catalog);
    for customer in [7, 8] {
        index.insert(compile(&catalog, orders, &json!([is("customer_id", customer)])), customer);
    }
    index.insert(compile(&catalog, orders, &json!([])), 0);
    let (seven, eight) = (order(7, None, "1"), order(8, None, "1"));
    let told = |before: Option<&str>, after: Option<&str>| {
        let image = |text| Image::read(orders, text).expect("it is a row");
        let [concerned] = &index.concerned(&[[before.map(image), after.map(image)]])[..] else { panic!("of one change") };
        let concerned = concerned.clone().expect("the images are whole");
        let mut all: Vec<(i64, ChangeOperation, Option<Reason>)> = concerned
            .into_iter()
            .map(|(entry, told)| {
                let Told { operation, reason } = told.expect("everything can be decided");
                (entry.subscribers()[0], operation, reason)
            })
            .collect();
        all.sort_by_key(|(subscriber, ..)| *subscriber);
        all
    };
    assert_eq!(told(None, Some(&seven)), [(0, Create, None), (7, Create, None)]);
    assert_eq!(told(Some(&seven), Some(&seven)), [(0, Update, None), (7, Update, None)]);
    assert_eq!(
        told(Some(&seven), Some(&eight)),
        [(0, Update, None), (7, Delete, Some(Reason::Leave)), (8, Create, Some(Reason::Enter))]
    );
    assert_eq!(told(Some(&eight), None), [(0, Delete, None), (8, Delete, None)]);
    assert_eq!(classify(Some(false), Some(false)), None);
    assert_eq!(classify(None, Some(false)), None);
}

#[test]
fn equal_filters_share_an_entry_until_the_last_has_gone() {
    let catalog = shop();
    let orders = &catalog.entities()[0];
    let index = Index::new(&catalog);
    let filters = json!([is("customer_id", 7), is("note", "x")]);
    let tickets: Vec<Ticket<u8>> = (0..3).map(|who| index.insert(compile(&catalog, orders, &filters), who)).collect();
    let text = order(7, Some("x"), "1");
    let found = || candidates(&index, orders, &text);
    assert_eq!(found().len(), 1);
    assert_eq!(found()[0].subscribers(), [0, 1, 2]);
    for (gone, ticket) in tickets.into_iter().enumerate() {
        index.remove(ticket);
        let left: Vec<u8> = found().iter().flat_map(|entry| entry.subscribers()).collect();
        assert_eq!(left.len(), 2 - gone);
    }
    assert!(found().is_empty());
    assert!(index.entities[0].columns.load().is_empty());
}

#[test]
fn filters_of_values_are_found_without_a_look_at_the_others() {
    let catalog = shop();
    let (orders, log) = (&catalog.entities()[0], &catalog.entities()[1]);
    let index = Index::new(&catalog);
    for customer in 0..1_000 {
        index.insert(compile(&catalog, orders, &json!([is("customer_id", customer), is("state", "sad")])), customer);
    }
    index.insert(compile(&catalog, orders, &json!([{"column": "note", "operator": "in", "value": ["x", "y"]}])), 1_000);
    index.insert(compile(&catalog, log, &json!([])), 1_001);
    let text = order(5, Some("y"), "1");
    let found: BTreeSet<i32> = candidates(&index, orders, &text).iter().flat_map(|entry| entry.subscribers()).collect();
    assert_eq!(found, [5, 1_000].into());
}

#[test]
fn one_value_is_looked_for_before_a_list() {
    let catalog = shop();
    let orders = &catalog.entities()[0];
    let list = json!({"column": "customer_id", "operator": "in", "value": [1, 2]});
    let filter = compile(&catalog, orders, &json!([list, is("note", "x"), is("payer", 3)]));
    let access = access(&filter.root).expect("it needs values");
    assert_eq!(Some(access.column), orders.find_column("payer"));
    assert_eq!(
        super::access(&compile(&catalog, orders, &json!([{"not": is("payer", 3)}])).root).map(|access| access.column),
        None
    );
}

#[test]
fn who_stays_is_found_once_while_others_come_and_go() {
    let catalog = shop();
    let orders = &catalog.entities()[0];
    let index = Index::new(&catalog);
    let list = |values: Value| json!([{"column": "customer_id", "operator": "in", "value": values}]);
    let stays = compile(&catalog, orders, &list(json!([5, 6])));
    index.insert(stays.clone(), 0);
    std::thread::scope(|scope| {
        for thread in 1..4 {
            let (index, stays, catalog) = (&index, &stays, &catalog);
            scope.spawn(move || {
                for round in 0..500 {
                    let own = compile(catalog, orders, &list(json!([round, thread * 1_000 + round])));
                    let tickets = [index.insert(own, thread), index.insert(stays.clone(), thread)];
                    for ticket in tickets {
                        index.remove(ticket);
                    }
                }
            });
        }
        let text = order(6, None, "1");
        for _ in 0..2_000 {
            let found = candidates(&index, orders, &text);
            let who = found.iter().flat_map(|entry| entry.subscribers()).filter(|who| *who == 0).count();
            assert_eq!(who, 1);
        }
    });
    let text = order(6, None, "1");
    let left = candidates(&index, orders, &text);
    assert_eq!(left.iter().map(|entry| entry.subscribers()).collect::<Vec<_>>(), [vec![0]]);
    assert_eq!(index.entities[0].columns.load().len(), 1);
}

fn filter() -> impl Strategy<Value = Value> {
    let test = prop_oneof![
        (0..4_i64).prop_map(|customer| is("customer_id", customer)),
        select(&["x", "X", "y", ""][..]).prop_map(|note| is("note", note)),
        select(vec![json!(1), json!(1.0), json!(1.5), json!(-0.0)]).prop_map(|amount| is("amount", amount)),
        Just(json!({"column": "customer_id", "operator": "in", "value": [1, 3]})),
        Just(json!({"column": "note", "operator": "is_null"})),
        (0..4_i64).prop_map(|customer| json!({"column": "customer_id", "operator": "gt", "value": customer})),
    ];
    test.prop_recursive(2, 4, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| json!({"and": [left, right]})),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| json!({"or": [left, right]})),
            inner.prop_map(|part| json!({"not": part})),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_that_matches_is_missed(
        filters in proptest::collection::vec((filter(), any::<bool>()), 1..20),
        customer in 0..4_i64,
        note in proptest::option::of(select(&["x", "X", "y", ""][..])),
        amount in select(&["1", "1.0", "1.5", "0", "-0.0"][..]),
    ) {
        let catalog = shop();
        let orders = &catalog.entities()[0];
        let index = Index::new(&catalog);
        let text = order(customer, note, amount);
        let image = Image::read(orders, &text).expect("it is a row");
        let mut expected = BTreeSet::new();
        for (number, (filter, stays)) in filters.iter().enumerate() {
            let filter = compile(&catalog, orders, &json!([filter]));
            let matches = filter.matches(&image).expect("everything can be decided");
            let ticket = index.insert(filter, number);
            if !stays {
                index.remove(ticket);
            } else if matches {
                expected.insert(number);
            }
        }
        let concerned = index.concerned(&[[None, Some(image)]]).remove(0).expect("the image is whole");
        let found: Vec<usize> = concerned.iter().flat_map(|(entry, _)| entry.subscribers()).collect();
        assert_eq!(found.len(), expected.len());
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    }
}
