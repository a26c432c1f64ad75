//! What is wrong is told where it is wrong, and takes nothing else down.

use super::stage::Stage;
use crate::cluster::until;
use crate::support::database::Kind;
use crate::support::own::Own;
use resolvespec::database::{Database, Settings};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn one_broken_entity_takes_no_other_one_down() {
    let stage = Stage::new().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.apply_source().await;
    stage.apply_entity("items").await;
    stage.apply_entity("itens").await;
    stage.apply("Entity", "lost", json!({"source": "bank"})).await;
    stage.ready("Entity", "items").await;
    let said = stage.told("Entity", "itens", "Ready", "False", "TableNotFound").await;
    assert!(said.contains("no table or view 'public.itens'") && said.contains("did you mean 'items'?"), "{said}");
    assert_eq!(stage.condition("Entity", "itens", "Accepted").await.0, "False");
    let said = stage.told("Entity", "lost", "ResolvedRefs", "False", "DataSourceNotFound").await;
    assert!(said.contains("'bank'"), "{said}");
    assert_eq!((one.status_of("items").await, one.status_of("itens").await), (200, 404));
    until("events", async || stage.events("itens").await == ["TableNotFound"]).await;

    // What was missing comes, and nobody has to touch the entity.
    stage.deployment.run_script("create table itens (id int primary key)").await;
    stage.ready("Entity", "itens").await;
    assert_eq!(one.status_of("itens").await, 200);
    until("an event", async || stage.events("itens").await.len() > 1).await;
    let mut events = stage.events("itens").await;
    events.sort();
    assert_eq!(events, ["Ready", "TableNotFound"], "each is told once");
    assert_eq!(stage.status("Entity", "itens").await["endpoints"]["rest"], "/api/public/itens");
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_belongs_to_the_older_of_two() {
    let stage = Stage::new().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.deployment.run_script("create table things (id int primary key, other text)").await;
    stage.apply_source().await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    // The API server counts creation in seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    stage.apply("Entity", "another", json!({"source": "shop", "table": "things", "name": "items"})).await;
    let said = stage.told("Entity", "another", "Accepted", "False", "PathConflict").await;
    assert!(said.contains(&format!("Entity {}/items", stage.namespace)), "{said}");
    assert_eq!(stage.condition("Entity", "items", "Ready").await.0, "True");
    stage.delete("Entity", "items").await;
    stage.ready("Entity", "another").await;
    let answer = one.read("items").await.expect("an answer");
    assert_eq!(answer.body["data"], json!([]), "{}", answer.body);
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relation_that_leads_nowhere_is_left_out() {
    let stage = Stage::new().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.deployment.run_script("create table orders (id int primary key, item int references items)").await;
    stage.apply_source().await;
    let relation = json!([{"name": "item_row", "kind": "belongsTo", "target": "items"}]);
    stage.apply("Entity", "orders", json!({"source": "shop", "relations": relation})).await;
    let said = stage.told("Entity", "orders", "ResolvedRefs", "False", "RelationNotFound").await;
    assert!(said.contains("spec.relations[0].target") && said.contains("there is no entity 'items'"), "{said}");
    stage.told("Entity", "orders", "Programmed", "True", "Programmed").await;
    stage.told("Entity", "orders", "Degraded", "True", "RelationNotFound").await;
    assert_eq!(one.status_of("orders").await, 200);
    stage.apply_entity("items").await;
    stage.ready("Entity", "orders").await;
    assert_eq!(stage.condition("Entity", "orders", "Degraded").await.0, "False");
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_found_and_mended() {
    let stage = Stage::new().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.deployment.run_script("create table tags (id int primary key, label text, extra text)").await;
    stage.apply_source().await;
    stage.apply_entity("items").await;
    stage.apply("Entity", "tags", json!({"source": "shop", "columns": [{"name": "label", "alias": "title"}]})).await;
    stage.ready("Entity", "tags").await;
    assert_eq!(one.status_of("tags").await, 200);

    // A column that no manifest names: replicas look at the table again.
    stage.deployment.run_script("alter table tags drop column extra").await;
    until("reading without the column", async || one.status_of("tags").await == 200).await;
    stage.ready("Entity", "tags").await;

    // One that is named: the entity is out, and the others stay.
    stage.deployment.run_script("alter table tags drop column label").await;
    let said = stage.told("Entity", "tags", "Degraded", "True", "SchemaDrift").await;
    assert!(said.contains("label"), "{said}");
    let (accepted, reason, message) = stage.condition("Entity", "tags", "Accepted").await;
    assert_eq!((accepted.as_str(), reason.as_str()), ("False", "Invalid"), "{message}");
    until("being out", async || one.status_of("tags").await == 404).await;
    assert_eq!(one.status_of("items").await, 200);
    assert_eq!(stage.condition("Entity", "items", "Ready").await.0, "True");
    until("an event", async || stage.times("tags", "SchemaDrift").await == 1).await;

    stage.deployment.run_script("alter table tags add column label text").await;
    stage.ready("Entity", "tags").await;
    assert_eq!((stage.condition("Entity", "tags", "Degraded").await.0.as_str(), one.status_of("tags").await), ("False", 200));
    assert_eq!((stage.times("tags", "SchemaDrift").await, stage.times("tags", "Invalid").await), (1, 1), "each is told once");
    assert_eq!(stage.events("items").await, ["Ready"], "what happens to another one is no event of it");
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_for_the_worse_leaves_what_was_served() {
    let stage = Stage::new().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.apply_source().await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    stage.apply("Entity", "items", json!({"source": "shop", "columns": [{"name": "nmae"}]})).await;
    let said = stage.told("Entity", "items", "Accepted", "False", "Invalid").await;
    assert!(said.contains("did you mean 'name'?"), "{said}");
    stage.told("Entity", "items", "Degraded", "True", "FormerServed").await;
    assert_eq!(stage.status("Entity", "items").await["observedGeneration"], 2);
    assert_eq!(one.status_of("items").await, 200);
    stage.apply("Entity", "items", json!({"source": "shop", "columns": [{"name": "name", "alias": "title"}]})).await;
    stage.ready("Entity", "items").await;
    let answer = one.read("items").await.expect("an answer");
    assert_eq!(answer.body["data"][0]["title"], "pen");
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_sql_is_tried() {
    let stage = Stage::new().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.apply_source().await;
    let computed = |expression: &str| json!({"source": "shop", "computed": [{"name": "loud", "expression": expression}]});
    stage.apply("Entity", "items", computed("upper(nmae)")).await;
    let said = stage.told("Entity", "items", "Accepted", "False", "Invalid").await;
    assert!(said.contains("spec.computed[0].expression"), "{said}");
    stage.apply("Entity", "items", computed("upper(name)")).await;
    stage.ready("Entity", "items").await;
    assert_eq!(one.status_of("items").await, 200);
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_breaks_off_is_not_hammered() {
    let stage = Stage::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let attempts = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&attempts);
    let database = tokio_util::task::TaskTracker::new().spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            drop(connection);
        }
    });
    let operator = stage.operator("one");
    stage.secret("shop-database", &format!("postgres://me:hush@{address}/shop")).await;
    stage.apply_source().await;
    stage.told("DataSource", "shop", "Degraded", "True", "DatabaseUnavailable").await;
    let (before, since) = (attempts.load(std::sync::atomic::Ordering::Relaxed), std::time::Instant::now());
    // Whatever is asked of it meanwhile.
    for number in 0..20 {
        stage.apply_entity(&format!("t{number}")).await;
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    }
    let (more, seconds) = (attempts.load(std::sync::atomic::Ordering::Relaxed) - before, since.elapsed().as_secs_f64());
    // After a second, two more, four more, …: one connection each.
    let most = (seconds + 2.0).log2().ceil();
    assert!((1.0..=most).contains(&f64::from(u32::try_from(more).expect("few"))), "{more} attempts in {seconds} s");
    stage.told("Entity", "t19", "Accepted", "Unknown", "DatabaseUnavailable").await;
    database.abort();
    drop(operator);
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_told() {
    let stage = Stage::new().await;
    let own = Own::start(Kind::Postgres, "operator");
    let url = own.database().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.apply_source().await;
    stage.apply_entity("items").await;
    stage.secret("bank-database", &url).await;
    let bank = json!({"engine": "postgres", "connection": {"secretKeyRef": {"name": "bank-database", "key": "url"}}});
    stage.apply("DataSource", "bank", bank).await;
    let database = Database::connect(&Settings::new("test", &url)).await.expect("the database answers");
    database.run_script("create table coins (id int primary key)").await.expect("the script runs");
    database.close().await;
    stage.apply("Entity", "coins", json!({"source": "bank"})).await;
    stage.ready("Entity", "coins").await;
    stage.ready("DataSource", "bank").await;
    own.kill();
    let said = stage.told("DataSource", "bank", "Degraded", "True", "DatabaseUnavailable").await;
    assert!(!said.contains("postgres://"), "{said}");
    stage.told("DataSource", "bank", "Ready", "False", "DatabaseUnavailable").await;
    let said = stage.told("Entity", "coins", "Ready", "False", "DatabaseUnavailable").await;
    assert!(said.contains("/bank'"), "{said}");
    stage.told("Entity", "coins", "Degraded", "True", "DatabaseUnavailable").await;
    for (condition, reason) in [("Accepted", "Accepted"), ("ResolvedRefs", "ResolvedRefs"), ("Programmed", "Programmed")] {
        let (is, why, _) = stage.condition("Entity", "coins", condition).await;
        assert_eq!((is.as_str(), why.as_str()), ("True", reason), "{condition}");
    }
    // One that comes meanwhile is not judged by what the database had.
    stage.apply("Entity", "purse", json!({"source": "bank", "table": "coins", "name": "purse"})).await;
    stage.told("Entity", "purse", "Accepted", "Unknown", "DatabaseUnavailable").await;
    stage.ready("Entity", "items").await;
    // The others go on.
    stage.deployment.run_script("create table tags (id int primary key)").await;
    stage.apply_entity("tags").await;
    stage.ready("Entity", "tags").await;
    assert_eq!(one.status_of("tags").await, 200);
    own.restart();
    stage.told("DataSource", "bank", "Degraded", "False", "AsExpected").await;
    for entity in ["coins", "purse"] {
        stage.ready("Entity", entity).await;
        assert_eq!(stage.condition("Entity", entity, "Degraded").await.0, "False");
    }
    // Its source tells of a database, and not each of its entities.
    until("an event", async || stage.times("bank", "DatabaseUnavailable").await == 1).await;
    assert_eq!(stage.events("coins").await, ["Ready"]);
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_delays_no_other() {
    let stage = Stage::new().await;
    let own = Own::start(Kind::Postgres, "operator-hangs");
    let url = own.database().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    let database = Database::connect(&Settings::new("test", &url)).await.expect("the database answers");
    database.run_script("create table coins (id int primary key, name text)").await.expect("the script runs");
    database.close().await;
    stage.secret("bank-database", &url).await;
    let bank = json!({
        "engine": "postgres",
        "connection": {"secretKeyRef": {"name": "bank-database", "key": "url"}},
        "capture": {"mode": "trigger"},
        "statementTimeout": "5s",
    });
    stage.apply("DataSource", "bank", bank).await;
    stage.apply_source().await;
    let computed = |source: &str| json!({"source": source, "computed": [{"name": "loud", "expression": "upper(name)"}]});
    stage.apply("Entity", "coins", computed("bank")).await;
    stage.ready("Entity", "coins").await;
    own.freeze();
    // Something new to be tried and captured in the one that hangs, and then the same in another one.
    stage
        .apply(
            "Entity",
            "purse",
            json!({"source": "bank", "table": "coins", "name": "purse", "computed": [{"name": "soft", "expression": "lower(name)"}]}),
        )
        .await;
    stage.deployment.run_script("create table tags (id int primary key, name text)").await;
    let since = std::time::Instant::now();
    stage.apply("Entity", "tags", computed("shop")).await;
    stage.told("Entity", "tags", "Accepted", "True", "Accepted").await;
    let took = since.elapsed();
    assert!(took < std::time::Duration::from_secs(15), "it took {took:?}");
    // A replica looks at all databases of a new generation, and waits for its own time to be over.
    stage.ready("Entity", "tags").await;
    assert_eq!(one.status_of("tags").await, 200);
    stage.told("Entity", "coins", "Ready", "False", "DatabaseUnavailable").await;
    own.thaw();
    for entity in ["coins", "purse"] {
        stage.ready("Entity", entity).await;
    }
    stage.delete("DataSource", "bank").await;
    until("the end of the source", async || stage.api("DataSource").get_opt("bank").await.expect("an answer").is_none()).await;
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entity_with_a_policy_is_closed_to_everybody_while_policies_are_not_enforced() {
    let stage = Stage::new().await;
    let (operator, one) = (stage.operator("one"), stage.replica("one"));
    stage.apply_source().await;
    stage.apply_entity("items").await;
    stage.ready("Entity", "items").await;
    stage.apply("AccessPolicy", "own", json!({"entity": "items", "filter": "row.name == principal.subject"})).await;
    stage.apply("AccessPolicy", "lost", json!({"entity": "itens", "filter": "true"})).await;
    let said = stage.told("Entity", "items", "Ready", "False", "PolicyNotEnforced").await;
    assert!(said.contains("'own'"), "{said}");
    stage.told("Entity", "items", "Accepted", "True", "Accepted").await;
    until("being closed", async || one.status_of("items").await == 403).await;
    stage.told("AccessPolicy", "own", "Accepted", "True", "Accepted").await;
    stage.told("AccessPolicy", "own", "Programmed", "True", "Programmed").await;
    stage.told("AccessPolicy", "own", "Ready", "False", "NotEnforced").await;
    stage.told("AccessPolicy", "lost", "ResolvedRefs", "False", "EntityNotFound").await;
    // One that is wrong says where, and closes as well.
    stage.apply("AccessPolicy", "own", json!({"entity": "items", "filter": "row.nane == principal.subject"})).await;
    let said = stage.told("AccessPolicy", "own", "Accepted", "False", "Invalid").await;
    assert!(said.contains("spec.filter: there is no column 'nane'") && said.contains("did you mean 'name'?"), "{said}");
    assert_eq!(one.status_of("items").await, 403);
    stage.delete("AccessPolicy", "own").await;
    stage.ready("Entity", "items").await;
    until("being open", async || one.status_of("items").await == 200).await;
    drop((operator, one));
    stage.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_one_machine_is_refused() {
    let stage = Stage::new().await;
    let operator = stage.operator("one");
    for (name, connection) in [("by-env", json!({"env": "SHOP_URL"})), ("by-file", json!({"file": "/proc/self/environ"}))] {
        stage.apply("DataSource", name, json!({"engine": "postgres", "connection": connection})).await;
        let said = stage.told("DataSource", name, "Accepted", "False", "UnsupportedConnection").await;
        assert!(said.contains("secretKeyRef"), "{said}");
    }
    stage.apply("DataSource", "by-disk", json!({"engine": "sqlite", "connection": {"url": "sqlite:/shop.db"}})).await;
    stage.told("DataSource", "by-disk", "Accepted", "False", "UnsupportedConnection").await;
    drop(operator);
    stage.remove().await;
}
