//! `max_memory_restart`: looked at once a second, while an app asks for it.

use std::time::Duration;

use super::super::Master;
use super::super::timers::Timer;
use crate::sys::process;
use crate::wire::apps::WorkerState;
use crate::workers::Event;

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);

impl Master {
    /// Begins to look, if somebody asks for it and nobody looks yet.
    pub(super) fn watch_memory(&mut self) {
        let asked = self.apps.entries.values().any(|entry| entry.app.max_memory_restart.is_some());
        if asked && !self.apps.memory_watched {
            self.apps.memory_watched = true;
            self.timers.after(PERIOD, Timer::Memory);
        }
    }

    /// One look at all that have a limit.
    pub(in super::super) fn look_at_memory(&mut self) {
        self.apps.memory_watched = false;
        let mut over = Vec::new();
        for (id, worker) in &self.apps.workers {
            let Some(limit) = self.apps.entries.get(&*worker.app).and_then(|entry| entry.app.max_memory_restart) else {
                continue;
            };
            let running = matches!(worker.life.state(), WorkerState::Running | WorkerState::Ready);
            let Some((pid, _)) = worker.process.filter(|_| running && worker.slot.is_some()) else { continue };
            if let Some(used) = process::resident(pid).filter(|used| *used > limit) {
                over.push((*id, format!("used {} MB, more than {} MB (max_memory_restart)", used >> 20, limit >> 20)));
            }
        }
        for (id, why) in over {
            slog::warn!(self.log, "a worker uses too much memory"; "worker" => id, "why" => &why);
            self.tell_worker(id, Event::Fail(&why));
        }
        self.watch_memory();
    }
}
