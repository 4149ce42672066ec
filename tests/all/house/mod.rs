//! What every test stands on: a real daemon on a folder of its own, a client, and the processes.
//!
//! Nothing here knows what a test is about.

mod client;
mod daemon;
pub mod machine;
pub mod processes;
mod setup;

pub use client::Client;
pub use daemon::Daemon;
pub use setup::{Setup, native, preforkd};

use std::time::{Duration, Instant};

/// Longer than anything takes that works, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Looks until it holds. Panics with `what` when it does not come true in time.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// The same with a time of its own.
pub fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
