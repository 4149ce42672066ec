//! The end of everything.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::time::Duration;

use super::{Keeper, SIGCONT, SIGINT, SIGKILL, SIGTERM};
use crate::sys::clock::monotonic_ns;
use crate::sys::pidfd::PidFd;
use crate::sys::signals::Delivered;
use crate::sys::{poll, process, reap};
use crate::wire::control::ToMaster;

/// What a master is given when it is asked to stop for a second time.
const HURRY: Duration = Duration::from_millis(500);
/// Between two rounds of SIGKILL.
const AGAIN: Duration = Duration::from_millis(10);

impl Keeper<'_> {
    /// Asked to stop. Asked again: without waiting for anybody.
    pub(super) fn stop(&mut self) {
        let again = self.stop_by.is_some();
        let order = if again { ToMaster::Kill } else { ToMaster::Terminate };
        self.tell(&order);
        self.last_order = Some(order);
        self.see_to_the_end(if again { HURRY } else { self.options.shutdown_timeout });
        if self.master.is_none() {
            // Who knows in which order everybody is to end is a master.
            self.restart_at = Some(monotonic_ns());
        }
    }

    /// A master that has not shut down within this time is killed, and everybody with it.
    pub(super) fn see_to_the_end(&mut self, patience: Duration) {
        let by = monotonic_ns() + patience.as_nanos() as u64;
        self.stop_by = Some(self.stop_by.map_or(by, |planned| planned.min(by)));
        self.last_order.get_or_insert(ToMaster::Terminate);
    }

    /// The master has died during the shutdown. Another one goes on with it; once, and no more. Returns the exit code when that was
    /// the end.
    pub(super) fn go_on_ending(&mut self, died: &str) -> Option<u8> {
        if self.last_master {
            return Some(self.end_without_master(died));
        }
        self.say(&format!("{died} during the shutdown; starting another to go on with it"));
        self.restart_at = Some(monotonic_ns());
        None
    }

    /// Everybody is asked to end, and after most of the time that is left killed. Returns the exit code.
    pub(super) fn end_without_master(&mut self, why: &str) -> u8 {
        self.say(&format!("{why}: ending everybody without a master"));
        let now = monotonic_ns();
        let left = self.stop_by.unwrap_or(now).saturating_sub(now);
        let hurried = matches!(self.last_order, Some(ToMaster::Kill));
        if !hurried && self.end_children(SIGTERM, now + left / 5 * 4) {
            return 0;
        }
        u8::from(!self.end_everybody())
    }

    /// Nobody of ours stays behind: what the master has left over (or all, if it was killed) is killed, for at most a second. False:
    /// somebody does.
    pub(super) fn end_everybody(&mut self) -> bool {
        self.end_children(SIGKILL, monotonic_ns() + 1_000_000_000)
    }

    /// Sends this to all children and to those who become ours by their end, until nobody is left. False: somebody is, at this time
    /// (ns monotonic), or we were asked to stop again.
    fn end_children(&mut self, signal: i32, by: u64) -> bool {
        let mut told = HashSet::new();
        loop {
            while let Ok(Some(exit)) = reap::peek(None) {
                // It is there, and it is ours.
                let _ = reap::reap(exit.pid);
            }
            let (children, now) = (process::children(), monotonic_ns());
            if children.is_empty() || now >= by {
                return children.is_empty();
            }
            for pid in children {
                // Who forks while he is killed may have to be killed again; who was asked to end is asked once.
                if !told.insert(pid) && signal != SIGKILL {
                    continue;
                }
                // Not reaped by anybody but us, so the number is theirs.
                let Ok(handle) = PidFd::open(pid) else { continue };
                for signal in [signal, SIGCONT] {
                    if handle.send_group(pid, signal).is_err() {
                        let _ = handle.send(signal); // dead already is as good
                    }
                }
            }
            let patience = if signal == SIGKILL { AGAIN } else { Duration::from_nanos(by - now) };
            let mut again = poll::readable([self.signals.as_fd(), self.signals.as_fd()], Some(patience)).is_err();
            for Delivered { signal, .. } in self.signals.read().into_iter().flatten() {
                again |= matches!(signal, SIGTERM | SIGINT);
            }
            if again && signal != SIGKILL {
                return false;
            }
        }
    }
}
