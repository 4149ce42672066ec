//! Times, spans and sizes as people say them.

use std::time::Duration;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// `now` and `then` in ns since the epoch: `3 s ago`, `in 2 min` where clocks differ.
pub fn ago(now: u64, then: u64) -> String {
    let (distance, future) = match now.checked_sub(then) {
        Some(distance) => (distance, false),
        None => (then - now, true),
    };
    if distance < SECOND {
        return "now".to_owned();
    }
    let text = match distance {
        d if d < MINUTE => format!("{} s", d / SECOND),
        d if d < HOUR => format!("{} min", d / MINUTE),
        d if d < 2 * DAY => format!("{} h", d / HOUR),
        d => format!("{} days", d / DAY),
    };
    if future { format!("in {text}") } else { format!("{text} ago") }
}

/// A span with about three digits: `870 µs`, `12.4 ms`, `3.07 s`, `5 min 3 s`, `2 h 5 min`, `3 d 4 h`.
pub fn span(span: Duration) -> String {
    let ns = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    match ns {
        ns if ns < 1_000_000 => format!("{} µs", ns / 1_000),
        ns if ns < SECOND => digits(ns as f64 / 1e6, "ms"),
        ns if ns < MINUTE => digits(ns as f64 / 1e9, "s"),
        ns if ns < HOUR => format!("{} min {} s", ns / MINUTE, ns % MINUTE / SECOND),
        ns if ns < DAY => format!("{} h {} min", ns / HOUR, ns % HOUR / MINUTE),
        ns => format!("{} d {} h", ns / DAY, ns % DAY / HOUR),
    }
}

/// Bytes in powers of 1024: `512 B`, `1.50 KiB`, `64.0 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    digits(value, UNITS[unit])
}

fn digits(value: f64, unit: &str) -> String {
    if value < 9.995 {
        format!("{value:.2} {unit}")
    } else if value < 99.95 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_relative_to_now() {
        let now = 1_000 * DAY;
        assert_eq!(ago(now, now), "now");
        assert_eq!(ago(now, now - 3 * SECOND - 5), "3 s ago");
        assert_eq!(ago(now, now - 61 * SECOND), "1 min ago");
        assert_eq!(ago(now, now - 47 * HOUR), "47 h ago");
        assert_eq!(ago(now, now - 49 * HOUR), "2 days ago");
        assert_eq!(ago(now, now + 90 * SECOND), "in 1 min");
    }

    #[test]
    fn spans_keep_about_three_digits() {
        let cases = [
            (870, "870 µs"),
            (1_000, "1.00 ms"),
            (12_440, "12.4 ms"),
            (124_400, "124 ms"),
            (3_070_000, "3.07 s"),
            (303_000_000, "5 min 3 s"),
            (7_500_000_000, "2 h 5 min"),
            (273_600_000_000, "3 d 4 h"),
        ];
        for (us, text) in cases {
            assert_eq!(span(Duration::from_micros(us)), text);
        }
    }

    #[test]
    fn sizes_change_unit_before_four_digits() {
        assert_eq!(size(512), "512 B");
        assert_eq!(size(1536), "1.50 KiB");
        assert_eq!(size(64 << 20), "64.0 MiB");
        assert_eq!(size((1 << 20) - 1), "1.00 MiB");
    }
}
