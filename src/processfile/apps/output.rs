//! Where output goes, and what is watched.

use std::path::Path;
use std::time::Duration;

use super::super::app::{Format, Logs, Sink, Watch};
use super::super::error::{At, Report};
use super::super::fields::Fields;
use super::super::paths::absolute;
use super::super::tree::{Node, Value};
use super::super::values::{YEAR, choice, duration, flag, size, text, whole};
use super::program::{path, words};
use super::{MOST_BYTES, NONE, SECOND};

pub(super) fn watch(
    fields: &Fields,
    cwd: &Path,
    delay: Duration,
    at: &At,
    report: &mut Report,
) -> Option<Option<Watch>> {
    let ignore = fields.or("ignore_watch", Vec::new(), at, report, |n, at, r| words(n, at, r, "patterns"))?;
    let Some(node) = fields.get("watch") else { return Some(None) };
    let paths = match &node.value {
        Value::Bool(false) => return Some(None),
        Value::Bool(true) => vec![cwd.to_owned()],
        _ => {
            let paths = words(node, &At::Key(at, "watch"), report, "true, false, or paths")?;
            paths.iter().map(|path| absolute(cwd, path)).collect()
        }
    };
    Some(Some(Watch { paths, ignore, delay }))
}

/// The watch of a pool.
pub(in super::super) fn pool_watch(fields: &Fields, cwd: &Path, at: &At, report: &mut Report) -> Option<Option<Watch>> {
    let delay = fields.or("watch_delay", SECOND, at, report, |n, at, r| duration(n, at, r, NONE, YEAR))?;
    watch(fields, cwd, delay, at, report)
}

pub(super) fn logs(fields: &Fields, base: &Path, at: &At, report: &mut Report) -> Option<Logs> {
    let off = fields.or("disable_logs", false, at, report, flag)?;
    let mut sink = |key: &str| {
        let read = |n: &Node, at: &At, r: &mut Report| match &n.value {
            Value::Bool(false) => Some(Sink::Off),
            Value::Text(word) if word == "/dev/null" || word == "NULL" => Some(Sink::Off),
            Value::Bool(true) => Some(Sink::Default),
            _ => path(n, at, r, base).map(Sink::File),
        };
        fields.or(key, if off { Sink::Off } else { Sink::Default }, at, report, read)
    };
    let (out, error, both) = (sink("out_file")?, sink("error_file")?, sink("log_file")?);
    let time = fields.or("time", false, at, report, flag)?;
    let date =
        fields.opt("log_date_format", at, report, |n, at, r| text(n, at, r, "a pattern of a date", 255).map(strftime));
    let kinds = [("json", Format::Json), ("raw", Format::Text), ("text", Format::Text)];
    let size_or_off = |n: &Node, at: &At, r: &mut Report| match &n.value {
        Value::Bool(false) => Some(None),
        Value::Number(zero) if zero == "0" => Some(None),
        _ => size(n, at, r, (4096, "4K"), MOST_BYTES).map(Some),
    };
    let minute = (Duration::from_secs(60), "1m");
    Some(Logs {
        out,
        error,
        both,
        merge: fields.or("merge_logs", false, at, report, flag)?,
        format: fields.or("log_type", Format::Text, at, report, |n, at, r| choice(n, at, r, &kinds))?,
        date: date.or_else(|| time.then(|| "%Y-%m-%dT%H:%M:%S".to_owned())),
        max_size: fields.or("max_log_size", Some(10 << 20), at, report, size_or_off)?,
        max_age: fields.opt("max_log_age", at, report, |n, at, r| duration(n, at, r, minute, YEAR)),
        max_files: fields.or("max_log_files", 5, at, report, |n, at, r| whole(n, at, r, 0..=1000))?,
        compress: fields.or("compress_logs", true, at, report, flag)?,
    })
}

/// A pattern of moment.js in strftime(3)'s letters; one that has a `%` is strftime's already.
pub(super) fn strftime(pattern: &str) -> String {
    if pattern.contains('%') {
        return pattern.to_owned();
    }
    const LETTERS: &[(&str, &str)] = &[
        ("YYYY", "%Y"),
        ("SSS", "%3f"),
        ("MMM", "%b"),
        ("YY", "%y"),
        ("MM", "%m"),
        ("DD", "%d"),
        ("HH", "%H"),
        ("hh", "%I"),
        ("mm", "%M"),
        ("ss", "%S"),
        ("ZZ", "%z"),
        ("Z", "%:z"),
        ("A", "%p"),
    ];
    let (mut out, mut rest) = (String::new(), pattern);
    while let Some(first) = rest.chars().next() {
        if let Some(end) = rest.strip_prefix('[').and_then(|inner| inner.find(']')) {
            out.push_str(&rest[1..=end]);
            rest = &rest[end + 2..];
        } else if let Some((letters, word)) = LETTERS.iter().find(|(letters, _)| rest.starts_with(letters)) {
            out.push_str(word);
            rest = &rest[letters.len()..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}
