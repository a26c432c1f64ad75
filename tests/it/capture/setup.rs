//! What is installed, told as out of date, and removed; and what other triggers, keys and roles do beside it.

use super::bus::line;
use super::{Captured, On, SOURCE, WAL, image};
use crate::support::database::Kind;
use resolvespec::event::capture::setup::{State, removal};
use serde_json::{Value, json};

const SCHEMA: &str = "
create table teams (id integer primary key, name varchar(50));
create table members (id integer primary key, team_id integer, name varchar(50), seen integer default 0,
  foreign key (team_id) references teams (id) on delete cascade);
insert into teams values (1, 'red'), (2, 'blue');
insert into members (id, team_id, name) values (1, 1, 'ada'), (2, 1, 'bob'), (3, 2, 'cy');";

const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: teams}
spec: {source: conformance}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: members}
spec: {source: conformance}
";

impl Captured {
    async fn states(&self) -> Vec<(String, State)> {
        let survey = self.survey().await;
        survey.tables().iter().map(|table| (table.name.name.as_str().to_owned(), table.state)).collect()
    }

    /// Serves the manifests over what the database has now.
    async fn reload(&self, entities: &str) {
        self.reload_as(On { kind: self.kind, mode: self.mode }, entities).await;
    }

    /// Everything of ours that the database has.
    async fn ours(&self) -> Vec<String> {
        let sql = match self.kind {
            Kind::Postgres => {
                "select to_json(name) from (
                   select relname as name from pg_class union all select proname from pg_proc union all select tgname from pg_trigger
                 ) t where name like '%resolvespec%'"
            }
            Kind::Mariadb => {
                "select json_quote(table_name) from information_schema.tables
                 where table_schema = database() and table_name like '%resolvespec%'
                 union all select json_quote(trigger_name) from information_schema.triggers
                 where trigger_schema = database() and trigger_name like '%resolvespec%'"
            }
            Kind::Sqlite => "select json_quote(name) from sqlite_schema where name like '%resolvespec%'
                 union all select json_quote(name) from sqlite_sequence where name like '%resolvespec%'",
        };
        self.texts(sql).await
    }
}

fn all(state: State) -> Vec<(String, State)> {
    vec![("members".to_owned(), state), ("teams".to_owned(), state)]
}

async fn cycle(kind: Kind) {
    let captured = Captured::bare(kind, SCHEMA, ENTITIES).await;
    assert_eq!(captured.states().await, all(State::Missing));
    captured.run_install().await;
    assert_eq!(captured.states().await, all(State::Installed));
    assert_eq!(captured.survey().await.install(), [""; 0], "there is nothing to do twice");
    captured.run("alter table members add column email varchar(50)").await;
    captured.reload(ENTITIES).await;
    // PostgreSQL's function takes whole rows.
    let expected = if kind == Kind::Postgres { State::Installed } else { State::Outdated };
    assert_eq!(captured.states().await[0], ("members".to_owned(), expected));
    captured.run_install().await;
    assert_eq!(captured.states().await, all(State::Installed));
    let relay = captured.start();
    captured.run("update members set email = 'a@x' where id = 1").await;
    let told = relay.told(1).await;
    assert_eq!(told[0].changed, ["email"]);
    assert_eq!(image(told[0].after.as_deref())["email"], json!("a@x"));
    captured.drained().await;
    relay.stop().await;
    captured.run("update members set email = 'b@x' where id = 1").await;
    let removal = removal(&captured.database()).await.expect("the database tells what is there");
    assert_eq!(removal.untold, 1);
    captured.database().run_all(&removal.statements).await.expect("everything can be removed");
    assert_eq!(captured.ours().await, [""; 0]);
    assert_eq!(captured.states().await, all(State::Missing));
    captured.run("delete from members where id = 1").await;
    // Another outbox counts on: no id is used for two changes.
    captured.run_install().await;
    let relay = captured.start();
    captured.run("delete from members where id = 2").await;
    let again = relay.told(1).await;
    assert!(again[0].id > told[0].id, "{} {}", again[0].id, told[0].id);
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn capture_is_installed_adapted_and_removed_on_postgres() {
    cycle(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn capture_is_installed_adapted_and_removed_on_mariadb() {
    cycle(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn capture_is_installed_adapted_and_removed_on_sqlite() {
    cycle(Kind::Sqlite).await;
}

async fn cascade(on: impl Into<On>, expected: &[&str]) {
    let on = on.into();
    let captured = Captured::install(on, SCHEMA, ENTITIES).await;
    let relay = captured.start();
    // SQLite regards foreign keys where the program says so, and ours does.
    captured.run("delete from teams where id = 1").await;
    captured.run("update teams set name = 'last' where id = 2").await;
    relay.told(expected.len() + 1).await;
    let mut lines = relay.bus.lines();
    assert_eq!(lines.pop().as_deref(), Some("teams update 2"));
    lines.sort_unstable();
    assert_eq!(lines, expected);
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_foreign_keys_delete_is_told_on_postgres() {
    cascade(Kind::Postgres, &["members delete 1", "members delete 2", "teams delete 1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_foreign_keys_delete_is_told_on_sqlite() {
    cascade(Kind::Sqlite, &["members delete 1", "members delete 2", "teams delete 1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_foreign_keys_delete_is_told_by_the_log() {
    cascade(WAL, &["members delete 1", "members delete 2", "teams delete 1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_foreign_keys_delete_is_warned_of_on_mariadb() {
    let captured = Captured::install(Kind::Mariadb, SCHEMA, ENTITIES).await;
    let warnings = captured.survey().await.warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("members_ibfk_1"), "{warnings:?}");
    captured.remove().await;
    cascade(Kind::Mariadb, &["teams delete 1"]).await;
}

/// A trigger of somebody else changes the row once more; the last image is the row as it is.
async fn another_trigger(on: impl Into<On>, other: &str) {
    let on = on.into();
    let captured = Captured::bare(on, SCHEMA, ENTITIES).await;
    captured.run(other).await;
    captured.run_install().await;
    let relay = captured.start();
    captured.run("insert into members (id, team_id, name) values (9, 2, 'new')").await;
    let told = relay.told(2).await;
    let seen: Vec<Value> = told.iter().map(|change| image(change.after.as_deref())["seen"].clone()).collect();
    assert_eq!(seen, [json!(0), json!(1)]);
    assert_eq!(relay.bus.lines(), ["members create 9", "members update 9"]);
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_trigger_changes_is_told_after_on_postgres() {
    let other = "create function see() returns trigger language plpgsql as $$ begin
          update members set seen = seen + 1 where id = new.id; return null; end $$;
        create trigger a_see after insert on members for each row execute function see()";
    another_trigger(Kind::Postgres, other).await;
    another_trigger(WAL, other).await;
}

const SQLITE_SEE: &str =
    "create trigger see after insert on members begin update members set seen = seen + 1 where id = new.id; end";

#[tokio::test(flavor = "multi_thread")]
async fn what_another_trigger_changes_is_told_after_on_sqlite() {
    another_trigger(Kind::Sqlite, SQLITE_SEE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_younger_trigger_makes_ours_out_of_date_on_sqlite() {
    let captured = Captured::install(Kind::Sqlite, SCHEMA, ENTITIES).await;
    captured.run(SQLITE_SEE).await;
    assert_eq!(captured.states().await[0], ("members".to_owned(), State::Outdated));
    captured.run_install().await;
    assert_eq!(captured.states().await, all(State::Installed));
    captured.remove().await;
}

/// A server has many databases, and one's capture is no other's.
#[tokio::test(flavor = "multi_thread")]
async fn another_database_stays_captured_on_mariadb() {
    let captured = Captured::install(Kind::Mariadb, SCHEMA, ENTITIES).await;
    let other = Captured::install(Kind::Mariadb, SCHEMA, ENTITIES).await;
    let removal = removal(&captured.database()).await.expect("the database tells what is there");
    captured.database().run_all(&removal.statements).await.expect("everything can be removed");
    assert_eq!(captured.states().await, all(State::Missing));
    assert_eq!(other.states().await, all(State::Installed));
    captured.remove().await;
    other.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_of_others_stay_on_mariadb() {
    let captured = Captured::bare(Kind::Mariadb, SCHEMA, ENTITIES).await;
    captured.run("create trigger see after insert on members for each row insert into teams values (new.id, new.name)").await;
    captured.run_install().await;
    let relay = captured.start();
    captured.run("insert into members (id, team_id, name) values (9, 2, 'new')").await;
    relay.told(2).await;
    let mut lines = relay.bus.lines();
    lines.sort_unstable();
    assert_eq!(lines, ["members create 9", "teams create 9"]);
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_is_told_as_the_delete_of_every_row_on_postgres() {
    let captured = Captured::install(Kind::Postgres, SCHEMA, ENTITIES).await;
    let relay = captured.start();
    captured.run("truncate teams cascade").await;
    let told = relay.told(5).await;
    let mut lines: Vec<String> = told.iter().map(|change| line(change)).collect();
    lines.sort_unstable();
    let expected = ["members delete 1", "members delete 2", "members delete 3", "teams delete 1", "teams delete 2"];
    assert_eq!(lines, expected);
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_told_as_their_table_on_postgres() {
    let schema = "create table teams (id integer primary key, name text) partition by range (id);
        create table teams_low partition of teams for values from (0) to (10);
        create table teams_high partition of teams for values from (10) to (100);
        create table members (id integer primary key);";
    let captured = Captured::install(Kind::Postgres, schema, ENTITIES).await;
    let relay = captured.start();
    captured.run("insert into teams values (1, 'low'), (11, 'high')").await;
    captured.run("insert into teams_low values (2, 'direct')").await;
    captured.run("create table teams_more partition of teams for values from (100) to (200)").await;
    captured.run("insert into teams values (101, 'more'); truncate teams").await;
    relay.told(8).await;
    let told = relay.bus.lines();
    assert_eq!(told[..4], ["teams create 1", "teams create 11", "teams create 2", "teams create 101"]);
    assert!(told[4..].iter().all(|line| line.starts_with("teams delete")), "{told:?}");
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_needs_no_right_on_the_outbox_on_postgres() {
    let captured = Captured::install(Kind::Postgres, SCHEMA, ENTITIES).await;
    let role = format!("writer_{}", std::process::id());
    captured.run(&format!("create role {role}; grant select, insert, update, delete on teams to {role}")).await;
    let relay = captured.start();
    captured
        .run(&format!(
            "set role {role}; set search_path = ''; set resolvespec.subject = 'ada'; insert into public.teams values (7, 'mine'); \
             reset search_path; reset role; reset resolvespec.subject"
        ))
        .await;
    let told = relay.told(1).await;
    assert_eq!(told[0].user.as_deref(), Some("ada"));
    assert!(told[0].transaction.is_some());
    captured.run(&format!("drop owned by {role}; drop role {role}")).await;
    relay.stop().await;
    captured.remove().await;
}

/// Two entities of one table, one with other names, and a record whose key changes.
async fn two_entities(on: impl Into<On>) {
    let on = on.into();
    let entities = format!(
        "{ENTITIES}---\napiVersion: resolvespec.dev/v1alpha1\nkind: Entity\nmetadata: {{name: groups}}\n\
         spec: {{source: conformance, table: teams, name: groups, columns: [{{name: name, alias: title}}]}}\n"
    );
    let captured = Captured::install(on, SCHEMA, &entities).await;
    let relay = captured.start();
    captured.run("update teams set name = 'green' where id = 2").await;
    captured.run("insert into teams values (5, 'new')").await;
    captured.run("update teams set id = 6 where id = 5").await;
    let told = relay.told(8).await;
    let lines = relay.bus.lines();
    let of_groups: Vec<&String> = lines.iter().filter(|line| line.starts_with("groups")).collect();
    assert_eq!(of_groups, ["groups update 2", "groups create 5", "groups delete 5", "groups create 6"]);
    let update = told.iter().find(|change| change.entity == "groups").expect("a change of the groups");
    assert_eq!(image(update.after.as_deref()), json!({"id": 2, "title": "green"}));
    assert_eq!(update.changed, ["title"]);
    assert_eq!(update.source, SOURCE);
    relay.stop().await;
    captured.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entity_of_a_table_is_told_on_postgres() {
    two_entities(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entity_of_a_table_is_told_on_mariadb() {
    two_entities(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entity_of_a_table_is_told_on_sqlite() {
    two_entities(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entity_of_a_table_is_told_by_the_log() {
    two_entities(WAL).await;
}

/// Another program, which has none of our functions and another version of SQLite where there is one; a REPLACE of its
/// deletes without a trigger, so that only the new row is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_plain_connection_is_captured_and_its_replace_told_as_a_create_on_sqlite() {
    let captured = Captured::install(Kind::Sqlite, SCHEMA, ENTITIES).await;
    let relay = captured.start();
    let path = captured.fresh.url.trim_start_matches("sqlite:").to_owned();
    let plain = rusqlite::Connection::open(path).expect("the file is there");
    plain
        .execute_batch("update members set seen = 0.1 where id = 3; replace into members (id, name) values (3, 'again');")
        .unwrap();
    relay.told(2).await;
    assert_eq!(relay.bus.lines(), ["members update 3", "members create 3"]);
    plain.execute_batch("pragma recursive_triggers = on; replace into members (id, name) values (3, 'told');").unwrap();
    relay.told(4).await;
    assert_eq!(relay.bus.lines()[2..], ["members delete 3", "members create 3"]);
    relay.stop().await;
    captured.remove().await;
}
