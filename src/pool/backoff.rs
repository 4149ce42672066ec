//! How long to wait before the next try: longer each time, up to a limit.

use std::time::Duration;

/// Doubles from the first to the longest wait; a success starts over.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Nothing has failed yet.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Backoff { first, longest, failures: 0 }
    }

    /// It failed: wait for this long.
    pub fn failed(&mut self) -> Duration {
        let wait = self.first.saturating_mul(2u32.saturating_pow(self.failures)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// It worked.
    pub fn worked(&mut self) {
        self.failures = 0;
    }

    /// It has failed that often.
    pub fn resume(&mut self, failures: u32) {
        self.failures = failures;
    }

    /// How often it has failed since it last worked.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit_and_starts_over() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(500));
        assert_eq!([0; 4].map(|_| backoff.failed()), [ms(100), ms(200), ms(400), ms(500)]);
        (0..100).for_each(|_| assert_eq!(backoff.failed(), ms(500)));
        assert_eq!(backoff.failures(), 104);
        backoff.worked();
        assert_eq!(backoff.failed(), ms(100));
    }
}
