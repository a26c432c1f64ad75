//! Hooks have the same say on subscriptions as on reads.

use super::{Kind, Stage, subscribe, subscribed, told};
use async_trait::async_trait;
use resolvespec::config::Config;
use resolvespec::database::Statement;
use resolvespec::engine::{Context, Hook, NarrowRead, Refusal, Session as Joined};
use resolvespec::event::hub::Settings;
use resolvespec::protocol::{Condition, Leaf, Operator};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Lets boxes be, hides what is not a pen, its stock and, if it is told to, its key; notes what it is asked.
#[derive(Default)]
struct Guard {
    hides_key: bool,
    stays: bool,
    /// Where it waits before it has done with a beginning or an end.
    gate: Option<Semaphore>,
    noted: Mutex<Vec<String>>,
}

impl Guard {
    fn note(&self, what: &str, context: Context<'_>) {
        self.noted.lock().expect("no panic").push(format!("{what} {}", context.entity.name));
    }

    async fn pass(&self, what: &str, context: Context<'_>) {
        if let Some(gate) = &self.gate {
            self.note(what, context);
            gate.acquire().await.expect("it is there").forget();
        }
    }

    fn noted(&self, what: &str) -> usize {
        self.noted.lock().expect("no panic").iter().filter(|note| *note == what).count()
    }

    /// Waits until something has been noted so often.
    async fn notes(&self, what: &str, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.noted(what) < count {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.noted.lock().expect("no panic"));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[async_trait]
impl Hook for Guard {
    async fn before_read(&self, context: Context<'_>, read: &mut NarrowRead<'_, '_>) -> Result<(), Refusal> {
        if context.entity.name == "items" {
            let pens = Leaf { column: "kind".to_owned(), operator: Operator::Eq, value: json!("pen") };
            read.filter(&Condition::Leaf(pens))?;
        }
        Ok(())
    }

    async fn before_subscribe(&self, context: Context<'_>, read: &mut NarrowRead<'_, '_>) -> Result<(), Refusal> {
        self.note("asks", context);
        if context.entity.name == "boxes" {
            return Err(Refusal::new("boxes are not for you"));
        }
        if self.hides_key {
            read.drop_column("id")?;
        }
        read.drop_column("stock")
    }

    async fn after_subscribe(&self, context: Context<'_>, _: &str) {
        self.pass("hears of the beginning of", context).await;
        self.note("begins", context);
    }

    async fn before_unsubscribe(&self, context: Context<'_>, _: &str) -> Result<(), Refusal> {
        self.note("wants to end", context);
        if self.stays { Err(Refusal::new("you stay")) } else { Ok(()) }
    }

    async fn after_unsubscribe(&self, context: Context<'_>, _: &str) {
        self.pass("hears of the end of", context).await;
        self.note("ends", context);
    }

    async fn before_disconnect(&self, _: Joined<'_>) {
        self.noted.lock().expect("no panic").push("leaves".to_owned());
    }
}

const WRITES: &str = "insert into items values (1, 'a', 'ink', 1); insert into items values (2, 'b', 'pen', 2);
    update items set kind = 'ink' where id = 2;";

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_refuses_narrows_and_is_told() {
    let guard = Arc::new(Guard::default());
    let stage = Stage::with(Kind::Sqlite, |config| config, vec![guard.clone()]).await;
    let mut session = stage.session().await;
    let error = subscribe(&mut session, "boxes", json!({})).await.expect_err("the hook refuses");
    assert_eq!((&error["code"], &error["message"]), (&json!("hook_error"), &json!("boxes are not for you")));
    let begun = subscribed(&mut session, "items", json!({"snapshot": true})).await;
    stage.run(WRITES).await;
    let message = told(&mut session).await;
    assert_eq!(message["data"], json!({"id": 2, "name": "b", "kind": "pen"}), "the others are not told, and no stock");
    let message = told(&mut session).await;
    assert_eq!((&message["data"], &message["reason"]), (&json!({"id": 2}), &json!("leave")));
    let error = subscribe(&mut session, "items", json!({"columns": ["stock"]})).await.expect_err("nothing is left");
    assert_eq!(error["code"], "forbidden");
    let end = json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": begun["subscription_id"]});
    assert_eq!(session.ask(&end).await["success"], true);
    let noted = guard.noted.lock().expect("no panic").clone();
    assert_eq!(noted, ["asks boxes", "asks items", "begins items", "asks items", "wants to end items", "ends items"]);
    drop(session);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_not_be_seen_is_not_told() {
    let guard = Arc::new(Guard { hides_key: true, stays: true, ..Guard::default() });
    let stage = Stage::with(Kind::Sqlite, |config| config, vec![guard]).await;
    let mut session = stage.session().await;
    let begun = subscribed(&mut session, "items", json!({})).await;
    stage.run(WRITES).await;
    let message = told(&mut session).await;
    assert_eq!((&message["data"], &message["key"]), (&json!({"name": "b", "kind": "pen"}), &json!({})));
    assert_eq!(told(&mut session).await["data"], json!({}));
    let end = json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": begun["subscription_id"]});
    assert_eq!(session.ask(&end).await["error"]["message"], "you stay");
    stage.run("insert into items values (3, 'c', 'pen', 2)").await;
    assert_eq!(told(&mut session).await["operation"], "create");
    drop(session);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_is_told_of_every_subscription_that_ends_however_it_does() {
    let guard = Arc::new(Guard::default());
    let live = Settings { survey_interval: Duration::from_millis(100), ..Settings::default() };
    let stage = Stage::with(Kind::Sqlite, |config| Config { live, ..config }, vec![guard.clone()]).await;
    let ended = async |count: usize| {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let noted = guard.noted.lock().expect("no panic").clone();
            let ends = noted.iter().filter(|note| *note == "ends items").count();
            assert!(ends <= count, "told once of each: {noted:?}");
            if ends == count {
                return;
            }
            assert!(Instant::now() < deadline, "{count} have ended: {noted:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut session = stage.session().await;
    subscribed(&mut session, "items", json!({})).await;
    subscribed(&mut session, "items", json!({})).await;
    drop(session);
    ended(2).await;
    let noted = guard.noted.lock().expect("no panic").clone();
    assert_eq!(noted[noted.len() - 3..], ["leaves", "ends items", "ends items"], "{noted:?}");
    // Nor does a trigger that has gone leave one behind, whose connection goes after it.
    let mut session = stage.session().await;
    subscribed(&mut session, "items", json!({})).await;
    let name = "select json_quote(name) from sqlite_master where type = 'trigger' and tbl_name = 'items' limit 1";
    let names = stage.writer.fetch_texts(Statement::new(name)).await.expect("a trigger is there");
    stage.run(&format!("drop trigger {}", names[0])).await;
    assert_eq!(told(&mut session).await["operation"], "ended");
    drop(session);
    stage.counts("resolvespec_ws_connections", 0).await;
    ended(3).await;
    let refusals = guard.noted.lock().expect("no panic").iter().filter(|note| note.starts_with("wants")).count();
    assert_eq!(refusals, 0, "only a client that asks can be refused");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_is_being_told_something_hears_all_of_it_though_the_client_breaks_off() {
    let guard = Arc::new(Guard { gate: Some(Semaphore::new(0)), ..Guard::default() });
    let gate = guard.gate.as_ref().expect("it has one");
    let stage = Stage::with(Kind::Sqlite, |config| config, vec![guard.clone()]).await;
    let begin = json!({"id": "s", "type": "subscription", "operation": "subscribe", "entity": "items"});
    let mut session = stage.session().await;
    session.say(&begin).await;
    guard.notes("hears of the beginning of items", 1).await;
    drop(session);
    stage.counts("resolvespec_ws_connections", 0).await;
    stage.counts("resolvespec_live_subscriptions", 0).await;
    gate.add_permits(2);
    guard.notes("ends items", 1).await;

    gate.add_permits(1);
    let mut session = stage.session().await;
    let begun = subscribed(&mut session, "items", json!({})).await;
    let end = json!({"id": "u", "type": "subscription", "operation": "unsubscribe", "subscription_id": begun["subscription_id"]});
    session.say(&end).await;
    guard.notes("hears of the end of items", 2).await;
    drop(session);
    stage.counts("resolvespec_ws_connections", 0).await;
    gate.add_permits(1);
    guard.notes("ends items", 2).await;
    // Nothing more can have been told by then.
    stage.close().await;
    let noted = guard.noted.lock().expect("no panic").clone();
    let told: Vec<&str> =
        noted.iter().map(String::as_str).filter(|note| note.starts_with("begins") || note.starts_with("ends")).collect();
    assert_eq!(told, ["begins items", "ends items", "begins items", "ends items"], "{noted:?}");
}
