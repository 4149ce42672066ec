//! Two clocks: monotonic for every decision, wall time for what is shown.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`: unaffected by changes of the wall clock,
/// the same origin for every process of one boot (`clock_gettime(2)`).
pub fn monotonic_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Nanoseconds since 1970-01-01 UTC. Only ever shown, never compared with a deadline.
pub fn wall_ns() -> u64 {
    read(ClockId::CLOCK_REALTIME)
}

fn read(clock: ClockId) -> u64 {
    // invariant: both clocks exist on every Linux, so the call cannot fail.
    clock_gettime(clock).map_or(0, |t| (t.tv_sec().max(0) as u64) * 1_000_000_000 + t.tv_nsec() as u64)
}
