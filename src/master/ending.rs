//! What follows the end of a run, however it came: who hears of it, what is kept, and for how long.

use std::time::Duration;

use slog::{debug, warn};

use super::Master;
use super::runs::Extra;
use super::timers::Timer;
use crate::journal::RecordRef;
use crate::sys::clock::{monotonic_ns, wall_ns};
use crate::wire::rpc::RpcError;
use crate::wire::status::{RunError, State};

impl Master {
    /// A run could not be started.
    pub(super) fn fail_start(&mut self, slot: u32, error: &RpcError) {
        self.fail_start_as(slot, error, error.kind);
    }

    /// A run of which a former master may have heard that it started, and we hear nothing.
    pub(super) fn lose(&mut self, slot: u32, why: &str) {
        let worker = self.runs.live(slot).is_some_and(|live| live.worker.is_some());
        self.fail_start_as(slot, &RpcError::start_failed(why), "unknown");
        // A worker's row is gone with its process.
        if !worker && self.runs.live(slot).is_none() {
            self.table.set_without_exit(slot, State::Unknown, wall_ns());
        }
    }

    /// The same, with a class of its own in the status.
    pub(super) fn fail_start_as(&mut self, slot: u32, error: &RpcError, class: &'static str) {
        let Some(live) = self.runs.live(slot) else { return };
        let (pool, was_starting, generation) = (live.pool, live.state == State::Starting, live.generation);
        let worker = live.worker;
        debug!(self.log, "a run did not start"; "id" => %live.id, "why" => %error);
        self.timers.cancel(live.timer.take());
        let captures = std::mem::take(&mut live.captures);
        self.drop_captures(slot, captures);
        if let Some(index) = pool {
            let p = &mut self.pools[index];
            if worker.is_none() {
                // Whoever starts has left the queue, which may be long.
                if was_starting || !p.admission.withdraw(slot) {
                    p.admission.end();
                }
                p.totals.1 += 1;
            }
            if was_starting {
                self.starting -= 1;
                self.pools[index].starting -= 1;
                self.generation_lost_one(index, generation);
            }
            self.busy(index);
        }
        if let Some(id) = worker {
            return self.worker_not_spawned(slot, id, &error.message);
        }
        let Some(live) = self.runs.live(slot) else { return };
        let waiters = std::mem::take(&mut live.waiters);
        let kept = live.told || was_starting;
        if !kept {
            self.runs.vanish(slot);
            self.table.clear(slot);
        } else {
            let told = RunError { class: class.into(), message: error.message.clone().into(), trace: None };
            live.extra.get_or_insert_default().error = Some(told);
            self.table.set_without_exit(slot, State::Failed, wall_ns());
            self.ended(slot);
        }
        for waiter in waiters {
            if waiter.asked_to_run || !kept {
                self.timers.cancel(waiter.timer);
                self.refuse(waiter.asker, error);
            } else {
                self.tell(slot, waiter);
            }
        }
    }

    /// Everything that follows the end of a run, however it came; its table row is written.
    pub(super) fn ended(&mut self, slot: u32) {
        let Some(mut live) = self.runs.end(slot, monotonic_ns()) else { return };
        if let Some((id, extra)) = self.runs.extra(slot).filter(|_| !live.said) {
            let timed_out = self.table.record(slot).is_some_and(|r| r.timed_out);
            self.journal.append(extra.record(slot, id, timed_out));
        }
        let keep = live.pool.map_or(super::KEEP_GONE, |i| self.pools[i].definition.keep);
        self.forget_after(keep);
        for waiter in std::mem::take(&mut live.waiters) {
            self.tell(slot, waiter);
        }
        self.run_event(slot);
        self.forget_surplus();
    }

    /// Forgets an ended run.
    pub(super) fn forget(&mut self, slot: u32) {
        // One that has left nothing may have been asked for on record.
        if let Some(id) = self.runs.ended_id(slot).filter(|id| self.journal.tells_of(id)) {
            self.journal.append(RecordRef::Freed { id });
        }
        if self.runs.free(slot) {
            self.table.clear(slot);
        } else {
            warn!(self.log, "a run that is to be forgotten has not ended"; "slot" => slot);
        }
    }

    /// Forgets what is too old or too much. Returns when the next one will be too old, ns monotonic.
    pub(super) fn forget_surplus(&mut self) -> Option<u64> {
        loop {
            let (pools, gone) = (&self.pools, super::KEEP_GONE);
            let keep = |i: usize| pools.get(i).map_or(gone, |p| p.definition.keep).as_nanos() as u64;
            match self.runs.overdue(keep, monotonic_ns()) {
                Ok(slot) => self.forget(slot),
                Err(next) => return next,
            }
        }
    }

    /// Looks for what is too old after this time, or before, if that is planned already.
    pub(super) fn forget_after(&mut self, wait: std::time::Duration) {
        let at = monotonic_ns().saturating_add(wait.as_nanos() as u64);
        if self.keep_timer.is_none_or(|(planned, _)| at < planned) {
            self.timers.cancel(self.keep_timer);
            self.keep_timer = Some(self.timers.after(wait, Timer::Keep));
        }
    }

    pub(super) fn keep_over(&mut self) {
        self.keep_timer = None;
        if let Some(next) = self.forget_surplus() {
            self.forget_after(Duration::from_nanos(next.saturating_sub(monotonic_ns())));
        }
    }
}

/// Whoever did not run, or may not have, is told so even if why was not on record: its master died while it could not write.
pub(super) fn lost_reason(state: State) -> Option<Box<Extra>> {
    let class = match state {
        State::Failed => "start_failed",
        State::Unknown => "unknown",
        _ => return None,
    };
    let message = "why is not known any more: the daemon's master was killed before it could write that down";
    let error = RunError { class: class.into(), message: message.into(), trace: None };
    Some(Box::new(Extra { error: Some(error), ..Extra::default() }))
}
