//! What a life is told, and what it answers.

use serde::{Deserialize, Serialize};

use crate::sys::reap::How;

/// What happened, or is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// It is wanted.
    Start,
    /// It is not.
    Stop,
    /// It is wanted, with a new process.
    Restart,
    /// Counters back to 0.
    Reset,
    /// Its process runs.
    Spawned,
    /// There is none, and this is why.
    SpawnFailed(&'a str),
    /// It is ready.
    Ready,
    /// Its process has ended.
    Exited(How),
    /// The time of `wake_at` has come.
    Due,
    /// It has to be replaced for this reason, which nobody asked for, and which is no fault of its start.
    Fail(&'a str),
    /// Another process has taken its place without a gap.
    Replaced,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Nothing.
    Nothing,
    /// A process is to be started.
    Spawn,
    /// Its process is to be asked to end; that it does is its caller's to see to.
    Stop,
}

/// Why a process is being ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ending {
    /// Somebody asked for it.
    Asked,
    /// It was not ready in time: as bad as an exit.
    NotReady,
    /// See [`Event::Fail`].
    Failed,
}
