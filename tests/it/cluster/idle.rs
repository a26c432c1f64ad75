//! What ten thousand subscriptions on a replica cost others: NATS has no consumer more for them, the database no statement.

use super::deployment::{Deployment, Replica};
use super::live::{captured, hears};
use super::until;
use crate::support::session::Session;
use futures_util::{StreamExt, stream};
use resolvespec::database::{Database, Settings, Statement};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

const SESSIONS: usize = 200;
const EACH: usize = 50;
/// Sessions that subscribe at once: a client's answer waits for those of as many others.
const AT_ONCE: usize = 8;

/// How long statements are watched for while nothing happens: from a sweep of the relay until half-way between the next two.
const WATCHED: Duration = Duration::from_millis(7500);

/// By how many a count may differ from an earlier one: a look at the outbox or at the tables' capture is in one of them by chance.
const BY_CHANCE: u64 = 5;

/// What the relay's sweep asks, which comes every five seconds, and nothing else does.
const SWEEP: &str = "pg_snapshot_xmin";

/// A session with subscriptions to rows of its own.
async fn subscriber(replica: &Replica, number: usize) -> Session {
    let mut session = Session::connect(replica.client.address()).await;
    for id in number * EACH..(number + 1) * EACH {
        let options = json!({"filters": [{"column": "id", "operator": "eq", "value": id}]});
        let asked = json!({"id": "s", "type": "subscription", "operation": "subscribe", "entity": "items", "options": options});
        let answer = session.ask(&asked).await;
        assert_eq!(answer["success"], true, "{answer}");
    }
    session
}

/// How often the database was sent each statement so far, without those of this test.
async fn statements(database: &Database) -> HashMap<String, u64> {
    let count = "select jsonb_build_array(query, sum(calls))::text from pg_stat_statements s join pg_database d on d.oid = s.dbid
        where d.datname = current_database() and query !~ 'pg_stat_statements' group by query";
    let texts = database.fetch_texts(Statement::new(count)).await.expect("statements are counted");
    texts.iter().map(|text| serde_json::from_str(text).expect("a text and a number")).collect()
}

/// How often it was sent each in this time, of those that it was sent at all.
async fn watched(database: &Database) -> BTreeMap<String, u64> {
    let sweeps = async || {
        statements(database).await.iter().filter(|(query, _)| query.contains(SWEEP)).map(|(_, calls)| calls).sum::<u64>()
    };
    let swept = sweeps().await;
    until("a sweep", async || sweeps().await > swept).await;
    // The rest of it is over by then.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = statements(database).await;
    tokio::time::sleep(WATCHED).await;
    let after = statements(database).await;
    let more = |(query, calls): (String, u64)| (calls.saturating_sub(before.get(&query).copied().unwrap_or(0)), query);
    after.into_iter().map(more).filter(|(calls, _)| *calls > 0).map(|(calls, query)| (query, calls)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_subscriptions_make_no_consumer_in_nats_and_no_statement() {
    // A client that hears nothing for long does not answer pings here.
    let shop = Deployment::new().await.with("RESOLVESPEC_WS_PING_SECONDS", "600");
    shop.run_script("create extension pg_stat_statements").await;
    shop.write(&captured());
    shop.capture();
    shop.published(&[]);
    let (one, two) = (shop.start("one"), shop.start("two"));
    for replica in [&one, &two] {
        replica.serves(1).await;
    }
    until("a follower for each replica", async || shop.followers().await == 2).await;
    let database = Database::connect(&Settings::new("watch", shop.database_url())).await.expect("the database answers");

    let (own, consumers) = (watched(&database).await, shop.consumers().await);
    assert!(!own.is_empty(), "the relay looks at its outbox, and each replica at the tables' capture");
    let count = |statements: &HashMap<String, u64>| statements.values().sum::<u64>();
    let before = count(&statements(&database).await);
    let subscribing = stream::iter((0..SESSIONS).map(|number| subscriber(&one, number)));
    let mut sessions: Vec<Session> = subscribing.buffered(AT_ONCE).collect().await;
    assert_eq!(
        one.metric("resolvespec_live_subscriptions ").await,
        [format!("resolvespec_live_subscriptions {}", SESSIONS * EACH)]
    );
    let subscribed = count(&statements(&database).await) - before;
    assert!(subscribed < (SESSIONS * EACH) as u64 / 10, "{subscribed} statements while they subscribed");

    let idle = watched(&database).await;
    for (query, calls) in &idle {
        let usual = own.get(query).copied().unwrap_or(0);
        assert!(*calls <= usual + BY_CHANCE, "{calls} times and not {usual} while nothing happens: {query}");
    }
    let total = |statements: &BTreeMap<String, u64>| statements.values().sum::<u64>();
    assert!(total(&idle) <= total(&own) + BY_CHANCE, "{own:?} without subscriptions, {idle:?} with them");
    assert_eq!(shop.followers().await, 2, "consumers of the stream of changes");
    assert_eq!(shop.consumers().await, consumers, "consumers of all streams, with those that watch buckets");

    shop.run_script("insert into items values (9999, 'x')").await;
    hears(&mut sessions[SESSIONS - 1], 9999).await;
    drop((sessions, one, two));
    database.close().await;
    shop.remove().await;
}
