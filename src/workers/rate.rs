//! How fast workers are started, all together: a bucket of starts that fills with time. A few are never held up; a
//! thousand that crash as soon as they start leave the machine, and the daemon, room for others.

use std::collections::{HashSet, VecDeque};

/// Starts that may come at once.
const BURST: u64 = 256;
/// ns until the bucket has one more.
const INTERVAL: u64 = 10_000_000;

/// Workers that are to be started, in the order they came.
#[derive(Debug)]
pub struct Starts {
    queue: VecDeque<u32>,
    queued: HashSet<u32>,
    /// The time at which the bucket was, or will be, empty plus what it holds: starts are counted as time.
    spent_until: u64,
}

impl Starts {
    /// A full bucket.
    pub fn new(now: u64) -> Starts {
        Starts { queue: VecDeque::new(), queued: HashSet::new(), spent_until: now }
    }

    /// This worker is to be started. One that waits already keeps its place.
    pub fn push(&mut self, id: u32) {
        if self.queued.insert(id) {
            self.queue.push_back(id);
        }
    }

    /// The next one, if it may start now.
    pub fn take(&mut self, now: u64) -> Option<u32> {
        if self.next_at(now)? > now {
            return None;
        }
        self.spent_until = self.spent_until.max(now) + INTERVAL;
        let id = self.queue.pop_front()?;
        self.queued.remove(&id);
        Some(id)
    }

    /// When the next one may start; None: nobody waits.
    pub fn next_at(&self, now: u64) -> Option<u64> {
        self.queue.front()?;
        Some(self.spent_until.saturating_sub((BURST - 1) * INTERVAL).max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_steady_flow_in_order() {
        let mut starts = Starts::new(0);
        for id in 0..1000 {
            starts.push(id);
            starts.push(id);
        }
        let mut now = 5_000_000_000;
        let first: Vec<u32> = std::iter::from_fn(|| starts.take(now)).collect();
        assert_eq!(first, (0..BURST as u32).collect::<Vec<_>>());
        let mut rest = 0;
        while let Some(at) = starts.next_at(now) {
            assert!(at > now);
            now = at;
            assert_eq!(starts.take(now), Some(first.len() as u32 + rest));
            rest += 1;
        }
        assert_eq!(rest as u64, 1000 - BURST);
        assert_eq!(now, 5_000_000_000 + u64::from(rest) * INTERVAL);
        starts.push(7);
        assert_eq!(starts.take(now + INTERVAL), Some(7), "one alone does not wait");
    }
}
