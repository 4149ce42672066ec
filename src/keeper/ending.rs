//! The end of everything.

use std::os::fd::AsFd;
use std::time::Duration;

use super::{Keeper, SIGKILL};
use crate::sys::clock::monotonic_ns;
use crate::sys::pidfd::PidFd;
use crate::sys::{poll, process};
use crate::wire::control::ToMaster;

/// What a master is given when it is asked to stop for a second time.
const HURRY: Duration = Duration::from_millis(500);

impl Keeper<'_> {
    /// Asked to stop. Asked again: without waiting for anybody.
    pub(super) fn stop(&mut self) {
        let again = self.stop_by.is_some();
        self.tell(if again { &ToMaster::Kill } else { &ToMaster::Terminate });
        self.see_to_the_end(if again { HURRY } else { self.options.shutdown_timeout });
    }

    /// A master that has not shut down within this time is killed, and everybody with it.
    pub(super) fn see_to_the_end(&mut self, patience: Duration) {
        let by = monotonic_ns() + patience.as_nanos() as u64;
        let by = if self.master.is_none() { 0 } else { by };
        self.stop_by = Some(self.stop_by.map_or(by, |planned| planned.min(by)));
    }

    /// Nobody of ours stays behind: what the master has left over (or all, if it was killed) is killed, for at most a second.
    pub(super) fn end_everybody(&mut self) {
        let deadline = monotonic_ns() + 1_000_000_000;
        while monotonic_ns() < deadline {
            let children = process::children();
            for &pid in &children {
                // Not reaped by anybody but us, so the number is theirs.
                if let Ok(handle) = PidFd::open(pid) {
                    let _ = handle.send_group(pid, SIGKILL);
                    let _ = handle.send(SIGKILL);
                }
            }
            if children.is_empty() {
                return;
            }
            let quiet = poll::readable([self.signals.as_fd(), self.signals.as_fd()], Some(Duration::from_millis(10)));
            while let (Ok(_), Ok(Some(exit))) = (&quiet, crate::sys::reap::peek(None)) {
                let _ = crate::sys::reap::reap(exit.pid);
            }
            let _ = self.signals.read().map(Iterator::count);
        }
    }
}
