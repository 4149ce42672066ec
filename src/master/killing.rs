//! Ending runs: signals, timeouts, grace, and what is left of a group.
//!
//! ```text
//! kill, timeout ──→ signal to the whole tree, then SIGCONT ──grace──→ SIGKILL to the tree
//! ```
//!
//! Signals go through the process's handle, so that they can never reach a stranger. A stopped process gets SIGCONT,
//! or it would never see its SIGTERM.

use std::io;
use std::time::Duration;

use slog::{debug, warn};

use super::Master;
use super::timers::Timer;
use crate::sys::clock::monotonic_ns;
use crate::wire::rpc::RpcError;
use crate::wire::status::State;

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGCONT: i32 = 18;

impl Master {
    /// `kill`: `signal` (TERM if none), and KILL after `grace` (the run's own if the signal is TERM; after any
    /// other signal only if a grace is given). A run without a process yet ends without one.
    pub(super) fn kill(&mut self, slot: u32, signal: Option<i32>, grace: Option<Duration>) -> Result<(), RpcError> {
        let signal = signal.unwrap_or(SIGTERM);
        let asks_to_end = signal == SIGTERM;
        let Some(live) = self.runs.live(slot) else {
            let id = self.table.record(slot).map(|r| r.id).unwrap_or_default();
            return Err(RpcError::already_ended(format!("run {id} has ended already")));
        };
        let grace = grace.or_else(|| asks_to_end.then_some(live.kill_timeout));
        match live.state {
            State::Queued => {
                live.told = true;
                let error = RpcError::start_failed("it was killed before it started");
                self.fail_start_as(slot, &error, "killed");
            }
            State::Starting => live.early_signal = Some((signal, grace)),
            _ => self.signal_run(slot, signal, grace),
        }
        Ok(())
    }

    /// Signals a running run's group; with a grace, its whole tree, and KILL follows.
    pub(super) fn signal_run(&mut self, slot: u32, signal: i32, grace: Option<Duration>) {
        if let Some(id) = self.runs.live(slot).and_then(|live| live.worker)
            && !self.treekill(id)
        {
            return self.signal_alone(slot, signal, grace);
        }
        if grace.is_some() || signal == SIGKILL {
            // First: who is below it is seen only while it lives.
            self.signal_tree(slot, signal);
        }
        let Some(live) = self.runs.live(slot) else { return };
        let Some((pid, Some(handle))) = &live.process else { return };
        let pid = *pid;
        if let Err(e) = handle.send_group(pid, signal)
            && e.raw_os_error() != Some(3)
        {
            debug!(self.log, "signalling a run"; "pid" => pid, "signal" => signal, "error" => %e);
        }
        if grace.is_some() || signal == SIGKILL {
            // A stopped one wakes up to it.
            let _ = handle.send_group(pid, SIGCONT);
            live.ending = true;
        }
        if signal == SIGKILL {
            live.kill_timeout = Duration::ZERO;
        }
        if let Some(grace) = grace {
            self.grace_for(slot, grace);
        }
    }

    /// Signals its first process and nobody else; with a grace, KILL follows.
    pub(super) fn signal_alone(&mut self, slot: u32, signal: i32, grace: Option<Duration>) {
        let Some((_, Some(handle))) = self.runs.live(slot).and_then(|live| live.process.as_ref()) else { return };
        let _ = handle.send(signal); // it may have gone already
        if let Some(grace) = grace {
            self.grace_for(slot, grace);
        }
    }

    /// KILL follows after so long.
    pub(super) fn grace_for(&mut self, slot: u32, grace: Duration) {
        let Some(live) = self.runs.live(slot) else { return };
        live.kill_timeout = grace;
        self.table.set_kill_at(slot, monotonic_ns() + grace.as_nanos() as u64);
        let old = live.timer.take();
        let seq = live.seq;
        self.timers.cancel(old);
        let key = self.timers.after(grace, Timer::Grace { slot, seq });
        if let Some(live) = self.runs.live(slot) {
            live.timer = Some(key);
        }
    }

    /// A run's time is up.
    pub(super) fn run_timeout(&mut self, slot: u32, seq: u64) {
        let Some(live) = self.runs.live_seq(slot, seq) else { return };
        live.timer = None;
        let grace = live.kill_timeout;
        self.table.set_timed_out(slot);
        self.signal_run(slot, SIGTERM, Some(grace));
    }

    /// A run's grace is over.
    pub(super) fn grace_over(&mut self, slot: u32, seq: u64) {
        if let Some(live) = self.runs.live_seq(slot, seq) {
            live.timer = None;
            let (worker, grace) = (live.worker, live.kill_timeout);
            if let Some(worker) = worker.and_then(|id| self.apps.workers.get(&id)) {
                warn!(self.log, "a worker has not ended in its kill_timeout; killing it"; "app" => &*worker.app, "instance" => worker.instance, "ms" => grace.as_millis());
            }
            self.signal_run(slot, SIGKILL, None);
        }
    }

    /// Signals every running run.
    pub(super) fn signal_all(&mut self, signal: i32) {
        let slots: Vec<u32> = self.runs.alive().filter(|(_, l)| l.process.is_some()).map(|(slot, _)| slot).collect();
        for slot in slots {
            self.signal_run(slot, signal, None);
            if signal == SIGTERM
                && let Some((pid, Some(handle))) = self.runs.live(slot).and_then(|l| l.process.as_ref())
            {
                let _: io::Result<()> = handle.send_group(*pid, SIGCONT); // it may be gone by now
            }
        }
    }
}
