//! The life of a worker: what it is told, what its exits mean, when it is tried again.
//!
//! A worker is *wanted* or not; that is its operator's word and nobody else's. The rest follows: a wanted worker without a
//! process is started, at once or after a pause; one that is not wanted is told to end. Two phases lie between word and
//! fact, since neither a start nor an end is instantaneous: `starting` until there is a process, `stopping` until there
//! is none. What is asked meanwhile is remembered, and done when the phase is over.
//!
//! ```text
//!               Start                    Spawned              Ready
//! stopped ──────────────────→ starting ───────────→ running ─────────→ ready
//!    ↑                         ↑     │ SpawnFailed     │ Exited          │
//!    │ Exited                  │ Due └─────────────────┼─────────────────┘
//!    │                         │                       ↓
//! stopping ←─ Stop, Restart,  backoff ←── a pause ── what is its policy? ── too many in a row ──→ fatal
//!    │        not ready in     │                       │   └── it is not to be tried again ─────→ exited
//!    │        time, Fail:      │                       │
//!    │        from running,    └─ Start, Restart       └── no pause ──→ starting
//!    │        ready               (from fatal, exited, too) ──→ starting
//!    └── Exited, and it is wanted ──→ starting; if it had not become ready ──→ what is its policy?
//! ```
//!
//! Pauses: the first restart is at once; then 100 ms, half as much again each time, up to 15 s, spread by a fifth either
//! way; back to none after 30 s up. An exit before `min_uptime` is unstable; `max_restarts` of them in a row are
//! the end. Above that threshold the pauses alone hold, for ever.

mod event;
mod saved;

use super::policy::{Policy, Record, nanos};
use crate::sys::reap::How;
use crate::wire::apps::WorkerState;
use crate::wire::signal::signal_name;
use event::Ending;
pub use event::{Event, Step};
pub use saved::SavedLife;

/// A worker's life. Times are ns monotonic.
#[derive(Debug, Clone)]
pub struct Life {
    state: WorkerState,
    wanted: bool,
    /// Why it is `stopping`; in `starting`: its process is on its way, and is to be replaced by another.
    ending: Option<Ending>,
    /// When a process was asked for that says by itself that it has started.
    asked_at: Option<u64>,
    started_at: Option<u64>,
    wake_at: Option<u64>,
    record: Record,
    restarts: u64,
    asked_restarts: u64,
    reason: Option<Box<str>>,
}

impl Default for Life {
    fn default() -> Life {
        Life::new()
    }
}

impl Life {
    /// Stopped, and nothing has happened yet.
    pub fn new() -> Life {
        Life {
            state: WorkerState::Stopped,
            wanted: false,
            ending: None,
            asked_at: None,
            started_at: None,
            wake_at: None,
            record: Record::default(),
            restarts: 0,
            asked_restarts: 0,
            reason: None,
        }
    }

    /// Where it is.
    pub fn state(&self) -> WorkerState {
        self.state
    }

    /// Whether it is to be up.
    pub fn wanted(&self) -> bool {
        self.wanted
    }

    /// When [`Event::Due`] is to be given.
    pub fn wake_at(&self) -> Option<u64> {
        self.wake_at
    }

    /// Since when its process runs.
    pub fn started_at(&self) -> Option<u64> {
        self.started_at
    }

    /// Restarts that nobody asked for.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Restarts that somebody asked for.
    pub fn asked_restarts(&self) -> u64 {
        self.asked_restarts
    }

    /// Unstable exits in a row.
    pub fn unstable(&self) -> u32 {
        self.record.unstable
    }

    /// Why it is where it is, if that needs a reason.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// What follows from `event`. `random` gives 0…1, and spreads a pause.
    pub fn on(&mut self, event: Event<'_>, now: u64, policy: &Policy, random: impl FnOnce() -> f64) -> Step {
        use WorkerState as S;
        match (event, self.state) {
            (Event::Start, _) => self.start(),
            (Event::Stop, _) => self.stop(),
            (Event::Restart, _) => self.restart(),
            (Event::Reset, _) => {
                (self.restarts, self.asked_restarts, self.record.unstable) = (0, 0, 0);
                Step::Nothing
            }
            (Event::Spawned, S::Starting) => self.spawned(now, policy),
            (Event::SpawnFailed(_), S::Starting) if self.ends_as_asked() => self.ended_as_asked(),
            (Event::SpawnFailed(why), S::Starting) => self.unstable_exit(why, now, policy, random),
            (Event::Ready, S::Running) => {
                (self.state, self.wake_at) = (S::Ready, None);
                Step::Nothing
            }
            (Event::Exited(how), S::Starting | S::Running | S::Ready) => self.exited(how, now, policy, random),
            (Event::Exited(_), S::Stopping) => self.ended(now, policy, random),
            (Event::Due, S::Backoff | S::Running) if self.wake_at.is_some_and(|at| at <= now) => self.due(policy),
            (Event::Fail(why), S::Running | S::Ready) => {
                self.reason = Some(why.into());
                self.end(Ending::Failed)
            }
            (Event::Replaced, S::Running | S::Ready) => {
                self.asked_restarts += 1;
                self.state = if policy.needs_ready { S::Ready } else { S::Running };
                (self.started_at, self.wake_at) = (Some(now), None);
                self.begin_record();
                Step::Nothing
            }
            // Of a process, a time or a state that is over.
            (
                Event::Spawned
                | Event::SpawnFailed(_)
                | Event::Ready
                | Event::Exited(_)
                | Event::Due
                | Event::Fail(_)
                | Event::Replaced,
                _,
            ) => Step::Nothing,
        }
    }

    /// A process has been asked for, and will say that it started: a stop has to wait for that.
    pub fn asked_for(&mut self, now: u64) {
        if self.state == WorkerState::Starting {
            self.asked_at = Some(now);
        }
    }

    fn start(&mut self) -> Step {
        self.wanted = true;
        match self.state {
            WorkerState::Stopped | WorkerState::Exited | WorkerState::Fatal | WorkerState::Backoff => self.begin_anew(),
            _ => Step::Nothing,
        }
    }

    fn stop(&mut self) -> Step {
        self.wanted = false;
        match self.state {
            WorkerState::Running | WorkerState::Ready => self.end(Ending::Asked),
            // It ends as soon as it is there.
            WorkerState::Starting if self.asked_at.is_some() => Step::Nothing,
            WorkerState::Stopping => {
                self.ending = Some(Ending::Asked);
                Step::Nothing
            }
            _ => self.ended_as_asked(),
        }
    }

    fn restart(&mut self) -> Step {
        let wanted = std::mem::replace(&mut self.wanted, true);
        self.begin_record();
        match self.state {
            WorkerState::Running | WorkerState::Ready => {
                self.asked_restarts += 1;
                self.end(Ending::Asked)
            }
            WorkerState::Stopping | WorkerState::Starting => {
                // Two that are asked for before the first could begin are one.
                let under_way = wanted && self.ending == Some(Ending::Asked);
                let has_process = self.state == WorkerState::Stopping || self.asked_at.is_some();
                if has_process && !under_way {
                    self.asked_restarts += 1;
                    self.ending = Some(Ending::Asked);
                }
                Step::Nothing
            }
            _ => {
                self.asked_restarts += 1;
                self.begin()
            }
        }
    }

    fn begin_record(&mut self) {
        (self.record, self.reason) = (Record::default(), None);
    }

    fn begin_anew(&mut self) -> Step {
        self.begin_record();
        self.begin()
    }

    fn begin(&mut self) -> Step {
        self.rest(WorkerState::Starting);
        Step::Spawn
    }

    /// Nothing of a process is left.
    fn rest(&mut self, state: WorkerState) {
        (self.state, self.wake_at, self.ending) = (state, None, None);
        (self.asked_at, self.started_at) = (None, None);
    }

    fn end(&mut self, why: Ending) -> Step {
        (self.state, self.wake_at, self.ending) = (WorkerState::Stopping, None, Some(why));
        Step::Stop
    }

    /// Whether the end of its process is what its operator asked for.
    fn ends_as_asked(&self) -> bool {
        !self.wanted || self.ending == Some(Ending::Asked)
    }

    fn ended_as_asked(&mut self) -> Step {
        self.begin_record();
        if self.wanted {
            return self.begin();
        }
        self.rest(WorkerState::Stopped);
        Step::Nothing
    }

    fn spawned(&mut self, now: u64, policy: &Policy) -> Step {
        self.asked_at = None;
        self.started_at = Some(now);
        if self.ends_as_asked() {
            return self.end(Ending::Asked);
        }
        (self.state, self.wake_at) = (WorkerState::Running, policy.ready_by(now));
        Step::Nothing
    }

    fn due(&mut self, policy: &Policy) -> Step {
        if self.state == WorkerState::Backoff {
            self.restarts += 1;
            return self.begin();
        }
        self.reason = Some(format!("not ready within {:?} (listen_timeout)", policy.ready_timeout).into());
        self.end(Ending::NotReady)
    }

    fn lived(&self, now: u64) -> u64 {
        self.started_at.or(self.asked_at).map_or(0, |at| now.saturating_sub(at))
    }

    /// It ended by itself.
    fn exited(&mut self, how: How, now: u64, policy: &Policy, random: impl FnOnce() -> f64) -> Step {
        if self.ends_as_asked() {
            return self.ended_as_asked();
        }
        let (lived, why) = (self.lived(now), told(how));
        let enough = matches!(how, How::Exited(code) if policy.stop_exit_codes.contains(&code));
        if enough || !policy.autorestart {
            return self.no_more(WorkerState::Exited, &why);
        }
        self.record.lived(lived, policy);
        if lived < nanos(policy.min_uptime) {
            return self.unstable_exit(&why, now, policy, random);
        }
        self.again(&why, now, policy, random)
    }

    /// It ended because it was told to.
    fn ended(&mut self, now: u64, policy: &Policy, random: impl FnOnce() -> f64) -> Step {
        if self.ends_as_asked() {
            return self.ended_as_asked();
        }
        let why = self.reason.take().unwrap_or_default();
        if self.ending == Some(Ending::NotReady) {
            return self.unstable_exit(&why, now, policy, random);
        }
        self.record.lived(self.lived(now), policy);
        self.again(&why, now, policy, random)
    }

    fn unstable_exit(&mut self, why: &str, now: u64, policy: &Policy, random: impl FnOnce() -> f64) -> Step {
        self.record.unstable = self.record.unstable.saturating_add(1);
        if !policy.autorestart {
            return self.no_more(WorkerState::Exited, why);
        }
        if self.record.unstable >= policy.max_restarts {
            let text = format!(
                "{why}; that makes {} failed starts in a row (max_restarts {}, min_uptime {:?})",
                self.record.unstable, policy.max_restarts, policy.min_uptime
            );
            return self.no_more(WorkerState::Fatal, &text);
        }
        self.again(why, now, policy, random)
    }

    fn no_more(&mut self, state: WorkerState, why: &str) -> Step {
        self.rest(state);
        self.reason = Some(why.into());
        Step::Nothing
    }

    /// Tried again, at once or after a pause.
    fn again(&mut self, why: &str, now: u64, policy: &Policy, random: impl FnOnce() -> f64) -> Step {
        self.reason = Some(why.into());
        let wait = self.record.next_pause(policy, random);
        if wait == 0 {
            self.restarts += 1;
            return self.begin();
        }
        self.rest(WorkerState::Backoff);
        self.wake_at = Some(now.saturating_add(wait));
        Step::Nothing
    }
}

fn told(how: How) -> String {
    let name = |n| signal_name(n).map_or_else(|| format!("signal {n}"), str::to_owned);
    match how {
        How::Exited(code) => format!("exit code {code}"),
        How::Killed(n) => format!("killed by {}", name(n)),
        How::Dumped(n) => format!("killed by {} (core dumped)", name(n)),
    }
}
