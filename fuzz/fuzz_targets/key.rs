//! Any text as a key of three columns and as a cursor: `cargo +nightly fuzz run key`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resolvespec::protocol::{KeyInput, Options, Selector};
use resolvespec_fuzz::read;

fuzz_target!(|text: &str| {
    let key = KeyInput::Text(text.to_owned());
    read(&Selector::One(key.clone()), &Options::default());
    read(&Selector::None, &Options { cursor_forward: Some(key.clone()), ..Options::default() });
    read(&Selector::None, &Options { cursor_backward: Some(key.clone()), ..Options::default() });
    read(&Selector::None, &Options { fetch_row_number: Some(key), ..Options::default() });
});
