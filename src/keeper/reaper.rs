//! Reaping that does not cost more with more children.
//!
//! `waitid` for any child walks all of them, so the one that SIGCHLD names goes first, by number.
//! Equal signals merge while one is pending, so that some exits are never named: a sweep over all children
//! finds them, at once after a quiet time, and while exits keep coming at most every 10 ms and for a twentieth of the time.

use std::io;

use crate::sys::clock::{monotonic_ns, wall_ns};
use crate::sys::process;
use crate::sys::reap::{self, Exit};
use crate::table::Table;

/// Between two sweeps, in ns, and as a multiple of what the last one took: a sweep holds the kernel's list of
/// tasks, so that nobody can fork or exit meanwhile, and with thousands of children takes milliseconds.
const SWEEP_EVERY: u64 = 10_000_000;
const SWEEP_SHARE: u64 = 20;
/// However dear it was: nobody's exit waits for longer than this.
const REST_MOST: u64 = 200_000_000;
/// A look for any dead child that takes longer than this, in ns, had thousands of living ones to pass.
const DEAR: u64 = 50_000;
/// Exits that one sweep takes before it lets the loop look at other things.
const SWEEP_MOST: usize = 4096;

/// The master, its successor, the one before that is about to leave, and who could take our place: their ends are no runs'.
pub type Masters = [Option<u32>; 4];

/// What has to be done about dead children, and when.
#[derive(Debug, Default)]
pub struct Reaper {
    /// No sweep before this time, ns monotonic.
    rest_until: u64,
    /// When to sweep next, ns monotonic.
    pub sweep_at: Option<u64>,
    /// The ring is full: zombies stay in the kernel until the master has made room.
    pub stalled: bool,
}

impl Reaper {
    /// SIGCHLD named `pid`. Who of `masters` has died is added to `died`.
    pub fn named(&mut self, table: &Table, pid: u32, masters: &Masters, died: &mut Vec<Exit>) -> io::Result<()> {
        let now = monotonic_ns();
        self.sweep_at.get_or_insert(self.rest_until.max(now));
        match reap::peek(Some(pid))? {
            Some(exit) => self.take(table, exit, masters, died),
            None => Ok(()),
        }
    }

    /// Takes everybody who is dead. Who of `masters` is among them is added to `died`.
    pub fn sweep(&mut self, table: &Table, masters: &Masters, died: &mut Vec<Exit>) -> io::Result<()> {
        // While the ring is full the first zombie of all blocks the view on the rest; a master's end must be seen nevertheless.
        if self.stalled {
            for pid in masters.iter().flatten() {
                if let Some(exit) = reap::peek(Some(*pid))? {
                    self.take(table, exit, masters, died)?;
                }
            }
        }
        self.sweep_at = None;
        let began = monotonic_ns();
        for n in 0.. {
            if self.stalled {
                break;
            }
            if n == SWEEP_MOST {
                self.sweep_at = Some(began);
                break;
            }
            let before = monotonic_ns();
            let Some(exit) = reap::peek(None)? else { break };
            let dear = monotonic_ns() - before > DEAR;
            self.take(table, exit, masters, died)?;
            if dear {
                // Each such look walks over all who live to find the next who is dead: one walk for all of the dead is cheaper.
                for pid in process::children() {
                    if let Some(exit) = reap::peek(Some(pid))?.filter(|_| !self.stalled) {
                        self.take(table, exit, masters, died)?;
                    }
                }
                break;
            }
        }
        let now = monotonic_ns();
        self.rest_until = now + ((now - began) * SWEEP_SHARE).clamp(SWEEP_EVERY, REST_MOST);
        Ok(())
    }

    /// There is room again.
    pub fn drained(&mut self) {
        if self.stalled {
            self.stalled = false;
            self.sweep_at = Some(0);
        }
    }

    fn take(&mut self, table: &Table, exit: Exit, masters: &Masters, died: &mut Vec<Exit>) -> io::Result<()> {
        if masters.contains(&Some(exit.pid)) {
            reap::reap(exit.pid)?;
            died.push(exit);
            return Ok(());
        }
        if table.ring_writer().push(&exit, wall_ns()) {
            reap::reap(exit.pid)?;
            self.stalled = false;
        } else {
            self.stalled = true;
        }
        Ok(())
    }
}
