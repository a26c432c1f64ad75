//! Any bytes as a body, planned and written as SQL for every database: `cargo +nightly fuzz run read`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resolvespec::protocol::Target;
use resolvespec::transport::rest::body::decode;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = decode(Target { schema: None, entity: "lines".to_owned() }, None, bytes) {
        resolvespec_fuzz::read(&request.selector, &request.options);
    }
});
