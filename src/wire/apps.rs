//! What a client is told about apps and their workers.
//!
//! ```text
//!                 ┌──────────────────────── restart ────────────────────────┐
//! stopped ─start→ starting ──exec──→ running ──ready──→ ready ──stop──→ stopping → stopped
//!                    │                  └───────┬─────────┘
//!                    │                        exits ──→ exited     it is not to be started again
//!                    │                          │
//!                    └─cannot be started─→ backoff ──its time──→ starting
//!                                               └──too often──→ fatal
//! ```

use super::status::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Where a worker is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// Not wanted; no process.
    Stopped,
    /// A process has been asked for, or waits for what it depends on.
    Starting,
    /// Its process runs, and is not known to be ready.
    Running,
    /// Its process runs and is ready.
    Ready,
    /// It ended, and is started again at `next_try_at`.
    Backoff,
    /// It has been told to end.
    Stopping,
    /// It ended, and is not to be started again (`autorestart`, `stop_exit_codes`).
    Exited,
    /// It was given up; `reason` says why.
    Fatal,
}

impl WorkerState {
    /// The word of the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            WorkerState::Stopped => "stopped",
            WorkerState::Starting => "starting",
            WorkerState::Running => "running",
            WorkerState::Ready => "ready",
            WorkerState::Backoff => "backoff",
            WorkerState::Stopping => "stopping",
            WorkerState::Exited => "exited",
            WorkerState::Fatal => "fatal",
        }
    }
}

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a worker's last process ended. Exit code or signal, never both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastExit<'a> {
    /// The process.
    pub pid: u32,
    /// Where it exited.
    pub exit_code: Option<i32>,
    /// Where a signal ended it.
    pub signal: Option<i32>,
    /// `SIGSEGV`
    pub signal_name: Option<Cow<'a, str>>,
    /// Whether it left a core dump.
    pub core_dumped: bool,
    /// When.
    pub at: Timestamp,
}

/// One instance of an app. Every key is always there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerInfo<'a> {
    /// Counts all workers of the daemon; pm2's `pm_id`. Stays with the instance.
    pub id: u32,
    /// The app's.
    pub name: Cow<'a, str>,
    /// The app's.
    pub namespace: Cow<'a, str>,
    /// 0, 1, …
    pub instance: u32,
    /// Where it is in its life.
    pub state: WorkerState,
    /// Its process, while there is one.
    pub pid: Option<u32>,
    /// When it was added to the list; None: by a preforkd that did not keep that.
    pub added_at: Option<Timestamp>,
    /// When its process was started.
    pub started_at: Option<Timestamp>,
    /// For how long it has been up.
    pub uptime_ms: Option<u64>,
    /// Restarts that nobody asked for.
    pub restarts: u64,
    /// Restarts that somebody asked for, reloads among them.
    pub asked_restarts: u64,
    /// Exits in a row before `min_uptime`.
    pub unstable: u32,
    /// In `backoff`: when it is tried again.
    pub next_try_at: Option<Timestamp>,
    /// How its process before ended.
    pub last_exit: Option<LastExit<'a>>,
    /// Why it is `fatal`, `exited` or in `backoff`, or what it waits for.
    pub reason: Option<Cow<'a, str>>,
    /// In `fatal`: the last lines of its stderr.
    pub stderr_tail: Vec<Cow<'a, str>>,
    /// The script or program; of a pool's worker the entry.
    pub script: Cow<'a, str>,
    /// The interpreter, if there is one.
    pub interpreter: Option<Cow<'a, str>>,
    /// The pool it is forked from.
    pub pool: Option<Cow<'a, str>>,
    /// The generation of that pool its process is of.
    pub generation: Option<u32>,
    /// The user it runs as, if it is not the daemon's.
    pub user: Option<Cow<'a, str>>,
    /// Whether changes of files restart it.
    pub watch: bool,
    /// Where its standard output goes; None: nowhere.
    pub out_file: Option<Cow<'a, str>>,
    /// Where its standard error goes.
    pub error_file: Option<Cow<'a, str>>,
    /// The file that holds its pid.
    pub pid_file: Option<Cow<'a, str>>,
    /// Its working directory.
    pub cwd: Cow<'a, str>,
    /// Bytes of output that could not be written.
    pub log_lost: u64,
}

/// The answer to `apps.list`, and to everything that acts on workers: those it acted on, as they are then.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Workers<'a> {
    /// By id.
    pub workers: Vec<WorkerInfo<'a>>,
}

/// The answer to `apps.describe`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Described<'a> {
    /// The workers asked for.
    pub workers: Vec<WorkerInfo<'a>>,
    /// The definitions of their apps, canonical, without values of variables (`env` lists names only).
    pub apps: Vec<serde_json::Value>,
}

/// The answer to `apps.env`: the only place where values of variables are shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Environment {
    /// The worker's id.
    pub id: u32,
    /// What its next process gets.
    pub env: std::collections::BTreeMap<String, String>,
}

/// What `apps.apply` did, or would do, to one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// An app or a pool.
    pub name: String,
    /// `app` or `pool`.
    pub kind: String,
    /// `added`, `changed`, `removed`, `unchanged`.
    pub change: String,
    /// Keys that differ, if it is `changed`.
    pub keys: Vec<String>,
}

/// The answer to `apps.apply`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// In the order of the file, removed ones last.
    pub changes: Vec<Change>,
    /// Whether nothing was done.
    pub dry_run: bool,
}

/// What happened to a worker: the params of the notification `event`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event<'a> {
    /// `state` (of a worker), `exit` (of a worker), `run` (its state), `pool`.
    pub kind: Cow<'a, str>,
    /// When.
    pub at: Timestamp,
    /// The app, pool, or the run's pool.
    pub name: Cow<'a, str>,
    /// The worker's id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub worker: Option<u32>,
    /// The run's id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run: Option<Cow<'a, str>>,
    /// The new state.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<Cow<'a, str>>,
    /// Its process.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pid: Option<u32>,
    /// Where it exited.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exit_code: Option<i32>,
    /// Where a signal ended it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signal: Option<i32>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Cow<'a, str>>,
}

/// A line of output: the params of the notification `log`, and a member of the answer to `apps.logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine<'a> {
    /// The app or pool.
    pub name: Cow<'a, str>,
    /// The worker's id; None for a pool.
    pub worker: Option<u32>,
    /// `out` or `err`.
    pub stream: Cow<'a, str>,
    /// When it was read; None for a line from a file.
    pub at: Option<Timestamp>,
    /// Without its newline; bytes that are not UTF-8 are U+FFFD.
    pub text: Cow<'a, str>,
}

/// The answer to `apps.logs`: the latest lines; with `follow` notifications come after it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Logs<'a> {
    /// Oldest first of each stream.
    pub lines: Vec<LogLine<'a>>,
}

/// The answer to `apps.flush` and `apps.reopen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFiles {
    /// How many log files it was about.
    pub files: usize,
}

/// The answer to `events.subscribe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribed {
    /// Always true.
    pub subscribed: bool,
}

/// Something a slow reader missed: the params of the notification `gap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// How many notifications were left out.
    pub lost: u64,
}
