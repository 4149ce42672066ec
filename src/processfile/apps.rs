//! From the tree to apps: pm2's keys with the meaning their users expect, and ours beside them.
//!
//! A key may be written in several ways; before it is looked at it has one name. What is only for Node, or for pm2's
//! cloud, is taken and named in one warning.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::value::RawValue;

use super::app::{Address, App, Format, Inherit, Instances, Listen, Logs, Program, Ready, Sink, Watch};
use super::error::{At, Report};
use super::fields::{Fields, Keys};
use super::parts::{account, env, limits, name};
use super::paths::{absolute, folder, folder_fault};
use super::tree::{Entry, Node, Quoted, Value};
use super::values::{MILLISECOND, YEAR, choice, duration, flag, size, text, whole};
use super::{Limits, Presence};

/// Keys of an app under the names they have here.
pub(super) const APP_KEYS: Keys = &[
    "name",
    "namespace",
    "script",
    "args",
    "interpreter",
    "interpreter_args",
    "pool",
    "entry",
    "params",
    "params_each",
    "cwd",
    "env",
    "inherit_env",
    "filter_env",
    "instances",
    "instance_var",
    "increment_var",
    "autostart",
    "autorestart",
    "min_uptime",
    "max_restarts",
    "restart_delay",
    "exp_backoff_restart_delay",
    "stop_exit_codes",
    "max_memory_restart",
    "kill_timeout",
    "stop_signal",
    "treekill",
    "shutdown_with_message",
    "wait_ready",
    "ready",
    "listen_timeout",
    "listen",
    "depends_on",
    "reload_step",
    "watch",
    "ignore_watch",
    "watch_delay",
    "user",
    "group",
    "umask",
    "nice",
    "oom_score_adj",
    "limits",
    "out_file",
    "error_file",
    "log_file",
    "merge_logs",
    "log_type",
    "log_date_format",
    "time",
    "disable_logs",
    "max_log_size",
    "max_log_age",
    "max_log_files",
    "compress_logs",
    "pid_file",
    "cron_restart",
];

/// Other ways to write them.
pub(super) const ALIASES: &[(&str, &str)] = &[
    ("exec", "script"),
    ("cmd", "script"),
    ("command", "script"),
    ("exec_interpreter", "interpreter"),
    ("node_args", "interpreter_args"),
    ("exec_interpreter_args", "interpreter_args"),
    ("uid", "user"),
    ("gid", "group"),
    ("out", "out_file"),
    ("output", "out_file"),
    ("error", "error_file"),
    ("err", "error_file"),
    ("err_file", "error_file"),
    ("log", "log_file"),
    ("pid", "pid_file"),
    ("combine_logs", "merge_logs"),
    ("restart_time", "max_restarts"),
    ("cron", "cron_restart"),
];

/// What only Node, or pm2's cloud, has a use for.
pub(super) const FOREIGN: &[&str] = &[
    "exec_mode",
    "source_map_support",
    "disable_source_map_support",
    "pmx",
    "automation",
    "vizion",
    "disable_trace",
    "trace",
    "instrumentation",
    "deep_monitoring",
    "post_update",
    "port",
    "force",
    "append_env_to_name",
    "watch_options",
    "wait_ready_timeout",
    "km_link",
    "io",
    "vizion_running",
    "versioning",
    "autodump",
    "v8",
    "event_loop_inspector",
    "cluster_mode",
    "noinspect",
    "container",
    "dist",
    "image_name",
    "node_version",
    "fresh",
    "dockerdaemon",
    "write",
    "no_pmx",
    "no_vizion",
];

const LISTEN_TIMEOUT: Duration = Duration::from_secs(30);
const WAIT_READY_TIMEOUT: Duration = Duration::from_secs(3);
const STRING: usize = super::values::STRING_BYTES - 1;
const SECOND: Duration = Duration::from_secs(1);
const NONE: (Duration, &str) = (Duration::ZERO, "0");
const MOST_BYTES: (u64, &str) = (1 << 50, "1048576G");

/// What reading apps has found beside them.
#[derive(Default)]
pub(super) struct Beside {
    /// Keys that were taken and have no use here.
    pub foreign: Vec<String>,
}

/// One app, or None where a key was wrong, which is then reported.
pub(super) fn app(
    node: &Node,
    base: &Path,
    presence: Presence,
    beside: &mut Beside,
    at: &At,
    report: &mut Report,
) -> Option<App> {
    let (node, named) = canonical(node, beside, at, report)?;
    let fields = Fields::of(&node, APP_KEYS, at, report)?;
    if let Some(node) = fields.get("cron_restart") {
        let message = "schedules are not there yet: restart it by a timer of the system until they are";
        report.add((node.line, node.column), &At::Key(at, "cron_restart"), || message.to_owned());
    }
    let cwd = match presence {
        Presence::Checked => fields.or("cwd", base.to_owned(), at, report, |n, at, r| folder(n, at, r, base)),
        Presence::Assumed => fields.or("cwd", base.to_owned(), at, report, |n, at, r| path(n, at, r, base)),
    };
    if let (None, Presence::Checked, Some(fault)) = (fields.get("cwd"), presence, folder_fault(base)) {
        report.add(fields.place, &At::Key(at, "cwd"), || format!("expected a folder, but {fault}"));
    }
    let program = program(&fields, cwd.as_deref().unwrap_or(base), presence, at, report);
    let said = fields.opt("name", at, report, name);
    let app_name = match (fields.get("name"), &program) {
        (Some(_), _) => said,
        (None, Some(Program::Exec { script, .. })) => stem(script),
        (None, _) => None,
    };
    if app_name.is_none() && fields.get("name").is_none() {
        report.add(fields.place, &At::Key(at, "name"), || "missing: expected a name".to_owned());
    }
    let time = |least, most| move |n: &Node, at: &At, r: &mut Report| duration(n, at, r, least, most);
    let any_time = time(NONE, YEAR);
    let ready = ready(&fields, at, report);
    let waits = fields.or("wait_ready", false, at, report, flag);
    let default_timeout = if waits == Some(true) { WAIT_READY_TIMEOUT } else { LISTEN_TIMEOUT };
    let delay = fields.or("watch_delay", SECOND, at, report, any_time);
    // Every key is looked at before the first that is wrong ends it.
    let namespace = fields.or("namespace", "default".to_owned(), at, report, name);
    let env = fields.or("env", BTreeMap::new(), at, report, env);
    let inherit_env = fields.or("inherit_env", Inherit::All, at, report, inherit);
    let filter_env = fields.or("filter_env", Vec::new(), at, report, |n, at, r| words(n, at, r, "names"));
    let instances = fields.or("instances", Instances::Fixed(1), at, report, instances);
    let instance_var = fields.or("instance_var", "NODE_APP_INSTANCE".to_owned(), at, report, variable);
    let increment_var = fields.opt("increment_var", at, report, variable);
    let autostart = fields.or("autostart", true, at, report, flag);
    let autorestart = fields.or("autorestart", true, at, report, flag);
    let min_uptime = fields.or("min_uptime", SECOND, at, report, any_time);
    let max_restarts = fields.or("max_restarts", 16, at, report, |n, at, r| whole(n, at, r, 1..=1_000_000));
    let restart_delay = fields.opt("restart_delay", at, report, any_time).filter(|delay| !delay.is_zero());
    let exp_backoff_restart_delay =
        fields.opt("exp_backoff_restart_delay", at, report, any_time).filter(|delay| !delay.is_zero());
    let stop_exit_codes = fields.or("stop_exit_codes", Vec::new(), at, report, codes);
    let max_memory_restart =
        fields.opt("max_memory_restart", at, report, |n, at, r| size(n, at, r, (1 << 20, "1M"), MOST_BYTES));
    let kill_timeout = fields.or("kill_timeout", Duration::from_millis(1600), at, report, any_time);
    let stop_signal = fields.or("stop_signal", 2, at, report, signal);
    let treekill = fields.or("treekill", true, at, report, flag);
    let shutdown_with_message = fields.or("shutdown_with_message", false, at, report, flag);
    let listen_timeout = fields.or("listen_timeout", default_timeout, at, report, time(MILLISECOND, YEAR));
    let listen = fields.or("listen", Vec::new(), at, report, |n, at, r| {
        listen(n, at, r, app_name.as_deref().unwrap_or_default(), base)
    });
    let depends_on = fields.or("depends_on", Vec::new(), at, report, |n, at, r| words(n, at, r, "names of apps"));
    let reload_step = fields.or("reload_step", 1, at, report, |n, at, r| whole(n, at, r, 1..=10_000));
    let watch = watch(&fields, cwd.as_deref().unwrap_or(base), delay.unwrap_or(SECOND), at, report);
    let user = fields.opt("user", at, report, account_or_number);
    let group = fields.opt("group", at, report, account_or_number);
    let umask = fields.opt("umask", at, report, umask);
    let nice = fields.opt("nice", at, report, |n, at, r| whole(n, at, r, -20..=19));
    let oom_score_adj = fields.opt("oom_score_adj", at, report, |n, at, r| whole(n, at, r, -1000..=1000));
    let limits = fields.or("limits", Limits::default(), at, report, limits);
    let logs = logs(&fields, base, at, report);
    let pid_file = fields.opt("pid_file", at, report, |n, at, r| path(n, at, r, base));
    Some(App {
        namespace: namespace?,
        program: program?,
        env: env?,
        env_named: named?,
        inherit_env: inherit_env?,
        filter_env: filter_env?,
        instances: instances?,
        instance_var: instance_var?,
        increment_var,
        autostart: autostart?,
        autorestart: autorestart?,
        min_uptime: min_uptime?,
        max_restarts: max_restarts?,
        restart_delay,
        exp_backoff_restart_delay,
        stop_exit_codes: stop_exit_codes?,
        max_memory_restart,
        kill_timeout: kill_timeout?,
        stop_signal: stop_signal?,
        treekill: treekill?,
        shutdown_with_message: shutdown_with_message?,
        ready: if waits? { Ready::Notify } else { ready? },
        listen_timeout: listen_timeout?,
        listen: listen?,
        depends_on: depends_on?,
        reload_step: reload_step?,
        watch: watch?,
        user,
        group,
        umask,
        nice,
        oom_score_adj,
        limits: limits?,
        logs: logs?,
        pid_file,
        cwd: cwd?,
        name: app_name?,
    })
}

/// The `env_NAME`s of an app.
type Named = BTreeMap<String, BTreeMap<String, String>>;

/// The same object with one name for each key; `env_NAME` and what is foreign taken out.
fn canonical(node: &Node, beside: &mut Beside, at: &At, report: &mut Report) -> Option<(Node, Option<Named>)> {
    let Value::Object(entries) = &node.value else {
        report.add((node.line, node.column), at, || {
            format!("expected an app, {{ \"script\": … }}, found {}", node.found())
        });
        return None;
    };
    let mut named = Some(BTreeMap::new());
    let mut kept: Vec<Entry> = Vec::new();
    for entry in entries {
        let key = snake(&entry.key);
        if let Some(which) = entry.key.strip_prefix("env_").filter(|which| !which.is_empty()) {
            match env(&entry.node, &At::Key(at, &entry.key), report) {
                Some(variables) => {
                    if let Some(named) = &mut named {
                        named.insert(which.to_owned(), variables);
                    }
                }
                None => named = None,
            }
        } else if FOREIGN.contains(&key.as_str()) {
            if !beside.foreign.contains(&entry.key) {
                beside.foreign.push(entry.key.clone());
            }
        } else {
            let alias = ALIASES.iter().find(|(alias, _)| *alias == key).map(|(_, name)| (*name).to_owned());
            let mut entry = entry.clone();
            // A key that nobody knows is told as it was written.
            if let Some(name) = alias {
                entry.key = name;
            }
            // pm2's `null` is a key that was left out.
            if entry.node.value != Value::Null || entry.key == "params" {
                kept.push(entry);
            }
        }
    }
    Some((Node { value: Value::Object(kept), line: node.line, column: node.column }, named))
}

fn snake(key: &str) -> String {
    let mut out = String::with_capacity(key.len() + 4);
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// The name of an app that has none: its script's, without extension, of the letters that a name may have.
fn stem(script: &str) -> Option<String> {
    let stem = Path::new(script).file_stem()?.to_str()?;
    let inside = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let name: String = stem.chars().map(inside).take(64).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    (!name.is_empty()).then(|| name.to_owned())
}

fn path(node: &Node, at: &At, report: &mut Report, base: &Path) -> Option<PathBuf> {
    text(node, at, report, "a path", 4095).map(|path| absolute(base, path))
}

/// Text, or a list of text; text is split as a shell would.
fn shell_words(node: &Node, at: &At, report: &mut Report) -> Option<Vec<String>> {
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
fn words(node: &Node, at: &At, report: &mut Report, expected: &str) -> Option<Vec<String>> {
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

fn program(fields: &Fields, cwd: &Path, presence: Presence, at: &At, report: &mut Report) -> Option<Program> {
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

pub(super) fn by_extension(script: &str) -> Vec<String> {
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

fn from_pool(fields: &Fields, args: Option<Vec<String>>, at: &At, report: &mut Report) -> Option<Program> {
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
fn raw(node: &Node) -> Option<Box<RawValue>> {
    RawValue::from_string(json(node).to_string()).ok()
}

pub(super) fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => serde_json::from_str(number).unwrap_or_else(|_| number.clone().into()),
        Value::Text(text) => text.clone().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Object(entries) => entries.iter().map(|e| (e.key.clone(), json(&e.node))).collect(),
    }
}

fn inherit(node: &Node, at: &At, report: &mut Report) -> Option<Inherit> {
    match node.value {
        Value::Bool(true) => Some(Inherit::All),
        Value::Bool(false) => Some(Inherit::Least),
        _ => words(node, at, report, "true, false or names of variables").map(Inherit::Names),
    }
}

fn variable(node: &Node, at: &At, report: &mut Report) -> Option<String> {
    let name = text(node, at, report, "the name of a variable", 255)?;
    if name.contains('=') {
        report.add((node.line, node.column), at, || format!("expected the name of a variable, found {}", Quoted(name)));
        return None;
    }
    Some(name.to_owned())
}

fn instances(node: &Node, at: &At, report: &mut Report) -> Option<Instances> {
    let number: Option<i64> = match &node.value {
        Value::Text(text) if text == "max" => Some(0),
        Value::Text(text) | Value::Number(text) => text.parse().ok(),
        _ => None,
    };
    match number {
        Some(count @ 1..=10_000) => Some(Instances::Fixed(count as u32)),
        Some(less @ -1024..=0) => Some(Instances::Processors { less: less.unsigned_abs() as u32 }),
        _ => {
            let message = || {
                format!(
                    "expected a number from 1 to 10000, \"max\", 0 or -1 for fewer than all processors, found {}",
                    node.found()
                )
            };
            report.add((node.line, node.column), at, message);
            None
        }
    }
}

fn codes(node: &Node, at: &At, report: &mut Report) -> Option<Vec<i32>> {
    match &node.value {
        Value::List(items) => {
            items.iter().enumerate().map(|(i, item)| whole(item, &At::Item(at, i), report, 0..=255)).collect()
        }
        _ => whole(node, at, report, 0..=255).map(|code| vec![code]),
    }
}

fn signal(node: &Node, at: &At, report: &mut Report) -> Option<i32> {
    let number = match &node.value {
        Value::Number(number) => number.parse().ok().filter(|n| (1..=64).contains(n)),
        Value::Text(name) => crate::wire::signal::signal_number(name),
        _ => None,
    };
    if number.is_none() {
        report.add((node.line, node.column), at, || {
            format!("expected a signal such as \"SIGTERM\", found {}", node.found())
        });
    }
    number
}

fn umask(node: &Node, at: &At, report: &mut Report) -> Option<u32> {
    let octal = match &node.value {
        Value::Text(text) | Value::Number(text) => {
            u32::from_str_radix(text.trim_start_matches("0o"), 8).ok().filter(|mask| *mask <= 0o777)
        }
        _ => None,
    };
    if octal.is_none() {
        report.add((node.line, node.column), at, || {
            format!("expected an octal mask such as \"027\", found {}", node.found())
        });
    }
    octal
}

fn account_or_number(node: &Node, at: &At, report: &mut Report) -> Option<String> {
    match &node.value {
        Value::Number(number) if number.parse::<u32>().is_ok() => Some(number.clone()),
        _ => account(node, at, report),
    }
}

pub(super) const READY_KEYS: Keys = &["notify", "tcp", "http", "log", "after"];

fn ready(fields: &Fields, at: &At, report: &mut Report) -> Option<Ready> {
    let Some(node) = fields.get("ready") else { return Some(Ready::Started) };
    let at = &At::Key(at, "ready");
    let inner = Fields::of(node, READY_KEYS, at, report)?;
    let Value::Object(entries) = &node.value else { return None };
    if entries.len() != 1 {
        report.add((node.line, node.column), at, || "expected exactly one of notify, tcp, http, log, after".to_owned());
        return None;
    }
    let own = |expected: &'static str| {
        move |n: &Node, at: &At, r: &mut Report| text(n, at, r, expected, 4095).map(str::to_owned)
    };
    if inner.get("notify").is_some() {
        return inner.or("notify", true, at, report, flag).map(|on| if on { Ready::Notify } else { Ready::Started });
    }
    if inner.get("tcp").is_some() {
        let address = inner.opt("tcp", at, report, own("IP:PORT"))?;
        if !is_address(&address) {
            let message = || format!("expected IP:PORT or localhost:PORT, found {}", Quoted(&address));
            report.add((node.line, node.column), at, message);
            return None;
        }
        return Some(Ready::Tcp(address));
    }
    if inner.get("http").is_some() {
        let url = inner.opt("http", at, report, own("http://IP:PORT/PATH"))?;
        let host = url.strip_prefix("http://").map(|rest| rest.split('/').next().unwrap_or_default());
        if host.is_none_or(str::is_empty) || url.contains(char::is_whitespace) {
            report
                .add((node.line, node.column), at, || format!("expected http://IP:PORT/PATH, found {}", Quoted(&url)));
            return None;
        }
        let host = host.unwrap_or_default();
        if !is_address(host) && !is_address(&format!("{host}:80")) {
            let message =
                || format!("expected an IP address or localhost in {}: names are not looked up", Quoted(&url));
            report.add((node.line, node.column), at, message);
            return None;
        }
        return Some(Ready::Http(url));
    }
    if inner.get("log").is_some() {
        let pattern = inner.opt("log", at, report, own("a regular expression"))?;
        if let Err(e) = regex::bytes::RegexBuilder::new(&pattern).size_limit(1 << 20).build() {
            report.add((node.line, node.column), at, || format!("expected a regular expression, but {e}"));
            return None;
        }
        return Some(Ready::Log(pattern));
    }
    inner.opt("after", at, report, |n, at, r| duration(n, at, r, MILLISECOND, YEAR)).map(Ready::After)
}

/// Nobody waits for a resolver: numbers, and `localhost`.
pub(super) fn is_address(text: &str) -> bool {
    let port = text.strip_prefix("localhost:");
    port.map_or_else(|| text.parse::<std::net::SocketAddr>().is_ok(), |port| port.parse::<u16>().is_ok())
}

pub(super) const LISTEN_KEYS: Keys = &["name", "address"];

fn listen(node: &Node, at: &At, report: &mut Report, app: &str, base: &Path) -> Option<Vec<Listen>> {
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut all = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let at = &At::Item(at, index);
        let (label, address) = match &item.value {
            Value::Object(_) => {
                let fields = Fields::of(item, LISTEN_KEYS, at, report)?;
                let label = fields.or("name", app.to_owned(), at, report, name)?;
                (label, fields.required("address", "an address", at, report, |n, at, r| address(n, at, r, base))?)
            }
            _ => (app.to_owned(), address(item, at, report, base)?),
        };
        all.push(Listen { name: label, address });
    }
    Some(all)
}

fn address(node: &Node, at: &At, report: &mut Report, base: &Path) -> Option<Address> {
    let expected = "tcp://IP:PORT or unix://PATH";
    let written = text(node, at, report, expected, 1024)?;
    if let Some(tcp) = written.strip_prefix("tcp://") {
        if is_address(tcp) {
            return Some(Address::Tcp(tcp.to_owned()));
        }
        report.add((node.line, node.column), at, || {
            format!(
                "expected tcp://IP:PORT, where IP is a number (0.0.0.0 or [::]: all of this machine's) or localhost, which \
                 is 127.0.0.1; names are not looked up; found {}",
                Quoted(written)
            )
        });
        return None;
    }
    // The longest path of a socket, unix(7).
    if let Some(path) = written.strip_prefix("unix://").map(|path| absolute(base, path))
        && path.as_os_str().len() < 108
        && path.file_name().is_some()
    {
        return Some(Address::Unix(path));
    }
    report.add((node.line, node.column), at, || format!("expected {expected}, found {}", Quoted(written)));
    None
}

fn watch(fields: &Fields, cwd: &Path, delay: Duration, at: &At, report: &mut Report) -> Option<Option<Watch>> {
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
pub(super) fn pool_watch(fields: &Fields, cwd: &Path, at: &At, report: &mut Report) -> Option<Option<Watch>> {
    let delay = fields.or("watch_delay", SECOND, at, report, |n, at, r| duration(n, at, r, NONE, YEAR))?;
    watch(fields, cwd, delay, at, report)
}

fn logs(fields: &Fields, base: &Path, at: &At, report: &mut Report) -> Option<Logs> {
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
fn strftime(pattern: &str) -> String {
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
