//! What is asked of workers that are there.

use std::collections::HashSet;

use super::super::Master;
use super::super::runs::Asker;
use super::Until;
use crate::wire::apps::WorkerState;
use crate::workers::Event;

impl Master {
    /// `apps.start` of those that are there.
    pub(in super::super) fn start_apps(&mut self, asker: Asker, ids: Vec<u32>) {
        self.not_to_be_stopped(&ids);
        for id in &ids {
            self.tell_worker(*id, Event::Start);
        }
        self.save_list();
        self.answer_when(asker, ids, Until::Up);
    }

    /// `apps.restart`.
    pub(in super::super) fn restart_apps(&mut self, asker: Asker, ids: Vec<u32>) {
        self.not_to_be_stopped(&ids);
        for id in &ids {
            self.tell_worker(*id, Event::Restart);
        }
        self.save_list();
        self.answer_when(asker, ids, Until::Up);
    }

    /// `apps.stop`: those that others depend on after those others.
    pub(in super::super) fn stop_apps(&mut self, asker: Asker, ids: Vec<u32>) {
        self.stop_in_order(&ids);
        self.save_list();
        self.answer_when(asker, ids, Until::Down);
    }

    /// `apps.delete`.
    pub(in super::super) fn delete_apps(&mut self, asker: Asker, ids: Vec<u32>) {
        for id in &ids {
            if let Some(worker) = self.apps.workers.get_mut(id) {
                worker.doomed = true;
            }
        }
        // Their last state is what the caller is told.
        self.answer_when(asker, ids.clone(), Until::Gone);
        self.stop_in_order(&ids);
        self.save_list();
    }

    /// Answers when the list is on the disk.
    pub(in super::super) fn answer_when_saved(&mut self, asker: Asker, ids: Vec<u32>) {
        self.answer_when(asker, ids, Until::Saved);
    }

    /// `apps.reset`.
    pub(in super::super) fn reset_apps(&mut self, asker: Asker, ids: Vec<u32>) {
        for id in &ids {
            self.tell_worker(*id, Event::Reset);
        }
        self.answer_when(asker, ids, Until::Now);
    }

    /// `apps.signal`.
    pub(in super::super) fn signal_apps(&mut self, asker: Asker, ids: Vec<u32>, signal: i32) {
        for id in &ids {
            if let Some(slot) = self.apps.workers.get(id).and_then(|w| w.slot) {
                self.signal_worker(slot, signal, None, false);
            }
        }
        self.answer_when(asker, ids, Until::Now);
    }

    /// `apps.resurrect`: all that are wanted.
    pub(in super::super) fn resurrect_apps(&mut self, asker: Asker) {
        let wanted: Vec<u32> =
            self.apps.workers.iter().filter(|(_, w)| w.life.wanted() && !w.doomed).map(|(id, _)| *id).collect();
        self.start_apps(asker, wanted);
    }

    /// Tells them to stop, dependants before what they depend on.
    pub(in super::super) fn stop_in_order(&mut self, ids: &[u32]) {
        self.apps.stops.extend(ids);
        self.go_on_stopping();
    }

    /// They are wanted again before it was their turn to be told.
    pub(super) fn not_to_be_stopped(&mut self, ids: &[u32]) {
        if !self.apps.stops.is_empty() {
            let ids: HashSet<u32> = ids.iter().copied().collect();
            self.apps.stops.retain(|id| !ids.contains(id));
        }
    }

    /// The same at the end of a turn, if somebody has changed in it.
    pub(in super::super) fn go_on_stopping_if_due(&mut self) {
        if std::mem::take(&mut self.apps.stops_due) {
            self.go_on_stopping();
        }
    }

    /// Those whose dependants are down are told to stop.
    fn go_on_stopping(&mut self) {
        if self.apps.stops.is_empty() {
            return;
        }
        loop {
            let leant_on = self.leant_on();
            let name = |id: &u32| self.apps.workers.get(id).map(|w| &*w.app);
            let (wait, go): (Vec<u32>, Vec<u32>) =
                self.apps.stops.iter().partition(|id| name(id).is_some_and(|name| leant_on.contains(name)));
            self.apps.stops = wait;
            if go.is_empty() {
                break;
            }
            go.into_iter().for_each(|id| self.tell_worker(id, Event::Stop));
        }
    }

    /// Apps on which a worker depends that is being stopped, or is to be, and still has its process.
    fn leant_on(&self) -> HashSet<String> {
        let waiting: HashSet<u32> = self.apps.stops.iter().copied().collect();
        let going = self.apps.workers.iter().filter(|(id, worker)| {
            worker.slot.is_some() && (worker.life.state() == WorkerState::Stopping || waiting.contains(id))
        });
        let apps = going.filter_map(|(_, worker)| self.apps.entries.get(&*worker.app));
        apps.flat_map(|entry| entry.app.depends_on.iter().cloned()).collect()
    }
}
