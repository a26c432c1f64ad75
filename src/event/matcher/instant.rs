//! Days, times of day and moments as reads answer them, in the order of the databases.
//!
//! Databases have values that calendars do not: infinity, years beyond 9999 or before 1, days with the number 0, times
//! of more than a day. So the parts are compared as they stand.

use jiff::civil;

/// A place in time: a day, a time of day, or a moment in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Instant {
    /// Year, month, day, hour, minute and second as one number that rises with them.
    place: i64,
    nanoseconds: i32,
}

impl Instant {
    /// Reads a day.
    pub(super) fn day(text: &str) -> Option<Self> {
        endless(text).or_else(|| Some(Self::of(date(text)?, (0, 0, 0), 0)))
    }

    /// Reads a time of day; one that is less than zero has a sign.
    pub(super) fn time(text: &str) -> Option<Self> {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (clock, nanoseconds) = clock(digits)?;
        let instant = Self::of((0, 0, 0), clock, nanoseconds);
        Some(if negative { Self { place: -instant.place, nanoseconds: -instant.nanoseconds } } else { instant })
    }

    /// Reads a moment; without a zone it is in UTC.
    pub(super) fn moment(text: &str) -> Option<Self> {
        if let Some(endless) = endless(text) {
            return Some(endless);
        }
        let (body, era) = text.strip_suffix(" BC").map_or((text, ""), |body| (body, " BC"));
        let (day, rest) = body.split_once(['T', ' '])?;
        let zone = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
        let (time, zone) = rest.split_at(zone);
        if !matches!(zone, "" | "Z" | "+00:00" | "+00") {
            return text.parse::<jiff::Timestamp>().ok().map(Self::from_timestamp);
        }
        let (clock, nanoseconds) = clock(time)?;
        Some(Self::of(date(&format!("{day}{era}"))?, clock, nanoseconds))
    }

    pub(super) fn from_date(day: civil::Date) -> Self {
        Self::of((day.year().into(), day.month().into(), day.day().into()), (0, 0, 0), 0)
    }

    pub(super) fn from_time(time: civil::Time) -> Self {
        Self::of((0, 0, 0), (time.hour().into(), time.minute().into(), time.second().into()), time.subsec_nanosecond())
    }

    pub(super) fn from_timestamp(moment: jiff::Timestamp) -> Self {
        let civil = moment.to_zoned(jiff::tz::TimeZone::UTC).datetime();
        let time = civil.time();
        let clock = (time.hour().into(), time.minute().into(), time.second().into());
        let day = civil.date();
        Self::of((day.year().into(), day.month().into(), day.day().into()), clock, time.subsec_nanosecond())
    }

    fn of((year, month, day): (i64, i64, i64), (hour, minute, second): (i64, i64, i64), nanoseconds: i32) -> Self {
        let days = (year * 13 + month) * 32 + day;
        Self { place: ((days * 1000 + hour) * 60 + minute) * 61 + second, nanoseconds }
    }
}

fn endless(text: &str) -> Option<Instant> {
    match text {
        "infinity" => Some(Instant { place: i64::MAX, nanoseconds: 0 }),
        "-infinity" => Some(Instant { place: i64::MIN, nanoseconds: 0 }),
        _ => None,
    }
}

/// `2026-03-01`, with ` BC` behind a year that is before the first.
fn date(text: &str) -> Option<(i64, i64, i64)> {
    let (text, before) = text.strip_suffix(" BC").map_or((text, false), |text| (text, true));
    let mut parts = text.split('-');
    let (year, month, day) = (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
    let valid = parts.next().is_none() && year < 1_000_000 && month <= 12 && day <= 31;
    valid.then_some((if before { 1 - year } else { year }, month, day))
}

/// `10:00:00` with an optional fraction.
fn clock(text: &str) -> Option<((i64, i64, i64), i32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = whole.split(':');
    let (hour, minute, second) = (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
    let valid = parts.next().is_none() && hour < 1000 && minute < 60 && second <= 60 && fraction.len() <= 9;
    let nanoseconds = number(&format!("{fraction:0<9}"))?;
    valid.then_some(((hour, minute, second), i32::try_from(nanoseconds).ok()?))
}

fn number(digits: &str) -> Option<i64> {
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::Instant;

    fn rise<T: Copy + std::fmt::Debug>(read: impl Fn(T) -> Option<Instant>, values: &[T]) {
        let instants: Vec<Instant> = values.iter().map(|value| read(*value).unwrap_or_else(|| panic!("{value:?}"))).collect();
        for pair in instants.windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
        }
    }

    #[test]
    fn what_databases_answer_is_in_order() {
        rise(
            Instant::day,
            &["-infinity", "0044-03-15 BC", "0000-00-00", "0001-01-01", "2024-02-29", "2024-03-00", "10000-01-01", "infinity"],
        );
        rise(
            Instant::time,
            &["-838:59:59", "-00:00:01", "-00:00:00.5", "00:00:00", "10:00:00", "10:00:00.25", "24:00:00", "838:59:59"],
        );
        rise(
            Instant::moment,
            &[
                "-infinity",
                "0044-03-15T00:00:00+00:00 BC",
                "0000-00-00T00:00:00+00:00",
                "2024-02-29T23:59:59+00:00",
                "2024-02-29T23:59:59.000001+00:00",
                "2024-02-29T23:59:59.5+00:00",
                "10000-01-01T00:00:00+00:00",
                "infinity",
            ],
        );
    }

    #[test]
    fn a_moment_is_the_same_in_every_zone() {
        let same = ["2024-01-01T00:00:00+00:00", "2024-01-01T02:00:00+02:00", "2023-12-31T19:00:00-05:00", "2024-01-01 00:00:00"];
        for text in same {
            assert_eq!(Instant::moment(text), Instant::moment("2024-01-01T00:00:00Z"), "{text}");
        }
        let moment: jiff::Timestamp = "2024-01-01T00:00:00Z".parse().expect("a moment");
        assert_eq!(Instant::moment(same[0]), Some(Instant::from_timestamp(moment)));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in
            ["", "2024", "2024-13-01", "2024-01-01", "x", "2024-01-01T25", "2024-01-01T00:00:00+00:00x", "2024-01-01T00:00:00+2"]
        {
            assert_eq!(Instant::moment(text), None, "{text}");
        }
    }
}
