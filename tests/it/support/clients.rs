//! Other languages' programs, with what `tests/clients/install.sh` put into a folder for them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The folder.
pub(crate) fn folder() -> PathBuf {
    std::env::var_os("TEST_CLIENTS").map(PathBuf::from).expect("TEST_CLIENTS is set: run the tests with tests/run")
}

/// Node.js.
pub(crate) fn node() -> Command {
    Command::new(folder().join("bin/node"))
}

/// A path below the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs a program to its end, with a text to read.
pub(crate) fn run_with(mut program: Command, input: &str) -> Output {
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program:?} does not run: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("the program reads");
    drop(stdin);
    child.wait_with_output().expect("the program ends")
}
