//! How many idle children a load needs, and how fast they are asked for: times and counts, no process in sight.
//!
//! A zygote forks one child after the other. What has been taken faster than it could fork was a stock that had to be there: so
//! each child that is taken puts the zygote one fork behind, and it catches up with the clock. The most that it was behind in the
//! last seconds is what the next burst will take, with a quarter more.

use crate::processfile::Idle;

/// For so long at least, and for twice that at most, a burst is remembered.
const WINDOW: u64 = 15 * SECOND;
/// What a fork is taken to last until one has told.
const FORK: u64 = 500_000;
/// Forks ahead may take half of a zygote's time, but so much of it at once: what is needed now has its turn, too, and so have the
/// runs of a burst, before the stock for the next one is made.
const AT_ONCE: u64 = 4_000_000;
/// So many may be asked for at once, however long they take.
const FEW: u64 = 4;
const SECOND: u64 = 1_000_000_000;

/// A pool's. Times are in ns, monotonic.
#[derive(Debug)]
pub struct Demand {
    /// What the zygote had to do at `at` until all that was taken is there again.
    behind: Catching,
    /// Of that, forks: the most in this window, and in the one before.
    peaks: [u32; 2],
    /// When this window began.
    since: u64,
    /// What has been asked of it ahead, at half its speed.
    ahead: Catching,
}

/// Work that is done as time goes by.
#[derive(Debug, Default)]
struct Catching {
    work: u64,
    at: u64,
}

impl Catching {
    /// What is left of it.
    fn left(&self, now: u64, share: u64) -> u64 {
        self.work.saturating_sub(now.saturating_sub(self.at) / share)
    }

    fn add(&mut self, now: u64, share: u64, work: u64) {
        *self = Catching { work: self.left(now, share).saturating_add(work), at: now };
    }
}

impl Demand {
    /// Nothing has been taken yet.
    pub fn new(now: u64) -> Demand {
        Demand { behind: Catching::default(), peaks: [0; 2], since: now, ahead: Catching::default() }
    }

    /// A child is needed, where a fork takes so many microseconds.
    pub fn took(&mut self, now: u64, fork_us: Option<u32>) {
        self.turn_over(now);
        let fork = nanoseconds(fork_us);
        self.behind.add(now, 1, fork);
        let forks = u32::try_from(self.behind.work.div_ceil(fork)).unwrap_or(u32::MAX);
        self.peaks[0] = self.peaks[0].max(forks);
    }

    /// So many waited when a former master ended: it had its reasons.
    pub fn had(&mut self, now: u64, idle: u32) {
        self.turn_over(now);
        self.peaks[0] = self.peaks[0].max(idle - idle / 5);
    }

    /// How many are to wait now.
    pub fn wanted(&self, now: u64, bounds: Idle) -> u32 {
        let [this, last] = self.peaks;
        let peak = match now.saturating_sub(self.since) / WINDOW {
            0 => this.max(last),
            1 => this,
            _ => 0,
        };
        let with_reserve = peak.saturating_add(peak.div_ceil(4));
        with_reserve.clamp(bounds.min, bounds.max)
    }

    /// When fewer may be wanted, if nobody needs any until then.
    pub fn fades_at(&self, now: u64) -> u64 {
        self.since + (now.saturating_sub(self.since) / WINDOW + 1) * WINDOW
    }

    /// Asks for one ahead, or says when there may be one.
    pub fn ask(&mut self, now: u64, fork_us: Option<u32>) -> Result<(), u64> {
        let fork = nanoseconds(fork_us);
        let most = AT_ONCE.max(FEW * fork);
        let left = self.ahead.left(now, 2);
        if left + fork > most {
            // A few at a time, so that not each of them is a wake-up.
            return Err(now + (left - most / 2).max(fork) * 2);
        }
        self.ahead.add(now, 2, fork);
        Ok(())
    }

    fn turn_over(&mut self, now: u64) {
        let windows = now.saturating_sub(self.since) / WINDOW;
        if windows > 0 {
            self.peaks = [0, if windows == 1 { self.peaks[0] } else { 0 }];
            self.since += windows * WINDOW;
        }
    }
}

fn nanoseconds(us: Option<u32>) -> u64 {
    us.map_or(FORK, |us| u64::from(us.max(1)) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const FREE: Idle = Idle { min: 0, max: 1000 };

    fn demand() -> (Demand, u64) {
        let now = 100 * SECOND;
        (Demand::new(now), now)
    }

    #[test]
    fn a_burst_is_what_the_next_one_will_take_and_a_quarter_more() {
        let (mut demand, now) = demand();
        (0..40).for_each(|_| demand.took(now, Some(100)));
        assert_eq!(demand.wanted(now, FREE), 50);
        assert_eq!(demand.wanted(now, Idle { min: 2, max: 16 }), 16);
        // The same again, a second later: it has caught up meanwhile.
        (0..40).for_each(|_| demand.took(now + SECOND, Some(100)));
        assert_eq!(demand.wanted(now + SECOND, FREE), 50);
    }

    #[test]
    fn what_comes_no_faster_than_forks_needs_few() {
        let (mut demand, now) = demand();
        for n in 0..10_000 {
            demand.took(now + n * 2 * MS, Some(1000));
        }
        assert!(demand.wanted(now + 20_000 * MS, FREE) <= 2);
        // Twice as fast as it can fork, for 100 ms: half of them were missing.
        for n in 0..200 {
            demand.took(now + 30 * SECOND + n * MS / 2, Some(1000));
        }
        let wanted = demand.wanted(now + 31 * SECOND, FREE);
        assert!((120..=130).contains(&wanted), "{wanted}");
    }

    #[test]
    fn a_burst_is_forgotten_after_one_to_two_windows() {
        let (mut demand, now) = demand();
        (0..8).for_each(|_| demand.took(now + 14 * SECOND, Some(100)));
        let wanted: Vec<u32> = [14, 20, 29, 30].iter().map(|s| demand.wanted(now + s * SECOND, FREE)).collect();
        assert_eq!(wanted, [10, 10, 10, 0]);
        assert_eq!(demand.fades_at(now + 14 * SECOND), now + 15 * SECOND);
        assert_eq!(demand.fades_at(now + 15 * SECOND), now + 30 * SECOND);
        // Another one in between does not make it live longer.
        demand.took(now + 20 * SECOND, Some(100));
        assert_eq!(demand.wanted(now + 29 * SECOND, FREE), 10);
        assert_eq!(demand.wanted(now + 30 * SECOND, FREE), 2);
        assert_eq!(demand.wanted(now + 45 * SECOND, Idle { min: 1, max: 9 }), 1);
    }

    #[test]
    fn forks_ahead_take_half_of_the_zygotes_time() {
        let (mut demand, begin) = demand();
        let (mut now, mut asked, mut waits) = (begin, 0, 0);
        while now < begin + SECOND {
            match demand.ask(now, Some(200)) {
                Ok(()) => asked += 1,
                Err(at) => {
                    assert!(at > now && at <= now + 10 * MS, "{}", at - now);
                    (now, waits) = (at, waits + 1);
                }
            }
            if now == begin {
                assert!(asked <= 20, "{asked} at once");
            }
        }
        assert!((2400..=2600).contains(&asked), "{asked} of 2,500");
        assert!(waits <= 300, "{waits} wake-ups");
    }

    #[test]
    fn a_slow_fork_is_asked_for_in_fours() {
        let (mut demand, now) = demand();
        let first = (0..).take_while(|_| demand.ask(now, Some(30_000)).is_ok()).count();
        assert_eq!(first, 4);
        let at = demand.ask(now, Some(30_000)).unwrap_err();
        assert!(demand.ask(at, Some(30_000)).is_ok());
    }

    #[test]
    fn any_clock_and_any_fork_are_taken() {
        let (mut demand, now) = demand();
        for (now, fork) in [(now, u32::MAX), (0, 0), (u64::MAX / 2, u32::MAX), (now, 0)] {
            demand.took(now, Some(fork));
            assert!(demand.wanted(now, FREE) <= FREE.max);
            assert!(demand.ask(now, Some(fork)).map_or_else(|at| at > now, |()| true));
        }
    }
}
