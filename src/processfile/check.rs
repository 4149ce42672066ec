//! From the tree to pools: every rule about what a process file may say.
//!
//! A rule about two keys is applied only where both are right by themselves, so that one mistake
//! is one error.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use super::apps::{Beside, pool_watch};
use super::error::{At, Report};
use super::fields::{Fields, Keys};
use super::parts::{account, entries, env, idle, limits, name};
use super::paths::{folder, folder_fault, program, readable};
use super::related::{Listed, related};
use super::tree::{Entry, Node, Quoted, Value};
use super::values::{MILLISECOND, YEAR, choice, duration, flag, text, whole};
use super::{App, HugePages, Idle, Limits, Output, Pool, Presence, Runtime, Shutdown};

/// Keys of the file's object. `$schema` is for editors.
pub(super) const FILE_KEYS: Keys = &["$schema", "pools", "apps", "deploy"];

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
    "huge_pages",
    "output",
    "limits",
    "watch",
    "ignore_watch",
    "watch_delay",
];

const RUNTIMES: &[(&str, Runtime)] = &[("php", Runtime::Php), ("python", Runtime::Python), ("native", Runtime::Native)];
const SHUTDOWNS: &[(&str, Shutdown)] = &[("fast", Shutdown::Fast), ("full", Shutdown::Full)];
const HUGE_PAGES: &[(&str, HugePages)] = &[("auto", HugePages::Auto), ("off", HugePages::Off)];
const OUTPUTS: &[(&str, Output)] =
    &[("log", Output::Log), ("capture", Output::Capture), ("inherit", Output::Inherit), ("none", Output::None)];

const NONE: (Duration, &str) = (Duration::ZERO, "0");
const HOUR: (Duration, &str) = (Duration::from_secs(3600), "1h");

/// What a file has.
pub(super) struct Contents {
    pub pools: Vec<Pool>,
    pub apps: Vec<App>,
    pub warnings: Vec<String>,
}

/// The pools and apps of a file, or None where they could not be read. Faults are in the report. `known` are pools that
/// are there already.
pub(super) fn file(
    root: &Node,
    base: &Path,
    presence: Presence,
    known: &[&str],
    report: &mut Report,
) -> Option<Contents> {
    let top = &At::Root;
    let mut seen = Seen::default();
    let mut beside = Beside::default();
    let is_app = |entries: &[Entry]| {
        let has = |key: &str| entries.iter().any(|entry| entry.key == key);
        !has("apps") && !has("pools") && ["script", "exec", "cmd", "command", "entry"].into_iter().any(has)
    };
    let under = At::Key(top, "apps");
    let (pools, listed) = match &root.value {
        // pm2's other forms: a list of apps, one app.
        Value::List(items) => (Some(Vec::new()), Some((items.as_slice(), top))),
        Value::Object(entries) if is_app(entries) => (Some(Vec::new()), Some((std::slice::from_ref(root), top))),
        Value::Object(_) => {
            let fields = Fields::of(root, FILE_KEYS, top, report)?;
            if let Some(schema) = fields.get("$schema") {
                text(schema, &At::Key(top, "$schema"), report, "the address of a schema", 4096);
            }
            if fields.get("deploy").is_some() {
                beside.foreign.push("deploy".to_owned());
            }
            if fields.get("pools").is_none() && fields.get("apps").is_none() {
                let message = "missing: expected a list of pools, or \"apps\", a list of apps";
                report.add(fields.place, &At::Key(top, "pools"), || message.to_owned());
                return None;
            }
            let found = section(&fields, "pools", top, report)
                .and_then(|items| pools(items, &At::Key(top, "pools"), base, presence, &mut seen, report));
            (found, section(&fields, "apps", top, report).map(|items| (items, &under)))
        }
        _ => {
            let message =
                || format!("expected an object, {{ \"pools\": [ … ], \"apps\": [ … ] }}, found {}", root.kind());
            report.add((root.line, root.column), top, message);
            return None;
        }
    };
    let listed = listed.map(|(items, at)| Listed {
        apps: apps(items, at, base, presence, &mut seen, &mut beside, report),
        items,
        at,
    });
    let (pools, listed) = (pools?, listed?);
    if presence == Presence::Checked {
        related(&listed, &pools, known, report);
    }
    let apps = listed.apps.into_iter().map(|(_, app)| app).collect();
    Some(Contents { pools, apps, warnings: warnings(&beside) })
}

/// The members of a list that may be left out.
fn section<'t>(fields: &Fields<'t>, key: &str, top: &At, report: &mut Report) -> Option<&'t [Node]> {
    match fields.get(key) {
        None => Some(&[]),
        Some(Node { value: Value::List(items), .. }) => Some(items),
        Some(node) => {
            let message = || format!("expected a list of {key}, found {}", node.found());
            report.add((node.line, node.column), &At::Key(top, key), message);
            None
        }
    }
}

/// Where a file's relative paths begin, and whether what they lead to is looked at.
struct Place<'b> {
    base: &'b Path,
    presence: Presence,
    /// Why nobody can work there.
    fault: Option<String>,
}

fn pools<'t>(
    items: &'t [Node],
    at: &At,
    base: &Path,
    presence: Presence,
    seen: &mut Seen<'t>,
    report: &mut Report,
) -> Option<Vec<Pool>> {
    let place = Place { base, presence, fault: folder_fault(base).filter(|_| presence == Presence::Checked) };
    let mut pools = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let at = At::Item(at, index);
        pools.extend(match name_of(item) {
            Some(name) => pool(item, &place, seen, &At::Pool(&at, name), report),
            None => pool(item, &place, seen, &at, report),
        });
    }
    Some(pools)
}

/// The apps that are right by themselves, each with its index in the list.
fn apps<'t>(
    items: &'t [Node],
    at: &At,
    base: &Path,
    presence: Presence,
    seen: &mut Seen<'t>,
    beside: &mut Beside,
    report: &mut Report,
) -> Vec<(usize, App)> {
    let mut apps = Vec::with_capacity(items.len());
    let mut unnamed: HashMap<String, u32> = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        let at = &At::Item(at, index);
        let Some(app) = super::apps::app(item, base, presence, beside, at, report) else { continue };
        let place = (item.line, item.column);
        match name_of(item) {
            Some(written) => seen.name(written, item, at, report),
            // The script's name: two of them would be one app.
            None => {
                match unnamed.insert(app.name.clone(), item.line).or_else(|| seen.names.get(app.name.as_str()).copied())
                {
                    None => {}
                    Some(first) => report.add(place, &At::Key(at, "name"), || {
                        format!("the name {} is used twice, first in line {first}: give a \"name\"", Quoted(&app.name))
                    }),
                }
            }
        }
        apps.push((index, app));
    }
    apps
}

/// One line for all that is of no use here.
fn warnings(beside: &Beside) -> Vec<String> {
    if beside.foreign.is_empty() {
        return Vec::new();
    }
    vec![format!("of no use here, and ignored (they are for Node or for pm2's cloud): {}", beside.foreign.join(", "))]
}

/// What one pool must not repeat of those before it.
#[derive(Default)]
struct Seen<'t> {
    /// Line of each name.
    names: HashMap<&'t str, u32>,
    /// Line of the first `"default": true`.
    default: Option<u32>,
}

impl<'t> Seen<'t> {
    /// A name that is written in `node`: told when it is there for the second time.
    fn name(&mut self, written: &'t str, node: &Node, at: &At, report: &mut Report) {
        if let Some(first) = self.names.get(written) {
            let message = || format!("the name {} is used twice, first in line {first}", Quoted(written));
            report.add((node.line, node.column), &At::Key(at, "name"), message);
        } else {
            self.names.insert(written, node.line);
        }
    }
}

/// The name to show in errors, be it valid or not.
pub(super) fn name_of(node: &Node) -> Option<&str> {
    let Value::Object(entries) = &node.value else {
        return None;
    };
    entries.iter().find(|entry| entry.key == "name").and_then(|entry| match &entry.node.value {
        Value::Text(name) => Some(name.as_str()),
        _ => None,
    })
}

fn pool<'t>(node: &'t Node, place: &Place<'_>, seen: &mut Seen<'t>, at: &At, report: &mut Report) -> Option<Pool> {
    let Place { base, presence, fault: base_fault } = place;
    let (base, presence) = (*base, *presence);
    let fields = Fields::of(node, POOL_KEYS, at, report)?;
    let pool_name = fields.required("name", "a name", at, report, name);
    if let (Some(_), Some(node), Some(written)) = (&pool_name, fields.get("name"), name_of(node)) {
        seen.name(written, node, at, report);
    }
    let runtime = fields.required("runtime", "\"php\", \"python\" or \"native\"", at, report, |node, at, report| {
        choice(node, at, report, RUNTIMES)
    });
    let words = |node: &Node, at: &At, report: &mut Report| program(node, at, report, base, presence);
    let command = fields.opt("command", at, report, words);
    let interpreter = fields.opt("interpreter", at, report, words);
    let preload = fields.opt("preload", at, report, |node, at, report| readable(node, at, report, base, presence));
    if let Some(runtime) = runtime {
        fitting(runtime, &fields, at, report);
    }
    if let (None, Some(fault)) = (fields.get("cwd"), base_fault) {
        report.add(fields.place, &At::Key(at, "cwd"), || format!("expected a folder, but {fault}"));
    }
    let cwd =
        fields.or("cwd", base.to_owned(), at, report, |node, at, report| folder(node, at, report, base, presence));
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
    let idle = fields.or("idle", Idle::default(), at, report, idle);
    let max_running = fields.or("max_running", 64, at, report, number(1..=100_000));
    let max_queued = fields.or("max_queued", 1000, at, report, number(0..=1_000_000));
    if let (Some(node), Some(idle), Some(most)) = (fields.get("idle"), idle, max_running)
        && idle.max > most
    {
        let message = || format!("expected at most {most}, which is max_running, found {}", idle.max);
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
    let huge_pages =
        fields.or("huge_pages", HugePages::Auto, at, report, |node, at, report| choice(node, at, report, HUGE_PAGES));
    let output = fields.or("output", Output::Log, at, report, |node, at, report| choice(node, at, report, OUTPUTS));
    let limits = fields.or("limits", Limits::default(), at, report, limits);
    let watch = pool_watch(&fields, cwd.as_deref().unwrap_or(base), at, report);

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
        huge_pages: huge_pages?,
        output: output?,
        limits: limits?,
        watch: watch?,
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
