//! One turn of the keeper after the other: what the master says, the signals, who has died, what is due.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use super::masters::PAUSE;
use super::reaper::Masters;
use super::{Keeper, SIGCHLD, SIGHUP, SIGKILL, SIGUSR1, SIGUSR2};
use crate::sys::clock::monotonic_ns;
use crate::sys::reap::Exit;
use crate::sys::signals::Delivered;
use crate::sys::{memory, poll};
use crate::wire::control::ToMaster;

impl Keeper<'_> {
    /// Until the daemon is to end, with which code.
    pub(super) fn run(&mut self) -> io::Result<u8> {
        loop {
            let now = monotonic_ns();
            let timeout = self.next_due().map(|at| Duration::from_nanos(at.saturating_sub(now)));
            // What a master says; once it has closed its end, its own.
            let master = self.master.as_ref();
            let said =
                master.map_or(self.signals.as_fd(), |m| m.control.as_ref().map_or(m.handle.as_fd(), AsFd::as_fd));
            let ending = master.is_some_and(|m| m.control.is_none());
            let [signalled, spoken] = poll::readable([self.signals.as_fd(), said], timeout)?;
            let mut died = Vec::new();
            if spoken && ending {
                self.ended_master(&mut died)?;
            } else if spoken && self.master.is_some() {
                self.listen();
            }
            // Only now: what was said may have made one.
            let masters = self.masters();
            if signalled {
                self.signalled(now, &masters, &mut died)?;
            }
            let now = monotonic_ns();
            // Clients wait for a master that is to be started, nobody for those who died with the last one.
            let starting = self.restart_at.is_some_and(|at| at <= now);
            if self.reaper.sweep_at.is_some_and(|at| at <= now) && died.is_empty() && !starting {
                self.reaper.sweep(&self.table, &masters, &mut died)?;
                self.wake_master()?;
                // Its signal may have been lost among others'.
                self.see_whether_stopped(now)?;
            }
            for exit in died {
                if self.successor_died(&exit) || self.candidate_done(&exit) {
                    continue;
                }
                if let Some(code) = self.master_died(&exit) {
                    return Ok(code);
                }
            }
            if let Some(code) = self.due(now)? {
                return Ok(code);
            }
        }
    }

    /// When something is to be done whatever happens, ns monotonic.
    fn next_due(&self) -> Option<u64> {
        let leave_by = self.leaving.as_ref().map(|(_, _, at)| *at);
        let answer_by = self.candidate.as_ref().map(|candidate| candidate.by);
        let masters = [self.restart_at, self.end_master_at, leave_by, answer_by];
        let ours = [self.reaper.sweep_at, self.stop_by, self.calm_at, self.watchdog.look_at];
        masters.into_iter().chain(ours).flatten().min()
    }

    fn signalled(&mut self, now: u64, masters: &Masters, died: &mut Vec<Exit>) -> io::Result<()> {
        let (mut reload, mut reopen, mut upgrade, mut stop) = (false, false, false, false);
        let mut masters_own = false;
        for signal in self.signals.read()? {
            match signal {
                Delivered { signal: SIGCHLD, pid } => {
                    masters_own |= masters[0] == Some(pid);
                    self.reaper.named(&self.table, pid, masters, died)?;
                }
                Delivered { signal: SIGHUP, .. } => reload = true,
                Delivered { signal: SIGUSR1, .. } => reopen = true,
                Delivered { signal: SIGUSR2, .. } => upgrade = true,
                Delivered { .. } => stop = true,
            }
        }
        self.wake_master()?;
        if masters_own {
            self.see_whether_stopped(now)?;
        }
        if reload {
            self.reload_due = true;
            self.tell(&ToMaster::Reload);
        }
        if reopen {
            self.tell(&ToMaster::Reopen);
        }
        if upgrade {
            self.tell(&ToMaster::Upgrade);
        }
        if stop {
            self.stop();
        }
        Ok(())
    }

    /// What is to be done by now. A code: the daemon ends with it.
    fn due(&mut self, now: u64) -> io::Result<Option<u8>> {
        if self.stop_by.is_some_and(|at| at <= now) {
            self.say("the master did not shut down in time: killing it");
            return Ok(Some(1));
        }
        if self.end_master_at.is_some_and(|at| at <= now) {
            self.end_master_at = None;
            if let Some(master) = &self.master {
                let _ = master.handle.send(SIGKILL); // dead already is as good
            }
        }
        if self.watchdog.look_at.is_some_and(|at| at <= now) {
            self.look(now)?;
        }
        self.end_who_lingers(now);
        self.end_late_candidate(now);
        if self.calm_at.is_some_and(|at| at <= now) {
            self.calm_at = None;
            memory::give_back();
        }
        if self.restart_at.is_some_and(|at| at <= now) {
            self.restart_at = None;
            if let Err(e) = self.start_master() {
                if self.stop_by.is_some() {
                    return Ok(Some(self.end_without_master(&e.to_string())));
                }
                self.say(&format!("{e}; trying again in 5 s"));
                self.restart_at = Some(now + PAUSE.1.as_nanos() as u64);
            }
        }
        Ok(None)
    }
}
