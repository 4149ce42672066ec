//! What an app runs.

use std::path::{Path, PathBuf};

use serde_json::value::RawValue;

use super::super::Presence;
use super::super::app::Program;
use super::super::error::{At, Report};
use super::super::fields::Fields;
use super::super::parts::name;
use super::super::paths::absolute;
use super::super::tree::{Node, Quoted, Value};
use super::super::values::text;
use super::STRING;

pub(super) fn path(node: &Node, at: &At, report: &mut Report, base: &Path) -> Option<PathBuf> {
    text(node, at, report, "a path", 4095).map(|path| absolute(base, path))
}

/// Text, or a list of text; text is split as a shell would.
pub(super) fn shell_words(node: &Node, at: &At, report: &mut Report) -> Option<Vec<String>> {
    match &node.value {
        Value::Text(line) if line.is_empty() => Some(Vec::new()),
        Value::Text(line) => match shlex::split(line).filter(|words| words.iter().all(|w| !w.contains('\0'))) {
            Some(words) => Some(words),
            None => {
                report.add((node.line, node.column), at, || format!("a quote is not closed in {}", Quoted(line)));
                None
            }
        },
        Value::List(items) => {
            let mut words = Vec::new();
            for (index, item) in items.iter().enumerate() {
                match &item.value {
                    Value::Text(word) if word.is_empty() => words.push(String::new()),
                    Value::Number(word) => words.push(word.clone()),
                    Value::Bool(word) => words.push(word.to_string()),
                    _ => words.push(text(item, &At::Item(at, index), report, "an argument", STRING)?.to_owned()),
                }
            }
            Some(words)
        }
        Value::Number(word) => Some(vec![word.clone()]),
        _ => {
            let message = || format!("expected arguments as text or a list, found {}", node.found());
            report.add((node.line, node.column), at, message);
            None
        }
    }
}

/// One word or a list of words.
pub(super) fn words(node: &Node, at: &At, report: &mut Report, expected: &str) -> Option<Vec<String>> {
    match &node.value {
        Value::List(items) => {
            let read = |(index, item)| text(item, &At::Item(at, index), report, expected, STRING).map(str::to_owned);
            let words: Vec<Option<String>> = items.iter().enumerate().map(read).collect();
            words.into_iter().collect()
        }
        Value::Bool(false) => Some(Vec::new()),
        _ => text(node, at, report, expected, STRING).map(|word| vec![word.to_owned()]),
    }
}

pub(super) fn program(
    fields: &Fields,
    cwd: &Path,
    presence: Presence,
    at: &At,
    report: &mut Report,
) -> Option<Program> {
    let args = fields.opt("args", at, report, shell_words);
    if fields.get("pool").is_some() || fields.get("entry").is_some() {
        return from_pool(fields, args, at, report);
    }
    for key in ["params", "params_each"] {
        if let Some(node) = fields.get(key) {
            let message = "expected only with \"pool\" and \"entry\"; a script has \"args\"";
            report.add((node.line, node.column), &At::Key(at, key), || message.to_owned());
        }
    }
    let expected = "a script, or \"pool\" and \"entry\"";
    let script = fields.required("script", expected, at, report, |n, at, r| {
        text(n, at, r, "the path of a script or program", STRING).map(str::to_owned)
    })?;
    let node = fields.get("script")?;
    let place = (node.line, node.column);
    let file = absolute(cwd, &script);
    let is_path = script.contains('/') || file.is_file() || !by_extension(&script).is_empty();
    let chosen = fields.opt("interpreter", at, report, |n, at, r| match &n.value {
        Value::List(_) => words(n, at, r, "an interpreter and its arguments"),
        _ => text(n, at, r, "an interpreter, or \"none\"", STRING).map(|word| vec![word.to_owned()]),
    });
    let more = fields.or("interpreter_args", Vec::new(), at, report, shell_words)?;
    let mut args = args.unwrap_or_default();
    if script.contains(char::is_whitespace) && !file.is_file() && fields.get("interpreter").is_none() {
        let plain = !script.contains(['|', '&', ';', '<', '>', '(', ')', '$', '`', '\\', '*', '?', '[', '#', '~', '=']);
        let split = shlex::split(&script).filter(|words| plain && !words.is_empty());
        let mut words = split.unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into(), script.clone()]);
        let first = words.remove(0);
        let first = if first.contains('/') { absolute(cwd, &first).to_string_lossy().into_owned() } else { first };
        words.append(&mut args);
        return Some(Program::Exec { script: first, args: words, interpreter: Vec::new() });
    }
    if presence == Presence::Checked && is_path && !file.is_file() {
        report.add(place, &At::Key(at, "script"), || {
            format!("expected a file, but {}: not found", Quoted(&file.to_string_lossy()))
        });
        return None;
    }
    let script = if is_path || fields.get("interpreter").is_some() && script.contains('.') {
        file.to_string_lossy().into_owned()
    } else {
        script
    };
    let mut interpreter = match chosen {
        Some(words) if words == ["none"] => Vec::new(),
        Some(words) => words,
        None => by_extension(&script),
    };
    if let Some(first) = interpreter.first_mut().filter(|first| first.contains('/')) {
        *first = absolute(cwd, first).to_string_lossy().into_owned();
    }
    interpreter.extend(more);
    Some(Program::Exec { script, args, interpreter })
}

pub(in super::super) fn by_extension(script: &str) -> Vec<String> {
    let word = match Path::new(script).extension().and_then(|e| e.to_str()) {
        Some("php") => "php",
        Some("py") => "python3",
        Some("rb") => "ruby",
        Some("pl") => "perl",
        Some("sh") => "bash",
        Some("js" | "mjs" | "cjs") => "node",
        _ => return Vec::new(),
    };
    vec![word.to_owned()]
}

pub(super) fn from_pool(fields: &Fields, args: Option<Vec<String>>, at: &At, report: &mut Report) -> Option<Program> {
    for key in [
        "script",
        "interpreter",
        "interpreter_args",
        "listen",
        "user",
        "group",
        "umask",
        "nice",
        "oom_score_adj",
        "limits",
    ] {
        if let Some(node) = fields.get(key) {
            let message = "not with \"pool\": its processes are forked from the pool's, which has this";
            report.add((node.line, node.column), &At::Key(at, key), || message.to_owned());
        }
    }
    let pool = fields.required("pool", "the name of a pool", at, report, name);
    let entry = fields.required("entry", "what is run, as in `run`", at, report, |n, at, r| {
        text(n, at, r, "an entry", 255).map(str::to_owned)
    });
    let params = fields.opt("params", at, report, |n, _, _| raw(n));
    let each = fields.opt("params_each", at, report, |n, at, r| match &n.value {
        Value::List(items) if !items.is_empty() => items.iter().map(raw).collect::<Option<Vec<_>>>(),
        _ => {
            r.add((n.line, n.column), at, || {
                format!("expected a list with one value an instance, found {}", n.found())
            });
            None
        }
    });
    if [params.is_some(), each.is_some(), args.is_some()].iter().filter(|there| **there).count() > 1 {
        let message = "expected one of \"params\", \"params_each\" and \"args\"";
        report.add(fields.place, at, || message.to_owned());
    }
    Some(Program::Pool { pool: pool?, entry: entry?, params, params_each: each, args })
}

/// A value as JSON text.
pub(super) fn raw(node: &Node) -> Option<Box<RawValue>> {
    RawValue::from_string(json(node).to_string()).ok()
}

pub(in super::super) fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => serde_json::from_str(number).unwrap_or_else(|_| number.clone().into()),
        Value::Text(text) => text.clone().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Object(entries) => entries.iter().map(|e| (e.key.clone(), json(&e.node))).collect(),
    }
}
