//! What may be said of a pool.

use std::collections::BTreeMap;
use std::time::Duration;

use super::apps::pool_watch;
use super::check::{Place, Seen, name_of};
use super::error::{At, Report};
use super::fields::{Fields, Keys};
use super::parts::{account, entries, env, idle, limits, name};
use super::paths::{folder, program, readable};
use super::tree::Node;
use super::values::{MILLISECOND, YEAR, choice, duration, flag, whole};
use super::{HugePages, Idle, Limits, Output, Pool, Runtime, Shutdown};

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

/// A pool, if it is right.
pub(super) fn pool<'t>(
    node: &'t Node,
    place: &Place<'_>,
    seen: &mut Seen<'t>,
    at: &At,
    report: &mut Report,
) -> Option<Pool> {
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
