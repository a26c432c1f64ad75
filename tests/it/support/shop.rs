//! The binary as a process, over a folder with a small shop.

use super::process::{Finish, ended};
use crate::cluster::deployment::gathered;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_resolvespec");
pub(crate) const SECRET: &str = "a secret that only this test knows, and nobody else";

/// How long a process may take to answer.
const DEADLINE: Duration = Duration::from_mins(1);

pub(crate) const MANIFEST: &str = "
apiVersion: resolvespec.dev/v1alpha1
kind: DataSource
metadata: {name: shop}
spec: {engine: sqlite, connection: {url: 'sqlite:shop.db'}, seed: [seed.sql]}
---
apiVersion: resolvespec.dev/v1alpha1
kind: Entity
metadata: {name: items}
spec: {source: shop, operations: {read: {}, create: {roles: [editor]}}}
";

/// A folder with a shop, removed at the end.
pub(crate) struct Shop(pub(crate) PathBuf);

impl Shop {
    pub(crate) fn new(name: &str) -> Self {
        let folder = crate::support::folder(&format!("serving-{name}"));
        std::fs::write(folder.join("shop.yaml"), MANIFEST).expect("a manifest");
        std::fs::write(
            folder.join("seed.sql"),
            "create table items (id integer primary key, name text); insert into items values (1, 'pen');",
        )
        .expect("a seed");
        Self(folder)
    }

    /// The example with flights, without a database that somebody's own run may have made there.
    pub(crate) fn flights(name: &str) -> Self {
        let folder = crate::support::folder(&format!("flights-{name}"));
        let example = super::clients::repository("examples/flights");
        for file in ["resources.yaml", "schema.sql", "data.sql"] {
            std::fs::copy(example.join(file), folder.join(file)).expect("the example has it");
        }
        Self(folder)
    }

    /// Makes the database as `dev` does.
    pub(crate) fn seeded(self) -> Self {
        let mut dev = self.start(&["dev", "--port", "0"], &[]);
        dev.end();
        self
    }

    pub(crate) fn start(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Process {
        let mut command = Command::new(BINARY);
        command.args(arguments).arg(&self.0).envs(environment.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let serving = arguments[0] == "serve";
        let (mut lines, logged): (Box<dyn BufRead + Sync>, _) = if serving {
            (Box::new(BufReader::new(child.stderr.take().expect("piped"))), Arc::default())
        } else {
            (Box::new(BufReader::new(child.stdout.take().expect("piped"))), gathered(&mut child))
        };
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            let is_there = lines.read_line(&mut line).expect("readable") > 0;
            assert!(is_there, "it ended before it served: {said}{}", logged.lock().expect("no panic"));
            said.push_str(&line);
            let found =
                line.split_once("http://").map(|(_, rest)| rest).or_else(|| line.split_once("listen=").map(|(_, rest)| rest));
            if let Some(rest) = found {
                break rest.split_whitespace().next().expect("an address").to_owned();
            }
        };
        Process { child, address, said, lines, logged }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) address: String,
    said: String,
    lines: Box<dyn BufRead + Sync>,
    /// What `dev` logs, as it comes.
    logged: Arc<Mutex<String>>,
}

impl Process {
    /// What it prints, up to where that is enough.
    pub(crate) fn says_until(&mut self, is_enough: impl Fn(&str) -> bool) -> String {
        let mut said = std::mem::take(&mut self.said);
        while !is_enough(&said) {
            assert!(self.lines.read_line(&mut said).expect("readable") > 0, "{said}");
        }
        said
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill runs").success());
    }

    pub(crate) fn end(&mut self) {
        self.signal("-TERM");
        assert!(ended(&mut self.child).success());
    }

    /// What `dev` has logged until now.
    pub(crate) fn logged(&self) -> String {
        self.logged.lock().expect("no panic").clone()
    }

    /// The next line of its greeting that has these words.
    pub(crate) fn hear(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).expect("readable") > 0, "it ended before it said '{words}'");
            if line.contains(words) {
                return line.trim_end().to_owned();
            }
        }
    }

    /// Waits until it is a client of its broker. Requests that come before are nobody's.
    pub(crate) fn enters_its_broker(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let connected =
            |text: &str| text.lines().any(|line| line.starts_with("resolvespec_mqtt_connected{") && line.ends_with(" 1"));
        while !connected(&self.get("/metrics")) {
            assert!(Instant::now() < deadline, "the service does not enter its broker: {}", self.get("/metrics"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it has still to say.
    pub(crate) fn rest(&mut self) -> &mut impl Read {
        &mut self.lines
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a time");
        stream
    }

    /// One request; the status and the body.
    pub(crate) fn post(&self, path: &str, body: &Value, token: Option<&str>) -> (u16, Value) {
        let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        self.post_with(path, body, &token)
    }

    /// The body of what is at a path.
    pub(crate) fn get(&self, path: &str) -> String {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }

    /// The status with which a page's WebSocket is answered, or that of a client which is no page.
    pub(crate) fn upgrade(&self, origin: Option<&str>) -> u16 {
        let mut stream = self.connect();
        let origin = origin.map_or_else(String::new, |origin| format!("Origin: {origin}\r\n"));
        write!(
            stream,
            "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{origin}\r\n",
            self.address
        )
        .expect("sent");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("an answer");
        line.split_whitespace().nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {line}"))
    }

    /// One request with headers, each line with its end.
    pub(crate) fn post_with(&self, path: &str, body: &Value, headers: &str) -> (u16, Value) {
        let answer = self.exchange(path, body, headers);
        let status = answer.split_whitespace().nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// One request; the whole answer as it came.
    pub(crate) fn exchange(&self, path: &str, body: &Value, headers: &str) -> String {
        let mut stream = self.connect();
        let body = body.to_string();
        let length = body.len();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        )
        .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "a test that fails shows what its process said")]
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        if std::thread::panicking() {
            let mut rest = String::new();
            _ = self.lines.read_to_string(&mut rest);
            eprintln!("it said:\n{}{rest}{}", self.said, self.logged());
        }
    }
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).env_remove("RESOLVESPEC_JWT_SECRET").finished()
}

pub(crate) fn token(claims: &Value, secret: &str) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret.as_bytes())).expect("a token")
}

pub(crate) fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    i64::try_from(now).expect("fits") + seconds
}
