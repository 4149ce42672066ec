//! Exits: from the keeper's ring to the runs they belong to.
//!
//! A number can be reused as soon as the keeper has reaped it, so that a number alone proves nothing. What does: at
//! the moment a child says STARTED it is alive or its exit is already in the ring (it is written before the reap). So
//! any exit of that number from then on is the child's own; one that is there already is told apart by its
//! pidfs inode, and where the kernel has none, by being younger than the order to fork.

use slog::{debug, info};

use super::Master;
use crate::sys::fault;
use crate::sys::reap::How;
use crate::table::ExitEntry;
use crate::wire::control::ToKeeper;
use crate::wire::status::State;

impl Master {
    /// Completes all exits before `safe`: whatever their processes had to say has been read.
    pub(super) fn exits(&mut self, safe: u64) {
        let tail = self.table.ring_tail();
        let mut strangers = false;
        for seq in tail..safe {
            if let Some(at) = self.claimed.iter().position(|claimed| *claimed == seq) {
                self.claimed.swap_remove(at);
                continue;
            }
            let exit = self.table.exit(seq);
            match self.pids.get(&exit.pid).copied() {
                Some(slot) if self.runs.live(slot).is_some_and(|l| exit.seq >= l.fork_seq) => {
                    self.complete(slot, &exit)
                }
                _ if self.zygote_exit(&exit) => {}
                _ => {
                    strangers = true;
                    self.unclaimed.insert(exit.pid, exit);
                }
            }
        }
        for (slot, seq, exit) in std::mem::take(&mut self.late) {
            if self.runs.live_seq(slot, seq).is_some() {
                self.complete(slot, &exit);
            }
        }
        if tail < safe && self.table.ring_advance(safe) {
            self.tell_keeper(&ToKeeper::Drained, None);
        }
        if self.starting == 0 {
            self.unclaimed.clear();
        } else if self.unclaimed.len() > 4096 {
            let oldest = self.runs.alive().filter(|(_, l)| l.state == State::Starting).map(|(_, l)| l.fork_seq).min();
            self.unclaimed.retain(|_, e| oldest.is_some_and(|o| e.seq >= o));
        }
        self.end_trees();
        if strangers {
            self.look_after_idle();
        }
    }

    /// Among strangers that exit are idle children, of whom nobody knows the number.
    fn look_after_idle(&mut self) {
        for index in 0..self.pools.len() {
            if let Err(e) = self.dismiss_dead_idle(index) {
                debug!(self.log, "looking after idle children"; "error" => %e);
            }
        }
    }

    /// The latest exit of `pid` in the ring from `from` on that is not done with yet.
    pub(super) fn last_exit(&self, from: u64, pid: u32) -> Option<ExitEntry> {
        let from = from.max(self.table.ring_tail());
        (from..self.table.ring_head())
            .rev()
            .find(|seq| self.table.exit_pid(*seq) == pid)
            .map(|seq| self.table.exit(seq))
    }

    /// The first one.
    pub(super) fn first_exit(&self, from: u64, pid: u32) -> Option<ExitEntry> {
        let from = from.max(self.table.ring_tail());
        (from..self.table.ring_head()).find(|seq| self.table.exit_pid(*seq) == pid).map(|seq| self.table.exit(seq))
    }

    /// A run has ended, in this way.
    pub(super) fn complete(&mut self, slot: u32, exit: &ExitEntry) {
        self.complete_as(slot, exit, State::Exited);
    }

    /// The same; `state` is `unknown` where nobody saw how.
    pub(super) fn complete_as(&mut self, slot: u32, exit: &ExitEntry, state: State) {
        let Some(live) = self.runs.live(slot) else { return };
        let captures = std::mem::take(&mut live.captures);
        let (pool, generation, timer) = (live.pool, live.generation, live.timer.take());
        let worker = live.worker;
        let process = live.process.take();
        let rest = live.ending.then_some(live.kill_timeout);
        let rest = worker.map_or(rest, |id| self.treekill(id).then(|| rest.unwrap_or_default()));
        self.timers.cancel(timer);
        if let Some((pid, handle)) = process {
            self.pids.remove(&pid);
            // Its tree may outlive it. What was to end as a whole still does, when its grace is over.
            if rest.is_some() || worker.is_some() {
                self.tree_ended(slot, handle, rest);
            }
        }
        let mut texts = self.finish_captures(slot, captures).into_iter();
        if let (Some(live), Some(out), Some(error)) = (self.runs.live(slot), texts.next(), texts.next()) {
            let extra = live.extra.get_or_insert_default();
            (extra.stdout, extra.stderr) = (Some(out), Some(error));
        }
        match state {
            State::Unknown => self.table.set_without_exit(slot, state, exit.at),
            _ => self.table.set_exited(slot, exit),
        }
        fault::point("ended");
        if let Some(index) = pool {
            if worker.is_none() {
                self.pools[index].admission.end();
                if exit.how != How::Exited(0) {
                    self.pools[index].totals.1 += 1;
                }
            }
            self.generation_lost_one(index, generation);
            self.busy(index);
        }
        match worker {
            Some(id) => self.worker_exited(slot, id, exit),
            None => self.ended(slot),
        }
    }

    /// Whether that was a zygote.
    fn zygote_exit(&mut self, exit: &ExitEntry) -> bool {
        for index in 0..self.pools.len() {
            let found = self.pools[index].generations.iter().position(|g| {
                g.zygote.as_ref().is_some_and(|(pid, handle)| {
                    *pid == exit.pid && handle.inode().is_none_or(|i| exit.inode == 0 || i == exit.inode)
                })
            });
            if let Some(at) = found {
                let number = self.pools[index].generations[at].number;
                info!(self.log, "a zygote has ended"; "pool" => &self.pools[index].definition.name, "generation" => number, "how" => %exit.how);
                self.zygote_died(index, number, exit.how);
                return true;
            }
        }
        false
    }
}
