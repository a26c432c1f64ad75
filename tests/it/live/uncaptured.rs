//! Subscriptions to what nobody captures any more are told so, and asking whether it is captured costs one question for all.

use super::{Kind, SOURCE, Stage, config, install, subscribe, subscribed, told};
use crate::support::session::Session;
use futures_util::future::join_all;
use resolvespec::config::Config;
use resolvespec::event::capture::setup;
use resolvespec::event::hub::Settings;
use resolvespec::live::Handles;
use serde_json::json;
use std::time::Duration;

/// A replica that looks often.
fn watchful() -> Config {
    let live = Settings { survey_interval: Duration::from_millis(100), ..Settings::default() };
    Config { live, ..config() }
}

async fn removed(stage: Stage) {
    let mut items = stage.session().await;
    let mut boxes = stage.session().await;
    subscribed(&mut items, "items", json!({})).await;
    let begun = subscribed(&mut boxes, "boxes", json!({})).await;
    stage.run("insert into boxes values (1, 1)").await;
    assert_eq!(told(&mut boxes).await["operation"], "create");
    let database = stage.first.engine.served().databases[SOURCE].clone();
    let removal = setup::removal(&database).await.expect("it can be looked at");
    if stage.mode == "wal" {
        // The publication goes while the slot is held.
        stage.run("drop publication resolvespec").await;
    } else {
        database.run_all(&removal.statements).await.expect("capture can be removed");
    }
    for session in [&mut items, &mut boxes] {
        let message = told(session).await;
        assert_eq!((&message["operation"], &message["reason"]), (&json!("ended"), &json!("capture_removed")), "{message}");
        assert_eq!(message["error"]["code"], "not_captured");
    }
    stage.counts("resolvespec_live_subscriptions", 0).await;
    let error = subscribe(&mut items, "items", json!({})).await.expect_err("nobody would see its changes");
    assert_eq!(error["code"], "not_captured");
    let (_, said) = super::come_back(&stage.first, &begun["session"]).await;
    assert_ne!(said["restored"][0]["subscription_id"], begun["subscription_id"], "{said}");

    if stage.mode != "wal" {
        install(&stage.first.engine.served()).await;
        subscribed(&mut boxes, "boxes", json!({})).await;
        stage.run("insert into boxes values (2, 1)").await;
        let (mut message, mut id) = (told(&mut boxes).await, 2);
        // Nobody was told what was changed in between, so all start anew; whoever has just begun may do so, and reads the row.
        if message["operation"] == "resync_required" {
            stage.run("insert into boxes values (3, 1)").await;
            (message, id) = (told(&mut boxes).await, 3);
            // The row that was there before may be told after that.
            if message["data"]["id"] == 2 {
                message = told(&mut boxes).await;
            }
        }
        assert_eq!(message["data"]["id"], id, "and what is captured again can be followed again");
    }
    drop((items, boxes));
    stage.close().await;
}

async fn a_subscription_whose_capture_is_removed_is_told_so(kind: Kind) {
    removed(Stage::on(kind, Handles::memory(), watchful(), Vec::new()).await).await;
}

super::on_all!(a_subscription_whose_capture_is_removed_is_told_so);

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_whose_publication_is_removed_is_told_so() {
    removed(Stage::captured(Kind::Postgres, "wal", Handles::memory(), watchful(), Vec::new()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trigger_less_ends_the_subscriptions_of_its_table_alone() {
    let stage = Stage::on(Kind::Sqlite, Handles::memory(), watchful(), Vec::new()).await;
    let mut items = stage.session().await;
    let mut boxes = stage.session().await;
    subscribed(&mut items, "items", json!({})).await;
    subscribed(&mut boxes, "boxes", json!({})).await;
    let name = "select json_quote(name) from sqlite_master where type = 'trigger' and tbl_name = 'boxes' limit 1";
    let names = stage.writer.fetch_texts(resolvespec::database::Statement::new(name)).await.expect("a trigger is there");
    stage.run(&format!("drop trigger {}", names[0])).await;
    assert_eq!(told(&mut boxes).await["reason"], "capture_removed");
    stage.run("insert into items values (1, 'a', 'b', 1)").await;
    assert_eq!(told(&mut items).await["operation"], "create");
    drop((items, boxes));
    stage.close().await;
}

/// The log has no generated columns, and what a table has become is no fault of the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_the_log_can_not_tell_any_more_ends_its_own_subscriptions_alone() {
    let stage = Stage::captured(Kind::Postgres, "wal", Handles::memory(), watchful(), Vec::new()).await;
    let (mut items, mut boxes) = (stage.session().await, stage.session().await);
    subscribed(&mut items, "items", json!({})).await;
    subscribed(&mut boxes, "boxes", json!({})).await;
    stage.run("alter table boxes add column twice integer generated always as (size * 2) stored").await;
    let message = told(&mut boxes).await;
    assert_eq!((&message["operation"], &message["reason"]), (&json!("ended"), &json!("capture_removed")), "{message}");
    assert_eq!(message["error"]["code"], "not_captured");
    let error = subscribe(&mut boxes, "boxes", json!({})).await.expect_err("its rows can't be told");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("in the mode of the DataSource")), "{error}");
    stage.run("insert into items values (1, 'a', 'b', 1)").await;
    assert_eq!(told(&mut items).await["operation"], "create");
    // It is not captured by an installation either, which makes whatever else there is to make.
    stage.run("alter table items replica identity default").await;
    let served = stage.first.engine.served();
    let survey = setup::survey(&served.databases[SOURCE], &served.catalog, SOURCE).await.expect("the database can be surveyed");
    assert!(survey.fit().is_err_and(|unfit| unfit.to_string().contains("public.boxes")));
    assert!(
        survey.install().iter().any(|statement| statement.contains("\"items\" replica identity full")),
        "{:?}",
        survey.install()
    );
    drop((items, boxes));
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_subscribe_first_one_has_the_database_asked() {
    const MANY: usize = 40;
    let stage = Stage::open(Kind::Postgres).await;
    stage.run("create extension if not exists pg_stat_statements").await;
    let sessions = join_all((0..MANY).map(|_| Session::connect(stage.first.address))).await;
    let asked = async || {
        let text = "select coalesce(sum(calls), 0)::text from pg_stat_statements s join pg_database d on d.oid = s.dbid
            where d.datname = current_database() and query like '%from pg_trigger t join pg_class c%'
              and query not like '%pg_stat_statements%'";
        let texts = stage.writer.fetch_texts(resolvespec::database::Statement::new(text)).await.expect("statements are counted");
        texts[0].parse::<usize>().expect("a number")
    };
    let before = asked().await;
    let subscribe = async |mut session: Session| {
        subscribed(&mut session, "boxes", json!({})).await;
        session
    };
    let sessions = join_all(sessions.into_iter().map(subscribe)).await;
    let surveys = asked().await - before;
    assert!((1..=2).contains(&surveys), "{MANY} first subscribers had the database asked {surveys} times");
    drop(sessions);
    stage.close().await;
}
