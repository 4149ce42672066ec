//! The list of apps: written down after a change, read by the next master, which finds the processes in the table.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use slog::{error, info, warn};

use super::super::Master;
use super::super::timers::Timer;
use super::list::{Saved, SavedApp, SavedWorker, VERSION};
use super::{Entry, Environment, Worker};
use crate::journal::RecordRef;
use crate::processfile::{self, App};
use crate::sys::clock::monotonic_ns;
use crate::sys::reap::{How, Rusage};
use crate::table::{ExitEntry, Record};
use crate::wire::apps::{LastExit, WorkerState};
use crate::workers::{Event, Life, Policy, SavedLife};

/// What a master that follows has to know of a worker beside its process.
#[derive(Debug, Serialize, Deserialize)]
pub(in super::super) struct Note {
    life: SavedLife,
    last_exit: Option<LastExit<'static>>,
}

/// How long until a list that could not be written is written again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What a worker leaves in the journal: its id there is no run's.
fn note_id(id: u32) -> String {
    format!("worker/{id}")
}

impl Master {
    /// The list has changed: it is written at the end of the turn.
    pub(in super::super) fn save_list(&mut self) {
        // What is stopped by a shutdown still is wanted.
        if !self.stopping() {
            self.apps.list.change();
        }
    }

    /// Writes the list if it has changed.
    pub(in super::super) fn flush_list(&mut self) {
        if !self.apps.list.dirty {
            return;
        }
        let mut environments: Vec<Environment> = Vec::new();
        let mut apps = Vec::new();
        let staying: HashSet<&str> = self.apps.workers.values().filter(|w| !w.doomed).map(|w| &*w.app).collect();
        // One that has none is gone with the last of them: its name is free for the next master.
        for entry in self.apps.entries.values().filter(|entry| staying.contains(&*entry.app.name)) {
            let known = environments.iter().position(|env| Rc::ptr_eq(env, &entry.env));
            let env = known.unwrap_or_else(|| {
                environments.push(Rc::clone(&entry.env));
                environments.len() - 1
            });
            apps.push(SavedApp { app: entry.app.to_json(), env, declared: entry.declared });
        }
        let workers = self.apps.workers.iter().filter(|(_, w)| !w.doomed);
        let saved = Saved {
            version: VERSION,
            next_id: self.apps.next_id,
            environments: environments.iter().map(|env| (**env).clone()).collect(),
            pools: self.apps.list.pools.iter().map(processfile::Pool::to_json).collect(),
            apps,
            workers: workers
                .map(|(id, w)| SavedWorker {
                    id: *id,
                    app: w.app.to_string(),
                    instance: w.instance,
                    added_at: w.added_at,
                    wanted: w.life.wanted(),
                })
                .collect(),
        };
        if let Err(e) = self.apps.list.write(&saved) {
            error!(self.log, "the list of apps cannot be saved"; "error" => %e);
        }
    }

    /// The writer has something to say.
    pub(in super::super) fn list_saved(&mut self) {
        self.apps.list.woken();
        let (failure, file) = (self.apps.list.failure(), self.options.dirs.apps());
        let told = std::mem::replace(&mut self.apps.list.told, failure.is_some());
        match failure {
            Some(why) => {
                if !told {
                    error!(self.log, "the list of apps cannot be written; it is kept in memory and tried again"; "file" => %file.display(), "error" => why);
                }
                if !std::mem::replace(&mut self.apps.list.awaited, true) {
                    self.timers.after(TRY_AGAIN, Timer::List);
                }
            }
            None if told => info!(self.log, "the list of apps can be written again"; "file" => %file.display()),
            None => {}
        }
        if self.apps.list.failure().is_none()
            && std::mem::take(&mut self.apps.unlisted)
            && let Err(e) = self.store_definitions()
        {
            // They are then defined once more, which changes nothing.
            warn!(self.log, "keeping the pools of the process file"; "error" => %e);
        }
        self.settle(None);
        self.tell_reread();
    }

    /// A while after it could not be written.
    pub(in super::super) fn write_list_again(&mut self) {
        self.apps.list.awaited = false;
        if self.apps.list.failure().is_some() {
            self.save_list();
        }
    }

    /// What a master that follows has to know of this worker beside its process.
    pub(super) fn note_worker(&mut self, id: u32) {
        let Some(worker) = self.apps.workers.get(&id).filter(|_| !self.stopping()) else { return };
        if let Some(state) = note(worker) {
            self.journal.append(RecordRef::Note { id: &note_id(id), state: &state });
        }
    }

    /// Nothing of it is to be known any more.
    pub(super) fn forget_worker(&mut self, id: u32) {
        self.journal.append(RecordRef::Freed { id: &note_id(id) });
    }

    /// All notes, for a journal that is written anew.
    pub(in super::super) fn worker_notes(&self, from: u32) -> impl Iterator<Item = (u32, crate::journal::Record)> {
        let noted = self.apps.workers.range(from..).filter_map(|(id, worker)| Some((*id, note(worker)?)));
        noted.map(|(id, state)| (id, crate::journal::Record::Note { id: note_id(id), state }))
    }

    /// Reads the list: apps and workers are there again, without their processes yet.
    pub(in super::super) fn recover_list(&mut self, restart: bool, mut notes: HashMap<String, Box<RawValue>>) {
        let (saved, why) = self.apps.list.read();
        if let Some(why) = why {
            error!(self.log, "the list of apps is damaged"; "what" => why);
        }
        let Some(saved) = saved else { return };
        self.recover_pools(restart, &saved.pools);
        let text = serde_json::json!({ "apps": saved.apps.iter().map(|a| &a.app).collect::<Vec<_>>() }).to_string();
        let names: Vec<&str> = self.pools.iter().map(|p| p.definition.name.as_str()).collect();
        let apps: Vec<App> = match processfile::parse_apps(&text, Path::new("/"), &names) {
            Ok((apps, _)) => apps,
            Err(e) => return error!(self.log, "the list of apps cannot be used"; "what" => %e),
        };
        let environments: Vec<Environment> = saved.environments.into_iter().map(Rc::new).collect();
        let none: Environment = Rc::new(BTreeMap::new());
        for (app, old) in apps.into_iter().zip(&saved.apps) {
            let env = Rc::clone(environments.get(old.env).unwrap_or(&none));
            let name = app.name.clone();
            self.apps.entries.insert(name, Box::new(Entry::new(Rc::new(app), env, old.declared)));
        }
        let now = monotonic_ns();
        for w in saved.workers {
            let Some(entry) = self.apps.entries.get(&w.app) else { continue };
            let note: Option<Note> =
                notes.remove(&note_id(w.id)).filter(|_| restart).and_then(|note| serde_json::from_str(note.get()).ok());
            let life = note
                .as_ref()
                .map_or_else(Life::new, |note| Life::restore(&note.life, None, &Policy::of(&entry.app), now));
            let mut worker = Worker::new(w.app.into(), w.instance, life);
            worker.added_at = w.added_at;
            worker.last_exit = note.as_ref().and_then(|note| note.last_exit.clone()).map(Box::new);
            // The note is the younger word.
            worker.revive = note.as_ref().map_or(w.wanted, |_| worker.life.wanted());
            worker.note = note.map(Box::new);
            self.apps.add(w.id, worker);
        }
        self.apps.next_id = self.apps.workers.keys().next_back().map_or(0, |id| id + 1).max(saved.next_id);
        info!(self.log, "the list of apps has been read"; "apps" => self.apps.entries.len(), "workers" => self.apps.workers.len());
    }

    /// A worker's row in the table: the worker it belongs to, if its process may live, or may come to.
    pub(in super::super) fn worker_of_row(&mut self, row: &Record, restart: bool) -> Option<u32> {
        let id: u32 = row.id.parse().ok().filter(|_| restart)?;
        let asked_for = row.pid == 0;
        if asked_for && self.pool_of_worker(id).is_none() {
            return None;
        }
        let Some(worker) = self.apps.workers.get_mut(&id) else {
            // Of an app that was being deleted, or that was not in the list yet: nobody has been told that it is.
            self.apps.surplus.push(row.slot);
            self.apps.next_id = self.apps.next_id.max(id.saturating_add(1));
            return Some(id);
        };
        if let Some(before) = worker.slot.and_then(|slot| self.table.record(slot))
            && before.kill_at == 0
        {
            // The younger of two, and the elder had not been told to end: it had not taken its place.
            self.apps.surplus.push(row.slot);
            return Some(id);
        }
        let entry = self.apps.entries.get(&*worker.app)?;
        let now = monotonic_ns();
        let note = worker.note.take().map_or_else(|| worker.life.save(now), |note| note.life);
        worker.slot = Some(row.slot);
        if asked_for {
            // Its zygote has the order, or has obeyed it: its child will say so, or the order is found to be lost.
            worker.life = Life::restore_asked(&note, worker.revive, now);
        } else {
            worker.life = Life::restore(&note, Some(row.started_mono.max(1)), &Policy::of(&entry.app), now);
            worker.process = Some((row.pid, row.started_at));
        }
        worker.shown = worker.life.state();
        worker.revive = false;
        Some(id)
    }

    /// A worker's process that a former master had seen end, and had perhaps not lived to tell the worker.
    pub(in super::super) fn take_worker_end(&mut self, row: &Record, restart: bool) {
        match row.id.parse().ok().filter(|id| restart && self.ended_untold(*id, row)) {
            Some(id) => {
                let how = row.how.unwrap_or(How::Exited(255));
                let exit =
                    ExitEntry { seq: 0, pid: row.pid, inode: 0, how, usage: Rusage::default(), at: row.ended_at };
                self.apps.ends.push((id, exit, row.slot));
            }
            None => {
                self.runs.unreserve(row.slot);
                self.table.clear(row.slot);
            }
        }
    }

    /// Whether that worker has not been told of this end. It is as before the end then.
    fn ended_untold(&mut self, id: u32, row: &Record) -> bool {
        // Another one may have taken its place already.
        let Some(worker) = self.apps.workers.get_mut(&id).filter(|worker| worker.slot.is_none()) else { return false };
        let Some(entry) = self.apps.entries.get(&*worker.app) else { return false };
        // Notes have microseconds.
        let told = |last: &LastExit<'_>| last.pid == row.pid && last.at.0 / 1000 == row.ended_at / 1000;
        if worker.last_exit.as_deref().is_some_and(told) {
            return false;
        }
        let now = monotonic_ns();
        let note = worker.note.take().map_or_else(|| worker.life.save(now), |note| note.life);
        worker.life = Life::restore(&note, Some(row.started_mono.max(1)), &Policy::of(&entry.app), now);
        worker.shown = worker.life.state();
        worker.revive = false;
        true
    }

    /// Whatever is wanted, and is not up after a recovery, is started.
    pub(in super::super) fn revive(&mut self) {
        for (id, exit, slot) in std::mem::take(&mut self.apps.ends) {
            if self.apps.workers.get(&id).is_some_and(|worker| worker.slot.is_none()) {
                self.worker_ended(id, &exit);
            }
            self.apps.ended.push(slot);
        }
        for slot in std::mem::take(&mut self.apps.surplus) {
            self.end_surplus(slot);
        }
        for (slot, fd) in std::mem::take(&mut self.apps.former_channels) {
            self.adopt_node_channel(slot, fd);
        }
        let ids: Vec<u32> = self.apps.workers.keys().copied().collect();
        if !ids.is_empty() {
            // The notes may have been younger.
            self.save_list();
        }
        self.take_over_output();
        for id in ids {
            let Some(worker) = self.apps.workers.get_mut(&id) else { continue };
            let revive = std::mem::take(&mut worker.revive);
            worker.note = None;
            match worker.life.state() {
                WorkerState::Stopped if revive => self.tell_worker(id, Event::Start),
                WorkerState::Starting if worker.slot.is_none() => {}
                WorkerState::Backoff
                | WorkerState::Starting
                | WorkerState::Running
                | WorkerState::Ready
                | WorkerState::Stopping => {
                    self.measure_soon(id);
                    let Some(worker) = self.apps.workers.get_mut(&id) else { continue };
                    let wake_at = worker.life.wake_at();
                    worker.timer = wake_at.map(|at| self.timers.at(at, Timer::Worker(id)));
                    let (state, slot) = (worker.life.state(), worker.slot);
                    match (state, slot) {
                        (WorkerState::Stopping, _) => self.stop_worker(id),
                        (WorkerState::Running, Some(slot)) => self.await_ready(id, slot),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }
}

fn note(worker: &Worker) -> Option<Box<RawValue>> {
    let note = Note { life: worker.life.save(monotonic_ns()), last_exit: worker.last_exit.as_deref().cloned() };
    serde_json::value::to_raw_value(&note).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Journal, Record};

    #[test]
    fn the_notes_of_0_1_0_are_read_for_ever() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("journal");
        let released = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/released/0.1.0/journal");
        std::fs::copy(released, &path).unwrap();
        let mut notes: HashMap<String, Note> = HashMap::new();
        for record in Journal::open(&path).unwrap().1 {
            if let Record::Note { id, state } = record {
                notes.insert(id, serde_json::from_str(state.get()).unwrap());
            }
        }
        let life = |id: u32| serde_json::to_value(&notes[&note_id(id)].life).unwrap();
        assert_eq!(
            (&life(0)["state"], &life(0)["wanted"], &life(0)["asked_restarts"]),
            (&"running".into(), &true.into(), &1.into())
        );
        assert_eq!((&life(2)["state"], &life(2)["wanted"]), (&"stopped".into(), &false.into()));
        assert!(notes[&note_id(0)].last_exit.is_some());
        assert_eq!(notes.len(), 3);
    }
}
