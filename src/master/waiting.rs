//! Those who wait for a run: to start, or to end.

use super::Master;
use super::answering::respond;
use super::runs::{Form, Waiter};
use crate::wire::phprocksyd;
use crate::wire::rpc;

impl Master {
    /// Whoever waited for the start hears of it. (Also for `queued`, which is an answer, too.)
    pub(super) fn tell_started(&mut self, slot: u32) {
        let Some(live) = self.runs.live(slot) else { return };
        live.told = true;
        if live.waiters.iter().all(|w| w.for_end) {
            return;
        }
        let mut go = std::mem::take(&mut live.waiters);
        live.waiters.extend(go.extract_if(.., |w| w.for_end));
        for waiter in go {
            self.tell(slot, waiter);
        }
    }

    /// Answers one who waited, with the status as it is.
    pub(super) fn tell(&mut self, slot: u32, waiter: Waiter) {
        self.timers.cancel(waiter.timer);
        if let Form::Ticket(ticket) = waiter.asker.form {
            let mut line = Vec::new();
            phprocksyd::error_text(&mut line, "OK");
            return self.answer_ticket(waiter.asker.connection, ticket, line);
        }
        if let Some(mut status) = self.runs.status(&self.table, slot) {
            if waiter.asked_to_run && waiter.duplicate {
                status.duplicate = Some(true);
            }
            respond(&mut self.sources, &mut self.dirty, waiter.asker, |out, id| rpc::write_result(out, id, &status));
        }
    }

    /// One more waits for a run. Those whose connection has gone are forgotten now and then.
    pub(super) fn add_waiter(&mut self, slot: u32, waiter: Waiter) {
        let Some(live) = self.runs.live(slot) else { return };
        live.waiters.push(waiter);
        if live.waiters.len() >= 64 && live.waiters.len().is_power_of_two() {
            let (sources, timers) = (&mut self.sources, &mut self.timers);
            live.waiters.retain(|w| {
                let there = sources.connection(w.asker.connection).is_some();
                if !there {
                    timers.cancel(w.timer);
                }
                there
            });
        }
    }

    pub(super) fn wait_over(&mut self, slot: u32, seq: u64, asker: u64) {
        let Some(live) = self.runs.live_seq(slot, seq) else { return };
        if let Some(at) = live.waiters.iter().position(|w| w.number == asker) {
            let waiter = live.waiters.remove(at);
            self.tell(slot, waiter);
        }
    }
}
