//! What the binary takes of memory: at rest with a hundred entities, and while it answers a page of a hundred thousand rows.
//!
//! The bounds are for the binary that people run. `tests/run` builds that one and names it in `TEST_RELEASE_BINARY`; without
//! it the unoptimized one is held to what is left of the bound without its own pages.

use crate::support::database::{Fresh, Kind};
use resolvespec::database::{Database, Settings};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const ENTITIES: usize = 100;
const ROWS: usize = 100_000;
const MAX_IDLE_KILOBYTES: u64 = 40 * 1024;
/// Pages of the optimized binary and its libraries that are resident at rest, as measured.
const OPTIMIZED_KILOBYTES: u64 = 16 * 1024;

/// The binary that is measured, and whether it is the optimized one.
fn binary() -> (PathBuf, bool) {
    match std::env::var_os("TEST_RELEASE_BINARY") {
        Some(path) => (PathBuf::from(path), true),
        None => (PathBuf::from(env!("CARGO_BIN_EXE_resolvespec")), !cfg!(debug_assertions)),
    }
}
const MAX_PEAK_KILOBYTES: u64 = 100 * 1024;

/// A hundred tables of ten columns, the first with rows of some 200 bytes.
fn script(kind: Kind) -> String {
    let columns: String = (0..9).fold(String::new(), |mut columns, number| {
        _ = write!(columns, ", c{number} varchar(100)");
        columns
    });
    let mut script = String::new();
    for table in 0..ENTITIES {
        _ = writeln!(script, "create table t{table} (id integer primary key{columns});");
    }
    let texts: String = (0..9).fold(String::new(), |mut texts, number| {
        _ = write!(texts, ", 'column {number} of a long row'");
        texts
    });
    _ = match kind {
        Kind::Postgres => write!(script, "insert into t0 select n{texts} from generate_series(1, {ROWS}) n;"),
        Kind::Mariadb => write!(script, "insert into t0 select seq{texts} from seq_1_to_{ROWS};"),
        Kind::Sqlite => write!(
            script,
            "with recursive s(n) as (select 1 union all select n + 1 from s where n < {ROWS}) insert into t0 select n{texts} from s;"
        ),
    };
    script
}

/// `resolvespec dev` over a folder of manifests, killed and removed at the end.
struct Dev {
    child: Child,
    address: String,
    folder: PathBuf,
}

impl Dev {
    fn start(kind: Kind, url: &str) -> Self {
        let folder = crate::support::folder(&format!("memory-{}", kind.name()));
        let mut manifests = format!(
            "apiVersion: resolvespec.dev/v1alpha1\nkind: DataSource\nmetadata: {{name: wide}}\n\
             spec: {{engine: {}, connection: {{env: MEMORY_DATABASE}}}}\n",
            kind.engine()
        );
        for table in 0..ENTITIES {
            _ = write!(
                manifests,
                "---\napiVersion: resolvespec.dev/v1alpha1\nkind: Entity\nmetadata: {{name: t{table}}}\nspec: {{source: wide, apiSchema: public}}\n"
            );
        }
        std::fs::write(folder.join("wide.yaml"), manifests).expect("a manifest can be written");
        let mut child = Command::new(binary().0)
            .args(["dev", "--port", "0"])
            .arg(&folder)
            .env("MEMORY_DATABASE", url)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary can be started");
        let mut lines = BufReader::new(child.stdout.take().expect("its output is piped")).lines().map_while(Result::ok);
        let first = lines.next().expect("it says where it serves");
        let address = first.split_once("http://").expect("an address").1.to_owned();
        // Its output is read to the last line, so that it has nothing more to do.
        lines.find(|line| line.contains("Ctrl-C")).expect("it says how it ends");
        Self { child, address, folder }
    }

    /// A value of the process's status, in kilobytes.
    fn kilobytes(&self, name: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux tells a process's status");
        let line = status.lines().find(|line| line.starts_with(name)).expect("the status has the value");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("the value is a number")
    }

    /// What it takes at rest. Of an unoptimized binary's own pages, which are twice an optimized one's, so many are counted
    /// as an optimized one has.
    fn at_rest(&self) -> u64 {
        let (all, own, optimized) = (self.kilobytes("VmRSS:"), self.kilobytes("RssFile:"), binary().1);
        if optimized { all } else { all - own + own.min(OPTIMIZED_KILOBYTES) }
    }

    /// The length of the answer to a read of every row, and the rows in it.
    fn read_all(&self) -> (usize, usize) {
        let mut stream = TcpStream::connect(&self.address).expect("it takes connections");
        stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a time");
        let body = format!("{{\"operation\":\"read\",\"options\":{{\"limit\":{ROWS}}}}}");
        let length = body.len();
        write!(
            stream,
            "POST /api/public/t0 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .expect("the request can be sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the answer comes to its end");
        (answer.len(), answer.matches("{\"id\":").count())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[expect(clippy::print_stdout, reason = "the figures are worth seeing with --nocapture")]
async fn stays_within_bounds(kind: Kind) {
    let fresh = Fresh::create(kind).await;
    let database = Database::connect(&Settings::new("fill", &fresh.url)).await.expect("the database answers");
    for statement in script(kind).split_inclusive(";\n") {
        database.run_script(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    database.close().await;
    let dev = Dev::start(kind, &fresh.url);
    let (idle, all) = (dev.at_rest(), dev.kilobytes("VmRSS:"));
    let (bytes, rows) = dev.read_all();
    let peak = dev.kilobytes("VmHWM:");
    drop(dev);
    fresh.remove().await;
    println!("{}: {idle} kB at rest, {peak} kB at most, {bytes} bytes answered", kind.name());
    assert_eq!(rows, ROWS, "the page is whole on {}", kind.name());
    assert!(idle <= MAX_IDLE_KILOBYTES, "{} takes {idle} kB at rest", kind.name());
    assert!(peak < MAX_PEAK_KILOBYTES, "{} takes {peak} kB while it answers {bytes} bytes", kind.name());
    // A page that was held as a whole would take all of that. The optimized binary touches few new pages of its own meanwhile.
    let (more, page) = (peak.saturating_sub(all), bytes as u64 / 1024);
    assert!(!binary().1 || more < page * 2 / 3, "{} takes {more} kB more while it answers {page} kB", kind.name());
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_at_rest_and_under_a_large_page_is_bounded_on_postgres() {
    stays_within_bounds(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_at_rest_and_under_a_large_page_is_bounded_on_mariadb() {
    stays_within_bounds(Kind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_at_rest_and_under_a_large_page_is_bounded_on_sqlite() {
    stays_within_bounds(Kind::Sqlite).await;
}
