//! The date before a line, in local time.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// A pattern as of strftime(3), and what it came to last.
#[derive(Debug)]
pub struct Date {
    pattern: Box<str>,
    /// It tells of less than seconds, so that no two lines can share it.
    fine: bool,
    second: u64,
    text: String,
}

impl Date {
    /// From a pattern.
    pub fn new(pattern: &str) -> Date {
        Date { pattern: pattern.into(), fine: pattern.contains(['f', 'N']), second: u64::MAX, text: String::new() }
    }

    /// The text for this time, ns since 1970. A pattern that cannot be written gives the time as RFC 3339 has it.
    pub fn at(&mut self, wall: u64) -> &str {
        let second = wall / 1_000_000_000;
        if self.fine || second != self.second {
            self.second = second;
            self.text.clear();
            let instant = Timestamp::from_nanosecond(i128::from(wall)).unwrap_or_default();
            let local = instant.to_zoned(TimeZone::system());
            match strtime::format(&*self.pattern, &local) {
                Ok(text) => self.text = text,
                // Writing to a String does not fail.
                Err(_) => drop(write!(self.text, "{instant}")),
            }
        }
        &self.text
    }

    /// The pattern.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_kept_and_fractions_are_not() {
        let mut coarse = Date::new("%Y|%S");
        let first = coarse.at(1_000_000_000).to_owned();
        assert_eq!(first.len(), 7);
        assert_eq!(coarse.at(1_999_999_999), first);
        assert_ne!(coarse.at(2_000_000_000), first);
        let mut fine = Date::new("%S.%3f");
        assert_eq!(fine.at(1_001_000_000), "01.001");
        assert_eq!(fine.at(1_002_000_000), "01.002");
    }

    #[test]
    fn a_pattern_that_is_none_still_gives_a_time() {
        assert_eq!(Date::new("%!").at(0), "1970-01-01T00:00:00Z");
    }
}
