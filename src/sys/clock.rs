//! Two clocks: monotonic for every decision, wall time for what is shown.

use std::io;
use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// Nanoseconds of `CLOCK_MONOTONIC`: unaffected by changes of the wall clock,
/// the same origin for every process of one boot (`clock_gettime(2)`).
pub fn monotonic_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Nanoseconds since 1970-01-01 UTC. Only ever shown, never compared with a deadline.
pub fn wall_ns() -> u64 {
    read(ClockId::CLOCK_REALTIME)
}

/// What process `pid` has had of processors, in user and kernel mode, all threads, without its children (`clock_getcpuclockid(3)`).
pub fn used_by(pid: u32) -> io::Result<Duration> {
    let pid = i32::try_from(pid).map_err(|_| io::ErrorKind::NotFound)?;
    Ok(clock_gettime(clock_getcpuclockid(Pid::from_raw(pid))?)?.into())
}

fn read(clock: ClockId) -> u64 {
    // invariant: both clocks exist on every Linux, so the call cannot fail.
    clock_gettime(clock).map_or(0, |t| (t.tv_sec().max(0) as u64) * 1_000_000_000 + t.tv_nsec() as u64)
}
