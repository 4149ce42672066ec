//! `max_memory_restart`: who has grown too large is replaced. Looked at once a second, while an app that runs asks for it.

use std::time::Duration;

use super::super::Master;
use super::super::timers::Timer;
use crate::sys::usage;
use crate::wire::apps::WorkerState;
use crate::workers::Event;

const EVERY: Duration = Duration::from_secs(1);
const MB: u64 = 1 << 20;

impl Master {
    /// A process runs that may grow too large.
    pub(super) fn measure_soon(&mut self, id: u32) {
        let asks = self.apps.entry_of(id).is_some_and(|entry| entry.app.max_memory_restart.is_some());
        if asks && self.apps.measure_timer.is_none() {
            self.apps.measure_timer = Some(self.timers.after(EVERY, Timer::Memory));
        }
    }

    /// Looks at all of them. A process is its first one: what several share would be counted several times.
    pub(in super::super) fn measure(&mut self) {
        self.apps.measure_timer = None;
        let mut asking = Vec::new();
        for (id, worker) in &self.apps.workers {
            let up = matches!(worker.life.state(), WorkerState::Running | WorkerState::Ready);
            let limit = self.apps.entries.get(&*worker.app).and_then(|entry| entry.app.max_memory_restart);
            asking.extend(limit.zip(worker.slot).filter(|_| up).map(|(limit, slot)| (*id, limit, slot)));
        }
        for (id, limit, slot) in asking {
            self.measure_soon(id);
            let Some((pid, Some(handle))) = self.runs.live(slot).and_then(|live| live.process.as_ref()) else {
                continue;
            };
            let Ok(bytes) = usage::memory(*pid) else { continue };
            // The number was its own if it still is there.
            if bytes > limit && handle.send(0).is_ok() {
                let (used, most) = (bytes.div_ceil(MB), limit / MB);
                let why = format!("uses {used} MB, more than max_memory_restart ({most} MB)");
                slog::warn!(self.log, "a worker is replaced"; "worker" => id, "pid" => pid, "why" => &why);
                self.tell_worker(id, Event::Fail(&why));
            }
        }
    }
}
