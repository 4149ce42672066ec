//! Who may start, who waits, who is turned away: counts and one queue, no process in sight.

use std::collections::VecDeque;

/// A pool's places. Slots are indices into the shared table.
#[derive(Debug, Default)]
pub struct Admission {
    max_running: usize,
    max_queued: usize,
    running: usize,
    queue: VecDeque<u32>,
}

/// What becomes of a new request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has a place: start it.
    Start,
    /// It waits for one.
    Queue,
    /// Neither a place nor room to wait; nothing has changed.
    Full,
}

impl Admission {
    /// Nobody is there yet.
    pub fn new(max_running: u32, max_queued: u32) -> Self {
        Admission { max_running: max_running as usize, max_queued: max_queued as usize, ..Admission::default() }
    }

    /// Other bounds; those that run or wait beyond them stay.
    pub fn resize(&mut self, max_running: u32, max_queued: u32) {
        (self.max_running, self.max_queued) = (max_running as usize, max_queued as usize);
    }

    /// What would become of a new request. With `open` false (no zygote can fork now) nobody starts. Those that wait are never overtaken.
    pub fn verdict(&self, open: bool) -> Verdict {
        if open && self.queue.is_empty() && self.running < self.max_running {
            Verdict::Start
        } else if self.queue.len() < self.max_queued {
            Verdict::Queue
        } else {
            Verdict::Full
        }
    }

    /// Takes a place.
    pub fn start(&mut self) {
        self.running += 1;
    }

    /// Waits, behind everybody else.
    pub fn wait(&mut self, slot: u32) {
        self.queue.push_back(slot);
    }

    /// Gives its place back and waits again, before everybody else: its start failed for a passing reason.
    pub fn wait_again(&mut self, slot: u32) {
        self.running -= 1;
        self.queue.push_front(slot);
    }

    /// The next one that waits, if there is a place, which it has then.
    pub fn start_next(&mut self) -> Option<u32> {
        if self.running >= self.max_running {
            return None;
        }
        let slot = self.queue.pop_front()?;
        self.running += 1;
        Some(slot)
    }

    /// One of those with a place has ended.
    pub fn end(&mut self) {
        self.running -= 1;
    }

    /// No longer waits. False: it did not.
    pub fn withdraw(&mut self, slot: u32) -> bool {
        let at = self.queue.iter().position(|s| *s == slot);
        at.map(|at| self.queue.remove(at)).is_some()
    }

    /// Those that wait, the first first.
    pub fn waiting(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.queue.iter().copied()
    }

    /// How many wait.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// How many have a place: those that start and those that run.
    pub fn running(&self) -> usize {
        self.running
    }

    /// How many may have one.
    pub fn max_running(&self) -> usize {
        self.max_running
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Request { open: bool },
        End,
        Next,
        Withdraw(u32),
        Again,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => any::<bool>().prop_map(|open| Step::Request { open }),
            3 => Just(Step::End),
            3 => Just(Step::Next),
            1 => (0u32..60).prop_map(Step::Withdraw),
            1 => Just(Step::Again),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// Against two plain lists.
        #[test]
        fn nobody_is_lost_overtaken_or_let_in_beyond_the_limit(max_running in 1u32..6, max_queued in 0u32..6, steps in steps()) {
            let mut admission = Admission::new(max_running, max_queued);
            let (mut running, mut waiting): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
            for (n, step) in steps.into_iter().enumerate() {
                let n = n as u32;
                match step {
                    Step::Request { open } => {
                        let place = open && waiting.is_empty() && running.len() < max_running as usize;
                        match admission.verdict(open) {
                            Verdict::Start => { prop_assert!(place); admission.start(); running.push(n); }
                            Verdict::Queue => { prop_assert!(!place && waiting.len() < max_queued as usize); admission.wait(n); waiting.push(n); }
                            Verdict::Full => prop_assert!(!place && waiting.len() >= max_queued as usize),
                        }
                    }
                    Step::End => if running.pop().is_some() { admission.end(); },
                    Step::Next => {
                        let expected = (running.len() < max_running as usize && !waiting.is_empty()).then(|| waiting.remove(0));
                        prop_assert_eq!(admission.start_next(), expected);
                        running.extend(expected);
                    }
                    Step::Withdraw(slot) => {
                        let was = waiting.contains(&slot);
                        waiting.retain(|s| *s != slot);
                        prop_assert_eq!(admission.withdraw(slot), was);
                    }
                    Step::Again => if let Some(slot) = running.pop() { waiting.insert(0, slot); admission.wait_again(slot); },
                }
                prop_assert_eq!(admission.running(), running.len());
                prop_assert_eq!(admission.waiting().collect::<Vec<_>>(), waiting.clone());
            }
        }
    }
}
