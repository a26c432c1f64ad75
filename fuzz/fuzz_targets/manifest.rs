//! Any text as a manifest: `cargo +nightly fuzz run manifest`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|text: &str| {
    let _outcome = resolvespec::manifest::read::text(Path::new("fuzz.yaml"), text);
});
