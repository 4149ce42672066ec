//! A master that stands still: in a turn of its loop that does not end (see [`crate::table`], `beat.rs`), or stopped by a signal.
//!
//! Looks are counted, not time: who finds the machine, or all of us, stopped for an hour has looked once in that hour.

use std::io;
use std::time::Duration;

use super::{Keeper, LAST_WORDS, SIGCONT};
use crate::sys::{process, reap};
use crate::table::Seen;

const SIGABRT: i32 = 6;

/// Between two looks, at most, and so many at least before anybody is ended.
const EVERY: Duration = Duration::from_millis(250);
const LOOKS: u32 = 4;
/// A master that is handing over stands still on purpose, with deadlines of its own; they are less than this.
const HANDING_OVER: Duration = Duration::from_secs(15);

/// What has been seen so far.
#[derive(Debug, Default)]
pub struct Watchdog {
    /// When to look next, ns monotonic. None: the master rings when a turn begins.
    pub look_at: Option<u64>,
    seen: Seen,
    /// So many looks in a row have shown it standing still.
    still: u32,
    /// The master that is stopped.
    stopped: Option<u32>,
    /// That it is being traced has been said.
    spared: bool,
}

impl Keeper<'_> {
    /// A turn of the master's has begun, or it has been stopped.
    pub(super) fn watch(&mut self, now: u64) {
        self.table.watch_beat();
        if let (Some(deadline), None) = (self.options.watchdog, self.watchdog.look_at) {
            let seen = self.table.beat();
            let look_at = Some(now + every(deadline).as_nanos() as u64);
            self.watchdog = Watchdog { look_at, seen, stopped: self.watchdog.stopped, ..Watchdog::default() };
        }
    }

    /// Something has happened to a child, and it may be that the master was stopped, or goes on.
    pub(super) fn see_whether_stopped(&mut self, now: u64) -> io::Result<()> {
        // One that is being ended goes on only to do that.
        let looked_at = self.master.as_ref().filter(|master| !master.fostered && self.end_master_at.is_none());
        let master = looked_at.map(|master| master.pid);
        let stopped = match master {
            Some(pid) if reap::stopped(pid)? => Some(pid),
            _ => None,
        };
        let before = std::mem::replace(&mut self.watchdog.stopped, stopped);
        match (before, stopped) {
            (Some(pid), None) if master == before && process::doing(pid).is_ok() => {
                self.say(&format!("the master (pid {pid}) goes on"))
            }
            (before, Some(pid)) if before != stopped => {
                let then = match self.options.watchdog {
                    Some(deadline) => format!(" within {deadline:?}, or another one is started"),
                    None => String::new(),
                };
                self.say(&format!(
                    "the master (pid {pid}) has been stopped by a signal: nobody is served until it gets SIGCONT{then}"
                ));
                self.watch(now);
            }
            _ => {}
        }
        Ok(())
    }

    /// Looks at the master, and ends it when it has stood still for too long.
    pub(super) fn look(&mut self, now: u64) -> io::Result<()> {
        self.watchdog.look_at = None;
        self.see_whether_stopped(now)?;
        let Some(deadline) = self.options.watchdog else { return Ok(()) };
        let beat = self.table.beat();
        // One without a channel is being ended.
        let master = self.master.as_ref().filter(|master| master.control.is_some() && !master.fostered);
        let (pid, stopped) = (master.map_or(0, |master| master.pid), self.watchdog.stopped.is_some());
        let before = std::mem::replace(&mut self.watchdog.seen, beat);
        if pid != 0 && (stopped || beat.busy(pid) && beat == before) {
            self.watchdog.still += 1;
            let patience = if self.successor.is_some() { deadline.max(HANDING_OVER) } else { deadline };
            if every(deadline) * self.watchdog.still >= patience {
                self.end_who_stands_still(pid, now);
            }
        } else {
            (self.watchdog.still, self.watchdog.spared) = (0, false);
            if !beat.busy(pid) && self.table.unwatch_beat(beat) {
                return Ok(());
            }
        }
        self.watchdog.look_at = Some(now + every(deadline).as_nanos() as u64);
        Ok(())
    }

    /// But not if it is being traced: whoever does that knows why it stands still.
    fn end_who_stands_still(&mut self, pid: u32, now: u64) {
        let time = every(self.options.watchdog.unwrap_or_default()) * self.watchdog.still;
        let how = match self.watchdog.stopped {
            Some(_) => format!("has been stopped for {time:?}"),
            None => format!("has been in one turn of its loop for {time:?}"),
        };
        let doing = process::doing(pid);
        if let Some(tracer) = doing.as_ref().ok().and_then(|doing| doing.tracer) {
            if !std::mem::replace(&mut self.watchdog.spared, true) {
                self.say(&format!("the master (pid {pid}) {how}; process {tracer} traces it, so it is left alone"));
            }
            return;
        }
        let doing = doing.map_or_else(|e| e.to_string(), |doing| format!("{}, in {:?}", doing.state, doing.waits_in));
        self.say(&format!("watchdog: the master (pid {pid}) {how} ({doing}): ending it"));
        if let Some(master) = &self.master {
            // For a core, where one is wanted. One that is stopped takes it when it goes on. Dead already is as good.
            let _ = master.handle.send(SIGABRT);
            let _ = master.handle.send(SIGCONT);
        }
        self.end_master_at = Some(now + LAST_WORDS.as_nanos() as u64);
        (self.watchdog.still, self.watchdog.stopped) = (0, None);
    }
}

fn every(deadline: Duration) -> Duration {
    EVERY.min(deadline / LOOKS)
}
