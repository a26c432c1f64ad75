//! A hundred thousand rows in one transaction: every one is told in order, by a replica that does not grow with them.

use super::deployment::{Deployment, SOURCE, entity};
use crate::support::session::Session;
use serde_json::json;

const ROWS: u64 = 100_000;

/// What a replica may take more than before, while rows of 20 MB with as much of old images pass through it.
const MAX_GROWTH_KILOBYTES: u64 = 40 * 1024;

/// What it may take for all of them more than for a tenth, which is 36 MB less.
const MAX_MORE_KILOBYTES: u64 = 12 * 1024;

/// The rows take so much time on a busy machine, one after the other through a debug build.
const CHANGES: &str = "600";

#[expect(clippy::print_stdout, reason = "the figures are worth seeing with --nocapture")]
async fn passes_through(mode: &str) {
    let shop =
        Deployment::new().await.with("RESOLVESPEC_NATS_EVENTS_BYTES", "268435456").with("RESOLVESPEC_WS_PING_SECONDS", CHANGES);
    let source = SOURCE.replace("pool:", &format!("capture: {{mode: {mode}}}, pool:"));
    shop.write(&format!("{source}{}", entity("items")));
    shop.run_script(&format!("insert into items select n, repeat('x', 200) from generate_series(2, {ROWS}) n")).await;
    shop.capture();
    shop.published(&[]);
    let mut one = shop.start("one");
    one.serves(1).await;
    let mut session = Session::connect(one.client.address()).await;
    let asked = json!({"id": "s", "type": "subscription", "operation": "subscribe", "entity": "items", "options": {}});
    let answer = session.ask(&asked).await;
    assert_eq!(answer["success"], true, "{answer}");
    let before = one.kilobytes("VmRSS:");

    let mut pass = async |rows: u64, letter: &str| {
        shop.run_script(&format!("update items set name = repeat('{letter}', 200) where id <= {rows}")).await;
        for _ in 0..rows {
            let told = session.hear().await;
            assert_eq!((&told["operation"], &told["data"]["name"]), (&json!("update"), &json!(letter.repeat(200))), "{told}");
        }
        one.kilobytes("VmHWM:")
    };
    let few = pass(ROWS / 10, "y").await;
    let all = pass(ROWS, "z").await;
    println!("{mode}: {before} kB before, at most {few} kB with a tenth of the rows and {all} kB with all");
    assert!(all - before <= MAX_GROWTH_KILOBYTES, "by {mode} it took {} kB more", all - before);
    assert!(all - few <= MAX_MORE_KILOBYTES, "by {mode} ten times the rows took {} kB more", all - few);
    one.signal("-TERM");
    drop(session);
    one.ended().await;
    shop.uncapture();
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_change_is_told_in_bounded_memory_by_trigger() {
    passes_through("trigger").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_change_is_told_in_bounded_memory_by_the_log() {
    passes_through("wal").await;
}
