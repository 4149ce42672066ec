//! Upgrades, as the keeper sees them: another master is started beside the one that serves, and takes its place when that says so.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::{Keeper, LAST_WORDS, Master, Masters, SIGKILL};
use crate::sys::clock::monotonic_ns;
use crate::sys::reap::{self, Exit};
use crate::wire::control::{self, ToKeeper, ToMaster};

/// So many short lives in a row, and a new binary is not used any more.
const UNFIT: u32 = 3;

/// What is to be the master.
pub struct Successor {
    master: Master,
    binary: OsString,
}

impl Keeper<'_> {
    /// What a master is to begin for.
    pub(super) fn why(&self, what: &str) -> String {
        format!("{what}{}", if self.strangers { " strangers" } else { "" })
    }

    /// All that are or were masters.
    pub(super) fn masters(&self) -> Masters {
        let leaving = self.leaving.as_ref().map(|(pid, ..)| *pid);
        let candidate = self.candidate.as_ref().map(|candidate| candidate.pid);
        [self.master.as_ref().map(|m| m.pid), self.successor.as_ref().map(|s| s.master.pid), leaving, candidate]
    }

    /// A step that the master has asked for.
    pub(super) fn upgrade(&mut self, step: ToKeeper, fds: Vec<OwnedFd>) {
        let done = match step {
            ToKeeper::Upgrade(path) => self.start_successor(path.into(), &fds),
            ToKeeper::Frozen => match &self.successor {
                Some(successor) => {
                    self.hand_kept(&successor.master, &self.why("upgrade"), true).map_err(|e| e.to_string())
                }
                None => Err("it has died".to_owned()),
            },
            ToKeeper::Commit => self.commit(),
            ToKeeper::Abandon => Err("it was told to end".to_owned()),
            _ => return,
        };
        if let Err(why) = done {
            self.end_successor(&why);
        }
    }

    fn start_successor(&mut self, binary: OsString, fds: &[OwnedFd]) -> Result<(), String> {
        let [handover, stderr] = fds else { return Err("its channel did not come along".to_owned()) };
        if self.successor.is_some() || self.candidate.is_some() {
            return Err("another one is being started".to_owned());
        }
        let own = io::stderr();
        let more = [(handover.as_fd(), control::HANDOVER_FD), (stderr.as_fd(), 2), (own.as_fd(), control::STDERR_FD)];
        let master = self.spawn_master(binary.clone(), &more).map_err(|e| e.to_string())?;
        self.successor = Some(Successor { master, binary });
        Ok(())
    }

    /// The successor is the master from now on, if it is alive.
    fn commit(&mut self) -> Result<(), String> {
        if self.stop_by.is_some() {
            return Err("the daemon is shutting down".to_owned());
        }
        let Some(successor) = self.successor.take() else { return Err("it has died".to_owned()) };
        if !matches!(reap::peek(Some(successor.master.pid)), Ok(None)) {
            let how = Err(format!("it has died (pid {})", successor.master.pid));
            self.successor = Some(successor);
            return how;
        }
        let Some(old) = self.master.replace(successor.master) else { return Ok(()) };
        self.binary = Some(successor.binary);
        self.short_lives = 0;
        // If the old one was killed right after its last word, that was about it.
        self.end_master_at = None;
        // It may have been stopped while nobody minded.
        self.watch(monotonic_ns());
        self.tell(&ToMaster::Go);
        if let Some(control) = &old.control {
            // It may have gone, which is what it is told to do.
            let _ = crate::sys::seqpacket::send(
                control.as_fd(),
                &[io::IoSlice::new(&ToMaster::Leave.encode())],
                &[],
                false,
            );
        }
        if let Some((_, handle, _)) = self.leaving.take() {
            // Two masters ago. Its exit goes into the ring, where nobody knows it.
            let _ = handle.send(SIGKILL);
        }
        self.leaving = Some((old.pid, old.handle, monotonic_ns() + LAST_WORDS.as_nanos() as u64));
        Ok(())
    }

    /// Ends what was to be the master, and tells the master why there is none.
    pub(super) fn end_successor(&mut self, why: &str) {
        if let Some(successor) = self.successor.take() {
            // Its exit goes into the ring, where nobody knows it.
            let _ = successor.master.handle.send(SIGKILL);
        }
        self.tell(&ToMaster::NoSuccessor(why.to_owned()));
    }

    /// True: whoever has died was not the master.
    pub(super) fn successor_died(&mut self, exit: &Exit) -> bool {
        if self.leaving.as_ref().is_some_and(|(pid, ..)| *pid == exit.pid) {
            self.leaving = None;
            return true;
        }
        if self.successor.as_ref().is_some_and(|s| s.master.pid == exit.pid) {
            self.successor = None;
            self.tell(&ToMaster::NoSuccessor(format!("it has ended ({})", exit.how)));
            return true;
        }
        false
    }

    /// A master that has been told to leave, and has not.
    pub(super) fn end_who_lingers(&mut self, now: u64) {
        if let Some((_, handle, at)) = &mut self.leaving
            && *at <= now
        {
            *at = now + LAST_WORDS.as_nanos() as u64;
            if handle.send(SIGKILL).is_err() {
                // It has gone, and was not our child.
                self.leaving = None;
            }
        }
    }

    /// Masters of a new binary that keep dying: back to the one that this daemon was started with.
    pub(super) fn distrust(&mut self) {
        if self.short_lives >= UNFIT && self.binary.take().is_some() {
            self.say(
                "masters of the new program keep dying: going back to the program that this daemon was started with",
            );
        }
    }
}
