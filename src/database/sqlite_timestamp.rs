//! Times as SQLite stores them, in the form that every database answers.

use jiff::{SignedDuration, Timestamp, civil, tz};

/// A stored text; one that is no time stays as it is, without what JSON would have to escape.
#[must_use]
pub fn of_text(text: &str) -> String {
    let parsed = text.parse::<Timestamp>().ok().or_else(|| {
        let civil: civil::DateTime = text.parse().ok()?;
        civil.to_zoned(tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    });
    match parsed {
        Some(moment) => rfc3339(moment),
        None => text.replace(['"', '\\'], "").chars().filter(|character| !character.is_control()).collect(),
    }
}

/// Seconds since 1970.
#[must_use]
pub fn of_seconds(seconds: i64) -> Option<String> {
    Timestamp::from_second(seconds).ok().map(rfc3339)
}

/// A Julian day.
#[must_use]
pub fn of_julian(julian: f64) -> Option<String> {
    let seconds = (julian - 2_440_587.5) * 86_400.0;
    Timestamp::from_duration(SignedDuration::try_from_secs_f64(seconds).ok()?).ok().map(rfc3339)
}

fn rfc3339(moment: Timestamp) -> String {
    format!("{}+00:00", moment.to_string().trim_end_matches('Z'))
}
