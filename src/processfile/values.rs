//! One function a type of value: a node in, the value out, or a fault reported.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::{At, Report, nearest};
use super::tree::{Node, Value};
use crate::wire::duration::{parse_duration, parse_size};

/// Longest string that a process can be given as an argument or a variable, its end included
/// (MAX_ARG_STRLEN of the kernel, execve(2)).
pub(super) const STRING_BYTES: usize = 131_072;

pub(super) const MILLISECOND: (Duration, &str) = (Duration::from_millis(1), "1ms");
pub(super) const YEAR: (Duration, &str) = (Duration::from_secs(366 * 24 * 3600), "8784h");

fn fault(node: &Node, at: &At, report: &mut Report, expected: impl Display) {
    let message = || format!("expected {expected}, found {}", node.found());
    report.add((node.line, node.column), at, message);
}

/// Text that is not empty, has no NUL and at most `bytes` bytes.
pub(super) fn text<'t>(node: &'t Node, at: &At, report: &mut Report, expected: &str, bytes: usize) -> Option<&'t str> {
    let place = (node.line, node.column);
    match &node.value {
        Value::Text(text) if text.is_empty() => {
            report.add(place, at, || format!("expected {expected}, found empty text"));
        }
        Value::Text(text) if text.contains('\0') => {
            report.add(place, at, || format!("expected {expected}, found text with a NUL byte"));
        }
        Value::Text(text) if text.len() > bytes => {
            let length = text.len();
            let message = move || format!("expected {expected} of at most {bytes} bytes, found {length}");
            report.add(place, at, message);
        }
        Value::Text(text) => return Some(text),
        _ => fault(node, at, report, expected),
    }
    None
}

/// One of a few words.
pub(super) fn choice<T: Copy>(node: &Node, at: &At, report: &mut Report, choices: &[(&str, T)]) -> Option<T> {
    if let Value::Text(text) = &node.value
        && let Some((_, value)) = choices.iter().find(|(word, _)| word == text)
    {
        return Some(*value);
    }
    let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let near = match &node.value {
        Value::Text(text) => nearest(text, choices.iter().map(|(word, _)| *word)),
        _ => None,
    };
    let hint = near.map(|word| format!("; did you mean \"{word}\"?")).unwrap_or_default();
    report
        .add((node.line, node.column), at, || format!("expected {}, found {}{hint}", words.join(" or "), node.found()));
    None
}

/// true or false.
pub(super) fn flag(node: &Node, at: &At, report: &mut Report) -> Option<bool> {
    match node.value {
        Value::Bool(flag) => Some(flag),
        _ => {
            fault(node, at, report, "true or false");
            None
        }
    }
}

/// A whole number within bounds.
pub(super) fn whole<T>(node: &Node, at: &At, report: &mut Report, range: RangeInclusive<T>) -> Option<T>
where
    T: std::str::FromStr + PartialOrd + Display,
{
    if let Value::Number(number) = &node.value
        && let Some(number) = number.parse().ok().filter(|number| range.contains(number))
    {
        return Some(number);
    }
    fault(node, at, report, format!("a whole number from {} to {}", range.start(), range.end()));
    None
}

/// A number of milliseconds, or text with a unit. Both bounds are shown as they are told.
pub(super) fn duration(
    node: &Node,
    at: &At,
    report: &mut Report,
    (least, least_told): (Duration, &str),
    (most, most_told): (Duration, &str),
) -> Option<Duration> {
    let found = match &node.value {
        Value::Number(number) => number.parse().ok().map(Duration::from_millis),
        Value::Text(text) => parse_duration(text).ok(),
        _ => None,
    };
    match found {
        Some(found) if found >= least && found <= most => return Some(found),
        Some(_) => fault(node, at, report, format!("a time from {least_told} to {most_told}")),
        None => fault(
            node,
            at,
            report,
            format!(
                "a time from {least_told} to {most_told}: a whole number of milliseconds, or text such as \"500ms\", \"10s\", \"5m\", \"1h\""
            ),
        ),
    }
    None
}

/// A number of bytes, or text with a unit. Both bounds are shown as they are told.
pub(super) fn size(
    node: &Node,
    at: &At,
    report: &mut Report,
    (least, least_told): (u64, &str),
    (most, most_told): (u64, &str),
) -> Option<u64> {
    let found = match &node.value {
        Value::Number(number) => number.parse().ok(),
        Value::Text(text) => parse_size(text).ok(),
        _ => None,
    };
    match found {
        Some(found) if (least..=most).contains(&found) => return Some(found),
        Some(_) => fault(node, at, report, format!("a size from {least_told} to {most_told}")),
        None => fault(node, at, report, "a size: a whole number of bytes, or text such as \"512K\", \"64M\", \"2G\""),
    }
    None
}

/// A list of text, each checked as by [`text`]; not empty and at most `most` long.
pub(super) fn list<'t>(
    node: &'t Node,
    at: &At,
    report: &mut Report,
    expected: &str,
    (most, bytes): (usize, usize),
) -> Option<Vec<&'t str>> {
    let place = (node.line, node.column);
    match &node.value {
        Value::List(items) if items.is_empty() => {
            report.add(place, at, || format!("expected a list of {expected}, found an empty one"));
            None
        }
        Value::List(items) if items.len() > most => {
            let count = items.len();
            report.add(place, at, move || format!("expected a list of at most {most} items, found {count}"));
            None
        }
        Value::List(items) => {
            let read = |(index, item)| text(item, &At::Item(at, index), report, expected, bytes);
            // Every item is looked at, so that every fault is told.
            let items: Vec<Option<&str>> = items.iter().enumerate().map(read).collect();
            items.into_iter().collect()
        }
        _ => {
            fault(node, at, report, format!("a list of {expected}"));
            None
        }
    }
}
