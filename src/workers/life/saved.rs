//! What of a life outlives the master.

use serde::{Deserialize, Serialize};

use super::{Ending, Life};
use crate::wire::apps::WorkerState;
use crate::workers::policy::{Policy, Record};

/// What a master that follows has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in Life")]
pub struct SavedLife {
    state: WorkerState,
    wanted: bool,
    ending: Option<Ending>,
    /// ns until `wake_at`.
    wait: Option<u64>,
    pause: u64,
    unstable: u32,
    restarts: u64,
    asked_restarts: u64,
    reason: Option<Box<str>>,
}

impl Life {
    /// For a master that follows.
    pub fn save(&self, now: u64) -> SavedLife {
        SavedLife {
            state: self.state,
            wanted: self.wanted,
            ending: self.ending,
            wait: self.wake_at.map(|at| at.saturating_sub(now)),
            pause: self.record.pause,
            unstable: self.record.unstable,
            restarts: self.restarts,
            asked_restarts: self.asked_restarts,
            reason: self.reason.clone(),
        }
    }

    /// For a process that a former master has asked for, and that has not said yet that it runs.
    pub fn restore_asked(saved: &SavedLife, wanted: bool, now: u64) -> Life {
        let starting = saved.state == WorkerState::Starting;
        Life {
            state: WorkerState::Starting,
            wanted,
            ending: saved.ending.filter(|_| starting),
            asked_at: Some(now),
            started_at: None,
            wake_at: None,
            record: Record { pause: saved.pause, unstable: saved.unstable },
            restarts: saved.restarts,
            asked_restarts: saved.asked_restarts,
            reason: saved.reason.clone(),
        }
    }

    /// Goes on from what a former master knew. `running`: since when its process runs, if there is one.
    ///
    /// A worker whose process is gone is `stopped`, whatever it is wanted to be: its caller gives [`super::Event::Start`]
    /// for those that are to be up.
    pub fn restore(saved: &SavedLife, running: Option<u64>, policy: &Policy, now: u64) -> Life {
        use WorkerState as S;
        let SavedLife { state, wanted, ending, wait, pause, unstable, restarts, asked_restarts, ref reason } = *saved;
        let (state, ending) = match (running, state) {
            // Its process was on its way, and it had been told to end, or to begin anew, meanwhile.
            (Some(_), S::Starting) if !wanted || ending.is_some() => (S::Stopping, Some(Ending::Asked)),
            (Some(_), S::Running | S::Ready) => (state, None),
            (Some(_), S::Stopping) => (state, ending.or(Some(Ending::Asked))),
            // Its start was not on record yet.
            (Some(_), _) => (S::Running, None),
            // Its process is gone, and how is not known.
            (None, S::Starting | S::Running | S::Ready | S::Stopping) => (S::Stopped, None),
            (None, _) => (state, None),
        };
        let wake_at = match state {
            S::Backoff => Some(now.saturating_add(wait.unwrap_or(0))),
            // What remained of its time; where that is not on record, all of it.
            S::Running => match wait.filter(|_| saved.state == S::Running) {
                Some(wait) => Some(now.saturating_add(wait)),
                None => policy.ready_by(now),
            },
            _ => None,
        };
        Life {
            state,
            wanted: wanted || matches!(state, S::Running | S::Ready),
            ending,
            asked_at: None,
            started_at: running,
            wake_at,
            record: Record { pause, unstable },
            restarts,
            asked_restarts,
            reason: reason.clone(),
        }
    }
}
