//! Any text as a value of every kind, plain and as JSON, and compared in SQL: `cargo +nightly fuzz run value`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resolvespec::catalog::Kind;
use resolvespec::engine::plan::Value;
use resolvespec::protocol::{Condition, Leaf, Operator, Options, Selector};
use resolvespec_fuzz::{kinds, read};

fuzz_target!(|text: &str| {
    let json: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|_| text.into());
    for (place, kind) in kinds().iter().enumerate() {
        let plain = Value::from_text(text, kind, "c");
        let encoded = Value::from_json(&text.into(), kind, "c");
        let either = *kind == Kind::Json || plain.is_ok() == encoded.is_ok();
        assert!(either, "{kind:?} takes {text:?} in one form only");
        for operator in [Operator::Eq, Operator::In, Operator::Contains] {
            let leaf = Leaf { column: format!("c{place}"), operator, value: json.clone() };
            let options = Options { filters: Condition::Leaf(leaf), ..Options::default() };
            read(&Selector::None, &options);
        }
    }
});
