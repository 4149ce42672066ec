//! Apps and their workers: what is to be kept up, and the processes that do it.
//!
//! A worker is one instance of an app. What it is told and what its exits mean is decided by its [`Life`]; here is
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
mod reloading;
mod rereading;
mod sockets;
mod spawning;
mod telling;
mod watching;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::value::{RawValue, to_raw_value};
use slog::{info, warn};

pub(super) use list::List;
pub(super) use node::{NodeChannel, kept_channel};
pub(super) use readiness::Probe;
use recovering::Note;

use super::Master;
use super::runs::Asker;
use super::timers::{Key, Timer};
use crate::processfile::{App, Ready};
use crate::sys::clock::monotonic_ns;
use crate::sys::notify::NotifySocket;
use crate::sys::users::Identity;
use crate::table::ExitEntry;
use crate::wire::apps::{LastExit, WorkerState};
use crate::workers::{Event, Life, Policy, Starts, Step};

/// The environment of a caller, shared by all apps that it started together.
pub(super) type Environment = Rc<BTreeMap<String, String>>;

/// All apps and workers.
#[derive(Debug)]
pub(super) struct Apps {
    /// By name.
    pub entries: BTreeMap<String, Box<Entry>>,
    /// By id. Each is among its app's, too: see [`Apps::add`].
    pub workers: BTreeMap<u32, Box<Worker>>,
    /// The next worker's id.
    pub next_id: u32,
    /// Workers that are to be started, and how fast.
    pub starts: Starts,
    starts_timer: Option<Key>,
    measure_timer: Option<Key>,
    /// What is watched for whom.
    watching: watching::Watching,
    /// Workers that wait for a pool or for what they depend on.
    pub held: Vec<u32>,
    /// What is kept on the disk.
    pub list: List,
    /// Workers that are to be stopped after those that depend on them.
    pub stops: Vec<u32>,
    /// Somebody has changed since they were looked at.
    pub stops_due: bool,
    /// Those whose processes are to be asked to end: (worker, slot).
    pub to_end: VecDeque<(u32, u32)>,
    /// Slots of a former master's successors that had not taken over: they are ended after the recovery.
    pub surplus: Vec<u32>,
    /// Ends that a former master had seen, until the workers can be told: (worker, how, slot).
    pub ends: Vec<(u32, ExitEntry, u32)>,
    /// Slots of processes whose ends are being noted: until the notes are in the journal the table has to tell of them.
    pub ended: Vec<u32>,
    /// Channels of Node's of a former master's, until the workers are found: (slot, channel).
    pub former_channels: Vec<(u32, OwnedFd)>,
    /// Reloads that are under way.
    pub rollouts: Vec<reloading::Rollout>,
    /// Where processes say that they are ready, once one of them needs it.
    pub notify: Option<NotifySocket>,
    /// Something may lie in it.
    pub notify_due: bool,
    /// The process file's apps are not in the list on the disk yet; the keeper has them.
    pub unlisted: bool,
    /// Processes that have said so and are nobody's yet.
    pub early_ready: Vec<u32>,
    /// Whoever waits for an answer.
    pub pending: Vec<Pending>,
    /// The process file is being read again.
    rereading: Option<rereading::Rereading>,
}

/// An app.
#[derive(Debug)]
pub(super) struct Entry {
    /// As it was declared.
    pub app: Rc<App>,
    /// What the caller had.
    pub env: Environment,
    /// A process file has it, the daemon's or that of `apply`; else it came by `start`.
    pub declared: bool,
    /// Sockets that are kept for it.
    pub sockets: Vec<sockets::Socket>,
    /// Its workers, by id.
    ids: Vec<u32>,
}

/// An instance.
#[derive(Debug)]
pub(super) struct Worker {
    /// The app's name.
    pub app: Rc<str>,
    /// Its number among the app's.
    pub instance: u32,
    /// When it was added, ns of wall time; 0: not known.
    pub added_at: u64,
    /// What it is told, and what becomes of it.
    pub life: Life,
    /// Its process.
    pub slot: Option<u32>,
    /// The process that is to take its place.
    pub successor: Option<Box<reloading::Successor>>,
    /// Where its process's times and pid are shown from.
    pub process: Option<(u32, u64)>,
    /// How the one before ended.
    pub last_exit: Option<Box<LastExit<'static>>>,
    /// What it waits for before it is started.
    pub waits_for: Option<Box<str>>,
    /// What a former master has noted, until its process is found.
    pub note: Option<Box<Note>>,
    /// It is wanted, and a recovery has not found it up yet.
    pub revive: bool,
    /// To be forgotten once it has stopped.
    pub doomed: bool,
    timer: Option<Key>,
    shown: WorkerState,
}

/// What has to be true of a worker before its caller hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// It is up, and ready where it says so; or it has been given up.
    Up,
    /// It has no process.
    Down,
    /// It is not there any more.
    Gone,
    /// Nothing.
    Now,
    /// The list is on the disk; that it cannot be is an error.
    Saved,
}

/// A caller whose answer is still to come.
#[derive(Debug)]
pub(super) struct Pending {
    pub asker: Asker,
    /// What it is told of.
    pub ids: Vec<u32>,
    /// Those that are not where they are to be.
    pub missing: HashSet<u32>,
    pub until: Until,
    /// The list must be on the disk as it was then.
    pub version: u64,
    /// Of those that are gone by then.
    pub gone: Vec<Box<RawValue>>,
    /// What it is told instead.
    pub answer: Option<Box<RawValue>>,
}

impl Apps {
    pub(super) fn new(list: List) -> Apps {
        Apps {
            entries: BTreeMap::new(),
            workers: BTreeMap::new(),
            next_id: 0,
            starts: Starts::new(monotonic_ns()),
            starts_timer: None,
            measure_timer: None,
            watching: watching::Watching::default(),
            held: Vec::new(),
            stops: Vec::new(),
            stops_due: false,
            to_end: VecDeque::new(),
            surplus: Vec::new(),
            ended: Vec::new(),
            ends: Vec::new(),
            former_channels: Vec::new(),
            rollouts: Vec::new(),
            notify: None,
            notify_due: false,
            unlisted: false,
            early_ready: Vec::new(),
            list,
            pending: Vec::new(),
            rereading: None,
        }
    }

    /// The app of that worker.
    pub fn entry_of(&self, id: u32) -> Option<&Entry> {
        self.entries.get(&*self.workers.get(&id)?.app).map(|entry| &**entry)
    }

    /// Ids of an app's workers, in the order of their instances.
    pub fn ids_of(&self, name: &str) -> Vec<u32> {
        let mut ids = self.entries.get(name).map_or_else(Vec::new, |entry| entry.ids.clone());
        ids.sort_by_cached_key(|id| (self.workers.get(id).map(|worker| worker.instance), *id));
        ids
    }

    /// A worker of an app that is there.
    fn add(&mut self, id: u32, worker: Worker) {
        if let Some(entry) = self.entries.get_mut(&*worker.app) {
            let at = entry.ids.partition_point(|other| *other < id);
            entry.ids.insert(at, id);
        }
        self.workers.insert(id, Box::new(worker));
    }

    /// Forgets a worker; whether it was its app's last.
    fn remove(&mut self, id: u32) -> Option<(Box<Worker>, bool)> {
        let worker = self.workers.remove(&id)?;
        let entry = self.entries.get_mut(&*worker.app);
        let last = entry.is_none_or(|entry| {
            entry.ids.retain(|other| *other != id);
            entry.ids.is_empty()
        });
        Some((worker, last))
    }
}

impl Entry {
    /// An app without workers.
    fn new(app: Rc<App>, env: Environment, declared: bool) -> Entry {
        Entry { app, env, declared, sockets: Vec::new(), ids: Vec::new() }
    }
}

impl Worker {
    fn new(app: Rc<str>, instance: u32, life: Life) -> Worker {
        let shown = life.state();
        Worker {
            app,
            instance,
            added_at: 0,
            life,
            slot: None,
            successor: None,
            process: None,
            last_exit: None,
            waits_for: None,
            note: None,
            revive: false,
            doomed: false,
            timer: None,
            shown,
        }
    }
}

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
