//! Apps and their workers: what is to be kept up, and the processes that do it.
//!
//! A worker is one instance of an app. What it is told and what its exits mean is decided by its [`crate::workers::Life`]; here is
//! what follows from that. Its process is kept as a run's is: a slot in the shared table that has the pid before the
//! program begins, an exit that comes through the ring. So a master that follows finds every worker again.
//!
//! ```text
//! verbs, exits, timers ──Event──→ Life ──Step──→ spawn (queued, at the end of the turn) · stop signal · nothing
//! ```

mod changing;
mod comparing;
mod defining;
mod ends;
mod list;
mod measuring;
mod node;
mod output;
mod pidfile;
mod pools;
mod readiness;
mod recovering;
mod registry;
mod reloading;
mod rereading;
mod sockets;
mod spawning;
mod telling;
mod watching;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::value::{RawValue, to_raw_value};
use slog::{info, warn};

pub(super) use list::List;
pub(super) use node::{NodeChannel, kept_channel};
pub(super) use readiness::Probe;
pub(super) use registry::{Apps, Environment, Pending, Until};
use registry::{Entry, Worker};

use super::Master;
use super::timers::Timer;
use crate::processfile::{App, Ready};
use crate::sys::clock::monotonic_ns;
use crate::sys::users::Identity;
use crate::wire::apps::WorkerState;
use crate::workers::{Event, Policy, Step};

impl Master {
    /// Something happened to a worker, or is asked of it.
    pub(super) fn tell_worker(&mut self, id: u32, event: Event<'_>) {
        let now = monotonic_ns();
        let Some(worker) = self.apps.workers.get_mut(&id) else { return };
        let Some(entry) = self.apps.entries.get(&*worker.app) else { return };
        let wanted = worker.life.wanted();
        if worker.doomed && matches!(event, Event::Start | Event::Restart) {
            return;
        }
        let step = worker.life.on(event, now, &Policy::of(&entry.app), rand::random);
        let changed = wanted != worker.life.wanted();
        let old = worker.timer.take();
        let wake_at = worker.life.wake_at();
        self.timers.cancel(old);
        let timer = wake_at.map(|at| self.timers.at(at, Timer::Worker(id)));
        if let Some(worker) = self.apps.workers.get_mut(&id) {
            worker.timer = timer;
        }
        if changed {
            self.save_list();
        }
        if event == Event::Stop {
            self.not_to_be_reloaded(id);
        }
        if step == Step::Stop || event == Event::Stop {
            self.drop_successor(id);
        }
        match step {
            Step::Nothing => {}
            Step::Spawn => self.apps.starts.push(id),
            Step::Stop => self.stop_worker(id),
        }
        self.worker_changed(id);
    }

    /// What follows from a new state.
    pub(super) fn worker_changed(&mut self, id: u32) {
        let Some(worker) = self.apps.workers.get_mut(&id) else { return };
        let state = worker.life.state();
        if state != WorkerState::Starting {
            worker.waits_for = None;
        }
        if std::mem::replace(&mut worker.shown, state) != state {
            let why = worker.life.reason().unwrap_or_default();
            match state {
                WorkerState::Fatal => {
                    warn!(self.log, "a worker is given up"; "app" => &*worker.app, "instance" => worker.instance, "why" => why);
                }
                WorkerState::Backoff => {
                    info!(self.log, "a worker is tried again after a pause"; "app" => &*worker.app, "instance" => worker.instance, "why" => why);
                }
                _ => {
                    slog::debug!(self.log, "a worker"; "app" => &*worker.app, "instance" => worker.instance, "state" => %state)
                }
            }
            let app = Rc::clone(&worker.app);
            self.worker_event(id, None);
            if matches!(state, WorkerState::Running | WorkerState::Ready) {
                self.release_held_by(&app);
            }
        }
        let Some(worker) = self.apps.workers.get(&id) else { return };
        if worker.doomed && worker.slot.is_none() && worker.life.state() == WorkerState::Stopped {
            self.remove_worker(id);
        }
        self.note_worker(id);
        self.settle(Some(id));
        // Many may end at once, and a look at who depends on whom is one at all workers.
        self.apps.stops_due = !self.apps.stops.is_empty();
        self.go_on_reloading();
    }

    /// Whether nothing is in between that the next master could not tell from the list, the table and its processes: no
    /// worker is being replaced, deleted or forked, none waits to be told to end, the process file is not being read, and the list is on the disk.
    pub(super) fn apps_are_calm(&self) -> bool {
        let list = &self.apps.list;
        self.apps.rollouts.is_empty()
            && self.apps.stops.is_empty()
            && self.apps.to_end.is_empty()
            && self.apps.rereading.is_none()
            && !list.dirty
            && list.saved() >= list.version()
            && self.apps.workers.values().all(|w| !w.doomed && w.successor.is_none())
            && self.runs.alive().all(|(_, live)| live.worker.is_none() || live.process.is_some())
    }

    /// Starts whose turn it is, a few a turn of the loop.
    pub(super) fn start_workers(&mut self) {
        /// A spawn takes about a millisecond, and the others are to be heard meanwhile.
        const A_TURN: usize = 8;
        if self.fostered {
            return;
        }
        for _ in 0..A_TURN {
            match self.apps.starts.take(monotonic_ns()) {
                Some(id) => self.spawn_worker(id),
                None => break,
            }
        }
        let next = self.apps.starts.next_at(monotonic_ns());
        let old = self.apps.starts_timer.take();
        self.timers.cancel(old);
        self.apps.starts_timer = next.map(|at| self.timers.at(at, Timer::Workers));
    }

    /// One more of that app is up, or one fewer is to be: if it is up as a whole now, nobody need wait for it any longer.
    fn release_held_by(&mut self, app: &str) {
        if !self.apps.held.is_empty() && self.is_up(app) {
            self.release_held();
        }
    }

    /// Those that waited are looked at again, and those that still have to say for what.
    pub(super) fn release_held(&mut self) {
        for id in std::mem::take(&mut self.apps.held) {
            match self.waits_for(id) {
                Some(why) => self.hold_worker(id, why),
                None => self.apps.starts.push(id),
            }
        }
    }

    /// Whether that app counts as ready for those that depend on it.
    fn is_up(&self, name: &str) -> bool {
        let Some(entry) = self.apps.entries.get(name) else { return false };
        let wanted = if entry.app.ready == Ready::Started { WorkerState::Running } else { WorkerState::Ready };
        let mut workers = entry.ids.iter().filter_map(|id| self.apps.workers.get(id)).filter(|w| !w.doomed).peekable();
        workers.peek().is_some() && workers.all(|w| w.life.state() == wanted || w.life.state() == WorkerState::Ready)
    }
}

/// Who an app runs as.
fn identity(app: &App) -> std::io::Result<Option<Identity>> {
    crate::sys::users::resolve(app.user.as_deref(), app.group.as_deref())
}

/// As JSON. What is told of workers always can be.
fn json<T: serde::Serialize>(what: &T) -> Box<RawValue> {
    to_raw_value(what).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// The file of instance `number`: `-N` before the extension, but for instance 0.
fn numbered(file: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return file.to_owned();
    }
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let name = match file.extension() {
        Some(extension) => format!("{stem}-{number}.{}", extension.to_string_lossy()),
        None => format!("{stem}-{number}"),
    };
    file.with_file_name(name)
}
