//! What has happened to a worker so far, and what follows from it.

use super::*;

/// The process of a worker, as its keeper knows it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) enum Process {
    #[default]
    None,
    /// To be started, or, since a time, on its way: asked for of somebody who answers later.
    Coming(Option<u64>),
    Up(u64),
}

/// Why a process was told to end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Told {
    Asked,
    NotReady,
    Failed,
}

/// What has happened so far.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub wanted: bool,
    pub process: Process,
    pub told: Option<Told>,
    /// Its process is on its way, and a restart was asked for meanwhile.
    pub redo: bool,
    ready: bool,
    /// Failed starts since the last good one.
    pub failures: u32,
    /// Pauses since the last long life.
    tries: i32,
    /// It is not to be tried again: fatal, or else exited.
    given_up: Option<bool>,
    pub restarts: u64,
    pub asked: u64,
    /// Bounds of the time at which it is to be woken.
    pub wake: Option<(u64, u64)>,
}

impl Model {
    pub fn state(&self) -> S {
        match (self.process, self.told, self.given_up) {
            (Process::Up(_), Some(_), _) => S::Stopping,
            (Process::Up(_), None, _) if self.ready => S::Ready,
            (Process::Up(_), None, _) => S::Running,
            (Process::Coming(_), ..) => S::Starting,
            (Process::None, _, Some(true)) => S::Fatal,
            (Process::None, _, Some(false)) => S::Exited,
            (Process::None, ..) if self.wanted => S::Backoff,
            (Process::None, ..) => S::Stopped,
        }
    }

    pub fn forgive(&mut self) {
        (self.failures, self.tries, self.given_up) = (0, 0, None);
    }

    pub fn come(&mut self) -> Step {
        (self.process, self.told, self.redo, self.ready, self.wake) = (Process::Coming(None), None, false, false, None);
        Step::Spawn
    }

    fn tell(&mut self, why: Told) -> Step {
        (self.told, self.wake) = (Some(why), None);
        Step::Stop
    }

    pub fn up(&mut self, now: u64, policy: &Policy) -> Step {
        self.process = Process::Up(now);
        if !self.wanted || self.redo {
            return self.tell(Told::Asked);
        }
        self.wake = policy.needs_ready.then(|| now + 3000 * MS).map(|at| (at, at));
        Step::Nothing
    }

    /// Its process is gone, as somebody wanted.
    fn gone(&mut self) -> Step {
        self.forgive();
        (self.process, self.told, self.redo, self.ready, self.wake) = (Process::None, None, false, false, None);
        if self.wanted { self.come() } else { Step::Nothing }
    }

    /// Its process is gone, and nobody wanted that.
    fn lost(&mut self, failed: bool, for_good: bool, now: u64, policy: &Policy) -> Step {
        (self.process, self.told, self.ready, self.wake) = (Process::None, None, false, None);
        self.failures += u32::from(failed);
        if for_good {
            self.given_up = Some(false);
        } else if failed && self.failures >= policy.max_restarts {
            self.given_up = Some(true);
        }
        if self.given_up.is_some() {
            return Step::Nothing;
        }
        let ms = 1e6;
        let (least, most) = match (policy.restart_delay, policy.exp_backoff) {
            (Some(_), _) => (70.0 * ms, 70.0 * ms),
            (None, Some(first)) => {
                let wait = (first.as_secs_f64() * 1e9 * 1.5f64.powi(self.tries)).min(15e9);
                (wait, wait)
            }
            (None, None) if self.tries == 0 => (0.0, 0.0),
            (None, None) => {
                let wait = (100.0 * ms * 1.5f64.powi(self.tries - 1)).min(15e9);
                (wait * 0.8, (wait * 1.2).min(15e9))
            }
        };
        self.tries += 1;
        if most == 0.0 {
            self.restarts += 1;
            return self.come();
        }
        // Halves of ns are lost on the way.
        self.wake = Some((now + least as u64 - 100, now + most as u64 + 100));
        Step::Nothing
    }

    /// What is to follow.
    pub fn on(&mut self, what: &Do, now: u64, policy: &Policy) -> Step {
        let up = matches!(self.process, Process::Up(_)) && self.told.is_none();
        match (what, self.process) {
            (Do::Start, Process::None) => {
                self.wanted = true;
                self.forgive();
                self.come()
            }
            (Do::Restart, Process::None) => {
                self.wanted = true;
                self.asked += 1;
                self.forgive();
                self.come()
            }
            (Do::Start, _) => {
                self.wanted = true;
                Step::Nothing
            }
            (Do::Restart, Process::Up(_)) => {
                let doubled = self.wanted && self.told == Some(Told::Asked);
                self.wanted = true;
                self.asked += u64::from(!doubled);
                self.forgive();
                if self.told.replace(Told::Asked).is_none() { self.tell(Told::Asked) } else { Step::Nothing }
            }
            (Do::Restart, Process::Coming(ordered)) => {
                let ordered = ordered.is_some();
                let doubled = self.wanted && self.redo;
                self.wanted = true;
                self.asked += u64::from(ordered && !doubled);
                self.redo |= ordered;
                self.forgive();
                Step::Nothing
            }
            (Do::Stop, Process::Up(_)) => {
                self.wanted = false;
                if self.told.replace(Told::Asked).is_none() { self.tell(Told::Asked) } else { Step::Nothing }
            }
            (Do::Stop, Process::Coming(Some(_))) => {
                self.wanted = false;
                Step::Nothing
            }
            (Do::Stop, _) => {
                self.wanted = false;
                self.gone()
            }
            (Do::Order, Process::Coming(_)) => {
                self.process = Process::Coming(Some(now));
                Step::Nothing
            }
            (Do::Spawned, Process::Coming(_)) => self.up(now, policy),
            (Do::SpawnFailed, Process::Coming(_)) if !self.wanted || self.redo => self.gone(),
            (Do::SpawnFailed, Process::Coming(_)) => self.lost(true, !policy.autorestart, now, policy),
            (Do::Ready, _) if up && !self.ready => {
                (self.ready, self.wake) = (true, None);
                Step::Nothing
            }
            (Do::Fail, _) if up => self.tell(Told::Failed),
            // Its end may be known before its start.
            (Do::Exit(how), Process::Up(since) | Process::Coming(Some(since))) => {
                if !self.wanted || self.redo || self.told == Some(Told::Asked) {
                    return self.gone();
                }
                if self.told == Some(Told::NotReady) {
                    return self.lost(true, !policy.autorestart, now, policy);
                }
                let good = Duration::from_nanos(now - since) >= policy.min_uptime;
                let failed = self.told.is_none() && !good;
                let code = matches!(how, How::Exited(code) if policy.stop_exit_codes.contains(code));
                let for_good = self.told.is_none() && (code || !policy.autorestart);
                if for_good {
                    self.given_up = Some(false);
                    (self.process, self.ready, self.wake) = (Process::None, false, None);
                    return Step::Nothing;
                }
                if good {
                    self.failures = 0;
                }
                if now - since >= 30_000 * MS {
                    self.tries = 0;
                }
                self.lost(failed, false, now, policy)
            }
            _ => Step::Nothing,
        }
    }

    /// Its time has come.
    pub fn due(&mut self) -> Step {
        if self.process == Process::None {
            self.restarts += 1;
            return self.come();
        }
        self.tell(Told::NotReady)
    }
}
