//! What has to happen at a time: one ordered map, on the monotonic clock.

use std::collections::BTreeMap;
use std::time::Duration;

use mio::Token;

use crate::sys::clock::monotonic_ns;

/// What is to happen. Whoever acts on it looks first whether it still applies.
#[derive(Debug)]
pub enum Timer {
    /// A run's `timeout` is over.
    RunTimeout { slot: u32, seq: u64 },
    /// A signalled run's grace is over: KILL.
    Grace { slot: u32, seq: u64 },
    /// A journal that has been written anew may be on the disk.
    Journal,
    /// The journal, which could not be written, is tried again.
    Unwritten,
    /// What is left of an ended, signalled run's group is killed.
    Leftovers(u64),
    /// A `wait` with a timeout gets the status as it is.
    Wait { slot: u32, seq: u64, asker: u64 },
    /// A connection's line, or its authentication, must be whole by now.
    Request(Token),
    /// A connection must have read its answers by now.
    Answer(Token),
    /// A connection that gave a wrong token hears of it only now.
    WrongToken(Token),
    /// Accept again after running out of descriptors.
    Accept,
    /// A zygote must be ready by now.
    Preload { pool: usize, generation: u32 },
    /// Bring a zygote up again.
    Load { pool: usize },
    /// Forks may be asked for again.
    Forks { pool: usize },
    /// Starts that have not been answered are looked into.
    Starts { pool: usize },
    /// The oldest ended run may be forgotten.
    Keep,
    /// Lines of output that have begun and do not end are written as they are.
    OpenLines,
    /// Captured output that lies in its pipe is read.
    Captures,
    /// The next step of the shutdown.
    Stop,
    /// A worker's pause is over, or its time to get ready.
    Worker(u32),
    /// A worker's process is probed, or its time has come.
    Ready { slot: u32, seq: u64 },
    /// A successor has been up for long enough, or is not ready in time.
    Successor { slot: u32, seq: u64 },
    /// Memory of workers is looked at.
    Memory,
    /// The list of apps, which could not be written, is tried again.
    List,
    /// A watched app's or pool's files have not changed for its time.
    Watch(u32),
    /// More workers may be started.
    Workers,
    /// A successor has had its time.
    Upgrade,
    /// The keeper has had its time to be replaced.
    Replace,
    /// A dead process is asked how it ended, since this time, ns monotonic.
    AskHow { slot: u32, seq: u64, since: u64 },
    /// What a start or new definitions took for a while is given back.
    Calm,
    /// More idle children may be asked for, or fewer may be wanted.
    Refill { pool: usize },
    /// Idle children that have rested are given to the keeper.
    Idle { pool: usize },
}

/// Names a timer, to cancel it.
pub type Key = (u64, u64);

/// All timers of the master.
#[derive(Debug, Default)]
pub struct Timers {
    queue: BTreeMap<Key, Timer>,
    next: u64,
}

impl Timers {
    /// Fires `timer` after `wait`.
    pub fn after(&mut self, wait: Duration, timer: Timer) -> Key {
        self.at(monotonic_ns().saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)), timer)
    }

    /// Fires `timer` at this time, ns monotonic.
    pub fn at(&mut self, at: u64, timer: Timer) -> Key {
        self.next += 1;
        self.queue.insert((at, self.next), timer);
        (at, self.next)
    }

    /// Forgets it; nothing to do when it has fired.
    pub fn cancel(&mut self, key: Option<Key>) {
        if let Some(key) = key {
            self.queue.remove(&key);
        }
    }

    /// How long until the next one; None: there is none.
    pub fn next(&self) -> Option<Duration> {
        let ((at, _), _) = self.queue.first_key_value()?;
        Some(Duration::from_nanos(at.saturating_sub(monotonic_ns())))
    }

    /// Takes one that is due.
    pub fn due(&mut self, now: u64) -> Option<Timer> {
        let entry = self.queue.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order_cancelled_and_never_early() {
        let mut timers = Timers::default();
        let late = timers.after(Duration::from_secs(3600), Timer::Keep);
        let soon = timers.after(Duration::ZERO, Timer::Accept);
        timers.after(Duration::ZERO, Timer::Stop);
        timers.cancel(Some(soon));
        let now = monotonic_ns();
        assert!(matches!(timers.due(now), Some(Timer::Stop)));
        assert!(timers.due(now).is_none());
        assert!(timers.next().unwrap() > Duration::from_secs(3500));
        timers.cancel(Some(late));
        assert_eq!(timers.next(), None);
    }
}
