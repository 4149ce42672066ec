//! What follows an exit: whether it is tried again, and after which pause.

use std::time::Duration;

use crate::processfile::{App, Ready};

/// The second pause of the default policy, in ns; the first is none.
const SECOND: u64 = 100_000_000;
/// The longest pause that grows, in ns.
const LONGEST: u64 = 15_000_000_000;
/// Up for so long, and the pauses begin anew, in ns.
const LONG_UP: u64 = 30_000_000_000;
/// How far a pause is spread, as a share of it: those that fail together are not tried again together.
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

    /// The deadline for becoming ready of what was started at `started`, if it has one.
    pub(super) fn ready_by(&self, started: u64) -> Option<u64> {
        self.needs_ready.then(|| started.saturating_add(nanos(self.ready_timeout)))
    }
}

/// How it went of late: what the next pause, and giving up, depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// The next pause that grows, in ns; 0: the first one.
    pub pause: u64,
    /// Exits in a row before `min_uptime`.
    pub unstable: u32,
}

impl Record {
    /// It was up for so long, in ns: what it may have earned by that.
    pub fn lived(&mut self, ns: u64, policy: &Policy) {
        if ns >= nanos(policy.min_uptime) {
            self.unstable = 0;
        }
        if ns >= LONG_UP {
            self.pause = 0;
        }
    }

    /// The pause before the next try, in ns. `random` gives 0…1.
    pub fn next_pause(&mut self, policy: &Policy, random: impl FnOnce() -> f64) -> u64 {
        if let Some(delay) = policy.restart_delay {
            return nanos(delay);
        }
        let first = policy.exp_backoff.map(|first| nanos(first).min(LONGEST));
        let wait = if self.pause == 0 { first.unwrap_or(0) } else { self.pause };
        self.pause = if wait == 0 { SECOND } else { (wait + wait / 2).min(LONGEST) };
        if policy.exp_backoff.is_some() || wait == 0 {
            return wait;
        }
        let spread = 1.0 - JITTER + 2.0 * JITTER * random().clamp(0.0, 1.0);
        ((wait as f64 * spread) as u64).min(LONGEST)
    }
}

/// Times as the clock has them.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
