//! All apps and workers, as the master knows them, and whoever waits for an answer about them.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use serde_json::value::RawValue;

use super::super::runs::Asker;
use super::super::timers::Key;
use super::list::List;
use super::recovering::Note;
use super::{reloading, rereading, sockets, watching};
use crate::processfile::App;
use crate::sys::clock::monotonic_ns;
use crate::sys::notify::NotifySocket;
use crate::table::ExitEntry;
use crate::wire::apps::{LastExit, WorkerState};
use crate::workers::{Life, Starts};

/// The environment of a caller, shared by all apps that it started together.
pub(in super::super) type Environment = Rc<BTreeMap<String, String>>;

/// All apps and workers.
#[derive(Debug)]
pub(in super::super) struct Apps {
    /// By name.
    pub entries: BTreeMap<String, Box<Entry>>,
    /// By id. Each is among its app's, too: see [`Apps::add`].
    pub workers: BTreeMap<u32, Box<Worker>>,
    /// The next worker's id.
    pub next_id: u32,
    /// Workers that are to be started, and how fast.
    pub starts: Starts,
    pub(super) starts_timer: Option<Key>,
    pub(super) measure_timer: Option<Key>,
    /// What is watched for whom.
    pub(super) watching: watching::Watching,
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
    pub(super) rereading: Option<rereading::Rereading>,
}

/// An app.
#[derive(Debug)]
pub(in super::super) struct Entry {
    /// As it was declared.
    pub app: Rc<App>,
    /// What the caller had.
    pub env: Environment,
    /// A process file has it, the daemon's or that of `apply`; else it came by `start`.
    pub declared: bool,
    /// Sockets that are kept for it.
    pub sockets: Vec<sockets::Socket>,
    /// Its workers, by id.
    pub(super) ids: Vec<u32>,
}

/// An instance.
#[derive(Debug)]
pub(in super::super) struct Worker {
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
    pub(super) timer: Option<Key>,
    pub(super) shown: WorkerState,
}

/// What has to be true of a worker before its caller hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Until {
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
pub(in super::super) struct Pending {
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
    pub(in super::super) fn new(list: List) -> Apps {
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
    pub(super) fn add(&mut self, id: u32, worker: Worker) {
        if let Some(entry) = self.entries.get_mut(&*worker.app) {
            let at = entry.ids.partition_point(|other| *other < id);
            entry.ids.insert(at, id);
        }
        self.workers.insert(id, Box::new(worker));
    }

    /// Forgets a worker; whether it was its app's last.
    pub(super) fn remove(&mut self, id: u32) -> Option<(Box<Worker>, bool)> {
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
    pub(super) fn new(app: Rc<App>, env: Environment, declared: bool) -> Entry {
        Entry { app, env, declared, sockets: Vec::new(), ids: Vec::new() }
    }
}

impl Worker {
    pub(super) fn new(app: Rc<str>, instance: u32, life: Life) -> Worker {
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
