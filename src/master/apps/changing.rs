//! What is asked of workers that are there.

use super::super::Master;
use super::super::runs::Asker;
use super::Until;
use crate::wire::apps::WorkerState;
use crate::workers::Event;

impl Master {
    /// `apps.start` of those that are there.
    pub(in super::super) fn start_apps(&mut self, asker: Asker, ids: Vec<u32>) {
        for id in &ids {
            self.tell_worker(*id, Event::Start);
        }
        self.save_list();
        self.answer_when(asker, ids, Until::Up);
    }

    /// `apps.restart`.
    pub(in super::super) fn restart_apps(&mut self, asker: Asker, ids: Vec<u32>) {
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
        self.answer_when(asker, ids, Until::Now);
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

    /// Those whose dependants are down are told to stop.
    pub(super) fn go_on_stopping(&mut self) {
        // A worker that is told changes at once, and comes by here again.
        while let Some(at) = self.apps.stops.iter().position(|id| !self.is_leant_on(*id)) {
            let id = self.apps.stops.swap_remove(at);
            self.tell_worker(id, Event::Stop);
        }
    }

    /// Whether a worker that is to be stopped, too, or is about to, depends on this one's app.
    fn is_leant_on(&self, id: u32) -> bool {
        let Some(name) = self.apps.workers.get(&id).map(|w| &*w.app) else { return false };
        self.apps.workers.iter().any(|(other, worker)| {
            let going = worker.life.state() == WorkerState::Stopping || self.apps.stops.contains(other);
            going
                && *other != id
                && worker.slot.is_some()
                && self.apps.entry_of(*other).is_some_and(|entry| entry.app.depends_on.iter().any(|on| on == name))
        })
    }
}
