//! pm2's dump: the list of its processes with everything it knows of each, turned into apps.
//!
//! Processes of one name are instances of one app again, as far as they are alike.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use serde_json::Value as Json;

use super::super::apps::{by_extension, json};
use super::super::tree::{Entry, Node, Value};
use super::Around;
use super::app::{app_name, variables};
use super::logs::readable;
use super::pm2_env::{Kept, sort};
use super::remark::{Origin, Remarks};
use super::written::Draft;

/// Keys that mean the same here, with what is the default of both.
const SAME: &[(&str, &str, &str)] = &[
    ("autorestart", "autorestart", "true"),
    ("min_uptime", "min_uptime", "1000"),
    ("max_restarts", "max_restarts", "16"),
    ("restart_delay", "restart_delay", "0"),
    ("exp_backoff_restart_delay", "exp_backoff_restart_delay", "0"),
    ("stop_exit_codes", "stop_exit_codes", "[]"),
    ("kill_timeout", "kill_timeout", "1600"),
    ("treekill", "treekill", "true"),
    ("shutdown_with_message", "shutdown_with_message", "false"),
    ("wait_ready", "wait_ready", "false"),
    ("listen_timeout", "listen_timeout", "3000"),
    ("instance_var", "instance_var", "\"NODE_APP_INSTANCE\""),
    ("increment_var", "increment_var", "null"),
    ("watch", "watch", "false"),
    ("ignore_watch", "ignore_watch", "[]"),
    ("watch_delay", "watch_delay", "1000"),
    ("uid", "user", "null"),
    ("gid", "group", "null"),
    ("log_type", "log_type", "null"),
    ("log_date_format", "log_date_format", "\"\""),
    ("disable_logs", "disable_logs", "false"),
];

/// Keys that mean nothing here, and what to do about it. Told where they are set.
const OTHERS: &[(&str, &str)] = &[
    ("cron_restart", "schedules are not there yet: restart it by a timer of the system until they are"),
    ("watch_options", "watch, ignore_watch and watch_delay are all there is"),
    ("source_map_support", "for Node alone: node_args --enable-source-maps does it"),
    ("trace", "pm2's cloud"),
    ("deep_monitoring", "pm2's cloud"),
    ("post_update", "pm2's cloud"),
    ("event_loop_inspector", "pm2's cloud"),
];

/// A process of the dump, as an app would say it.
struct Process<'a> {
    entries: &'a [Entry],
    line: u32,
    name: String,
    /// What all instances of an app share.
    keys: Vec<(&'static str, Json)>,
    kept: Kept,
    named: Vec<(String, Json)>,
    cluster: bool,
    merges: bool,
    status: String,
}

/// The apps of a dump, in its order.
pub(super) fn apps(path: &Path, items: &[Node], around: &Around, remarks: &mut Remarks) -> Vec<Draft> {
    let file: Rc<Path> = Rc::from(path);
    let origin = |line| Origin { file: Rc::clone(&file), line };
    let mut groups: Vec<Vec<Process>> = Vec::new();
    for item in items {
        let Some(process) = process(item, around) else {
            remarks.add(origin(item.line), "", "expected a process with pm_exec_path; it was left out");
            continue;
        };
        match groups.iter_mut().find(|group| group[0].name == process.name && alike(group, &process)) {
            Some(group) => group.push(process),
            None => groups.push(vec![process]),
        }
    }
    let mut taken = BTreeSet::new();
    let mut defaults = false;
    let drafts = groups
        .iter()
        .map(|group| {
            let before = remarks.len();
            let first = &group[0];
            let mut say = |key: &str, message: &str| {
                let about = format!("[{}]{}{key}", first.name, if key.is_empty() { "" } else { " " });
                let place = find(first.entries, key).map_or(first.line, |entry| entry.line);
                remarks.add(origin(place), about, message);
            };
            let mut draft = app(group, &mut taken, &mut defaults, &mut say);
            draft.comments = vec![format!("pm2's \"{}\"", first.name)];
            draft.comments.extend(remarks.since(before));
            draft
        })
        .collect();
    if defaults {
        remarks.add(
            origin(0),
            "",
            "log and pid files in pm2's own folder were left out: the daemon has files of its own in DIR/logs",
        );
    }
    drafts
}

fn find<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Entry> {
    entries.iter().rev().find(|entry| entry.key == key)
}

fn text<'a>(entries: &'a [Entry], key: &str) -> Option<&'a str> {
    match &find(entries, key)?.node.value {
        Value::Text(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

fn flag(entries: &[Entry], key: &str) -> bool {
    find(entries, key).is_some_and(|entry| matches!(&entry.node.value, Value::Bool(true)))
}

fn process<'a>(item: &'a Node, around: &Around) -> Option<Process<'a>> {
    let Value::Object(entries) = &item.value else { return None };
    let script = text(entries, "pm_exec_path")?;
    let mut keys = Vec::new();
    if let Some(namespace) = text(entries, "namespace").filter(|namespace| *namespace != "default") {
        keys.push(("namespace", app_name(namespace).into()));
    }
    keys.push(("script", Json::from(script)));
    let mut same = |from: &str, to: &'static str, default: &str| {
        let value = find(entries, from).map(|entry| json(&entry.node)).unwrap_or_default();
        if !value.is_null() && serde_json::from_str(default).ok().as_ref() != Some(&value) {
            keys.push((to, value));
        }
    };
    same("args", "args", "[]");
    // What goes without saying here.
    if text(entries, "exec_interpreter").unwrap_or("node")
        != by_extension(script).first().map_or("none", String::as_str)
    {
        same("exec_interpreter", "interpreter", "null");
    }
    same("node_args", "interpreter_args", "[]");
    same("pm_cwd", "cwd", "null");
    for (from, to, default) in SAME {
        same(from, to, default);
    }
    if text(entries, "log_date_format").is_none() {
        same("time", "time", "false");
    }
    // `true` is a list of everything.
    match find(entries, "filter_env").map(|entry| &entry.node.value) {
        Some(Value::Bool(true)) => keys.push(("inherit_env", false.into())),
        _ => same("filter_env", "filter_env", "[]"),
    }
    if let Some(bytes) = find(entries, "max_memory_restart").map(|entry| json(&entry.node)).filter(|v| !v.is_null()) {
        keys.push(("max_memory_restart", bytes.as_u64().map_or(bytes, readable)));
    }
    let objects = entries.iter().filter(|e| e.key.starts_with("env_") && matches!(e.node.value, Value::Object(_)));
    let instance_var = text(entries, "instance_var").unwrap_or("NODE_APP_INSTANCE");
    let merges = flag(entries, "merge_logs");
    let name = text(entries, "name").unwrap_or("app");
    Some(Process {
        entries,
        line: item.line,
        name: name.to_owned(),
        keys,
        kept: find(entries, "env").map(|entry| sort(&entry.node, [instance_var, name], around)).unwrap_or_default(),
        named: objects.map(|entry| (entry.key.clone(), json(&entry.node))).collect(),
        cluster: text(entries, "exec_mode").is_some_and(|mode| mode.starts_with("cluster")),
        merges,
        status: text(entries, "status").unwrap_or_default().to_owned(),
    })
}

/// Whether a process can be the next instance of an app: the same but for a variable that is raised from each to the next.
fn alike(group: &[Process], next: &Process) -> bool {
    let first = &group[0];
    let raised = text(first.entries, "increment_var");
    let without = |process: &Process| -> BTreeMap<String, String> {
        let all = process.kept.declared.iter().filter(|(name, _)| Some(name.as_str()) != raised);
        all.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    first.keys == next.keys && first.named == next.named && without(first) == without(next)
}

fn app(group: &[Process], taken: &mut BTreeSet<String>, defaults: &mut bool, say: &mut dyn FnMut(&str, &str)) -> Draft {
    let first = &group[0];
    let base = app_name(&first.name);
    let mut name = base.clone();
    for number in 2.. {
        if taken.insert(name.clone()) {
            break;
        }
        name = format!("{base}-{number}");
    }
    if name != first.name {
        say(
            "name",
            &format!("is called {name} here: names are unique, and of letters, digits, \".\", \"_\" and \"-\""),
        );
    }
    let mut draft = Draft::default();
    draft.put("name", name);
    for (key, value) in &first.keys {
        draft.put(key, value.clone());
    }
    draft.put_if(!first.kept.declared.is_empty(), "env", variables(&first.kept.declared));
    for (key, value) in &first.named {
        draft.named_env(key.clone(), value.clone());
    }
    draft.put_if(group.len() > 1, "instances", group.len());
    let stopped = group.iter().filter(|process| process.status.starts_with("stop")).count();
    draft.put_if(stopped == group.len(), "autostart", false);
    if stopped > 0 && stopped < group.len() {
        say("status", &format!("{stopped} of {} were stopped; all of them are started", group.len()));
    }
    if group.iter().any(|process| process.status == "errored") {
        say("status", "was errored; it is started as the others are");
    }
    if first.cluster {
        let why = "each instance is a process of its own here, no worker of Node's cluster";
        say(
            "exec_mode",
            &format!("{why}; where they share a port, give it as \"listen\" and have them listen on {{fd: 3}}"),
        );
    }
    draft.put_if(group.len() > 1 && first.merges, "merge_logs", true);
    for (from, to) in [("pm_out_log_path", "out_file"), ("pm_err_log_path", "error_file"), ("pm_log_path", "log_file")]
    {
        if let Some(path) = text(first.entries, from) {
            match path {
                "/dev/null" | "NULL" => draft.put_if(to != "log_file", to, false),
                path if is_pm2s(path) => *defaults = true,
                path => draft.put(to, if first.merges { path.to_owned() } else { without_id(path, ".log") }),
            }
        }
    }
    match text(first.entries, "pm_pid_path") {
        Some(path) if is_pm2s(path) => *defaults = true,
        Some(path) => draft.put("pid_file", without_id(path, ".pid")),
        None => {}
    }
    if let Some(what) = first.kept.told() {
        say("env", &what);
    }
    for (key, message) in OTHERS {
        let set = find(first.entries, key).map(|entry| &entry.node.value);
        if set.is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false))) {
            say(key, message);
        }
    }
    draft
}

/// Whether a file lies where pm2 puts it unless it is told otherwise.
fn is_pm2s(path: &str) -> bool {
    path.contains("/.pm2/logs/") || path.contains("/.pm2/pids/")
}

/// `a.log` for `a-12.log`: pm2 puts a process's number there.
fn without_id(path: &str, end: &str) -> String {
    let Some(stem) = path.strip_suffix(end) else { return path.to_owned() };
    match stem.rsplit_once('-') {
        Some((stem, id)) if !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) => format!("{stem}{end}"),
        _ => path.to_owned(),
    }
}
