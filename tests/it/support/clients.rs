//! Other languages' programs, with what `tests/clients/install.sh` put into a folder for them.

use std::path::{Path, PathBuf};
use std::process::Command;

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
