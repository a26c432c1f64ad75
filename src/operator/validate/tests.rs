//! Judging, with databases and a cluster that are written down here.

use super::*;
use crate::catalog::Kind;
use crate::catalog::facts::{ColumnFacts, Facts, TableFacts, Writable};
use crate::database::Dialect;
use crate::manifest::status::{Condition, EntityStatus, Truth};
use crate::manifest::values::carry;
use crate::manifest::{Manifests, read};
use crate::operator::database::Fault;
use crate::operator::dereference::{EntityFound, SourceFound};
use crate::operator::handing::OwnSecret;
use crate::operator::trial::Trial;
use std::path::Path;

const SHOP: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {name: shop, namespace: apps}
spec: {engine: postgres, connection: {url: 'postgres://me@host/db'}}
";

fn entity(name: &str, more: &str) -> String {
    format!(
        "---\napiVersion: resolvespec.dev/v1alpha1\nkind: Entity\nmetadata: {{name: {name}, namespace: apps, generation: 1}}\nspec: {{source: shop{more}}}\n"
    )
}

fn table(name: &str) -> TableFacts {
    let column = |name: &str| ColumnFacts {
        name: name.to_owned(),
        declared_type: "integer".to_owned(),
        kind: Kind::Integer,
        nullable: false,
        has_default: false,
        auto_increment: false,
        generated: false,
        collation: crate::catalog::Collation::default(),
        comment: None,
    };
    TableFacts {
        schema: "public".to_owned(),
        name: name.to_owned(),
        columns: vec![column("id"), column("item")],
        primary_key: vec!["id".to_owned()],
        writable: Writable::FULLY,
        ..TableFacts::default()
    }
}

fn facts() -> Look {
    let facts = Facts::new(Dialect::Postgres, "public", [table("items"), table("orders")]);
    Look { facts: Some(Arc::new(facts)), ..Look::default() }
}

fn manifests(text: &str) -> Manifests {
    read::text(Path::new("cluster.yaml"), text).expect("good manifests")
}

/// A cluster with these resources, in their order.
fn found(text: &str, look: &Look) -> Dereferenced {
    let Manifests { sources, entities, policies } = manifests(text);
    let source = |declared: Declared<DataSource>| SourceFound {
        resource: Arc::new(declared.resource),
        look: look.clone(),
        place: None,
        handed: None,
        is_held: false,
    };
    let entity = |declared: Declared<Entity>| EntityFound { resource: Arc::new(declared.resource), is_looked_at: true };
    Dereferenced {
        sources: sources.into_iter().map(source).collect(),
        entities: entities.into_iter().map(entity).collect(),
        policies: policies.into_iter().map(|declared| Arc::new(declared.resource)).collect(),
        grants: Vec::new(),
        own: OwnSecret { namespace: "apps".to_owned(), name: "databases".to_owned() },
        unreadable: Vec::new(),
        illegible: Vec::new(),
        published: None,
        trials: HashMap::new(),
    }
}

/// With these resources published before.
fn after(mut found: Dereferenced, text: &str) -> Dereferenced {
    found.published = Some(Arc::new(Generation::after(None, carry(&manifests(text)).expect("they can be published"))));
    found
}

/// It was accepted as it is.
fn accept(found: &mut EntityFound) {
    let condition = Condition {
        kind: "Accepted".to_owned(),
        status: Truth::True,
        observed_generation: Some(1),
        last_transition_time: String::new(),
        reason: "Accepted".to_owned(),
        message: String::new(),
    };
    let mut resource = (*found.resource).clone();
    resource.status = Some(EntityStatus { conditions: vec![condition], ..EntityStatus::default() });
    found.resource = Arc::new(resource);
}

fn judged<'v>(validated: &'v Validated, name: &str) -> &'v JudgedEntity {
    validated.entities.iter().find(|entity| entity.resource.name_any() == name).expect("it is judged")
}

fn reason(validated: &Validated, name: &str) -> String {
    let verdict = judged(validated, name).verdict.as_ref().expect("a verdict");
    if verdict.resolved.holds() { verdict.accepted.reason.clone() } else { verdict.resolved.reason.clone() }
}

fn served(validated: &Validated) -> Vec<String> {
    validated.entities.iter().filter(|entity| entity.outgoing.is_some()).map(|entity| entity.resource.name_any()).collect()
}

#[test]
fn who_is_wrong_goes_and_the_others_stay() {
    let text = format!("{SHOP}{}{}{}", entity("items", ""), entity("nothing", ""), entity("orders", ", columns: [{name: itme}]"));
    let validated = validate(found(&text, &facts())).expect("judged");
    assert_eq!(served(&validated), ["items"]);
    assert_eq!((reason(&validated, "nothing"), reason(&validated, "orders")), ("TableNotFound".to_owned(), "Invalid".to_owned()));
    assert_eq!(judged(&validated, "items").named, Some(("public".to_owned(), "items".to_owned())));
}

#[test]
fn a_path_is_the_older_ones_unless_that_is_wrong() {
    let rival = entity("rival", ", table: orders, name: items");
    let validated = validate(found(&format!("{SHOP}{}{rival}", entity("items", "")), &facts())).expect("judged");
    assert_eq!((served(&validated), reason(&validated, "rival")), (vec!["items".to_owned()], "PathConflict".to_owned()));
    let wrong = entity("items", ", columns: [{name: nothing}]");
    let validated = validate(found(&format!("{SHOP}{wrong}{rival}"), &facts())).expect("judged");
    assert_eq!((served(&validated), reason(&validated, "items")), (vec!["rival".to_owned()], "Invalid".to_owned()));
}

#[test]
fn only_the_relation_goes_that_leads_nowhere() {
    let relation = |target: &str| format!("{{name: {target}_row, kind: belongsTo, target: {target}, columns: [item]}}");
    let orders = entity("orders", &format!(", relations: [{}, {}]", relation("nowhere"), relation("items")));
    let validated = validate(found(&format!("{SHOP}{}{orders}", entity("items", "")), &facts())).expect("judged");
    let orders = judged(&validated, "orders");
    assert_eq!(reason(&validated, "orders"), "RelationNotFound");
    let relations = orders.outgoing.as_ref().and_then(|orders| orders.resource.spec.relations.clone()).expect("relations");
    assert_eq!(relations.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["items_row"]);
    assert_eq!(orders.resource.spec.relations.as_ref().map(Vec::len), Some(2), "the resource itself is left alone");
}

#[test]
fn a_change_for_the_worse_leaves_what_was_published() {
    let before = format!("{SHOP}{}", entity("items", ""));
    let worse = format!("{SHOP}{}", entity("items", ", columns: [{name: nothing}]"));
    let validated = validate(after(found(&worse, &facts()), &before)).expect("judged");
    let items = judged(&validated, "items");
    assert!(items.is_former && items.outgoing.as_ref().is_some_and(|items| items.resource.spec.columns.is_empty()));
    let degraded = items.verdict.as_ref().and_then(|verdict| verdict.degraded.clone()).expect("degraded");
    assert_eq!((reason(&validated, "items").as_str(), degraded.reason.as_str()), ("Invalid", "FormerServed"));
}

#[test]
fn what_the_database_has_taken_away_is_drift() {
    let text = format!("{SHOP}{}", entity("items", ", columns: [{name: gone}]"));
    let mut found = after(found(&text, &facts()), &text);
    accept(&mut found.entities[0]);
    let validated = validate(found).expect("judged");
    let verdict = judged(&validated, "items").verdict.as_ref().expect("a verdict");
    assert_eq!(verdict.degraded.as_ref().map(|degraded| degraded.reason.as_str()), Some("SchemaDrift"));
    assert!(served(&validated).is_empty());
}

#[test]
fn while_a_database_is_away_what_was_published_stays() {
    let before = format!("{SHOP}{}", entity("items", ""));
    let now = format!("{before}{}", entity("orders", ""));
    let away = Look { fault: Some(Fault::Unreachable("no route".to_owned())), ..Look::default() };
    let validated = validate(after(found(&now, &away), &before)).expect("judged");
    assert_eq!(served(&validated), ["items"]);
    let verdict = judged(&validated, "orders").verdict.as_ref().expect("a verdict");
    assert_eq!((verdict.accepted.truth, verdict.accepted.reason.as_str()), (Truth::Unknown, "DatabaseUnavailable"));
    assert!(verdict.accepted.message.contains("no route"));
}

#[test]
fn what_a_database_had_judges_nobody_while_it_is_away() {
    let before = format!("{SHOP}{}{}", entity("items", ""), entity("goods", ", table: orders"));
    // One stays, one is changed, and one comes, each of which what the database had would find good.
    let now = format!("{SHOP}{}{}{}", entity("items", ""), entity("goods", ", table: items, name: goods"), entity("orders", ""));
    let away = Look { fault: Some(Fault::Unreachable("no route".to_owned())), ..facts() };
    let mut found = after(found(&now, &away), &before);
    accept(&mut found.entities[0]);
    let validated = validate(found).expect("judged");
    assert_eq!(served(&validated), ["items", "goods"]);
    let goods = judged(&validated, "goods").outgoing.as_ref().and_then(|goods| goods.resource.spec.table.clone());
    assert_eq!(goods.as_deref(), Some("orders"), "as it was published");
    let accepted = |name: &str| judged(&validated, name).verdict.as_ref().expect("a verdict").accepted.truth;
    assert_eq!((accepted("items"), accepted("goods"), accepted("orders")), (Truth::True, Truth::Unknown, Truth::Unknown));
    for name in ["items", "goods", "orders"] {
        let verdict = judged(&validated, name).verdict.as_ref().expect("a verdict");
        let (degraded, unusable) = (verdict.degraded().expect("degraded"), verdict.unusable().expect("unusable"));
        assert_eq!((degraded.reason.as_str(), unusable.truth), ("DatabaseUnavailable", Truth::False), "{name}");
        assert!(degraded.message.contains("apps/shop") && !degraded.message.contains("no route"), "{}", degraded.message);
    }
    let source = &validated.sources[0].verdict;
    assert_eq!(source.unusable().map(|unusable| unusable.message), Some("no route".to_owned()));
    assert!(source.accepted.holds() && source.resolved.holds());
}

#[test]
fn a_secret_that_is_not_shown_now_is_not_said_to_be_missing() {
    let text = format!("{SHOP}{}{}", entity("items", ""), entity("orders", ""));
    let look = |fault| Look { fault: Some(fault), ..facts() };
    let resolved = |fault| {
        let mut found = after(found(&text, &look(fault)), &format!("{SHOP}{}", entity("items", "")));
        accept(&mut found.entities[0]);
        let validated = validate(found).expect("judged");
        assert_eq!((served(&validated), reason(&validated, "items")), (vec!["items".to_owned()], "Accepted".to_owned()));
        assert_eq!(reason(&validated, "orders"), "DatabaseUnavailable", "it can't be judged");
        assert!(validated.entities.iter().all(|entity| entity.verdict.as_ref().expect("a verdict").unusable().is_none()));
        let resolved = validated.sources[0].verdict.resolved.clone();
        (resolved.truth, resolved.reason)
    };
    let told = "the Secret can't be read".to_owned();
    assert_eq!(resolved(Fault::UnreadableSecret(told.clone())), (Truth::Unknown, "SecretUnreadable".to_owned()));
    assert_eq!(resolved(Fault::NoSecret(told)), (Truth::False, "SecretNotFound".to_owned()));
}

#[test]
fn what_is_not_known_yet_is_not_judged() {
    let before = format!("{SHOP}{}", entity("items", ""));
    let now = format!("{SHOP}{}{}", entity("items", ", name: goods"), entity("orders", ""));
    let mut found = after(found(&now, &facts()), &before);
    for entity in &mut found.entities {
        entity.is_looked_at = false;
    }
    let validated = validate(found).expect("judged");
    assert_eq!(served(&validated), ["items"]);
    assert!(validated.entities.iter().all(|entity| entity.verdict.is_none()));
    assert_eq!(judged(&validated, "items").named, Some(("public".to_owned(), "items".to_owned())), "as it was published");
}

/// Which entities go out as what they are, and what is told of them.
fn told(validated: &Validated) -> Vec<(String, Option<String>, Option<String>)> {
    let one = |entity: &JudgedEntity| {
        let spec = entity.outgoing.as_ref().map(|outgoing| &outgoing.resource.spec);
        let path = spec.map(|spec| spec.name.clone().unwrap_or_else(|| entity.resource.name_any()));
        let accepted = entity.verdict.as_ref().map(|verdict| verdict.accepted.reason.clone());
        (entity.resource.name_any(), path, accepted)
    };
    validated.entities.iter().map(one).collect()
}

fn line(name: &str, path: Option<&str>, accepted: Option<&str>) -> (String, Option<String>, Option<String>) {
    (name.to_owned(), path.map(ToOwned::to_owned), accepted.map(ToOwned::to_owned))
}

#[test]
fn a_source_that_is_slow_to_capture_goes_out_as_it_did() {
    let captured = SHOP.replace("}}\n", "}, capture: {mode: trigger}}\n");
    let before = format!("{SHOP}{}{}", entity("items", ""), entity("orders", ""));
    let now = format!(
        "{captured}{}{}{}",
        entity("items", ""),
        entity("orders", ", name: sales"),
        entity("more", ", table: items, name: more")
    );
    let judge = |is_held: bool| {
        let mut found = after(found(&now, &facts()), &before);
        found.sources[0].is_held = is_held;
        let published = Arc::make_mut(found.published.as_mut().expect("published"));
        published.manifests.iter_mut().for_each(|one| one.table = Some("as it was".to_owned()));
        // One that was told of already is told nothing else meanwhile.
        let told = EntityStatus { observed_generation: Some(1), ..EntityStatus::default() };
        if let Some(more) = found.entities.get_mut(1) {
            Arc::make_mut(&mut more.resource).status = Some(told);
        }
        validate(found).expect("judged")
    };
    let held = judge(true);
    let good = Verdict::good().accepted.reason;
    assert_eq!(
        told(&held),
        [line("items", Some("items"), Some(&good)), line("orders", Some("orders"), None), line("more", None, Some("Pending"))]
    );
    let outgoing = held.sources[0].outgoing.as_ref().expect("as it was");
    assert_eq!(outgoing.resource.spec.capture.mode, CaptureMode::None, "no replica looks for what is not there");
    assert_eq!(held.sources[0].waits.as_ref().map(|waits| waits.reason.as_str()), Some("Pending"));
    assert_eq!(judged(&held, "items").table.as_deref(), Some("as it was"));
    let settled = judge(false);
    assert_eq!(served(&settled), ["items", "orders", "more"]);
    assert!(settled.sources[0].waits.is_none());
    assert_eq!(told(&settled)[1], line("orders", Some("sales"), Some(&good)));
    assert_ne!(judged(&settled, "items").table.as_deref(), Some("as it was"));
}

#[test]
fn declared_sql_that_nobody_has_answered_for_does_not_go_out() {
    let computed = ", computed: [{name: twice, type: integer, expression: 'item * 2'}]";
    let before = format!("{SHOP}{}{}", entity("items", ""), entity("orders", computed));
    let now = format!(
        "{SHOP}{}{}{}",
        entity("items", ", name: goods"),
        entity("orders", computed),
        entity("more", ", table: items, name: more")
    );
    let known = |trial: Trial| {
        let mut found = after(found(&now, &facts()), &before);
        found.trials = found.entities.iter().map(|entity| (origin(&*entity.resource), trial.clone())).collect();
        told(&validate(found).expect("judged"))
    };
    let good = Verdict::good().accepted.reason;
    let answered = [
        line("items", Some("goods"), Some(&good)),
        line("orders", Some("orders"), Some(&good)),
        line("more", Some("more"), Some(&good)),
    ];
    assert_eq!(known(Trial::Answered(Vec::new())), answered);
    assert_eq!(
        known(Trial::Running),
        [line("items", Some("items"), None), line("orders", Some("orders"), None), line("more", None, None)]
    );
    // What replicas serve as it is was tried before.
    assert_eq!(
        known(Trial::Unanswered),
        [
            line("items", Some("items"), Some("Pending")),
            line("orders", Some("orders"), Some(&good)),
            line("more", None, Some("Pending"))
        ]
    );
}

#[test]
fn a_source_that_cannot_be_used_says_so_to_its_entities() {
    let shop = SHOP.replace("{url: 'postgres://me@host/db'}", "{env: SHOP_URL}");
    let validated = validate(found(&format!("{shop}{}", entity("items", "")), &Look::default())).expect("judged");
    assert_eq!(validated.sources[0].verdict.accepted.reason, "UnsupportedConnection");
    assert_eq!(reason(&validated, "items"), "DataSourceNotReady");
    let lost = "---\napiVersion: resolvespec.dev/v1alpha1\nkind: Entity\nmetadata: {name: lost, namespace: apps}\nspec: {source: shop, sourceNamespace: data}\n";
    let validated = validate(found(&format!("{SHOP}{lost}"), &facts())).expect("judged");
    assert_eq!(reason(&validated, "lost"), "RefNotPermitted");
}

#[test]
fn the_secret_that_has_all_urls_is_nobodys_source() {
    let shop = |connection: &str| SHOP.replace("{url: 'postgres://me@host/db'}", connection);
    for borrowed in [
        "{secretKeyRef: {name: databases, key: bank.shop.1}}",
        "{secretKeyRef: {namespace: apps, name: databases, key: bank.shop.1}}",
    ] {
        let text = format!("{}{}", shop(borrowed), entity("items", ""));
        let validated = validate(found(&text, &Look::default())).expect("judged");
        let resolved = &validated.sources[0].verdict.resolved;
        assert_eq!((resolved.truth, resolved.reason.as_str()), (Truth::False, "RefNotPermitted"));
        assert!(resolved.message.contains("the Secret 'apps/databases' is the operator's own"), "{}", resolved.message);
        assert!(validated.sources[0].outgoing.is_none());
        assert_eq!(reason(&validated, "items"), "DataSourceNotReady");
    }
    let own = "{secretKeyRef: {name: shop-database, key: url}}";
    let validated = validate(found(&shop(own), &Look::default())).expect("judged");
    assert!(validated.sources[0].verdict.resolved.holds());
}

#[test]
fn a_policy_that_can_not_be_read_keeps_its_namespace_back() {
    let unreadable = |kind, namespace: &str| {
        let mut found = found(&format!("{SHOP}{}", entity("items", "")), &facts());
        let metadata = kube::api::ObjectMeta {
            name: Some("of a later version".to_owned()),
            namespace: Some(namespace.to_owned()),
            ..kube::api::ObjectMeta::default()
        };
        found.unreadable.push((
            kind,
            Unreadable {
                metadata,
                reason: "unknown field".to_owned(),
                spec: serde_json::Value::Null,
                status: serde_json::Value::Null,
            },
        ));
        validate(found).expect("judged")
    };
    let validated = unreadable("AccessPolicy", "apps");
    assert_eq!((served(&validated), reason(&validated, "items")), (Vec::new(), "PolicyUnreadable".to_owned()));
    assert_eq!(served(&unreadable("AccessPolicy", "others")), ["items"]);
    assert_eq!(served(&unreadable("Entity", "apps")), ["items"]);
}

#[test]
fn what_is_wrong_with_a_policy_by_itself_waits_for_no_entity() {
    let policy = |filter: &str| {
        format!(
            "---\napiVersion: resolvespec.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: own, namespace: apps}}\nspec: {{entity: items, filter: \"{filter}\"}}\n"
        )
    };
    let verdict = |text: &str, look: &Look| validate(found(text, look)).expect("judged").policies[0].verdict.clone();
    let told = |verdict: &Verdict| (verdict.resolved.reason.clone(), verdict.accepted.truth, verdict.accepted.message.clone());
    let wrong = "spec.filter: the principal has no 'id'; there are claims, roles, subject".to_owned();
    let without = verdict(&format!("{SHOP}{}", policy("principal.id == row.item")), &facts());
    assert_eq!(told(&without), ("EntityNotFound".to_owned(), Truth::False, wrong.clone()));
    let with = format!("{SHOP}{}{}", entity("items", ""), policy("principal.id == row.item"));
    assert_eq!(told(&verdict(&with, &Look::default())), ("EntityNotReady".to_owned(), Truth::False, wrong.clone()));
    assert_eq!(told(&verdict(&with, &facts())), ("ResolvedRefs".to_owned(), Truth::False, wrong), "in the same words");
    let good = verdict(&format!("{SHOP}{}", policy("principal.subject == row.item")), &facts());
    assert_eq!(good.accepted.truth, Truth::Unknown);
}

#[test]
fn a_source_over_a_secret_need_not_be_handed_over_to_be_found_wrong() {
    let connection = "connection: {secretKeyRef: {name: shop, key: url}}, pool: {maxConnections: 5000}";
    let shop = SHOP.replace("connection: {url: 'postgres://me@host/db'}", connection);
    let validated = validate(found(&shop, &Look::default())).expect("judged");
    let accepted = &validated.sources[0].verdict.accepted;
    assert_eq!(accepted.message, "spec.pool.maxConnections: 5000 connections are out of range; use 1 to 1000");
    assert_eq!(source_alone(&validated.sources[0].resource).as_ref(), Some(accepted), "before it is there as well");
}

#[test]
fn a_paused_policy_stays_at_the_entity_that_it_is_published_for() {
    let policy = |entity: &str, annotations: &str| {
        format!(
            "---\napiVersion: resolvespec.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: own, namespace: apps{annotations}}}\nspec: {{entity: {entity}, filter: 'row.id == 1'}}\n"
        )
    };
    let entities = format!("{SHOP}{}{}", entity("items", ""), entity("orders", ""));
    let before = format!("{entities}{}", policy("items", ""));
    let paused = ", annotations: {resolvespec.dev/paused: 'true'}";
    for named in ["nowhere", "orders"] {
        let now = format!("{entities}{}", policy(named, paused));
        let validated = validate(after(found(&now, &facts()), &before)).expect("judged");
        let own = &validated.policies[0];
        assert_eq!(own.outgoing.as_ref().map(|own| own.resource.spec.entity.as_str()), Some("items"), "{named}");
        assert!(own.is_of(&judged(&validated, "items").resource), "{named}");
        assert!(!own.is_of(&judged(&validated, "orders").resource), "{named}");
        // One that was never published is as it is.
        let validated = validate(after(found(&now, &facts()), &entities)).expect("judged");
        let outgoing = validated.policies[0].outgoing.as_ref().map(|own| own.resource.spec.entity.as_str());
        assert_eq!(outgoing, (named == "orders").then_some("orders"));
    }
}
