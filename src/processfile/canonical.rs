//! Apps and pools as canonical JSON: what travels to the daemon, what it keeps, what two definitions are compared by.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::app::{Address, App, Format, INSTANCE_VAR, Inherit, Instances, Program, Ready, Sink, Watch};
use super::{HugePages, Idle, Limits, Output, Pool, Runtime, Shutdown};
use crate::wire::signal::signal_name;

/// An object that leaves out what is the default.
struct Object(Map<String, Value>);

impl Object {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    fn unless<T: PartialEq + Clone + Into<Value>>(&mut self, key: &str, value: &T, default: &T) {
        if value != default {
            self.put(key, value.clone());
        }
    }

    fn some<T: Clone + Into<Value>>(&mut self, key: &str, value: &Option<T>) {
        if let Some(value) = value {
            self.put(key, value.clone());
        }
    }

    fn time(&mut self, key: &str, value: Duration, default: Duration) {
        if value != default {
            self.put(key, millis(value));
        }
    }

    fn list(&mut self, key: &str, values: &[String]) {
        if !values.is_empty() {
            self.put(key, values.to_vec());
        }
    }

    fn map(&mut self, key: &str, values: &BTreeMap<String, String>) {
        if !values.is_empty() {
            self.put(key, values.iter().map(|(k, v)| (k.clone(), Value::from(v.clone()))).collect::<Map<_, _>>());
        }
    }

    fn limits(&mut self, limits: &Limits) {
        let mut inner = Object(Map::new());
        inner.some("memory", &limits.memory);
        inner.some("cpu_time", &limits.cpu_time.map(millis));
        inner.some("open_files", &limits.open_files);
        inner.some("core", &limits.core);
        if !inner.0.is_empty() {
            self.put("limits", inner.0);
        }
    }

    fn watch(&mut self, watch: Option<&Watch>) {
        if let Some(watch) = watch {
            let paths: Vec<String> = watch.paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
            self.put("watch", paths);
            self.list("ignore_watch", &watch.ignore);
            self.time("watch_delay", watch.delay, Duration::from_secs(1));
        }
    }

    fn sink(&mut self, key: &str, sink: &Sink) {
        match sink {
            Sink::Default => {}
            Sink::File(path) => self.put(key, path.to_string_lossy()),
            Sink::Off => self.put(key, false),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn parsed(raw: &serde_json::value::RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

/// The keys whose values differ, in the order of the alphabet.
fn differing(new: &Value, old: &Value) -> Vec<String> {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return Vec::new() };
    let mut keys: Vec<String> = new.keys().chain(old.keys()).filter(|k| new.get(*k) != old.get(*k)).cloned().collect();
    keys.sort();
    keys.dedup();
    keys
}

impl App {
    /// Canonical: reading this again gives the same app.
    pub fn to_json(&self) -> Value {
        let mut o = Object(Map::new());
        o.put("name", self.name.clone());
        o.unless("namespace", &&*self.namespace, &"default");
        match &self.program {
            Program::Exec { script, args, interpreter } => {
                o.put("script", script.clone());
                o.list("args", args);
                match interpreter.split_first() {
                    None => o.put("interpreter", "none"),
                    Some(_) => o.put("interpreter", interpreter.clone()),
                }
            }
            Program::Pool { pool, entry, params, params_each, args } => {
                o.put("pool", pool.clone());
                o.put("entry", entry.clone());
                o.some("params", &params.as_deref().map(parsed));
                o.some("params_each", &params_each.as_ref().map(|e| e.iter().map(|p| parsed(p)).collect::<Vec<_>>()));
                o.some("args", args);
            }
        }
        o.put("cwd", self.cwd.to_string_lossy());
        o.map("env", &self.env.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
        for (name, variables) in &self.env_named {
            o.map(&format!("env_{name}"), variables);
        }
        match &self.inherit_env {
            Inherit::All => {}
            Inherit::Least => o.put("inherit_env", false),
            Inherit::Names(names) => o.put("inherit_env", names.clone()),
        }
        o.list("filter_env", &self.filter_env);
        match self.instances {
            Instances::Fixed(1) => {}
            Instances::Fixed(count) => o.put("instances", count),
            Instances::Processors { less } => o.put("instances", -i64::from(less)),
        }
        o.unless("instance_var", &&*self.instance_var, &INSTANCE_VAR);
        o.some("increment_var", &self.increment_var);
        o.unless("autostart", &self.autostart, &true);
        o.unless("autorestart", &self.autorestart, &true);
        o.time("min_uptime", self.min_uptime, Duration::from_secs(1));
        o.unless("max_restarts", &self.max_restarts, &16);
        o.some("restart_delay", &self.restart_delay.map(millis));
        o.some("exp_backoff_restart_delay", &self.exp_backoff_restart_delay.map(millis));
        if !self.stop_exit_codes.is_empty() {
            o.put("stop_exit_codes", self.stop_exit_codes.clone());
        }
        o.some("max_memory_restart", &self.max_memory_restart);
        o.time("kill_timeout", self.kill_timeout, Duration::from_millis(1600));
        if self.stop_signal != 2 {
            o.put("stop_signal", signal_name(self.stop_signal).map_or(json!(self.stop_signal), Value::from));
        }
        o.unless("treekill", &self.treekill, &true);
        o.unless("shutdown_with_message", &self.shutdown_with_message, &false);
        match &self.ready {
            Ready::Started => {}
            Ready::Notify => o.put("ready", json!({ "notify": true })),
            Ready::Tcp(address) => o.put("ready", json!({ "tcp": address })),
            Ready::Http(url) => o.put("ready", json!({ "http": url })),
            Ready::Log(pattern) => o.put("ready", json!({ "log": pattern })),
            Ready::After(time) => o.put("ready", json!({ "after": millis(*time) })),
        }
        o.time("listen_timeout", self.listen_timeout, Duration::from_secs(30));
        let listen = self.listen.iter().map(|listen| {
            let address = match &listen.address {
                Address::Tcp(address) => format!("tcp://{address}"),
                Address::Unix(path) => format!("unix://{}", path.display()),
            };
            json!({ "name": listen.name, "address": address })
        });
        if !self.listen.is_empty() {
            o.put("listen", listen.collect::<Vec<_>>());
        }
        o.list("depends_on", &self.depends_on);
        o.unless("reload_step", &self.reload_step, &1);
        o.watch(self.watch.as_deref());
        o.some("user", &self.user);
        o.some("group", &self.group);
        o.some("umask", &self.umask.map(|mask| format!("{mask:03o}")));
        o.some("nice", &self.nice);
        o.some("oom_score_adj", &self.oom_score_adj);
        if let Some(limits) = &self.limits {
            o.limits(limits);
        }
        let logs = &self.logs;
        o.sink("out_file", &logs.out);
        o.sink("error_file", &logs.error);
        o.sink("log_file", &logs.both);
        o.unless("merge_logs", &logs.merge, &false);
        if logs.format == Format::Json {
            o.put("log_type", "json");
        }
        o.some("log_date_format", &logs.date);
        match logs.max_size {
            None => o.put("max_log_size", false),
            Some(size) => o.unless("max_log_size", &size, &(10 << 20)),
        }
        o.some("max_log_age", &logs.max_age.map(millis));
        o.unless("max_log_files", &logs.max_files, &5);
        o.unless("compress_logs", &logs.compress, &true);
        o.some("pid_file", &self.pid_file.as_ref().map(|file| file.to_string_lossy().into_owned()));
        o.0.into()
    }

    /// The keys whose values differ from `old`'s.
    pub fn differs(&self, old: &App) -> Vec<String> {
        differing(&self.to_json(), &old.to_json())
    }
}

impl Pool {
    /// Canonical: reading this again gives the same pool.
    pub fn to_json(&self) -> Value {
        let mut o = Object(Map::new());
        o.put("name", self.name.clone());
        o.put("runtime", self.runtime.as_str());
        o.some("command", &self.command);
        o.some("preload", &self.preload.as_ref().map(|file| file.to_string_lossy().into_owned()));
        o.put("cwd", self.cwd.to_string_lossy());
        o.map("env", &self.env);
        if self.runtime != Runtime::Native {
            o.put("interpreter", self.interpreter.clone());
        }
        o.some("user", &self.user);
        o.some("group", &self.group);
        o.unless("default", &self.default, &false);
        match self.idle {
            Idle { min: 0, max: 0 } => {}
            Idle { min, max } if min == max => o.put("idle", min),
            Idle { min, max } => o.put("idle", serde_json::json!({"min": min, "max": max})),
        }
        o.unless("max_running", &self.max_running, &64);
        o.unless("max_queued", &self.max_queued, &1000);
        o.some("timeout", &self.timeout.map(millis));
        o.time("kill_timeout", self.kill_timeout, Duration::from_secs(10));
        o.time("preload_timeout", self.preload_timeout, Duration::from_secs(30));
        o.time("keep", self.keep, Duration::from_secs(24 * 3600));
        o.some("entries", &self.entries);
        if self.shutdown == Shutdown::Full {
            o.put("shutdown", "full");
        }
        if self.huge_pages == HugePages::Off {
            o.put("huge_pages", "off");
        }
        match self.output {
            Output::Log => {}
            Output::Capture => o.put("output", "capture"),
            Output::Inherit => o.put("output", "inherit"),
            Output::None => o.put("output", "none"),
        }
        o.limits(&self.limits);
        o.watch(self.watch.as_ref());
        o.0.into()
    }

    /// The keys whose values differ from `old`'s.
    pub fn differs(&self, old: &Pool) -> Vec<String> {
        differing(&self.to_json(), &old.to_json())
    }
}
