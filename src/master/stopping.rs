//! The end of the daemon: drain, TERM, KILL, within the time that was given.

use slog::{info, warn};

use super::Master;
use super::timers::Timer;
use crate::pool::send_order;
use crate::wire::channel::Order;
use crate::wire::control::ToKeeper;
use crate::wire::rpc::RpcError;
use crate::wire::status::State;
use std::os::fd::AsFd;

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// Where the shutdown is. The parts of its time: 40% to drain, then TERM until 80%, then KILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing new starts; what runs may end by itself.
    Draining,
    /// What still runs has been asked to end.
    Terminating,
    /// What still runs has been killed.
    Killing,
}

impl Master {
    /// Whether it has begun.
    pub(super) fn stopping(&self) -> bool {
        self.phase.is_some()
    }

    /// Begins it. Asked again, it is hurried to the next step.
    pub(super) fn stop(&mut self) {
        match self.phase {
            None => {
                info!(self.log, "shutting down"; "running" => self.pids.len());
                self.phase = Some(Phase::Draining);
                self.tell_keeper(&ToKeeper::Stopping, None);
                let waiting: Vec<u32> =
                    self.runs.alive().filter(|(_, l)| l.state == State::Queued).map(|(s, _)| s).collect();
                for slot in waiting {
                    self.fail_start(slot, &RpcError::shutting_down("the daemon was shut down before the run started"));
                }
                let workers: Vec<u32> = self.apps.workers.keys().copied().collect();
                self.stop_in_order(&workers);
                (0..self.pools.len()).for_each(|index| self.dismiss_all_idle(index));
                self.timers.after(self.options.shutdown_timeout.mul_f32(0.4), Timer::Stop);
            }
            Some(_) => self.stop_step(),
        }
    }

    /// The next step.
    pub(super) fn stop_step(&mut self) {
        match self.phase {
            Some(Phase::Draining) => {
                self.phase = Some(Phase::Terminating);
                self.signal_all(SIGTERM);
                self.timers.after(self.options.shutdown_timeout.mul_f32(0.4), Timer::Stop);
            }
            Some(Phase::Terminating | Phase::Killing) => {
                let left = self.runs.alive().filter(|(_, live)| live.process.is_some()).count();
                if left > 0 && self.phase == Some(Phase::Terminating) {
                    warn!(self.log, "most of the time of the shutdown is over; killing whoever is left"; "running" => left);
                }
                self.phase = Some(Phase::Killing);
                self.signal_all(SIGKILL);
                self.kill_all_leftovers();
                // Those that have not started have no process that we know; the keeper ends whoever is left.
                let starting: Vec<u32> =
                    self.runs.alive().filter(|(_, l)| l.state == State::Starting).map(|(slot, _)| slot).collect();
                for slot in starting {
                    self.fail_start(
                        slot,
                        &RpcError::shutting_down("the daemon was shut down before the run had started"),
                    );
                }
                self.timers.after(self.options.shutdown_timeout.mul_f32(0.05), Timer::Stop);
            }
            None => {}
        }
    }

    /// Without waiting for anybody.
    pub(super) fn stop_now(&mut self) {
        self.stop();
        self.phase = Some(Phase::Killing);
        self.stop_step();
    }

    /// Whether nothing is left to wait for.
    pub(super) fn stopped(&self) -> bool {
        self.stopping()
            && self.pids.is_empty()
            && self.starting == 0
            && (self.trees.is_quiet() || self.phase == Some(Phase::Killing))
    }

    /// Lets the zygotes go and says goodbye to the keeper, which kills whoever stays.
    pub(super) fn farewell(&mut self) {
        self.kill_all_leftovers();
        for pool in &self.pools {
            // A zygote that cannot be told is killed by the keeper.
            let _ = send_order(pool.orders.ours.as_fd(), Order::Retire, 0, 0);
        }
        self.drain_logs();
        self.trees.groups.leave();
        self.flush_journal();
        self.journal.stay();
        self.flush_all();
        self.tell_keeper(&ToKeeper::Quit(0), None);
        if self.orphaned {
            // Else the keeper's to remove.
            for path in [self.options.dirs.socket(), self.options.dirs.adopt()] {
                let _ = std::fs::remove_file(path);
            }
        }
        info!(self.log, "shut down");
    }
}
