//! What a client is told about the daemon and its pools.

use super::apps::WorkerInfo;
use super::status::Status;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a connection may ask for; each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Nothing but `auth`.
    None,
    /// Runs.
    Run,
    /// Everything.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::None => "none",
            Role::Run => "run",
            Role::Admin => "admin",
        })
    }
}

/// How a pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolState {
    /// Its first zygote preloads.
    Loading,
    /// A zygote obeys.
    Ready,
    /// The preload failed; it is tried again after a while.
    Backoff,
}

impl fmt::Display for PoolState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            PoolState::Loading => "loading",
            PoolState::Ready => "ready",
            PoolState::Backoff => "backoff",
        })
    }
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolInfo {
    /// Its name.
    pub name: String,
    /// `php`, `python` or `native`.
    pub runtime: String,
    /// How it is.
    pub state: PoolState,
    /// The generation that new runs are forked from; 0 before the first.
    pub generation: u32,
    /// The process that new runs are forked from.
    pub zygote_pid: Option<u32>,
    /// Children that wait for a request.
    pub idle: u32,
    /// As many as are to wait now: what the latest load has needed, within the pool's bounds.
    #[serde(default)]
    pub idle_wanted: u32,
    /// Runs that are starting or running.
    pub running: u32,
    /// Runs that wait for room.
    pub queued: u32,
    /// The most that may run.
    pub max_running: u32,
    /// The most that may wait.
    pub max_queued: u32,
    /// Runs taken since the daemon's start.
    pub runs_total: u64,
    /// Those of them that ended otherwise than with exit code 0.
    pub failed_total: u64,
    /// Why there is no zygote, or why the latest reload failed.
    pub error: Option<String>,
    /// Whether it is the pool of requests that name none.
    pub default: bool,
    /// `PHP 8.2.29`
    pub runtime_version: Option<String>,
    /// What its kit warned of.
    pub warnings: Vec<String>,
    /// How long the preload took, in milliseconds.
    pub preload_ms: Option<u64>,
    /// Anonymous memory of the zygote, in bytes, some seconds old at most; in the answer to `pools` alone.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// What of it lies in huge pages.
    #[serde(default)]
    pub huge_bytes: Option<u64>,
    /// What a fork takes the zygote, in microseconds: the mean of the latest, each counting for an eighth.
    #[serde(default)]
    pub fork_us: Option<u64>,
}

/// The answer to `pools`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pools {
    /// In the process file's order.
    pub pools: Vec<PoolInfo>,
}

/// The answer to `runs`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunsPage<'a> {
    /// Oldest first.
    pub runs: Vec<Status<'a>>,
    /// What `after` has to be for the next page; `null` on the last.
    pub next: Option<String>,
}

/// The answer to `list`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct List<'a> {
    /// All pools.
    pub pools: Vec<PoolInfo>,
    /// Live runs and the latest ended, at most 20.
    pub runs: Vec<Status<'a>>,
    /// All workers, by id.
    pub workers: Vec<WorkerInfo<'a>>,
}

/// The answer to `info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// `0.1.0`
    pub version: String,
    /// The process to signal; 0 when it has died.
    pub keeper_pid: u32,
    /// What is wrong with the daemon, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Changes when the master is replaced.
    pub master_pid: u32,
    /// Since the keeper's start.
    pub uptime_ms: u64,
    /// The daemon's directory.
    pub dir: String,
    /// `127.0.0.1:31337`, the socket's path.
    pub listen: Vec<String>,
    /// How many there are.
    pub counts: Counts,
    /// How many there may be.
    pub limits: Limits,
}

/// What is there now, and what was dropped since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Runs that wait for room.
    pub queued: u64,
    /// Runs asked for that have not said they started.
    pub starting: u64,
    /// Runs that run.
    pub running: u64,
    /// Ended runs that are kept.
    pub ended: u64,
    /// Children that wait for a request.
    pub idle: u64,
    /// Open client connections.
    pub connections: u64,
    /// Connections refused or closed for a limit.
    pub refused_connections: u64,
    /// Messages of children whose slot and process did not match.
    pub dropped_messages: u64,
    /// Runs taken since the start.
    pub runs_total: u64,
    /// Results and captured output that are kept, in bytes.
    pub kept_bytes: u64,
}

/// What bounds a client. Times in milliseconds, sizes in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// The longest line.
    pub max_line: u64,
    /// The deepest nesting of a request.
    pub max_depth: u64,
    /// The most calls in a batch.
    pub max_batch: u64,
    /// The most open connections.
    pub max_connections: u64,
    /// How long a line may take to arrive whole.
    pub request_timeout_ms: u64,
    /// How long a client may take to read what waits for it.
    pub answer_timeout_ms: u64,
    /// The largest result.
    pub max_result: u64,
    /// The most ended runs that are kept.
    pub max_kept_runs: u64,
    /// The most results and captured output that are kept.
    pub max_kept_bytes: u64,
}

/// The answer to `ping`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pong<'a> {
    /// `0.1.0`
    pub version: std::borrow::Cow<'a, str>,
}

/// The answer to `free`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Freed<'a> {
    /// The run's.
    pub id: std::borrow::Cow<'a, str>,
    /// Always true.
    pub freed: bool,
}

/// The answer to `shutdown`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Stopping {
    /// Always true.
    pub stopping: bool,
}

/// The answer to `upgrade`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Upgraded {
    /// Only looked whether it could be done.
    pub checked: bool,
    /// What serves now, or is the keeper now; absent after a check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What served when it was asked for.
    pub former_version: String,
    /// The master that serves now.
    pub master_pid: u32,
    /// For how long nobody was served, in µs; absent after a check, and where the keeper was replaced, which stops nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_us: Option<u64>,
    /// From the request to the answer, in ms.
    pub total_ms: u64,
}

/// The answer to `auth`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Authenticated {
    /// `run` or `admin`.
    pub role: Role,
}
