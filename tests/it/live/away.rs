//! Another catalog takes over while a database is away: only its own subscriptions have anything to do with that.

use super::{Kind, Replica, SCHEMA, Stage, brief, config, subscribed, told};
use crate::support::database::Fresh;
use crate::support::own::Own;
use crate::support::server::load;
use crate::support::session::Session;
use resolvespec::catalog::{compile, introspect, scope};
use resolvespec::database::{Database, Settings};
use resolvespec::engine::Served;
use resolvespec::event::capture::setup;
use resolvespec::live::Handles;
use resolvespec::manifest::{Manifests, read};
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;

/// The entities of the one that freezes come first, as they do where a catalog is taken over.
const SOURCES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {name: far}
spec: {engine: postgres, connection: {env: FAR}, capture: {mode: trigger}}
---
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {name: near}
spec: {engine: sqlite, connection: {env: NEAR}, capture: {mode: trigger}}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: a-far}
spec: {source: far, table: items, name: far}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: near}
spec: {source: near, table: items, name: near}
";

/// How many subscriptions the frozen one has: a deadline for each would be more than any client here waits.
const MANY: usize = 20;

fn manifests(text: &str) -> Manifests {
    let manifests = read::text(Path::new("manifests.yaml"), text);
    manifests.unwrap_or_else(|problems| panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_database_keeps_nobody_under_the_old_catalog() {
    let own = Own::start(Kind::Postgres, "switched");
    let (near, far) = (Fresh::create(Kind::Sqlite).await, own.database().await);
    let declared = manifests(SOURCES);
    let (mut databases, mut facts) = (HashMap::new(), HashMap::new());
    for (name, url) in [("near", &near.url), ("far", &far)] {
        let database = Database::connect(&Settings::new(name, url)).await.expect("the database answers");
        database.run_script(SCHEMA).await.expect("tables can be made");
        facts.insert(name.to_owned(), introspect(&database, &scope(&declared, name)).await.expect("they can be read"));
        databases.insert(name.to_owned(), database);
    }
    let served = |text: &str| {
        let catalog = compile::compile(&manifests(text), &facts, &compile::Settings::default());
        Served { catalog: catalog.unwrap_or_else(|problems| panic!("{problems:?}")), databases: databases.clone() }
    };
    let install = async |served: &Served, name: &str| {
        let database = &served.databases[name];
        let survey = setup::survey(database, &served.catalog, name).await.expect("it can be surveyed");
        survey.run(database).await.expect("capture can be installed");
    };
    let first = served(SOURCES);
    install(&first, "near").await;
    install(&first, "far").await;
    let replica = Replica::start(&config(), first, Vec::new(), Handles::memory()).await;
    let (mut one, mut others) = (Session::connect(replica.address).await, Session::connect(replica.address).await);
    subscribed(&mut one, "near", json!({})).await;
    for _ in 0..MANY {
        subscribed(&mut others, "far", json!({})).await;
    }
    own.freeze();
    for (id, kind, sort) in [(1, "hidden: true", None), (2, "alias: sort", Some("pen"))] {
        let columns = format!("table: items, name: near, columns: [{{name: kind, {kind}}}]}}");
        let next = served(&SOURCES.replace("table: items, name: near}", &columns));
        install(&next, "near").await;
        replica.engine.switch(next);
        assert_eq!(told(&mut one).await["reason"], "catalog_changed", "without waiting for the other database");
        let insert = format!("insert into items values ({id}, 'a', 'pen', 1)");
        databases["near"].run_script(&insert).await.expect("the near one writes");
        let row = brief(&mut one).await.1;
        assert_eq!((row.get("kind"), row.get("sort").and_then(|sort| sort.as_str())), (None, sort), "{row}");
    }
    own.thaw();
    databases["far"].run_script("insert into items values (1, 'a', 'pen', 1)").await.expect("the far one writes again");
    for _ in 0..MANY {
        assert_eq!(brief(&mut others).await.0, "create", "what was away counts as captured, and goes on");
    }
    drop((one, others));
    replica.stop().await;
    near.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_new_catalog_follows_and_nobody_captures_ends_soon() {
    let stage = Stage::open(Kind::Sqlite).await;
    let mut session = stage.session().await;
    subscribed(&mut session, "items", json!({})).await;
    let things = "create table things (id integer primary key, name varchar(100))";
    let entities = super::ENTITIES.replacen("{source: conformance}", "{source: conformance, table: things, name: items}", 1);
    stage.first.engine.switch(load(stage.kind, &stage.fresh, things, &entities).await);
    let message = loop {
        let message = told(&mut session).await;
        if message["operation"] != "resync_required" {
            break message;
        }
    };
    // Sooner than it is looked now and then.
    assert_eq!((&message["operation"], &message["reason"]), (&json!("ended"), &json!("capture_removed")), "{message}");
    assert_eq!(message["error"]["code"], "not_captured", "{message}");
    stage.counts("resolvespec_live_subscriptions", 0).await;
    drop(session);
    stage.close().await;
}
