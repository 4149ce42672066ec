//! What keys can have done with a worker.

use crate::wire::apps::WorkerState;

/// What can be done with a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Start,
    Stop,
    Restart,
    Reload,
    Delete,
}

impl Verb {
    /// The method that does it.
    pub fn method(self) -> &'static str {
        match self {
            Verb::Start => "apps.start",
            Verb::Stop => "apps.stop",
            Verb::Restart => "apps.restart",
            Verb::Reload => "apps.reload",
            Verb::Delete => "apps.delete",
        }
    }

    /// That it has been done.
    pub fn done(self) -> &'static str {
        match self {
            Verb::Start => "started",
            Verb::Stop => "stopped",
            Verb::Restart => "restarted",
            Verb::Reload => "reloaded",
            Verb::Delete => "deleted",
        }
    }

    /// That it has been asked for.
    pub fn doing(self) -> &'static str {
        match self {
            Verb::Start => "starting",
            Verb::Stop => "stopping",
            Verb::Restart => "restarting",
            Verb::Reload => "reloading",
            Verb::Delete => "deleting",
        }
    }
}

/// Something to be done with a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub verb: Verb,
    pub id: u32,
    /// For people.
    pub name: String,
}

/// The one that makes sense for a worker in that state.
pub fn start_or_stop(state: WorkerState) -> Verb {
    match state {
        WorkerState::Stopped | WorkerState::Exited | WorkerState::Fatal => Verb::Start,
        _ => Verb::Stop,
    }
}
