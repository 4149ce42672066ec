//! Idle children: asked for ahead, and waiting for one request each on a channel of their own.
//!
//! A child leaves when nobody has the other end of its channel any more, so that those which only the master has go with it. Those
//! that have waited for a while are the keeper's, too: they outlive a master that is killed, and wait for the next one. It costs the
//! keeper a descriptor for each, and two messages: so those that are used at once, under load, are spared it, and are used first.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::Pool;
use crate::sys::{poll, seqpacket};
use crate::wire::channel::{Flags, Header, Order};
use crate::wire::control::IDLE;

/// Who waits for longer than this is given to the keeper.
const REST: Duration = Duration::from_secs(1);
/// Within this time a child that has been asked for may not be forked yet, while others wait.
const FORKED: Duration = Duration::from_millis(5);

/// A child that waits for its one request.
#[derive(Debug)]
pub struct IdleChild {
    /// The generation it answers on the channel of (another one, if its zygote died before it had forked it).
    pub generation: u32,
    /// What its order named it.
    pub number: u32,
    /// The nonce of its order.
    pub nonce: u64,
    /// The place of its order among all of the pool's, and when it was sent, ns monotonic.
    pub order: (u64, u64),
    /// The zygote that was to fork it has died before it had read that.
    pub carried: bool,
    /// The keeper may have its channel, too, and has to be told before it is used.
    pub kept: bool,
    /// Where its request goes.
    pub channel: OwnedFd,
}

impl Pool {
    /// Asks the current zygote for idle children until there are as many as wanted, or as it may be asked for now. Their channels
    /// are made here; that a child is not forked yet does not matter to whoever sends it a request. Answers when to look again.
    ///
    /// While many runs are to start none is asked for: it would be forked for one of those that come next, who would not wait less, and
    /// one that is forked on demand takes less of the machine. Each start brings us here again.
    pub fn refill(&mut self, now: u64, mut nonce: impl FnMut() -> u64) -> io::Result<Option<u64>> {
        let bounds = self.definition.idle;
        let wanted = self.demand.wanted(now, bounds) as usize;
        if self.starting as usize > (wanted / 2).max(1) {
            return Ok(None);
        }
        let fork_us = self.current().and_then(|g| g.fork_us);
        while self.idle.len() < wanted {
            if let Err(at) = self.demand.ask(now, fork_us) {
                return Ok(Some(at));
            }
            let (ours, theirs) = seqpacket::pair()?;
            self.next_idle = self.next_idle.wrapping_add(1);
            let child = IdleChild {
                generation: self.current.unwrap_or(0),
                number: self.next_idle,
                nonce: nonce(),
                order: (self.next_order(), now),
                carried: false,
                kept: false,
                channel: ours,
            };
            let header = Header { kind: Order::Fork, flags: Flags::CHANNEL, slot: child.number, nonce: child.nonce };
            seqpacket::send(self.orders.ours.as_fd(), &[IoSlice::new(&header.encode())], &[theirs.as_fd()], false)?;
            self.idle.push_back(child);
        }
        Ok((self.idle.len() > bounds.min as usize).then(|| self.demand.fades_at(now)))
    }

    /// Takes those that are no longer wanted. They have been forked for sure: no zygote has an order left for one of them.
    pub fn surplus(&mut self, now: u64) -> Vec<IdleChild> {
        let wanted = self.demand.wanted(now, self.definition.idle) as usize;
        let count = self.idle.len().saturating_sub(wanted).min(self.kept_idle());
        self.idle.drain(..count).collect()
    }

    /// As many as a former master had are wanted for a while.
    pub fn resume_demand(&mut self, now: u64) {
        self.demand.had(now, u32::try_from(self.idle.len()).unwrap_or(u32::MAX));
    }

    /// The child for the next request.
    pub fn take_idle(&mut self, now: u64) -> Option<IdleChild> {
        let at = self.kept_idle();
        let forked = |child: &IdleChild| child.order.1 + FORKED.as_nanos() as u64 <= now;
        if self.idle.get(at).is_some_and(forked) { self.idle.remove(at) } else { self.idle.pop_front() }
    }

    /// One that has been taken and got no request.
    pub fn put_back_idle(&mut self, child: IdleChild) {
        let at = self.kept_idle();
        self.idle.insert(at, child);
    }

    /// When the next one will have waited for long enough to be the keeper's, too, ns monotonic; None: there is none.
    pub fn rested_at(&self) -> Option<u64> {
        let next = self.idle.get(self.kept_idle()).filter(|child| !child.carried)?;
        Some(next.order.1 + REST.as_nanos() as u64)
    }

    /// Those of `idle` that have, and are there for sure.
    pub fn rested(&self, now: u64) -> std::ops::Range<usize> {
        // Their zygote may die before it has read this one, and leave it to the next.
        let first_unread = match self.unread_order() {
            None => u64::MAX,
            Some(unread) => self.idle.iter().find(|c| (c.number, c.nonce) == unread).map_or(0, |c| c.order.0),
        };
        let from = self.kept_idle();
        let rest = REST.as_nanos() as u64;
        let ready = |c: &IdleChild| !c.carried && c.order.0 < first_unread && c.order.1 + rest <= now;
        let count = self.idle.range(from..).take_while(|c| ready(c)).count();
        from..from + count
    }

    /// The name that a child's channel is given in the keeper's store; it tells a master that knows of nothing what there is to be
    /// known.
    pub fn idle_name(&self, child: &IdleChild) -> String {
        let generation = child.generation;
        let their_end = self.generations.iter().find(|g| g.number == generation).map_or(0, |g| g.their_end);
        format!("{}{generation}/{their_end}", self.idle_prefix(child))
    }

    /// What that name begins with, and no other child's. Its generation may be another one later, or be gone: that is what follows.
    pub fn idle_prefix(&self, child: &IdleChild) -> String {
        format!("{}{}/{}/", self.idle_names(), child.number, child.nonce)
    }

    /// What all of these names begin with.
    pub fn idle_names(&self) -> String {
        format!("{IDLE}{}/", self.definition.name)
    }

    /// Takes the child of that name of one of our generations, which a master that was killed has left to the keeper. False: nobody
    /// needs it any more.
    pub fn adopt_idle(&mut self, name: &str, channel: OwnedFd, now: u64) -> bool {
        let parts: Vec<&str> = name.split('/').collect();
        let [_, _, number, nonce, generation, their_end] = parts[..] else { return false };
        let (Ok(generation), Ok(number), Ok(nonce)) = (generation.parse(), number.parse(), nonce.parse()) else {
            return false;
        };
        let Some(g) = self.generation(generation) else { return false };
        if let (0, Ok(inode)) = (g.their_end, their_end.parse()) {
            g.their_end = inode;
        }
        // Its order was a former master's, and has been read.
        let child = IdleChild { generation, number, nonce, order: (0, now), carried: false, kept: true, channel };
        // The names come in the order of texts.
        let at = self.idle.partition_point(|c| (c.generation, c.number) < (generation, number));
        self.idle.insert(at, child);
        true
    }

    /// Forgets idle children that have died, and gives them.
    pub fn drop_dead_idle(&mut self) -> io::Result<Vec<IdleChild>> {
        let dead = poll::hung_up(self.idle.iter().map(|c| c.channel.as_fd()))?;
        Ok(dead.iter().rev().filter_map(|&i| self.idle.remove(i)).collect())
    }

    /// How many of them the keeper has: they come first.
    fn kept_idle(&self) -> usize {
        self.idle.partition_point(|child| child.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processfile;
    use crate::sys::seqpacket::Batch;

    const SECOND: u64 = 1_000_000_000;

    fn pool(idle: usize) -> Pool {
        let text =
            format!(r#"{{"pools": [{{"name": "p", "runtime": "native", "command": ["/bin/true"], "idle": {idle}}}]}}"#);
        let (_, mut pools) = processfile::parse_apps(&text, std::path::Path::new("/"), &[]).unwrap();
        Pool::new(pools.remove(0)).unwrap()
    }

    fn fill(pool: &mut Pool) {
        let mut nonce = 100;
        pool.refill(SECOND, || {
            nonce += 1;
            nonce
        })
        .unwrap();
    }

    #[test]
    fn what_a_name_is_dropped_by_stays_when_the_generation_does_not() {
        let mut pool = pool(12);
        fill(&mut pool);
        let stored: Vec<String> = pool.idle.iter().map(|child| pool.idle_name(child)).collect();
        assert_eq!(stored[0], "idle/p/1/101/0/0");
        pool.idle.iter_mut().for_each(|child| child.generation = 7);
        for (at, child) in pool.idle.iter().enumerate() {
            let prefix = pool.idle_prefix(child);
            let met: Vec<usize> = (0..stored.len()).filter(|i| stored[*i].starts_with(&prefix)).collect();
            assert!(met == [at] && prefix.ends_with('/'), "{prefix} of {stored:?}");
        }
    }

    #[test]
    fn what_a_burst_needed_is_kept_for_a_while_and_then_let_go() {
        let mut pool = pool(0);
        pool.definition.idle = processfile::Idle { min: 2, max: 40 };
        pool.demand = super::super::Demand::new(SECOND);
        fill(&mut pool);
        assert_eq!(pool.idle.len(), 2);
        (0..20).for_each(|_| pool.demand.took(SECOND, None));
        let mut nonce = || 7;
        let mut now = SECOND;
        let mut times = 0;
        while let Some(at) = pool.refill(now, &mut nonce).unwrap().filter(|at| *at < SECOND * 2) {
            assert!(at > now && times < 30 && (times > 0 || pool.idle.len() < 15), "{} after {times}", pool.idle.len());
            (now, times) = (at, times + 1);
        }
        assert_eq!(pool.idle.len(), 25);
        let fades = pool.refill(now, &mut nonce).unwrap();
        assert_eq!(fades, Some(16 * SECOND));
        assert!(pool.surplus(now + 5 * SECOND).is_empty());
        // Those that may not have been forked yet are not let go.
        assert!(pool.surplus(40 * SECOND).is_empty());
        pool.idle.iter_mut().take(24).for_each(|child| child.kept = true);
        assert_eq!(pool.surplus(40 * SECOND).len(), 23);
        assert_eq!(pool.refill(40 * SECOND, &mut nonce).unwrap(), None);
        assert_eq!(pool.idle.len(), 2);
    }

    #[test]
    fn nobody_is_asked_for_while_many_are_to_start() {
        let mut pool = pool(8);
        pool.starting = 5;
        fill(&mut pool);
        assert_eq!(pool.idle.len(), 0);
        pool.starting = 4;
        fill(&mut pool);
        assert_eq!(pool.idle.len(), 8);
    }

    #[test]
    fn what_a_former_master_had_is_wanted_for_a_while() {
        let mut former = pool(0);
        former.definition.idle = processfile::Idle { min: 0, max: 30 };
        former.demand = super::super::Demand::new(SECOND);
        (0..20).for_each(|_| former.demand.took(SECOND, None));
        former.refill(SECOND, || 1).unwrap();
        let had = former.idle.len();
        let mut next = pool(0);
        next.definition.idle = former.definition.idle;
        next.idle = former.idle;
        next.idle.iter_mut().for_each(|child| child.kept = true);
        next.demand = super::super::Demand::new(2 * SECOND);
        next.resume_demand(2 * SECOND);
        assert!(had >= 8 && next.surplus(16 * SECOND).is_empty());
        assert_eq!(next.surplus(40 * SECOND).len(), had);
    }

    #[test]
    fn an_order_is_unread_since_it_was_first_seen_so() {
        let mut pool = pool(2);
        assert_eq!(pool.unread_since(SECOND), None);
        fill(&mut pool);
        assert_eq!(pool.unread_since(2 * SECOND), Some(2 * SECOND));
        assert_eq!(pool.unread_since(9 * SECOND), Some(2 * SECOND));
        let mut batch = Batch::new(1, 4096);
        for since in [Some(10), None] {
            assert_eq!(batch.receive(pool.orders.theirs.as_fd()).unwrap().messages, 1);
            assert_eq!(pool.unread_since(10 * SECOND), since.map(|s| s * SECOND));
        }
    }
}
