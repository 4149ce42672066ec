//! Workers: processes that are kept up. What a worker is told, what its exits mean, when it is tried again: all of it
//! decided here, on a clock that is handed in, without a process in sight; the master's loop does what is decided.

mod ignored;
mod life;
mod numbers;
mod policy;
mod rate;
mod target;
#[cfg(test)]
mod tests;

pub use ignored::Ignored;
pub use life::{Event, Life, SavedLife, Step};
pub use numbers::{count, environment, free_numbers, scale};
pub use policy::Policy;
pub use rate::Starts;
pub use target::{Named, find};
