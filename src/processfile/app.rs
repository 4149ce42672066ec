//! One app: a program that is to run for long, in one or more instances, with every default filled in.
//!
//! An [`App`] has one canonical text, the JSON object of `App::to_json`: keys of the process file in
//! snake_case, what is the default left out, paths absolute. Reading that text gives the same app again, so that it is
//! what travels to the daemon and what the daemon keeps.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::value::RawValue;

use super::Limits;

/// One app.
#[derive(Debug, Clone)]
pub struct App {
    /// As a pool's name; pools and apps share one name space.
    pub name: String,
    /// `default` unless said.
    pub namespace: String,
    /// What runs.
    pub program: Program,
    /// Absolute path of the working directory. Default: the file's folder.
    pub cwd: PathBuf,
    /// Declared variables, those of the chosen `env_NAME` merged in.
    pub env: BTreeMap<String, String>,
    /// The `env_NAME`s that were not chosen.
    pub env_named: BTreeMap<String, BTreeMap<String, String>>,
    /// What an instance gets of the caller's environment.
    pub inherit_env: Inherit,
    /// Prefixes of inherited variables that are left out (pm2's `filter_env`; its `true` is `inherit_env: false`).
    pub filter_env: Vec<String>,
    /// How many.
    pub instances: Instances,
    /// Name of the variable that holds the instance's number. Default `NODE_APP_INSTANCE`.
    pub instance_var: String,
    /// A declared variable that is raised by one from each instance to the next.
    pub increment_var: Option<String>,
    /// Started with the daemon and by `start FILE`. Default true.
    pub autostart: bool,
    /// Started again after an exit. Default true.
    pub autorestart: bool,
    /// An exit sooner than this after the start counts towards `max_restarts`. Default 1 s.
    pub min_uptime: Duration,
    /// So many such exits in a row end in `fatal`. Default 16.
    pub max_restarts: u32,
    /// A fixed pause before each restart, instead of the growing one.
    pub restart_delay: Option<Duration>,
    /// The first pause of a growing one of the app's own: ×1.5 each, at most 15 s, back to it after 30 s up.
    pub exp_backoff_restart_delay: Option<Duration>,
    /// Exit codes after which it is not started again (it is `exited`). A death by signal is never one of them.
    pub stop_exit_codes: Vec<i32>,
    /// Restarted when its memory (resident, in bytes) is more than this.
    pub max_memory_restart: Option<u64>,
    /// From the stop signal to SIGKILL. Default 1600 ms.
    pub kill_timeout: Duration,
    /// Number of the signal that asks it to stop. Default SIGINT, 2.
    pub stop_signal: i32,
    /// Stop signal and SIGKILL go to the whole tree, not to the first process alone. Default true.
    pub treekill: bool,
    /// Asked to stop by Node's message `"shutdown"` instead of a signal.
    pub shutdown_with_message: bool,
    /// When an instance counts as ready.
    pub ready: Ready,
    /// How long an instance may take to be ready. Default 3 s with `wait_ready`, else 30 s.
    pub listen_timeout: Duration,
    /// Sockets that the supervisor opens and keeps, handed over from fd 3 on, in this order.
    pub listen: Vec<Listen>,
    /// Names of apps that must be ready before it starts; stopped after it.
    pub depends_on: Vec<String>,
    /// Instances that are replaced at a time by `reload`, at least 1. Default 1.
    pub reload_step: u32,
    /// Restarted when a file changes.
    pub watch: Option<Watch>,
    /// User to run as; None: the daemon's.
    pub user: Option<String>,
    /// Group to run as; None: the user's.
    pub group: Option<String>,
    /// File mode creation mask; None: the daemon's.
    pub umask: Option<u32>,
    /// −20…19; None: the daemon's.
    pub nice: Option<i32>,
    /// −1000…1000; None: the daemon's.
    pub oom_score_adj: Option<i32>,
    /// rlimits.
    pub limits: Limits,
    /// Where the output goes.
    pub logs: Logs,
    /// The file that holds the pid. With several instances, `-N` is put before its extension, but for instance 0.
    pub pid_file: Option<PathBuf>,
}

/// What an app's instances run.
#[derive(Debug, Clone)]
pub enum Program {
    /// A program of its own, by exec.
    Exec {
        /// Absolute path of the script or program as far as it is a path; a word without a slash is looked up in the PATH
        /// of the instance's environment.
        script: String,
        /// Its arguments.
        args: Vec<String>,
        /// Interpreter and its arguments, before the script; empty: the script is executed itself.
        interpreter: Vec<String>,
    },
    /// Forked from a warm pool.
    Pool {
        /// The pool's name.
        pool: String,
        /// As in `run`; must be allowed by the pool.
        entry: String,
        /// As in `run`.
        params: Option<Box<RawValue>>,
        /// One instance for each; never beside `params` or `args`.
        params_each: Option<Vec<Box<RawValue>>>,
        /// As in `run`.
        args: Option<Vec<String>>,
    },
}

/// What of the caller's environment an instance gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inherit {
    /// All of it (the default).
    All,
    /// Nothing but PATH, HOME, USER, LOGNAME, SHELL, LANG, LC_*, TZ and TMPDIR (`false`).
    Least,
    /// These.
    Names(Vec<String>),
}

/// How many instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instances {
    /// So many, at least 1.
    Fixed(u32),
    /// As many as processors (`0`, `"max"`), less this (`-1`), but at least 1.
    Processors {
        /// How many fewer.
        less: u32,
    },
}

/// When an instance is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// When it has been started: `running` is all there is to know.
    Started,
    /// When it says `READY=1` (sd_notify(3)), or sends `"ready"` on Node's channel (`wait_ready`, `{"notify": true}`).
    Notify,
    /// When somebody accepts connections at this `IP:PORT`.
    Tcp(String),
    /// When a GET of this `http://HOST[:PORT]/PATH` is answered with 2xx or 3xx.
    Http(String),
    /// When a line of its output matches this regular expression.
    Log(String),
    /// When it has been up for so long.
    After(Duration),
}

/// A socket that the supervisor keeps for an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Its name in LISTEN_FDNAMES: what was said, else the app's name.
    pub name: String,
    /// Where.
    pub address: Address,
}

/// Where a socket listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `tcp://IP:PORT`: the `IP:PORT`, or `localhost:PORT`.
    Tcp(String),
    /// `unix://PATH`: the absolute path.
    Unix(PathBuf),
}

/// Files whose change restarts an app, or loads a new generation of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Absolute paths of folders and files; folders with everything below them.
    pub paths: Vec<PathBuf>,
    /// Glob patterns and names that do not count, besides `node_modules`, `.git` and other hidden ones.
    pub ignore: Vec<String>,
    /// How long nothing may change before it counts as done. Default 1 s.
    pub delay: Duration,
}

/// Where an app's output goes, and in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logs {
    /// Standard output. Default: `DIR/logs/NAME-out.log`.
    pub out: Sink,
    /// Standard error. Default: `DIR/logs/NAME-error.log`.
    pub error: Sink,
    /// Both together, besides (pm2's `log_file`). Default: off.
    pub both: Sink,
    /// One file for all instances. Without it instance N > 0 has `-N` before the extension of each file.
    pub merge: bool,
    /// How lines are written.
    pub format: Format,
    /// A strftime(3) pattern before each line (from pm2's moment.js pattern, or `%Y-%m-%dT%H:%M:%S` for `time: true`). None: none.
    pub date: Option<String>,
    /// Rotated when larger than this, in bytes; None: not by size. Default 10 MB.
    pub max_size: Option<u64>,
    /// Rotated when older than this; None (the default): not by time.
    pub max_age: Option<Duration>,
    /// Rotated files that are kept. Default 5.
    pub max_files: u32,
    /// Rotated files are compressed with gzip. Default true.
    pub compress: bool,
}

/// One file of an app's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// The usual one (of `both`: none).
    Default,
    /// This one, absolute.
    File(PathBuf),
    /// None: `/dev/null`, `NULL`, `false`.
    Off,
}

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As they came, with the date before them if there is one.
    Text,
    /// One object a line: `{"timestamp", "type": "out"|"err", "app_name", "process_id", "message"}`.
    Json,
}
