//! The keeper: what it says, what it is told, and what is done when it has gone.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use slog::{Logger, crit, error};

use super::Master;
use crate::sys::seqpacket::{self, Batch};
use crate::wire::control::{self, ToKeeper, ToMaster};

impl Master {
    /// False: the keeper has gone.
    pub(super) fn keeper_says(&mut self) -> bool {
        let mut batch = Batch::new(8, control::MAX);
        loop {
            let received = match batch.receive(self.keeper.as_fd()) {
                Ok(received) => received,
                Err(e) => {
                    crit!(self.log, "hearing from the keeper"; "error" => %e);
                    return self.keeper_gone();
                }
            };
            for i in 0..received.messages {
                if let Some(message) = ToMaster::decode(batch.message(i).0) {
                    self.obey_keeper(message);
                }
            }
            if received.closed {
                return self.keeper_gone();
            }
            if !received.more {
                return true;
            }
        }
    }

    pub(super) fn obey_keeper(&mut self, message: ToMaster) {
        match message {
            ToMaster::Terminate => self.stop(),
            ToMaster::Kill => self.stop_now(),
            ToMaster::Reload => self.reread(),
            ToMaster::Reopen => drop(self.reopen_logs()),
            ToMaster::Upgrade => self.upgrade_by_signal(),
            ToMaster::NoSuccessor(why) if self.replacing.is_some() => self.keeper_stays(&why),
            ToMaster::NoSuccessor(why) => self.no_successor(&why),
            ToMaster::Keeper(versions) => self.keeper_replaced(&versions),
            ToMaster::Stored(_) | ToMaster::Begin(_) | ToMaster::Go | ToMaster::Leave => {}
        }
    }

    /// Without a keeper nobody is the parent of what is started. A daemon that is ending anyway ends; else see
    /// [`super::orphaned`]. False: we are to leave.
    pub(super) fn keeper_gone(&mut self) -> bool {
        if !self.stopping() {
            self.orphaned_now();
            return true;
        }
        crit!(self.log, "the keeper has died during the shutdown: ending everything at once");
        self.signal_all(9);
        self.kill_all_leftovers();
        for pool in &self.pools {
            for (_, zygote) in pool.generations.iter().filter_map(|g| g.zygote.as_ref()) {
                let _ = zygote.send(9); // gone already is as good
            }
        }
        let _ = std::fs::remove_file(self.options.dirs.socket());
        false
    }

    /// A turn of the loop begins, or a part of one that may be long: each part has the watchdog's time for itself.
    pub(super) fn turn_begins(&mut self) {
        if self.beat.begin(&self.table) {
            self.tell_keeper(&ToKeeper::Busy, None);
        }
    }

    pub(super) fn tell_keeper(&self, message: &ToKeeper, fd: Option<BorrowedFd<'_>>) {
        if !self.orphaned {
            keep(&self.keeper, message, fd, &self.log);
        }
    }
}

/// Says something to the keeper. It always listens, so this waits for room if there is none for a moment.
pub(super) fn keep(keeper: &OwnedFd, message: &ToKeeper, fd: Option<BorrowedFd<'_>>, log: &Logger) {
    let fds: &[BorrowedFd<'_>] = fd.as_slice();
    if let Err(e) = seqpacket::send(keeper.as_fd(), &[IoSlice::new(&message.encode())], fds, true) {
        error!(log, "telling the keeper"; "message" => ?message, "error" => %e);
    }
}
