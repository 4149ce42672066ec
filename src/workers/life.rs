//! The life of a worker: what it is told, what its exits mean, when it is tried again.
//!
//! A worker is *wanted* or not; that is its operator's word and nobody else's. The rest follows: a wanted worker without a
//! process is started, at once or after a pause; one that is not wanted is told to end. Two phases lie between word and
//! fact, since neither a start nor an end is instantaneous: `starting` until there is a process, `stopping` until there
//! is none.
//!
//! ```text
//!            Start                Spawned              Ready
//! stopped ──────────→ starting ───────────→ running ─────────→ ready
//!    ↑                   ↑  │ SpawnFailed      │  Exited         │
//!    │ Exited            │  ├──────────────────┴─────────────────┘
//!    │                   │  ↓
//! stopping ←── Stop   backoff ── too many in a row ──→ fatal
//!    (from running,      │
//!     ready)             └── nobody wants it again ──→ exited
//! ```
//!
//! Pauses: the first restart is at once; then 100 ms, half as much again each time, up to 15 s, spread by a fifth either
//! way; back to none after 30 s up. An exit before `min_uptime` is unstable; `max_restarts` of them in a row are
//! the end. Above that threshold the pauses alone hold, for ever.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::processfile::{App, Ready};
use crate::sys::reap::How;
use crate::wire::apps::WorkerState;
use crate::wire::signal::signal_name;

/// The second pause of the default policy, in ns; the first is none.
const FIRST_PAUSE: u64 = 100_000_000;
/// The longest pause, in ns.
const LONGEST_PAUSE: u64 = 15_000_000_000;
/// Up for so long, and the pauses begin anew, in ns.
const LONG_UP: u64 = 30_000_000_000;
/// How far a pause is spread, as a share of it.
const JITTER: f64 = 0.2;

/// What follows an exit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "as in processfile::App")]
pub struct Policy {
    pub autorestart: bool,
    pub stop_exit_codes: Vec<i32>,
    pub min_uptime: Duration,
    pub max_restarts: u32,
    pub restart_delay: Option<Duration>,
    pub exp_backoff: Option<Duration>,
    /// It is `ready` only when it says so.
    pub needs_ready: bool,
    pub ready_timeout: Duration,
}

impl Policy {
    /// That of an app.
    pub fn of(app: &App) -> Policy {
        Policy {
            autorestart: app.autorestart,
            stop_exit_codes: app.stop_exit_codes.clone(),
            min_uptime: app.min_uptime,
            max_restarts: app.max_restarts,
            restart_delay: app.restart_delay,
            exp_backoff: app.exp_backoff_restart_delay,
            needs_ready: app.ready != Ready::Started,
            ready_timeout: app.listen_timeout,
        }
    }
}

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
enum Ending {
    /// Somebody asked for it.
    Asked,
    /// It was not ready in time: as bad as an exit.
    NotReady,
    /// See [`Event::Fail`].
    Failed,
}

/// A worker's life. Times are ns monotonic.
#[derive(Debug, Clone)]
pub struct Life {
    state: WorkerState,
    wanted: bool,
    ending: Option<Ending>,
    started_at: Option<u64>,
    wake_at: Option<u64>,
    /// The next pause, in ns.
    pause: u64,
    unstable: u32,
    restarts: u64,
    asked_restarts: u64,
    reason: Option<Box<str>>,
}

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
            started_at: None,
            wake_at: None,
            pause: 0,
            unstable: 0,
            restarts: 0,
            asked_restarts: 0,
            reason: None,
        }
    }

    /// For a master that follows.
    pub fn save(&self, now: u64) -> SavedLife {
        SavedLife {
            state: self.state,
            wanted: self.wanted,
            ending: self.ending,
            wait: self.wake_at.map(|at| at.saturating_sub(now)),
            pause: self.pause,
            unstable: self.unstable,
            restarts: self.restarts,
            asked_restarts: self.asked_restarts,
            reason: self.reason.clone(),
        }
    }

    /// Goes on from what a former master knew. `running`: since when its process runs, if there is one.
    pub fn restore(saved: &SavedLife, running: Option<u64>, now: u64) -> Life {
        let alive = matches!(saved.state, WorkerState::Running | WorkerState::Ready | WorkerState::Stopping);
        let state = match (running, saved.state) {
            (Some(_), state) if alive => state,
            // Its start was not on record yet.
            (Some(_), _) => WorkerState::Running,
            // Its process is gone, and how is not known.
            (None, state) if alive || state == WorkerState::Starting => WorkerState::Stopped,
            (None, state) => state,
        };
        let waits = saved.wait.filter(|_| matches!(state, WorkerState::Backoff | WorkerState::Running));
        Life {
            state,
            wanted: saved.wanted || running.is_some() && saved.state != WorkerState::Stopping,
            ending: saved.ending.filter(|_| state == WorkerState::Stopping),
            started_at: running,
            wake_at: waits.map(|wait| now + wait),
            pause: saved.pause,
            unstable: saved.unstable,
            restarts: saved.restarts,
            asked_restarts: saved.asked_restarts,
            reason: saved.reason.clone(),
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
        self.unstable
    }

    /// Why it is where it is, if that needs a reason.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// What follows from `event`. `random` gives 0…1, and spreads a pause.
    pub fn on(&mut self, event: Event<'_>, now: u64, policy: &Policy, random: impl FnOnce() -> f64) -> Step {
        use WorkerState as S;
        match event {
            Event::Start => self.start(),
            Event::Stop => self.stop(),
            Event::Restart => self.restart(),
            Event::Reset => {
                (self.restarts, self.asked_restarts, self.unstable) = (0, 0, 0);
                Step::Nothing
            }
            Event::Spawned => self.spawned(now, policy),
            Event::SpawnFailed(why) if self.state == S::Starting => {
                self.started_at = None;
                if !self.wanted {
                    return self.end_of_stop();
                }
                self.unstable_exit(why, now, policy, random)
            }
            Event::Ready if self.state == S::Running => {
                (self.state, self.wake_at) = (S::Ready, None);
                Step::Nothing
            }
            Event::Exited(how) => self.exited(how, now, policy, random),
            Event::Due => self.due(now, policy),
            Event::Fail(why) if matches!(self.state, S::Running | S::Ready) => {
                self.reason = Some(why.into());
                self.end(Ending::Failed)
            }
            Event::Replaced if matches!(self.state, S::Running | S::Ready) => {
                self.asked_restarts += 1;
                self.started_at = Some(now);
                (self.state, self.wake_at) = (if policy.needs_ready { S::Ready } else { S::Running }, None);
                (self.unstable, self.pause, self.reason) = (0, 0, None);
                Step::Nothing
            }
            Event::SpawnFailed(_) | Event::Ready | Event::Fail(_) | Event::Replaced => Step::Nothing,
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
            WorkerState::Starting if self.started_at.is_some() => {
                // A process has been asked for; it ends as soon as it is there.
                Step::Nothing
            }
            WorkerState::Stopping => {
                self.ending = Some(Ending::Asked);
                Step::Nothing
            }
            _ => self.end_of_stop(),
        }
    }

    fn restart(&mut self) -> Step {
        self.wanted = true;
        match self.state {
            WorkerState::Running | WorkerState::Ready => {
                self.asked_restarts += 1;
                self.end(Ending::Asked)
            }
            WorkerState::Starting | WorkerState::Stopping => Step::Nothing,
            _ => {
                self.asked_restarts += 1;
                self.begin_anew()
            }
        }
    }

    fn begin_anew(&mut self) -> Step {
        (self.unstable, self.pause, self.reason) = (0, 0, None);
        self.begin()
    }

    fn begin(&mut self) -> Step {
        (self.state, self.wake_at, self.ending) = (WorkerState::Starting, None, None);
        self.started_at = None;
        Step::Spawn
    }

    fn end(&mut self, why: Ending) -> Step {
        (self.state, self.wake_at, self.ending) = (WorkerState::Stopping, None, Some(why));
        Step::Stop
    }

    fn end_of_stop(&mut self) -> Step {
        (self.state, self.wake_at, self.ending, self.started_at) = (WorkerState::Stopped, None, None, None);
        self.reason = None;
        (self.unstable, self.pause) = (0, 0);
        if self.wanted { self.begin() } else { Step::Nothing }
    }

    fn spawned(&mut self, now: u64, policy: &Policy) -> Step {
        if self.state != WorkerState::Starting {
            return Step::Nothing;
        }
        (self.state, self.started_at) = (WorkerState::Running, Some(now));
        self.wake_at = policy.needs_ready.then(|| now.saturating_add(nanos(policy.ready_timeout)));
        if !self.wanted {
            return self.end(Ending::Asked);
        }
        Step::Nothing
    }

    fn due(&mut self, now: u64, policy: &Policy) -> Step {
        if self.wake_at.is_none_or(|at| at > now) {
            return Step::Nothing;
        }
        match self.state {
            WorkerState::Backoff => {
                self.restarts += 1;
                self.begin()
            }
            WorkerState::Running => {
                self.reason = Some(format!("not ready within {:?} (listen_timeout)", policy.ready_timeout).into());
                self.end(Ending::NotReady)
            }
            _ => Step::Nothing,
        }
    }

    fn exited(&mut self, how: How, now: u64, policy: &Policy, random: impl FnOnce() -> f64) -> Step {
        let lived = self.started_at.take().map_or(0, |at| now.saturating_sub(at));
        match (self.state, self.ending.take()) {
            (WorkerState::Stopping, Some(Ending::NotReady)) if self.wanted => {
                let why = self.reason.take().unwrap_or_default();
                self.unstable_exit(&why, now, policy, random)
            }
            (WorkerState::Stopping, Some(Ending::Failed)) if self.wanted => {
                self.restarts += 1;
                self.begin()
            }
            (WorkerState::Stopping, _) => self.end_of_stop(),
            (WorkerState::Running | WorkerState::Ready | WorkerState::Starting, _) => {
                let told = told(how);
                if !self.wanted {
                    return self.end_of_stop();
                }
                let enough = matches!(how, How::Exited(code) if policy.stop_exit_codes.contains(&code));
                if !policy.autorestart || enough {
                    (self.state, self.wake_at) = (WorkerState::Exited, None);
                    self.reason = Some(told.into());
                    return Step::Nothing;
                }
                if lived < nanos(policy.min_uptime) {
                    return self.unstable_exit(&told, now, policy, random);
                }
                self.unstable = 0;
                if lived >= LONG_UP {
                    self.pause = 0;
                }
                self.again(&told, now, policy, random)
            }
            _ => Step::Nothing,
        }
    }

    fn unstable_exit(&mut self, why: &str, now: u64, policy: &Policy, random: impl FnOnce() -> f64) -> Step {
        self.started_at = None;
        self.unstable += 1;
        if !policy.autorestart {
            (self.state, self.wake_at) = (WorkerState::Exited, None);
            self.reason = Some(why.into());
            return Step::Nothing;
        }
        if self.unstable >= policy.max_restarts {
            let text = format!(
                "{why}; {} exits in a row within {:?} of the start (max_restarts, min_uptime)",
                self.unstable, policy.min_uptime
            );
            (self.state, self.wake_at, self.reason) = (WorkerState::Fatal, None, Some(text.into()));
            return Step::Nothing;
        }
        self.again(why, now, policy, random)
    }

    /// Tried again, at once or after a pause.
    fn again(&mut self, why: &str, now: u64, policy: &Policy, random: impl FnOnce() -> f64) -> Step {
        let grown = |pause: u64| (pause + pause / 2).min(LONGEST_PAUSE);
        let wait = match (policy.restart_delay, policy.exp_backoff) {
            (Some(delay), _) => nanos(delay),
            (None, Some(first)) => {
                let wait = if self.pause == 0 { nanos(first).min(LONGEST_PAUSE) } else { self.pause };
                self.pause = grown(wait);
                wait
            }
            (None, None) if self.pause == 0 => {
                self.pause = FIRST_PAUSE;
                0
            }
            (None, None) => {
                let wait = self.pause;
                self.pause = grown(wait);
                let spread = 1.0 - JITTER + 2.0 * JITTER * random().clamp(0.0, 1.0);
                ((wait as f64 * spread) as u64).min(LONGEST_PAUSE)
            }
        };
        self.reason = Some(why.into());
        if wait == 0 {
            self.restarts += 1;
            return self.begin();
        }
        (self.state, self.wake_at) = (WorkerState::Backoff, Some(now.saturating_add(wait)));
        Step::Nothing
    }

    /// A process has been asked for, and will say that it started: a stop has to wait for that.
    pub fn asked_for(&mut self, now: u64) {
        if self.state == WorkerState::Starting {
            self.started_at = Some(now);
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn told(how: How) -> String {
    match how {
        How::Exited(code) => format!("exit code {code}"),
        How::Killed(n) => signal_name(n).map_or_else(|| format!("signal {n}"), |name| format!("killed by {name}")),
        How::Dumped(n) => format!("killed by {} (core dumped)", signal_name(n).unwrap_or("a signal")),
    }
}
