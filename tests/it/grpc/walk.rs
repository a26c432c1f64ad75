//! The walk with grpcurl that the README tells, as it stands there, against `dev` over the example.

use crate::support::clients;
use crate::support::process::Finish;
use crate::support::shop::{Process, Shop};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// The commands of the README before the subscription, that one, and those after it.
fn walk(address: &str) -> [String; 3] {
    let readme = std::fs::read_to_string(clients::repository("README.md")).expect("it is there");
    let (_, walk) = readme.split_once("```sh\ngrpcurl ").expect("the walk");
    let (walk, _) = walk.split_once("```").expect("its end");
    // So that one who is told nothing ends as well.
    let walk = format!("grpcurl {walk}").replace("127.0.0.1:8080", address).replace("grpcurl ", "grpcurl -max-time 60 ");
    let (to_subscribe, after) = walk.split_once(" &  ").expect("what tells until it is ended");
    let (_, after) = after.split_once('\n').expect("more than that");
    let at = to_subscribe.rfind("\ngrpcurl").expect("something before it");
    [&to_subscribe[..at], &to_subscribe[at..], after].map(str::to_owned)
}

fn shell(script: &str) -> Command {
    let path = std::env::var("PATH").expect("a path");
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", script]).env("PATH", format!("{}:{path}", clients::folder().join("bin").display()));
    bash
}

fn said(script: &str) -> String {
    let output = shell(script).finished();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// A command that tells until it is ended.
struct Telling {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Telling {
    fn start(script: &str) -> Self {
        let mut child = shell(&format!("exec {}", script.trim())).stdout(Stdio::piped()).spawn().expect("bash runs");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, lines }
    }

    fn hears(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).expect("readable") > 0, "it ended before it told '{words}'");
            if line.contains(words) {
                return line;
            }
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[test]
fn the_walk_of_the_readme_goes_as_it_is_told() {
    let shop = Shop::flights("walk");
    let mut dev: Process = shop.start(&["dev", "--port", "0"], &[]);
    let [before, subscribe, after] = walk(&dev.address);
    let said_before = said(&before);
    for part in ["rpc Call", "rpc Subscribe", "rpc Session", "\"success\": true", "\"arr_delay\""] {
        assert!(said_before.contains(part), "{part} is not in {said_before}");
    }
    let mut telling = Telling::start(&subscribe);
    telling.hears("\"subscription_id\"");
    let said_after = said(&after);
    for part in ["\"carrier\": \"ZZ\"", "\"type\": \"pong\"", "\"id\": \"2\"", "Hawaiian Airlines", "\"status\": \"SERVING\""] {
        assert!(said_after.contains(part), "{part} is not in {said_after}");
    }
    telling.hears("Zeppelin");
    drop(telling);
    dev.end();
}
