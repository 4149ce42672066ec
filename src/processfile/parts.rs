//! The keys of a pool that have rules of their own: name, account, environment, idle, entries, limits.

use std::collections::btree_map::{BTreeMap, Entry as Slot};
use std::time::Duration;

use super::error::{At, Report};
use super::fields::{Fields, Keys, twice};
use super::tree::{Entry, Node, Quoted, Value};
use super::values::{MILLISECOND, STRING_BYTES, YEAR, duration, list, size, text, whole};
use super::{Idle, Limits};

/// Keys of a pool's `limits`.
pub(super) const LIMITS_KEYS: Keys = &["memory", "cpu_time", "open_files", "core"];

/// Keys of a pool's `idle`, where it is an object.
pub(super) const IDLE_KEYS: Keys = &["min", "max"];

const IDLE: std::ops::RangeInclusive<u32> = 0..=10_000;
/// More than any machine has; what is larger is a slip.
const MOST_BYTES: (u64, &str) = (1 << 50, "1048576G");
const NAME_BYTES: usize = 64;

/// A pool's name.
pub(super) fn name(node: &Node, at: &At, report: &mut Report) -> Option<String> {
    let name = text(node, at, report, "a name", NAME_BYTES)?;
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.bytes().all(inside) && name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return Some(name.to_owned());
    }
    report.add((node.line, node.column), at, || {
        let expected = "a name of letters, digits, \".\", \"_\" and \"-\" that begins with a letter or digit";
        format!("expected {expected}, found {}", Quoted(name))
    });
    None
}

/// A user's or group's name, or its number as text.
pub(super) fn account(node: &Node, at: &At, report: &mut Report) -> Option<String> {
    let name = text(node, at, report, "a name", 256)?;
    // What would end a field of passwd(5).
    if name.contains([':', '/', '\n']) {
        report.add((node.line, node.column), at, || format!("expected a name, found {}", Quoted(name)));
        return None;
    }
    Some(name.to_owned())
}

/// Values may be secrets: an error says their kind alone.
pub(super) fn env(node: &Node, at: &At, report: &mut Report) -> Option<BTreeMap<String, String>> {
    let Value::Object(entries) = &node.value else {
        let message = || format!("expected an object of variables, found {}", node.kind());
        report.add((node.line, node.column), at, message);
        return None;
    };
    let mut variables: BTreeMap<&str, (&Entry, &str)> = BTreeMap::new();
    let mut right = true;
    for entry in entries {
        let at = At::Key(at, &entry.key);
        let read = variable(entry, &at, report);
        right &= read.is_some();
        match variables.entry(&entry.key) {
            Slot::Vacant(slot) => {
                slot.insert((entry, read.unwrap_or_default()));
            }
            Slot::Occupied(slot) => {
                report.add((entry.line, entry.column), &at, || twice(slot.get().0, entry));
                right = false;
            }
        }
    }
    let owned = |(key, (_, value)): (&str, (&Entry, &str))| (key.to_owned(), value.to_owned());
    right.then(|| variables.into_iter().map(owned).collect())
}

fn variable<'t>(entry: &'t Entry, at: &At, report: &mut Report) -> Option<&'t str> {
    let (key, node) = (&entry.key, &entry.node);
    let refused = if key.is_empty() || key.contains(['=', '\0']) {
        Some("expected a variable's name without \"=\" and NUL, not empty")
    } else if key == "PREFORKD_ZYGOTE" {
        Some("expected another name: this variable is the supervisor's own")
    } else {
        None
    };
    if let Some(message) = refused {
        report.add((entry.line, entry.column), at, || message.to_owned());
        return None;
    }
    let value = match &node.value {
        Value::Text(text) | Value::Number(text) => text,
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        _ => {
            let message = || format!("expected text, a number, true or false, found {}", node.kind());
            report.add((node.line, node.column), at, message);
            return None;
        }
    };
    let message = if value.contains('\0') {
        "expected text without a NUL byte"
    } else if key.len() + value.len() + 2 > STRING_BYTES {
        "expected at most 128 KiB, which is what a process can be given"
    } else {
        return Some(value);
    };
    report.add((node.line, node.column), at, || message.to_owned());
    None
}

/// Patterns of what may be run. An entry has at most 255 bytes and no control characters.
pub(super) fn entries(node: &Node, at: &At, report: &mut Report) -> Option<Vec<String>> {
    let patterns = list(node, at, report, "patterns such as \"App\\\\Jobs\\\\*\"", (10_000, 255))?;
    let Value::List(items) = &node.value else {
        return None;
    };
    let mut right = true;
    for (index, (pattern, item)) in patterns.iter().zip(items).enumerate() {
        if pattern.contains(|character: char| character.is_control()) {
            right = false;
            let message =
                || format!("expected no control characters (write a backslash twice), found {}", Quoted(pattern));
            report.add((item.line, item.column), &At::Item(at, index), message);
        }
    }
    right.then(|| patterns.into_iter().map(str::to_owned).collect())
}

/// A number, or `{min, max}`.
pub(super) fn idle(node: &Node, at: &At, report: &mut Report) -> Option<Idle> {
    let Value::Object(_) = node.value else {
        if let Value::Number(_) = node.value {
            return whole(node, at, report, IDLE).map(|n| Idle { min: n, max: n });
        }
        let (least, most) = (IDLE.start(), IDLE.end());
        let expected = || {
            format!(
                "expected a whole number from {least} to {most}, or {{ \"min\": …, \"max\": … }}, found {}",
                node.found()
            )
        };
        report.add((node.line, node.column), at, expected);
        return None;
    };
    let fields = Fields::of(node, IDLE_KEYS, at, report)?;
    let number = |node: &Node, at: &At, report: &mut Report| whole(node, at, report, IDLE);
    let (min, max) =
        (fields.or("min", 0, at, report, number), fields.required("max", "a whole number", at, report, number));
    let (min, max) = (min?, max?);
    if min > max {
        report.add(fields.place, at, || format!("expected a min of at most max, which is {max}, found {min}"));
        return None;
    }
    Some(Idle { min, max })
}

pub(super) fn limits(node: &Node, at: &At, report: &mut Report) -> Option<Limits> {
    let fields = Fields::of(node, LIMITS_KEYS, at, report)?;
    let memory =
        fields.opt("memory", at, report, |node, at, report| size(node, at, report, (1 << 20, "1M"), MOST_BYTES));
    let cpu_time = fields.opt("cpu_time", at, report, |node, at, report| duration(node, at, report, MILLISECOND, YEAR));
    // Below 16 there is no room for stdio, the channels and a script.
    let open_files = fields.opt("open_files", at, report, |node, at, report| whole(node, at, report, 16..=1 << 30));
    let core = fields.opt("core", at, report, |node, at, report| size(node, at, report, (0, "0"), MOST_BYTES));
    // RLIMIT_CPU counts whole seconds, and 0 would be less than was asked for.
    let cpu_time = cpu_time.map(|time| Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0)));
    Some(Limits { memory, cpu_time, open_files, core })
}
