//! Idle children that outlive this master: the keeper has their channels, too ([`crate::pool`] says which and why).
//!
//! Whoever is given a request is taken from the keeper first, so that what it has when a master dies are children that wait.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rand::RngExt;
use slog::{debug, warn};

use super::Master;
use super::timers::Timer;
use crate::pool::IdleChild;
use crate::sys::clock::monotonic_ns;
use crate::wire::control::ToKeeper;

/// So many are given to the keeper in a turn of the loop.
const AT_ONCE: usize = 128;
/// Until the next are.
const PAUSE: Duration = Duration::from_millis(50);
/// Until orders are looked at again that have not been read.
const UNREAD: Duration = Duration::from_secs(1);

impl Master {
    /// As many idle children as wanted, asked for when nobody waits for anything else.
    pub(super) fn refill(&mut self, index: usize) {
        let pool = &mut self.pools[index];
        if self.phase.is_some() || self.fostered || pool.current().is_none() || pool.no_forks_until.is_some() {
            return;
        }
        let now = monotonic_ns();
        let surplus = pool.surplus(now);
        let refilled = pool.refill(now, || rand::rng().random());
        self.dismiss_idle(index, surplus);
        match refilled {
            Ok(Some(at)) => self.refill_at(index, at),
            Ok(None) => {}
            Err(e) => {
                warn!(self.log, "asking for idle children"; "pool" => &self.pools[index].definition.name, "error" => %e);
                self.pause_forks(index);
            }
        }
        self.watch_idle(index);
    }

    fn refill_at(&mut self, index: usize, at: u64) {
        let pool = &mut self.pools[index];
        if pool.refill_timer.is_none_or(|(sooner, _)| at < sooner) {
            self.timers.cancel(pool.refill_timer.take());
            pool.refill_timer = Some(self.timers.at(at, Timer::Refill { pool: index }));
        }
    }

    /// Looks after a while whether some have rested.
    pub(super) fn watch_idle(&mut self, index: usize) {
        self.watch_idle_after(index, PAUSE);
    }

    fn watch_idle_after(&mut self, index: usize, pause: Duration) {
        let pool = &mut self.pools[index];
        if let (false, Some(at)) = (pool.watching_idle, pool.rested_at()) {
            pool.watching_idle = true;
            self.timers.at(at.max(monotonic_ns() + pause.as_nanos() as u64), Timer::Idle { pool: index });
        }
    }

    /// Gives those that have rested to the keeper.
    pub(super) fn keep_idle(&mut self, index: usize) {
        let pool = &mut self.pools[index];
        pool.watching_idle = false;
        if self.fostered || self.stopping() {
            return;
        }
        let now = monotonic_ns();
        let pool = &mut self.pools[index];
        let rested = pool.rested(now);
        if rested.is_empty() && pool.rested_at().is_some_and(|at| at <= now) {
            // Their zygote has not read of them. Perhaps nobody will ever start anything, which is when the zygote is looked at otherwise.
            self.hung(index, now);
            return self.watch_idle_after(index, UNREAD);
        }
        for at in rested.take(AT_ONCE) {
            let child = &pool.idle[at];
            let message = ToKeeper::Store(pool.idle_name(child));
            super::keeping::keep(&self.keeper, &message, Some(child.channel.as_fd()), &self.log);
            pool.idle[at].kept = true;
        }
        self.watch_idle(index);
    }

    /// These are not used any more: each leaves with the last copy of its channel.
    pub(super) fn dismiss_idle(&mut self, index: usize, children: impl IntoIterator<Item = IdleChild>) {
        for child in children {
            if child.kept {
                self.tell_keeper(&ToKeeper::Drop(self.pools[index].idle_prefix(&child)), None);
            }
            drop(child.channel);
            self.drop_if_done(index, child.generation);
        }
    }

    /// Those that have died are followed by others.
    pub(super) fn dismiss_dead_idle(&mut self, index: usize) -> io::Result<()> {
        let dead = self.pools[index].drop_dead_idle()?;
        if !dead.is_empty() {
            let name = &self.pools[index].definition.name;
            debug!(self.log, "idle children have died"; "pool" => name, "count" => dead.len());
            self.dismiss_idle(index, dead);
            self.busy(index);
        }
        Ok(())
    }

    /// None of that pool's is used any more. In one word, so that no master is left a part of them.
    pub(super) fn dismiss_all_idle(&mut self, index: usize) {
        let children = std::mem::take(&mut self.pools[index].idle);
        if children.iter().any(|child| child.kept) {
            self.tell_keeper(&ToKeeper::Drop(self.pools[index].idle_names()), None);
        }
        let generations: HashSet<u32> = children.iter().map(|child| child.generation).collect();
        drop(children);
        generations.into_iter().for_each(|number| self.drop_if_done(index, number));
    }

    /// Those that a killed master has left to the keeper wait for us. `stored`: by name.
    pub(super) fn adopt_idle(&mut self, stored: Vec<(String, OwnedFd)>) {
        let now = monotonic_ns();
        for (name, channel) in stored {
            let index = name.split('/').nth(1).and_then(|pool| self.pool_index(pool));
            if !index.is_some_and(|index| self.pools[index].adopt_idle(&name, channel, now)) {
                self.tell_keeper(&ToKeeper::Drop(name), None);
            }
        }
        self.pools.iter_mut().for_each(|pool| pool.resume_demand(now));
    }
}
