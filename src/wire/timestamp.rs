//! Points in wall time as a status shows them.

use super::quote::Quoted;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970 in UTC, up to the year 2554. As text RFC 3339 with microseconds:
/// `2026-11-20T23:11:02.123456Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

const LENGTH: usize = "2026-11-20T23:11:02.123456Z".len();

impl Timestamp {
    /// Calls `with` with the text, which lives on the stack.
    fn text<R>(self, with: impl FnOnce(&str) -> R) -> R {
        let mut bytes = *b"0000-00-00T00:00:00.000000Z";
        let microseconds = self.0 / 1000;
        let seconds = microseconds / 1_000_000;
        let (year, month, day) = civil(seconds / 86_400);
        let of_day = seconds % 86_400;
        for (at, width, value) in [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, of_day / 3600),
            (14, 2, of_day / 60 % 60),
            (17, 2, of_day % 60),
            (20, 6, microseconds % 1_000_000),
        ] {
            let mut rest = value;
            for byte in bytes[at..at + width].iter_mut().rev() {
                *byte = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        debug_assert_eq!(bytes.len(), LENGTH);
        // invariant: digits and separators are ASCII.
        with(std::str::from_utf8(&bytes).unwrap_or_default())
    }
}

/// Year, month and day of a day counted from 1970-01-01 in the Gregorian calendar.
///
/// Years are taken to begin in March, so that the leap day is the last one and the days before
/// a month are `(153 m + 2) / 5`; 400 years have 146,097 days
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let from_march_of_year_0 = days + 719_468;
    let era = from_march_of_year_0 / 146_097;
    let of_era = from_march_of_year_0 % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text(|text| f.pad(text))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text(|text| serializer.serialize_str(text))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let instant: jiff::Timestamp =
            text.parse().map_err(|error| de::Error::custom(format!("{} is no time: {error}", Quoted(&text))))?;
        match u64::try_from(instant.as_nanosecond()) {
            Ok(nanoseconds) => Ok(Timestamp(nanoseconds)),
            Err(_) => Err(de::Error::custom(format!("{} is before 1970 or after 2554", Quoted(&text)))),
        }
    }
}

impl From<SystemTime> for Timestamp {
    /// A clock before 1970 is shown as 1970, one after 2554 as 2554.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_jiff(t: Timestamp) -> String {
        let instant = jiff::Timestamp::from_nanosecond(i128::from(t.0 / 1000 * 1000)).unwrap();
        format!("{instant:.6}")
    }

    #[test]
    fn known_days() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (951_868_799, "2000-02-29T23:59:59.000000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(Timestamp(seconds * 1_000_000_000).to_string(), text);
        }
        assert_eq!(Timestamp(u64::MAX).to_string(), by_jiff(Timestamp(u64::MAX)));
    }

    #[test]
    fn every_day_until_2554_is_jiffs() {
        const DAY: u64 = 86_400_000_000_000;
        for day in 0..u64::MAX / DAY {
            let last_microsecond = Timestamp(day * DAY + DAY - 1);
            assert_eq!(last_microsecond.to_string(), by_jiff(last_microsecond));
        }
    }

    proptest! {
        #[test]
        fn any_time_is_jiffs_and_comes_back(ns: u64) {
            let time = Timestamp(ns);
            prop_assert_eq!(time.to_string(), by_jiff(time));
            let json = serde_json::to_string(&time).unwrap();
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), Timestamp(ns / 1000 * 1000));
        }
    }
}
