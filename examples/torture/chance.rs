//! What is done, and in which order, follows from the seed alone.
//!
//! Every choice of every actor has a generator of its own, made from the seed, the actor's name and the number of its step.
//! So a choice does not depend on how many draws an earlier step needed, or on what came of it.

use std::hash::{DefaultHasher, Hash, Hasher};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The choices of one actor.
#[derive(Debug, Clone)]
pub struct Chance {
    seed: u64,
    actor: String,
    step: u64,
}

/// The draws of one step.
#[derive(Debug)]
pub struct Step {
    pub number: u64,
    draws: StdRng,
}

impl Chance {
    pub fn new(seed: u64, actor: impl Into<String>) -> Chance {
        Chance { seed, actor: actor.into(), step: 0 }
    }

    pub fn actor(&self) -> &str {
        &self.actor
    }

    pub fn step(&mut self) -> Step {
        self.step += 1;
        let mut hash = DefaultHasher::new();
        (self.seed, &self.actor, self.step).hash(&mut hash);
        Step { number: self.step, draws: StdRng::seed_from_u64(hash.finish()) }
    }
}

impl Step {
    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.draws.random_range(low..=high)
    }

    /// Whether something comes true that does in so many of a hundred cases.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.between(1, 100) <= chance
    }

    /// One of `what`, which is not empty.
    pub fn one<'a, T>(&mut self, what: &'a [T]) -> &'a T {
        &what[self.between(0, what.len() as u64 - 1) as usize]
    }

    /// One of `what`, each as likely as its weight says.
    pub fn weighted<T: Copy>(&mut self, what: &[(u64, T)]) -> T {
        let mut left = self.between(1, what.iter().map(|(weight, _)| weight).sum());
        for (weight, value) in what {
            if left <= *weight {
                return *value;
            }
            left -= weight;
        }
        what[0].1
    }
}
