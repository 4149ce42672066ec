//! What a client may ask for, validated: nothing past this page checks a request's shape again.

mod apps;
mod method;
mod shapes;
mod targets;

pub use apps::{Apps, Define};
pub use method::{METHODS, Method};
pub use targets::{Target, Targets};

use super::status::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest entry, in bytes.
pub const MAX_ENTRY: usize = 255;
/// The longest id of a run and name of a pool, in bytes.
pub const MAX_ID: usize = 64;
/// How many runs `runs` answers with when not asked for a number.
pub const DEFAULT_RUNS: u32 = 100;
/// How many runs `runs` answers with at most.
pub const MAX_RUNS: u32 = 1000;

/// Where a run's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// The pool's log files.
    Log,
    /// The status; the last 64 KiB of each.
    Capture,
    /// The daemon's own.
    Inherit,
    /// Nowhere.
    None,
}

/// What to run and how.
#[derive(Debug, Clone)]
pub struct Run {
    /// The pool; the default one if not named.
    pub pool: Option<String>,
    /// 1…255 bytes without control characters.
    pub entry: String,
    /// One JSON value for the entry, its text as it came. Never beside `args`.
    pub params: Option<Box<RawValue>>,
    /// Arguments of a script, without NULs. Never beside `params`.
    pub args: Option<Vec<String>>,
    /// The client's own id.
    pub id: Option<String>,
    /// Added to the pool's environment.
    pub env: Option<BTreeMap<String, String>>,
    /// Not zero.
    pub timeout: Option<Duration>,
    /// Between TERM and KILL.
    pub kill_timeout: Option<Duration>,
    /// The pool's way if not named.
    pub output: Option<Output>,
    /// What the run reads on its standard input.
    pub stdin: Option<String>,
    /// Answer at the end and not at the start.
    pub wait: bool,
}

/// Which runs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunsFilter {
    /// Of this pool only.
    pub pool: Option<String>,
    /// In this state only.
    pub state: Option<State>,
    /// 1…[`MAX_RUNS`]; [`DEFAULT_RUNS`] if not named.
    pub limit: Option<u32>,
    /// Those after this id.
    pub after: Option<String>,
}

/// Whose output `apps.logs` is about.
#[derive(Debug, Clone)]
pub struct LogsWanted {
    /// None: everybody's.
    pub targets: Option<Targets>,
    /// 0…[`MAX_LINES`] of each stream; [`DEFAULT_LINES`] if not named.
    pub lines: u32,
    /// Lines that come afterwards too, as notifications.
    pub follow: bool,
    /// `out` or `err` alone.
    pub stream: Option<LogStream>,
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Which events a client wants to be told of.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// None: all.
    pub kinds: Option<Vec<String>>,
    /// None: everybody's.
    pub targets: Option<Targets>,
}

/// The kinds of events there are.
pub const EVENTS: [&str; 4] = ["state", "exit", "run", "pool"];
/// How many lines of each stream `apps.logs` answers with when not asked for a number.
pub const DEFAULT_LINES: u32 = 15;
/// How many it answers with at most.
pub const MAX_LINES: u32 = 10_000;

impl EventFilter {
    /// Whether that event is among them.
    pub fn has(&self, event: &super::apps::Event<'_>, namespace: Option<&str>) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|kind| *kind == *event.kind))
            && self.targets.as_ref().is_none_or(|targets| targets.matches(&event.name, namespace, event.worker))
    }
}

/// Whether this is an id that a run may have.
pub fn is_run_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte))
}

/// Whether this is a name that a pool may have.
pub fn is_pool_name(name: &str) -> bool {
    (1..=MAX_ID).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Whether this can be an entry at all; which ones a pool allows is the pool's.
///
/// # Errors
/// The rest of a sentence that begins with the key.
pub fn entry_shape(entry: &str) -> Result<(), &'static str> {
    match entry.len() {
        0 => Err("is empty"),
        1..=MAX_ENTRY if entry.chars().any(char::is_control) => Err("holds a control character"),
        1..=MAX_ENTRY => Ok(()),
        _ => Err("is longer than 255 bytes"),
    }
}

#[cfg(test)]
mod tests;
