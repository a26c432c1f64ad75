//! Times of PostgreSQL's binary form, in the words of its `row_to_json` at UTC.
//!
//! Its years go from 4714 BC to 294276, more than the calendars of libraries hold.

use bytes::{BufMut, BytesMut};

const MICROS_A_DAY: i64 = 86_400_000_000;

/// Days from 0000-03-01, by the rules of today, to PostgreSQL's first, 2000-01-01.
const DAYS_BEFORE: i64 = 730_425;

/// Days of 400 years.
const ERA: i64 = 146_097;

/// Appends a time that is given in microseconds since 2000.
pub(super) fn write(micros: i64, buffer: &mut BytesMut) {
    match micros {
        i64::MAX => return buffer.put_slice(b"infinity"),
        i64::MIN => return buffer.put_slice(b"-infinity"),
        _ => {}
    }
    let (year, month, day) = date(micros.div_euclid(MICROS_A_DAY));
    // There is no year 0: it is the first before Christ.
    let (year, before_christ) = if year > 0 { (year, false) } else { (1 - year, true) };
    let of_day = micros.rem_euclid(MICROS_A_DAY);
    let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
    if year > 9999 {
        buffer.put_slice(year.to_string().as_bytes());
    } else {
        digits(year / 100, buffer);
        digits(year % 100, buffer);
    }
    buffer.put_u8(b'-');
    digits(month, buffer);
    buffer.put_u8(b'-');
    digits(day, buffer);
    buffer.put_u8(b'T');
    digits(seconds / 3600, buffer);
    buffer.put_u8(b':');
    digits(seconds / 60 % 60, buffer);
    buffer.put_u8(b':');
    digits(seconds % 60, buffer);
    if fraction > 0 {
        buffer.put_u8(b'.');
        for part in [fraction / 10_000, fraction / 100 % 100, fraction % 100] {
            digits(part, buffer);
        }
        while buffer.last() == Some(&b'0') {
            buffer.truncate(buffer.len() - 1);
        }
    }
    buffer.put_slice(b"+00:00");
    if before_christ {
        buffer.put_slice(b" BC");
    }
}

/// The date that is so many days after the first of 2000: years begin in March, so that a leap day is the last of its year.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_BEFORE;
    let (era, of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / (ERA - 1)) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Five months from March on have 153 days.
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Appends two digits of a number from 0 to 99.
fn digits(number: i64, buffer: &mut BytesMut) {
    let digit = |number: i64| b'0' + u8::try_from(number % 10).unwrap_or_default();
    buffer.put_slice(&[digit(number / 10), digit(number)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(micros: i64) -> String {
        let mut buffer = BytesMut::new();
        write(micros, &mut buffer);
        String::from_utf8(buffer.to_vec()).unwrap()
    }

    #[test]
    fn known_times() {
        assert_eq!(text(0), "2000-01-01T00:00:00+00:00");
        assert_eq!(text(-1), "1999-12-31T23:59:59.999999+00:00");
        assert_eq!(text(59 * MICROS_A_DAY + 120_000), "2000-02-29T00:00:00.12+00:00");
        assert_eq!(text(i64::MAX), "infinity");
        assert_eq!(text(i64::MIN), "-infinity");
    }

    #[test]
    fn agrees_with_a_calendar() {
        let first: jiff::Timestamp = "2000-01-01T00:00:00Z".parse().unwrap();
        for step in -200_000..200_000_i64 {
            let micros = step * 1_234_567_890_123;
            let Ok(moment) = first.checked_add(jiff::SignedDuration::from_micros(micros)) else { continue };
            if moment.as_second() < -62_135_596_800 {
                continue;
            }
            assert_eq!(text(micros), format!("{}+00:00", moment.to_string().trim_end_matches('Z')));
        }
    }
}
