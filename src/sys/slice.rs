//! How long a thread may run before it has to let others: shorter, and it is let in sooner when it wakes up.
//!
//! From Linux 6.12 on an ordinary thread may say so itself (`sched_runtime` of sched_setattr(2), 0.1 to 100 ms); before, the
//! value is ignored.

use std::io;

/// The shortest that the kernel takes, in nanoseconds.
const SHORTEST: u64 = 100_000;
/// The kernel's own.
const DEFAULT: u64 = 0;

/// For who does little at a time, and is waited for. What it forks has the same.
pub fn shorten() -> io::Result<()> {
    set(SHORTEST)
}

/// As if nobody had said anything. Only system calls.
pub fn reset() -> io::Result<()> {
    set(DEFAULT)
}

fn set(runtime: u64) -> io::Result<()> {
    let size = size_of::<libc::sched_attr>() as u32;
    // SAFETY: all zeroes are a valid sched_attr, which is numbers alone.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    // SAFETY: the calling thread (0), a live struct and its own size; no flags.
    if unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // Of the others it would be something else.
    if ![libc::SCHED_OTHER, libc::SCHED_BATCH].contains(&(attributes.sched_policy as i32)) {
        return Ok(());
    }
    attributes.sched_runtime = runtime;
    // SAFETY: as above; policy and niceness are what they were.
    if unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw mut attributes, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Before Linux 6.12 it is what was set last for deadlines: 0.
    fn now() -> u64 {
        // SAFETY: as in `set`.
        let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::sched_attr>() as u32;
        // SAFETY: as in `set`.
        let r = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
        assert_eq!(r, 0);
        attributes.sched_runtime
    }

    #[test]
    fn a_thread_has_a_short_one_until_it_is_reset() {
        let before = now();
        shorten().unwrap();
        let short = now();
        reset().unwrap();
        assert_eq!(now(), before);
        if before == 0 {
            return crate::sys::skipped("slices", "this kernel has no slices of a thread's own");
        }
        assert_eq!(short, SHORTEST);
    }
}
