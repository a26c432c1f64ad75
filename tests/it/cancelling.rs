//! A cancel that PostgreSQL does not heed, as when it comes before its statement: it is told again until the session ends.

use crate::support::client::Call;
use crate::support::database::{Fresh, Kind};
use crate::support::server::Server;
use resolvespec::database::{Database, Settings, Statement};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use url::Url;

const SCHEMA: &str = "create table notes (id integer primary key); insert into notes values (1);";
const ENTITIES: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: notes}
spec: {source: conformance, apiSchema: public, operators: [{name: endless, condition: 'pg_sleep(60) is not null'}]}
";
/// How a client that wants to cancel begins, instead of with the protocol's version.
const CANCEL: u32 = 80_877_102;
const LOST: usize = 2;

/// A server in between that loses the first cancels; the number that came.
async fn between(server: &Url) -> (Url, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut url = server.clone();
    url.set_port(Some(listener.local_addr().expect("an address").port())).expect("a URL with a port");
    url.set_query(Some("sslmode=disable"));
    let upstream = format!("{}:{}", server.host_str().expect("a host"), server.port().unwrap_or(5432));
    let cancels = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&cancels);
    let tasks = TaskTracker::new();
    tasks.clone().spawn(async move {
        loop {
            let (client, _) = listener.accept().await.expect("a connection");
            tasks.spawn(pass(client, upstream.clone(), Arc::clone(&counted)));
        }
    });
    (url, cancels)
}

async fn pass(mut client: TcpStream, upstream: String, cancels: Arc<AtomicUsize>) {
    let mut head = [0; 8];
    if client.read_exact(&mut head).await.is_err() {
        return;
    }
    let code = u32::from_be_bytes(head[4..].try_into().expect("four bytes"));
    if code == CANCEL && cancels.fetch_add(1, Ordering::SeqCst) < LOST {
        return;
    }
    let mut server = TcpStream::connect(upstream).await.expect("the server listens");
    server.write_all(&head).await.expect("sent");
    // How it ends is for both sides to see.
    _ = copy_bidirectional(&mut client, &mut server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_given_up_is_cancelled_until_it_has_ended_on_postgres() {
    let fresh = Fresh::create(Kind::Postgres).await;
    let (url, cancels) = between(&Url::parse(&fresh.url).expect("a URL")).await;
    let server = Server::over(Kind::Postgres, Fresh::at(url.into()), SCHEMA, ENTITIES, Vec::new()).await;
    let read = json!({"operation": "read", "options": {"customOperators": [{"name": "endless"}]}});
    let reader = TaskTracker::new().spawn({
        let client = server.client.clone();
        async move { client.send(&Call::post("/api/public/notes", &read)).await }
    });
    let watch = Database::connect(&Settings::new("watch", &fresh.url)).await.expect("the database answers");
    let runs = "select '1' from pg_stat_activity where datname = current_database() and state = 'active' \
                and wait_event = 'PgSleep'";
    let deadline = Instant::now() + Duration::from_secs(20);
    while watch.fetch_texts(Statement::new(runs)).await.expect("an answer").is_empty() {
        assert!(Instant::now() < deadline, "the endless read does not begin");
    }
    watch.close().await;
    reader.abort();
    let began_at = Instant::now();
    while cancels.load(Ordering::SeqCst) <= LOST {
        assert!(began_at.elapsed() < Duration::from_secs(20), "it is not cancelled again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.stop().await;
    // Fails for as long as a session is there.
    fresh.remove().await;
    assert!(began_at.elapsed() < Duration::from_secs(30), "the statement was not left to run");
}
