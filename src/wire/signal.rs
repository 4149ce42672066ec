//! Signals of Linux by name and number (signal(7), the numbers of x86 and ARM).

use serde::de::{self, Deserializer, Visitor};
use std::fmt;

/// The first real-time signal that glibc leaves to programs; it keeps 32 and 33 for itself.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

const REAL_TIME: [&str; 31] = [
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMIN+16",
    "SIGRTMIN+17",
    "SIGRTMIN+18",
    "SIGRTMIN+19",
    "SIGRTMIN+20",
    "SIGRTMIN+21",
    "SIGRTMIN+22",
    "SIGRTMIN+23",
    "SIGRTMIN+24",
    "SIGRTMIN+25",
    "SIGRTMIN+26",
    "SIGRTMIN+27",
    "SIGRTMIN+28",
    "SIGRTMIN+29",
    "SIGRTMAX",
];

/// `SIGKILL` for 9, `SIGRTMIN+1` for 35. `None` outside 1…64 and for glibc's own 32 and 33.
pub fn signal_name(n: i32) -> Option<&'static str> {
    let name = |names: &[&'static str], first: i32| names.get(usize::try_from(n - first).ok()?).copied();
    match n {
        1..=31 => name(&NAMES, 1),
        RTMIN..=RTMAX => name(&REAL_TIME, RTMIN),
        _ => None,
    }
}

/// The number of `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3`, `RTMAX-1`; `None` for anything else.
pub fn signal_number(s: &str) -> Option<i32> {
    if let Some(n) = digits(s) {
        return signal_name(n).map(|_| n);
    }
    if s.len() > 16 {
        return None;
    }
    let upper = s.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let n = match short {
        "RTMIN" => RTMIN,
        "RTMAX" => RTMAX,
        "POLL" => 29,
        "IOT" => 6,
        "CLD" => 17,
        _ => {
            if let Some(more) = short.strip_prefix("RTMIN+") {
                RTMIN + digits(more)?
            } else if let Some(less) = short.strip_prefix("RTMAX-") {
                RTMAX - digits(less)?
            } else {
                (1..=31).find(|&n| signal_name(n).is_some_and(|name| &name[3..] == short))?
            }
        }
    };
    let in_range = !short.starts_with("RT") || (RTMIN..=RTMAX).contains(&n);
    in_range.then_some(n)
}

fn digits(s: &str) -> Option<i32> {
    let plain = (1..=3).contains(&s.len()) && s.bytes().all(|byte| byte.is_ascii_digit());
    if plain { s.parse().ok() } else { None }
}

/// A signal in JSON: its number or its name; absent or `null` is `None`. For `deserialize_with`.
pub fn de_signal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    struct Signal;
    impl Visitor<'_> for Signal {
        type Value = Option<i32>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a signal such as \"TERM\", \"SIGTERM\" or 15")
        }
        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
            match i32::try_from(number) {
                Ok(n) if signal_name(n).is_some() => Ok(Some(n)),
                _ => Err(E::invalid_value(de::Unexpected::Unsigned(number), &self)),
            }
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            signal_number(text).map(Some).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }
    deserializer.deserialize_any(Signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_its_number_again() {
        let mut known = 0;
        for n in -5..100 {
            let Some(name) = signal_name(n) else { continue };
            known += 1;
            assert_eq!(signal_number(name), Some(n), "{name}");
            assert_eq!(signal_number(&name[3..]), Some(n));
            assert_eq!(signal_number(&name.to_lowercase()), Some(n));
            assert_eq!(signal_number(&n.to_string()), Some(n));
        }
        assert_eq!(known, 62);
    }

    #[test]
    fn the_kernels_numbers() {
        for (name, n) in [
            ("HUP", 1),
            ("INT", 2),
            ("QUIT", 3),
            ("ABRT", 6),
            ("KILL", 9),
            ("USR1", 10),
            ("SEGV", 11),
            ("USR2", 12),
            ("PIPE", 13),
            ("TERM", 15),
            ("CHLD", 17),
            ("CONT", 18),
            ("STOP", 19),
            ("XCPU", 24),
            ("SYS", 31),
            ("RTMIN", 34),
            ("RTMAX-0", 64),
            ("RTMAX-30", 34),
            ("rtmin+30", 64),
            ("IOT", 6),
            ("POLL", 29),
        ] {
            assert_eq!(signal_number(name), Some(n), "{name}");
        }
    }

    #[test]
    fn nonsense_is_none() {
        for bad in [
            "",
            "0",
            "65",
            "32",
            "33",
            "-9",
            "+9",
            "SIG",
            "SIGSIGTERM",
            "TERMX",
            "RTMIN+31",
            "RTMAX-31",
            "RTMIN-1",
            "RTMIN+",
            "RTMIN+-1",
            "9999999999",
            "\0",
            "ſIGTERM",
        ] {
            assert_eq!(signal_number(bad), None, "{bad:?}");
        }
    }
}
