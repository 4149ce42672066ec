//! Durations and sizes as people write them, the same in requests and in the process file.
//!
//! A bare number is milliseconds or bytes; a string may carry a unit.

use super::quote::Quoted;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::fmt;
use std::time::Duration;

/// The longest duration taken: ten years. Deadlines stay far from any clock's end.
pub const MAX_DURATION: Duration = Duration::from_secs(3650 * 24 * 3600);

const DURATION_SHAPE: &str = "a duration such as 500ms, 10s, 5m, 1h, 2d, or a number of milliseconds";
const SIZE_SHAPE: &str = "a size such as 512K, 64M, 2G, or a number of bytes";

/// `500ms`, `10s`, `5m`, `1h`, `2d`; a bare number is milliseconds.
///
/// # Errors
/// A sentence that says what was found and what is expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{} is not {DURATION_SHAPE}", Quoted(text));
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let factor: u64 = match unit {
        "" | "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 3600 * 1000,
        "d" => 24 * 3600 * 1000,
        _ => return Err(wrong()),
    };
    bounded(number.checked_mul(factor))
}

/// `512K`, `64M`, `2G`, `1T` in steps of 1024, with a small letter too; a bare number is bytes.
///
/// # Errors
/// A sentence that says what was found and what is expected.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{} is not {SIZE_SHAPE}", Quoted(text));
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let shift = match unit {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("{} is more than 2^64 bytes", Quoted(text)))
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

fn bounded(milliseconds: Option<u64>) -> Result<Duration, String> {
    milliseconds
        .map(Duration::from_millis)
        .filter(|duration| *duration <= MAX_DURATION)
        .ok_or_else(|| "a duration is at most 3650d".to_owned())
}

/// A duration in JSON: a number of milliseconds or a string with a unit; for `deserialize_with`.
pub fn de_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = Duration;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(DURATION_SHAPE)
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Duration, E> {
            bounded(Some(number)).map_err(E::custom)
        }
        fn visit_f64<E: de::Error>(self, number: f64) -> Result<Duration, E> {
            // Many languages have but one kind of number; parts of a millisecond are kept.
            match Duration::try_from_secs_f64(number / 1000.0) {
                Ok(duration) if duration <= MAX_DURATION => Ok(duration),
                _ => Err(E::invalid_value(de::Unexpected::Float(number), &self)),
            }
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            parse_duration(text).map_err(E::custom)
        }
    }
    deserializer.deserialize_any(Text)
}

/// A size in JSON: a number of bytes or a string with a unit; for `deserialize_with`.
pub fn de_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = u64;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(SIZE_SHAPE)
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
            parse_size(text).map_err(E::custom)
        }
    }
    deserializer.deserialize_any(Text)
}

/// A duration that may be absent or `null`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OptDuration(pub Option<Duration>);

impl<'de> Deserialize<'de> for OptDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Some_(#[serde(deserialize_with = "de_duration")] Duration);
        Ok(OptDuration(Option::<Some_>::deserialize(deserializer)?.map(|some| some.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Result<Option<Duration>, String> {
        serde_json::from_str::<OptDuration>(text).map(|d| d.0).map_err(|e| e.to_string())
    }

    #[test]
    fn units() {
        let ms = Duration::from_millis;
        assert_eq!(parse_duration("500ms"), Ok(ms(500)));
        assert_eq!(parse_duration("10s"), Ok(ms(10_000)));
        assert_eq!(parse_duration("5m"), Ok(ms(300_000)));
        assert_eq!(parse_duration("1h"), Ok(ms(3_600_000)));
        assert_eq!(parse_duration("2d"), Ok(ms(172_800_000)));
        assert_eq!(parse_duration("1500"), Ok(ms(1500)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        for bad in ["", "ms", "-1", "1.5s", "1 s", "1w", "s1", "99999999999999999999", "99999999999999d", "3651d", "1é"]
        {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("512K"), Ok(512 << 10));
        assert_eq!(parse_size("64M"), Ok(64 << 20));
        assert_eq!(parse_size("2G"), Ok(2 << 30));
        assert_eq!(parse_size("17"), Ok(17));
        for bad in ["", "K", "1KB", "1.5G", "-1", "99999999T"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn in_json() {
        assert_eq!(json("250"), Ok(Some(Duration::from_millis(250))));
        assert_eq!(json("1.5"), Ok(Some(Duration::from_micros(1500))));
        assert_eq!(json("\"2s\""), Ok(Some(Duration::from_secs(2))));
        assert_eq!(json("null"), Ok(None));
        for bad in ["-1", "-0.5", "1e300", "true", "[]", "{}", "\"soon\"", "18446744073709551615", "1e999"] {
            assert!(json(bad).is_err(), "{bad}");
        }
        assert!(json("true").unwrap_err().contains("10s, 5m"), "the error shows the shape");
    }
}
