//! What a client is told about a run.
//!
//! ```text
//! queued → starting → running → exited     it ran; exit_code or signal, never both
//!    └────────┴──────────────→ failed      it never ran; error says why
//!                       └────→ unknown     it did, but nobody saw how it ended
//! ```

pub use super::signal::{signal_name, signal_number};
pub use super::timestamp::Timestamp;

use super::quote::Quoted;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// Where a run is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for room in its pool.
    Queued,
    /// A process was asked for; it has not said that it started.
    Starting,
    /// Its entry runs.
    Running,
    /// It ended, with an exit code or by a signal.
    Exited,
    /// It never ran.
    Failed,
    /// It ran, and how it ended could not be learnt.
    Unknown,
}

impl State {
    /// All states, in the order of a run's life.
    pub const ALL: [State; 6] =
        [State::Queued, State::Starting, State::Running, State::Exited, State::Failed, State::Unknown];

    /// Whether nothing about the run will change any more.
    pub fn is_final(self) -> bool {
        matches!(self, State::Exited | State::Failed | State::Unknown)
    }

    /// The word of the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Starting => "starting",
            State::Running => "running",
            State::Exited => "exited",
            State::Failed => "failed",
            State::Unknown => "unknown",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        State::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
            format!("{} is no state: it is one of {}", Quoted(text), State::ALL.map(State::as_str).join(", "))
        })
    }
}

/// What a run used, itself and its reaped children (getrusage(2)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the documentation; units are in them")]
pub struct Usage {
    pub user_us: u64,
    pub system_us: u64,
    pub max_rss_bytes: u64,
    pub minor_faults: u64,
    pub major_faults: u64,
    pub voluntary_switches: u64,
    pub involuntary_switches: u64,
}

/// An uncaught error of a run, or why it did not run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError<'a> {
    /// The exception's class; for `failed` and `unknown` the kind of the JSON-RPC error.
    pub class: Cow<'a, str>,
    /// What it said.
    pub message: Cow<'a, str>,
    /// The stack as the runtime prints it.
    #[serde(default)]
    pub trace: Option<Cow<'a, str>>,
}

/// A run's status: every key is always there, but `duplicate`, which only `run` answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status<'a> {
    /// `[A-Za-z0-9._:-]{1,64}`
    pub id: Cow<'a, str>,
    /// The pool's name.
    pub pool: Cow<'a, str>,
    /// What is run, as the client wrote it.
    pub entry: Cow<'a, str>,
    /// Where it is in its life.
    pub state: State,
    /// The process, kept after its end.
    pub pid: Option<u32>,
    /// The generation of the zygote it was forked from.
    pub generation: Option<u32>,
    /// 0…255, if it left by itself.
    pub exit_code: Option<i32>,
    /// The signal's number, if one killed it.
    pub signal: Option<i32>,
    /// `SIGKILL` and so on, beside `signal`.
    pub signal_name: Option<Cow<'a, str>>,
    /// Known once it ended.
    pub core_dumped: Option<bool>,
    /// Whether it was ended for being over its `timeout`.
    pub timed_out: bool,
    /// What the entry returned, spliced in as it came.
    pub result: Option<Cow<'a, RawValue>>,
    /// An uncaught error, or why it did not run.
    pub error: Option<RunError<'a>>,
    /// The last output, where it is captured.
    pub stdout: Option<Cow<'a, str>>,
    /// The last error output, where it is captured.
    pub stderr: Option<Cow<'a, str>>,
    /// When the request was taken.
    pub queued_at: Option<Timestamp>,
    /// When the child said that it started.
    pub started_at: Option<Timestamp>,
    /// When its end was seen.
    pub ended_at: Option<Timestamp>,
    /// What it used; known once it ended.
    pub usage: Option<Usage>,
    /// The id was there already, and nothing was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<bool>,
}

impl<'a> Status<'a> {
    /// A status of which no more is known.
    pub fn new(
        id: impl Into<Cow<'a, str>>,
        pool: impl Into<Cow<'a, str>>,
        entry: impl Into<Cow<'a, str>>,
        state: State,
    ) -> Self {
        Status {
            id: id.into(),
            pool: pool.into(),
            entry: entry.into(),
            state,
            pid: None,
            generation: None,
            exit_code: None,
            signal: None,
            signal_name: None,
            core_dumped: None,
            timed_out: false,
            result: None,
            error: None,
            stdout: None,
            stderr: None,
            queued_at: None,
            started_at: None,
            ended_at: None,
            usage: None,
            duplicate: None,
        }
    }
}

#[cfg(test)]
mod tests;
