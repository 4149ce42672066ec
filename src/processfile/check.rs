//! From the tree to pools: every rule about what a process file may say.
//!
//! A rule about two keys is applied only where both are right by themselves, so that one mistake
//! is one error.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use super::error::{At, Report};
use super::fields::{Fields, Keys};
use super::parts::{account, entries, env, limits, name};
use super::paths::{folder, folder_fault, program, readable};
use super::tree::{Node, Quoted, Value};
use super::values::{MILLISECOND, YEAR, choice, duration, flag, text, whole};
use super::{Limits, Output, Pool, Runtime, Shutdown};

/// Keys of the file's object. `$schema` is for editors.
pub(super) const FILE_KEYS: Keys = &["$schema", "pools", "apps"];

/// Keys of a pool.
pub(super) const POOL_KEYS: Keys = &[
    "name",
    "runtime",
    "command",
    "preload",
    "cwd",
    "env",
    "interpreter",
    "user",
    "group",
    "default",
    "idle",
    "max_running",
    "max_queued",
    "timeout",
    "kill_timeout",
    "preload_timeout",
    "keep",
    "entries",
    "shutdown",
    "output",
    "limits",
];

const RUNTIMES: &[(&str, Runtime)] = &[("php", Runtime::Php), ("python", Runtime::Python), ("native", Runtime::Native)];
const SHUTDOWNS: &[(&str, Shutdown)] = &[("fast", Shutdown::Fast), ("full", Shutdown::Full)];
const OUTPUTS: &[(&str, Output)] =
    &[("log", Output::Log), ("capture", Output::Capture), ("inherit", Output::Inherit), ("none", Output::None)];

const NONE: (Duration, &str) = (Duration::ZERO, "0");
const HOUR: (Duration, &str) = (Duration::from_secs(3600), "1h");

/// The pools of a file, or None where `pools` could not be read. Faults are in the report.
pub(super) fn pools(root: &Node, base: &Path, report: &mut Report) -> Option<Vec<Pool>> {
    let top = &At::Root;
    if !matches!(root.value, Value::Object(_)) {
        let message = || format!("expected an object, {{ \"pools\": [ … ] }}, found {}", root.kind());
        report.add((root.line, root.column), top, message);
        return None;
    }
    let fields = Fields::of(root, FILE_KEYS, top, report)?;
    if let Some(apps) = fields.get("apps") {
        let message = "long-running workers are not there yet: expected \"pools\" alone";
        report.add((apps.line, apps.column), &At::Key(top, "apps"), || message.to_owned());
    }
    if let Some(schema) = fields.get("$schema") {
        text(schema, &At::Key(top, "$schema"), report, "the address of a schema", 4096);
    }
    let at = At::Key(top, "pools");
    let Some(node) = fields.get("pools") else {
        report.add(fields.place, &at, || "missing: expected a list of pools".to_owned());
        return None;
    };
    let Value::List(items) = &node.value else {
        let message = || format!("expected a list of pools, found {}", node.found());
        report.add((node.line, node.column), &at, message);
        return None;
    };
    let base_fault = folder_fault(base);
    let mut seen = Seen::default();
    let mut pools = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let at = At::Item(&at, index);
        pools.extend(match name_of(item) {
            Some(name) => pool(item, base, &base_fault, &mut seen, &At::Pool(&at, name), report),
            None => pool(item, base, &base_fault, &mut seen, &at, report),
        });
    }
    Some(pools)
}

/// What one pool must not repeat of those before it.
#[derive(Default)]
struct Seen<'t> {
    /// Line of each name.
    names: HashMap<&'t str, u32>,
    /// Line of the first `"default": true`.
    default: Option<u32>,
}

/// The name to show in errors, be it valid or not.
fn name_of(node: &Node) -> Option<&str> {
    let Value::Object(entries) = &node.value else {
        return None;
    };
    entries.iter().find(|entry| entry.key == "name").and_then(|entry| match &entry.node.value {
        Value::Text(name) => Some(name.as_str()),
        _ => None,
    })
}

fn pool<'t>(
    node: &'t Node,
    base: &Path,
    base_fault: &Option<String>,
    seen: &mut Seen<'t>,
    at: &At,
    report: &mut Report,
) -> Option<Pool> {
    let fields = Fields::of(node, POOL_KEYS, at, report)?;
    let pool_name = fields.required("name", "a name", at, report, name);
    if let (Some(_), Some(node), Some(written)) = (&pool_name, fields.get("name"), name_of(node)) {
        if let Some(first) = seen.names.get(written) {
            let message = || format!("the name {} is used twice, first in line {first}", Quoted(written));
            report.add((node.line, node.column), &At::Key(at, "name"), message);
        } else {
            seen.names.insert(written, node.line);
        }
    }
    let runtime = fields.required("runtime", "\"php\", \"python\" or \"native\"", at, report, |node, at, report| {
        choice(node, at, report, RUNTIMES)
    });
    let words = |node: &Node, at: &At, report: &mut Report| program(node, at, report, base);
    let command = fields.opt("command", at, report, words);
    let interpreter = fields.opt("interpreter", at, report, words);
    let preload = fields.opt("preload", at, report, |node, at, report| readable(node, at, report, base));
    if let Some(runtime) = runtime {
        fitting(runtime, &fields, at, report);
    }
    if let (None, Some(fault)) = (fields.get("cwd"), base_fault) {
        report.add(fields.place, &At::Key(at, "cwd"), || format!("expected a folder, but {fault}"));
    }
    let cwd = fields.or("cwd", base.to_owned(), at, report, |node, at, report| folder(node, at, report, base));
    let env = fields.or("env", BTreeMap::new(), at, report, env);
    let user = fields.opt("user", at, report, account);
    let group = fields.opt("group", at, report, account);

    let default = fields.or("default", false, at, report, flag);
    if let (Some(true), Some(node)) = (default, fields.get("default")) {
        match seen.default {
            None => seen.default = Some(node.line),
            Some(first) => report.add((node.line, node.column), &At::Key(at, "default"), || {
                format!("expected one default pool at most; the first is in line {first}")
            }),
        }
    }

    let number = |range| move |node: &Node, at: &At, report: &mut Report| whole(node, at, report, range);
    let idle = fields.or("idle", 0, at, report, number(0..=10_000));
    let max_running = fields.or("max_running", 64, at, report, number(1..=100_000));
    let max_queued = fields.or("max_queued", 1000, at, report, number(0..=1_000_000));
    if let (Some(node), Some(idle), Some(most)) = (fields.get("idle"), idle, max_running)
        && idle > most
    {
        let message = || format!("expected at most {most}, which is max_running, found {idle}");
        report.add((node.line, node.column), &At::Key(at, "idle"), message);
    }

    let time = |least, most| move |node: &Node, at: &At, report: &mut Report| duration(node, at, report, least, most);
    let seconds = Duration::from_secs;
    let timeout = fields.opt("timeout", at, report, time(MILLISECOND, YEAR));
    let kill_timeout = fields.or("kill_timeout", seconds(10), at, report, time(NONE, HOUR));
    let preload_timeout = fields.or("preload_timeout", seconds(30), at, report, time(MILLISECOND, YEAR));
    let keep = fields.or("keep", seconds(24 * 3600), at, report, time(NONE, YEAR));
    let entries = fields.opt("entries", at, report, entries);
    let shutdown =
        fields.or("shutdown", Shutdown::Fast, at, report, |node, at, report| choice(node, at, report, SHUTDOWNS));
    let output = fields.or("output", Output::Log, at, report, |node, at, report| choice(node, at, report, OUTPUTS));
    let limits = fields.or("limits", Limits::default(), at, report, limits);

    let runtime = runtime?;
    Some(Pool {
        name: pool_name?,
        runtime,
        command,
        preload,
        cwd: cwd?,
        env: env?,
        interpreter: interpreter.unwrap_or_else(|| runtime.interpreter()),
        user,
        group,
        default: default?,
        idle: idle?,
        max_running: max_running?,
        max_queued: max_queued?,
        timeout,
        kill_timeout: kill_timeout?,
        preload_timeout: preload_timeout?,
        keep: keep?,
        entries,
        shutdown: shutdown?,
        output: output?,
        limits: limits?,
    })
}

/// Keys that one runtime needs and another has no use for.
fn fitting(runtime: Runtime, fields: &Fields, at: &At, report: &mut Report) {
    let mut refuse = |key: &str, why: &str| {
        if let Some(node) = fields.get(key) {
            report.add((node.line, node.column), &At::Key(at, key), || why.to_owned());
        }
    };
    if runtime != Runtime::Native {
        refuse("command", "expected only with \"runtime\": \"native\"; here it is \"interpreter\" that starts");
        return;
    }
    refuse("interpreter", "expected only with \"php\" or \"python\"; a native pool is started by \"command\"");
    refuse("preload", "expected only with \"php\" or \"python\"; a native program preloads by itself");
    if fields.get("command").is_none() {
        let message = "missing: expected the program of the native pool and its arguments";
        report.add(fields.place, &At::Key(at, "command"), || message.to_owned());
    }
}
