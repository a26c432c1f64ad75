//! Against SQLite itself: every text is its own.

use super::text;
use proptest::prelude::*;
use rusqlite::Connection;
use std::f64::consts::PI;

thread_local! {
    static MEMORY: Connection = Connection::open_in_memory().expect("memory");
}

fn told(number: f64) -> String {
    MEMORY.with(|connection| {
        let mut statement = connection.prepare_cached("select json_quote(?)").expect("a statement");
        statement.query_row([number], |row| row.get(0)).expect("a text")
    })
}

fn check(number: f64) {
    assert_eq!(text(number), told(number), "{number:e}, bits {:016x}", number.to_bits());
    assert_eq!(text(-number), told(-number), "-{number:e}, bits {:016x}", number.to_bits());
}

#[test]
fn numbers_are_written_as_is_known_of_sqlite() {
    let cases = [
        (0.1 + 0.7, "0.79999999999999993"),
        (5000.1, "5000.1"),
        (1e21, "1.0e+21"),
        (-0.0, "0.0"),
        (3.0, "3.0"),
        (f64::NEG_INFINITY, "-9.0e+999"),
        (f64::NAN, "null"),
    ];
    for (number, expected) in cases {
        assert_eq!(text(number), expected);
    }
}

#[test]
fn extremes_are_written_as_sqlite_does() {
    for number in [0.0, f64::INFINITY, f64::NAN, f64::MIN_POSITIVE, f64::MAX, f64::EPSILON, PI, 9_007_199_254_740_993.0] {
        check(number);
    }
    // Every power of two, and both neighbours of each.
    for exponent in 0..2047_u64 {
        for bits in [exponent << 52, (exponent << 52) + 1, (exponent << 52).saturating_sub(1)] {
            check(f64::from_bits(bits));
        }
    }
    for place in 0..52 {
        check(f64::from_bits(1 << place));
    }
    // Every power of ten with few digits, and both neighbours of each.
    for exponent in -330..310 {
        for digits in [1, 2, 5, 9, 15, 99, 101, 123_456, 999_999_999_999_999_u64, 9_999_999_999_999_999] {
            let number: f64 = format!("{digits}e{exponent}").parse().expect("a number");
            for number in [number, number.next_up(), number.next_down()] {
                check(number);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40_000, ..ProptestConfig::default() })]

    #[test]
    fn any_bits_are_written_as_sqlite_does(bits: u64) {
        check(f64::from_bits(bits));
    }

    #[test]
    fn numbers_of_everyday_size_are_written_as_sqlite_does(whole in -1_000_000_000_000_i64..1_000_000_000_000, places in 0_i32..12) {
        // Both what is read from a text and what a computation gives.
        let text = format!("{whole}e-{places}");
        check(text.parse().expect("a number"));
        #[expect(clippy::cast_precision_loss, reason = "it fits")]
        check(whole as f64 / 10_f64.powi(places));
    }

    #[test]
    fn texts_read_back_are_the_number(number in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
        prop_assert_eq!(text(number).parse::<f64>().map(f64::to_bits), Ok(number.to_bits()));
    }
}
