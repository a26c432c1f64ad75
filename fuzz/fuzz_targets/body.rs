//! Any bytes as a body-style request: `cargo +nightly fuzz run body`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resolvespec::protocol::Target;
use resolvespec::transport::rest::body::decode;

fuzz_target!(|bytes: &[u8]| {
    let _outcome = decode(Target { schema: None, entity: "things".to_owned() }, None, bytes);
});
