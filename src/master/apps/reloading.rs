//! `reload`: each process is replaced by one that is ready before it is told to stop.
//!
//! ```text
//! worker   ── its process ────────────────────────────────── stop signal ──→ retired, ends by itself
//!                 successor ── started ── ready (or up for min_uptime) ──┘ → is its process now
//!                                 └── fails, or is not ready in time: the rollout ends, the old ones stay
//! ```
//!
//! Some at a time (`reload_step`), app by app. An app that is forked from a pool gets a new generation of it first.

use std::collections::VecDeque;
use std::time::Duration;

use slog::{info, warn};

use super::super::Master;
use super::super::runs::{Asker, Form};
use super::super::timers::{Key, Timer};
use super::Until;
use crate::processfile::{Program, Ready};
use crate::wire::apps::WorkerState;
use crate::wire::rpc::RpcError;
use crate::wire::status::State;
use crate::workers::Event;

const SIGTERM: i32 = 15;

/// A reload that is under way.
#[derive(Debug)]
pub(in super::super) struct Rollout {
    asker: Asker,
    /// All that it is about.
    ids: Vec<u32>,
    /// Those whose turn has not come.
    left: VecDeque<u32>,
    /// Those that are being replaced.
    now: Vec<u32>,
    /// The pool whose new generation is awaited, an index.
    pool: Option<usize>,
    /// Pools that have one.
    reloaded: Vec<usize>,
}

/// A process that is to take a worker's place.
#[derive(Debug)]
pub(in super::super) struct Successor {
    /// None: it could not be started yet.
    pub slot: Option<u32>,
    /// When it has to be ready, or has been up for long enough.
    timer: Option<Key>,
}

impl Master {
    /// `apps.reload`.
    pub(in super::super) fn reload_apps(&mut self, asker: Asker, ids: Vec<u32>) {
        let busy = self.apps.rollouts.iter().find_map(|r| r.ids.iter().find(|id| ids.contains(id)));
        if let Some(worker) = busy.and_then(|id| self.apps.workers.get(id)) {
            let text = format!("app \"{}\" is being reloaded already", worker.app);
            return self.refuse(asker, &RpcError::reload_failed(text));
        }
        let left = ids.iter().copied().collect();
        self.apps.rollouts.push(Rollout { asker, ids, left, now: Vec::new(), pool: None, reloaded: Vec::new() });
        self.go_on_reloading();
    }

    /// Begins what can begin, and ends what is done.
    pub(super) fn go_on_reloading(&mut self) {
        let mut at = 0;
        while at < self.apps.rollouts.len() {
            let mut rollout = self.apps.rollouts.swap_remove(at);
            if self.advance(&mut rollout) {
                self.apps.rollouts.push(rollout);
                let last = self.apps.rollouts.len() - 1;
                self.apps.rollouts.swap(at, last);
                at += 1;
            } else {
                self.answer_when(rollout.asker, rollout.ids, Until::Up);
            }
        }
    }

    /// False: all are done.
    fn advance(&mut self, rollout: &mut Rollout) -> bool {
        rollout.now.retain(|id| self.apps.workers.get(id).is_some_and(|w| w.successor.is_some()));
        while rollout.pool.is_none() {
            let Some(&id) = rollout.left.front() else { break };
            let Some(entry) = self.apps.entry_of(id) else {
                rollout.left.pop_front();
                continue;
            };
            let name = &entry.app.name;
            let same = |other: &u32| self.apps.workers.get(other).is_some_and(|w| *w.app == **name);
            if !rollout.now.iter().all(same) || rollout.now.len() >= entry.app.reload_step as usize {
                break;
            }
            if let Program::Pool { pool, .. } = &entry.app.program
                && let Some(index) = self.pool_index(pool)
                && !rollout.reloaded.contains(&index)
            {
                rollout.pool = Some(index);
                let nobody = Asker { connection: mio::Token(usize::MAX), form: Form::Silent };
                self.reload(nobody, index);
                break;
            }
            rollout.left.pop_front();
            let state = self.apps.workers.get(&id).map(|w| w.life.state());
            if matches!(state, Some(WorkerState::Running | WorkerState::Ready)) {
                self.begin_successor(id);
                if self.apps.workers.get(&id).is_some_and(|w| w.successor.is_some()) {
                    rollout.now.push(id);
                }
            } else {
                // Nothing of it runs that would have to go on meanwhile.
                self.tell_worker(id, Event::Restart);
            }
        }
        !(rollout.now.is_empty() && rollout.left.is_empty() && rollout.pool.is_none())
    }

    /// A pool has a new generation, or will not have one.
    pub(in super::super) fn pool_reloaded(&mut self, index: usize, outcome: &Result<(), String>) {
        for rollout in self.apps.rollouts.iter_mut().filter(|r| r.pool == Some(index)) {
            rollout.pool = None;
            rollout.reloaded.push(index);
        }
        match outcome {
            Ok(()) => self.go_on_reloading(),
            Err(why) => {
                let name = self.pools[index].definition.name.clone();
                self.end_rollouts(|r| r.reloaded.last() == Some(&index), &format!("pool \"{name}\": {why}"));
            }
        }
    }

    fn begin_successor(&mut self, id: u32) {
        let Some(worker) = self.apps.workers.get_mut(&id) else { return };
        worker.successor = Some(Box::new(Successor { slot: None, timer: None }));
        if let Err(why) = self.start_process(id) {
            self.successor_failed(id, &why);
        }
    }

    /// A successor's process runs.
    pub(super) fn successor_spawned(&mut self, id: u32, slot: u32) {
        let Some(app) = self.apps.entry_of(id).map(|entry| std::rc::Rc::clone(&entry.app)) else { return };
        let seq = self.runs.live(slot).map_or(0, |live| live.seq);
        let wait = if app.ready == Ready::Started { app.min_uptime } else { app.listen_timeout };
        let timer = self.timers.after(wait, Timer::Successor { slot, seq });
        if let Some(successor) = self.apps.workers.get_mut(&id).and_then(|w| w.successor.as_mut()) {
            successor.timer = Some(timer);
        }
        self.await_ready(id, slot);
    }

    /// It has been up for long enough, or has not become ready in time.
    pub(in super::super) fn successor_timer(&mut self, slot: u32, seq: u64) {
        let Some(id) = self.runs.live_seq(slot, seq).and_then(|live| live.worker) else { return };
        let Some(app) = self.apps.entry_of(id).map(|entry| std::rc::Rc::clone(&entry.app)) else { return };
        if app.ready == Ready::Started {
            return self.process_ready(slot);
        }
        let why = format!("the new process was not ready within {:?} (listen_timeout)", app.listen_timeout);
        self.end_process(id, slot);
        self.successor_failed(id, &why);
    }

    /// A process says that it is ready, or has been found to be: a worker's own, or its successor.
    pub(in super::super) fn process_ready(&mut self, slot: u32) {
        let Some(id) = self.runs.live(slot).and_then(|live| live.worker) else { return };
        let Some(worker) = self.apps.workers.get_mut(&id) else { return };
        if worker.slot == Some(slot) {
            // Said again it would only cost a line in the journal.
            if worker.life.state() == WorkerState::Running {
                self.tell_worker(id, Event::Ready);
            }
            return;
        }
        let Some(successor) = worker.successor.take_if(|s| s.slot == Some(slot)) else { return };
        let old = worker.slot.replace(slot);
        let pid = self.runs.live(slot).and_then(|live| live.process.as_ref()).map(|p| p.0);
        let started = self.table.record(slot).map_or(0, |row| row.started_at);
        self.timers.cancel(successor.timer);
        let Some(worker) = self.apps.workers.get_mut(&id) else { return };
        worker.process = pid.map(|pid| (pid, started));
        info!(self.log, "a worker has been replaced"; "app" => &*worker.app, "instance" => worker.instance, "pid" => pid);
        if let Some(old) = old {
            self.end_process(id, old);
            self.tell_worker(id, Event::Replaced);
        } else {
            // The old one has ended by itself meanwhile, and was about to be started again.
            self.tell_worker(id, Event::Start);
            self.tell_worker(id, Event::Spawned);
            if self.apps.entry_of(id).is_some_and(|entry| entry.app.ready != Ready::Started) {
                self.tell_worker(id, Event::Ready);
            }
        }
        self.go_on_reloading();
    }

    /// No successor: the rollout ends here, and whoever has not been replaced stays.
    pub(super) fn successor_failed(&mut self, id: u32, why: &str) {
        let Some(worker) = self.apps.workers.get_mut(&id) else { return };
        let Some(successor) = worker.successor.take() else { return };
        let who = format!("app \"{}\", instance {}", worker.app, worker.instance);
        self.timers.cancel(successor.timer);
        // If its own process has ended meanwhile, it waited for this one.
        self.apps.starts.push(id);
        self.end_rollouts(|r| r.ids.contains(&id), &format!("{who}: {why}"));
    }

    fn end_rollouts(&mut self, which: impl Fn(&Rollout) -> bool, why: &str) {
        while let Some(at) = self.apps.rollouts.iter().position(&which) {
            let rollout = self.apps.rollouts.swap_remove(at);
            warn!(self.log, "a reload failed"; "why" => why);
            // Those that are on their way beside the one that failed are not waited for.
            for id in rollout.now {
                let Some(worker) = self.apps.workers.get_mut(&id) else { continue };
                let Some(successor) = worker.successor.take() else { continue };
                self.timers.cancel(successor.timer);
                self.apps.starts.push(id);
                if let Some(slot) = successor.slot {
                    self.end_surplus(slot);
                }
            }
            let done = rollout.ids.len() - rollout.left.len();
            let text =
                format!("{why}; what had not been replaced by then stays ({done} of {} were begun)", rollout.ids.len());
            self.refuse(rollout.asker, &RpcError::reload_failed(text));
        }
    }

    /// It was told to stop before its turn came.
    pub(super) fn not_to_be_reloaded(&mut self, id: u32) {
        self.apps.rollouts.iter_mut().for_each(|rollout| rollout.left.retain(|left| *left != id));
    }

    /// A worker that is told to stop needs no successor.
    pub(super) fn drop_successor(&mut self, id: u32) {
        let Some(worker) = self.apps.workers.get_mut(&id) else { return };
        let Some(slot) = worker.successor.as_ref().map(|s| s.slot) else { return };
        if let Some(slot) = slot {
            self.end_surplus(slot);
        }
        self.successor_failed(id, "it was told to stop");
    }

    /// A process that is no worker's any more ends, as soon as there is one.
    pub(super) fn end_surplus(&mut self, slot: u32) {
        const GRACE: Option<Duration> = Some(Duration::from_secs(2));
        match self.runs.live(slot) {
            Some(live) if live.state == State::Starting => live.early_signal = Some((SIGTERM, GRACE)),
            _ => self.signal_worker(slot, SIGTERM, GRACE, true),
        }
    }
}
