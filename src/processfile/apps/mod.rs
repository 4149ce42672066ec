//! From the tree to apps: pm2's keys with the meaning their users expect, and ours beside them.
//!
//! A key may be written in several ways; before it is looked at it has one name. What is only for Node, or for pm2's
//! cloud, is taken and named in one warning.

mod keys;
mod numbers;
mod output;
mod program;
mod sockets;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use super::Presence;
use super::app::{App, INSTANCE_VAR, Inherit, Instances, Program, Ready};
use super::error::{At, Report};
use super::fields::{Fields, twice};
use super::parts::{env, limits, name};
use super::paths::{folder, folder_fault};
use super::tree::{Entry, Node, Value};
use super::values::{MILLISECOND, YEAR, duration, flag, size, whole};
use numbers::{account_or_number, codes, inherit, instances, signal, umask, variable};
use output::{logs, watch};
use program::{path, program, words};
use sockets::{listen, ready};

pub(super) use keys::{ALIASES, APP_KEYS, FOREIGN};
pub(super) use output::pool_watch;
pub(super) use program::{by_extension, json};
pub(super) use sockets::is_address;
#[cfg(test)]
pub(super) use sockets::{LISTEN_KEYS, READY_KEYS};

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
        Presence::Checked => fields.or("cwd", base.to_owned(), at, report, |n, at, r| folder(n, at, r, base, presence)),
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
    let instance_var = fields
        .or("instance_var", Cow::Borrowed(INSTANCE_VAR), at, report, |n, at, r| variable(n, at, r).map(Cow::from));
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
    let limits = fields.opt("limits", at, report, limits);
    let logs = logs(&fields, base, at, report);
    let pid_file = fields.opt("pid_file", at, report, |n, at, r| path(n, at, r, base));
    Some(App {
        namespace: namespace?.into(),
        program: program?,
        env: env?.into(),
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
        watch: watch?.map(Box::new),
        user,
        group,
        umask,
        nice,
        oom_score_adj,
        limits: limits.map(Box::new),
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
    // Of the keys that have several spellings, the first that is there.
    let mut spelt: HashMap<&str, &Entry> = HashMap::new();
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
        } else if entry.node.value == Value::Null && key != "params" {
            // pm2's `null` is a key that was left out.
        } else {
            let alias = ALIASES.iter().find(|(alias, name)| *alias == key || *name == key);
            if let Some((_, name)) = alias {
                let first = *spelt.entry(name).or_insert(entry);
                if first.key != entry.key {
                    report.add((entry.line, entry.column), &At::Key(at, &entry.key), || twice(first, entry));
                    continue;
                }
            }
            let mut entry = entry.clone();
            // A key that nobody knows is told as it was written.
            if let Some((_, name)) = alias {
                entry.key = (*name).to_owned();
            }
            kept.push(entry);
        }
    }
    Some((Node { value: Value::Object(kept), line: node.line, column: node.column }, named))
}

pub(super) fn snake(key: &str) -> String {
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
