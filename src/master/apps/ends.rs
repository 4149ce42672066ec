//! Processes of workers: told to stop, ended.

use std::rc::Rc;
use std::time::Duration;

use slog::info;

use super::super::Master;
use super::Worker;
use crate::sys::fault;
use crate::sys::reap::How;
use crate::table::ExitEntry;
use crate::wire::apps::{LastExit, WorkerState};
use crate::wire::signal::signal_name;
use crate::wire::status::Timestamp;
use crate::workers::Event;

impl Master {
    /// Its process is to be asked to end, at the end of this turn if there are not too many.
    pub(super) fn stop_worker(&mut self, id: u32) {
        if let Some(slot) = self.apps.workers.get(&id).and_then(|w| w.slot) {
            self.apps.to_end.push_back((id, slot));
        }
    }

    /// Asks those to end whose turn it is.
    pub(in super::super) fn end_workers(&mut self) {
        /// Each takes a third of a millisecond, since a whole tree is looked up, and the others are to be heard meanwhile.
        const A_TURN: usize = 8;
        for _ in 0..A_TURN {
            let Some((id, slot)) = self.apps.to_end.pop_front() else { return };
            let its_own = |w: &Worker| w.slot == Some(slot) && w.life.state() == WorkerState::Stopping;
            // It may have ended by itself meanwhile, and another one be there.
            if self.apps.workers.get(&id).is_some_and(|w| its_own(w)) {
                self.end_process(id, slot);
            }
        }
    }

    /// Asks a process of that worker to end; KILL follows when its time is over.
    pub(super) fn end_process(&mut self, id: u32, slot: u32) {
        let Some(app) = self.apps.entry_of(id).map(|entry| Rc::clone(&entry.app)) else { return };
        if app.shutdown_with_message && self.send_shutdown_message(slot) {
            return self.grace_for(slot, app.kill_timeout);
        }
        self.signal_worker(slot, app.stop_signal, Some(app.kill_timeout), app.treekill);
    }

    /// A signal to a worker's process, or to its whole tree.
    pub(super) fn signal_worker(&mut self, slot: u32, signal: i32, grace: Option<Duration>, tree: bool) {
        if tree { self.signal_run(slot, signal, grace) } else { self.signal_alone(slot, signal, grace) }
    }

    /// Whether all that a worker has forked ends with it.
    pub(in super::super) fn treekill(&self, id: u32) -> bool {
        self.apps.entry_of(id).is_none_or(|entry| entry.app.treekill)
    }

    /// A worker's process has ended.
    pub(in super::super) fn worker_exited(&mut self, slot: u32, id: u32, exit: &ExitEntry) {
        self.remove_pid_file(id, exit.pid);
        let (own, next) = self.role_of(id, slot);
        if !own {
            self.drop_worker_slot(id, slot);
        } else if self.leave_worker_slot(id, slot) {
            self.apps.ended.push(slot);
        }
        if next {
            return self.successor_failed(id, &format!("the new process ended before it was ready ({})", how(exit)));
        }
        if own {
            self.worker_ended(id, exit);
        }
        fault::point("worker-ended");
    }

    /// What is known of ends is in the journal now: the table need not tell of them any more.
    pub(in super::super) fn ends_are_noted(&mut self) {
        if self.apps.ended.is_empty() {
            return;
        }
        fault::point("worker-noted");
        for slot in std::mem::take(&mut self.apps.ended) {
            self.table.clear(slot);
            self.runs.unreserve(slot);
        }
    }

    /// What follows from that.
    pub(super) fn worker_ended(&mut self, id: u32, exit: &ExitEntry) {
        let Some(worker) = self.apps.workers.get_mut(&id) else { return };
        worker.last_exit = Some(Box::new(last_exit(exit)));
        info!(self.log, "a worker has ended"; "app" => &*worker.app, "instance" => worker.instance, "pid" => exit.pid, "how" => how(exit));
        self.worker_event(id, Some(exit));
        self.tell_worker(id, Event::Exited(exit.how));
    }
}

/// As it is told.
fn last_exit(exit: &ExitEntry) -> LastExit<'static> {
    let (exit_code, signal) = match exit.how {
        How::Exited(code) => (Some(code), None),
        How::Killed(n) | How::Dumped(n) => (None, Some(n)),
    };
    LastExit {
        pid: exit.pid,
        exit_code,
        signal,
        signal_name: signal.and_then(signal_name).map(Into::into),
        core_dumped: matches!(exit.how, How::Dumped(_)),
        at: Timestamp(exit.at),
    }
}

/// `exit code 3`, `SIGSEGV (core dumped)`.
pub(super) fn how(exit: &ExitEntry) -> String {
    match exit.how {
        How::Exited(code) => format!("exit code {code}"),
        How::Killed(n) => signal_name(n).map_or_else(|| format!("signal {n}"), str::to_owned),
        How::Dumped(n) => format!("{} (core dumped)", signal_name(n).unwrap_or("a signal")),
    }
}
