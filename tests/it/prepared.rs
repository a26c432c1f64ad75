//! MariaDB that has no room for prepared statements, and tables that are altered while they are read.
//!
//! The limits are the server's, so it is one of the tests' own.

use crate::support::client::Call;
use crate::support::database::{Fresh, Kind};
use crate::support::own::Own;
use crate::support::server::Server;
use futures_util::future::join_all;
use resolvespec::database::{Database, Error, Settings, Statement};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_util::task::TaskTracker;

const SCHEMA: &str = "create table marks (id bigint primary key, body text not null)";
const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: marks}
spec: {source: conformance, apiSchema: public}
";

async fn connect(url: &str, connections: usize) -> Database {
    let mut settings = Settings::new("prepared", url);
    settings.max_connections = connections;
    Database::connect(&settings).await.expect("the database answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_room_for_prepared_statements_is_unavailable_and_never_a_fault_of_ours() {
    let own = Own::start(Kind::Mariadb, "prepared");
    let url = own.database().await;
    let server = Server::over(Kind::Mariadb, Fresh::at(url.clone()), SCHEMA, ENTITIES, Vec::new()).await;
    let admin = connect(&url, 1).await;

    // Room for a few: whoever finds none left gives back its own, and goes on.
    // Those of the replica and of this question stay.
    let count = "select variable_value from information_schema.global_status where variable_name = 'PREPARED_STMT_COUNT'";
    let prepared = admin.fetch_texts(Statement::new(count)).await.expect("a number");
    let prepared: u32 = prepared[0].parse().expect("a number");
    admin.run_script(&format!("set global max_prepared_stmt_count = {}", prepared + 10)).await.expect("set");
    let single = connect(&url, 1).await;
    for number in 0..100 {
        let rows = single.fetch_texts(Statement::new(format!("select '{number}'"))).await.expect("there is room for one");
        assert_eq!(rows, [number.to_string()]);
    }
    let mut transaction = single.begin(single.deadline(None)).await.expect("begun");
    for number in 0..100 {
        let insert = Statement::new(format!("insert into marks values ({number}, 'x')"));
        assert_eq!(transaction.execute(insert).await.expect("there is room for one").rows, 1);
    }
    transaction.commit().await.expect("committed");
    single.close().await;
    let many = connect(&url, 4).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    // The server gives room once it has noticed that the connection is closed.
    while let Err(error) = many.fetch_texts(Statement::new("select '1'")).await {
        assert!(Instant::now() < deadline, "a closed connection's statements are not forgotten: {error}");
    }
    let asked = join_all((0..200).map(|number| many.fetch_texts(Statement::new(format!("select '{number}'"))))).await;
    for outcome in &asked {
        assert!(matches!(outcome, Ok(_) | Err(Error::Unprepared(_))), "{outcome:?}");
    }
    assert!(asked.iter().any(Result::is_ok), "some are answered");

    admin.run_script("set global max_prepared_stmt_count = 0").await.expect("set");
    let refused = many.fetch_texts(Statement::new("select 'none'")).await;
    assert!(matches!(refused, Err(Error::Unprepared(_))), "{refused:?}");
    let read = Call::post("/api/public/marks/7", &json!({"operation": "read"}));
    let write = Call::post("/api/public/marks", &json!({"operation": "create", "data": {"id": 200, "body": "x"}}));
    let kept = write.clone().header("Idempotency-Key", "two hundred");
    for call in [&read, &write, &kept] {
        let answer = server.client.send(call).await.expect("the service itself answers");
        assert_eq!((answer.status.as_u16(), &answer.body["error"]["code"]), (503, &json!("unavailable")), "{}", answer.body);
        assert!(!answer.header("retry-after").is_empty(), "it says when to come again");
    }

    admin.run_script("set global max_prepared_stmt_count = 1000").await.expect("set");
    for call in [&read, &write] {
        assert_eq!(server.client.send(call).await.expect("an answer").status, 200, "it goes on by itself");
    }
    for database in [admin, many] {
        database.close().await;
    }
    server.stop().await;
}

const TABLES: usize = 6;

/// So many reads of each tell how many are refused, however fast the machine is.
const READS: usize = 50;

/// Without further attempts two of five reads were refused with so many, and of two hardly any.
const WRITERS: usize = 3;

/// Reads the tables again and again; counts the answers, and the reads that were refused for a while.
async fn read_on(database: Database) -> (usize, usize) {
    let tables: Vec<String> = (0..TABLES).map(|place| format!("w{place}")).collect();
    let text = format!("select json_array(count(*)) from {}", tables.join(", "));
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < READS {
        match database.fetch_texts(Statement::new(text.clone())).await {
            Ok(rows) => {
                assert_eq!(rows, ["[0]"]);
                answered += 1;
            }
            Err(Error::Unprepared(_)) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    (answered, refused)
}

/// The server prepares a statement anew if a table has changed, and gives up when one has changed again three times.
#[tokio::test(flavor = "multi_thread")]
async fn reads_of_tables_that_are_made_anew_again_and_again_are_answered() {
    let own = Own::start(Kind::Mariadb, "altered");
    let url = own.database().await;
    let admin = connect(&url, TABLES).await;
    let made = |place: usize, round: usize| format!("create or replace table w{place} (id int primary key) comment '{round}'");
    for place in 0..TABLES {
        admin.run_script(&made(place, 0)).await.expect("made");
    }
    let (readers, done) = (connect(&url, 4).await, Arc::new(AtomicBool::new(false)));
    let tasks = TaskTracker::new();
    let reading: Vec<_> = (0..4).map(|_| tasks.spawn(read_on(readers.clone()))).collect();
    let making = async {
        let writers = (0..WRITERS).map(|first| {
            let (done, admin) = (&done, &admin);
            async move {
                let mut rounds = 0;
                while !done.load(Ordering::Relaxed) {
                    rounds += 1;
                    let place = (first + rounds * WRITERS) % TABLES;
                    admin.run_script(&made(place, rounds)).await.expect("made anew");
                }
                rounds
            }
        });
        join_all(writers).await.into_iter().sum::<usize>()
    };
    let counting = async {
        let counts = join_all(reading).await;
        done.store(true, Ordering::Relaxed);
        counts.into_iter().map(|count| count.expect("no read failed")).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    };
    let (rounds, (answered, refused)) = tokio::join!(making, counting);
    assert!(rounds > 10 * TABLES, "the tables stood nearly still: {rounds} were made");
    assert!(answered > 3 * refused, "{answered} reads were answered and {refused} refused");
    readers.close().await;
    admin.close().await;
}
