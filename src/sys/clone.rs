//! `fork(2)` for a warm process: the child is a sibling, not a child.

use std::io;

/// Which side of the fork this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The caller; the new process has this pid and the same parent as the caller.
    Parent(u32),
    /// The new process.
    Child,
}

/// Forks with `CLONE_PARENT`: the child's parent is the caller's parent, which gets its SIGCHLD and its status.
///
/// The kernel writes the child's thread id to the place glibc keeps it
/// (`PR_GET_TID_ADDRESS`, needs CONFIG_CHECKPOINT_RESTORE; without it glibc's cached id would be stale), so `raise`
/// and the like work. No `pthread_atfork` handler runs: callers make sure that there is one thread
/// (see [`super::process::thread_count`]), so that no lock can be held by another.
pub fn fork_sibling() -> io::Result<Fork> {
    let mut tid_address: *mut libc::c_int = std::ptr::null_mut();
    // SAFETY: prctl writes one pointer to the live variable.
    let known = unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut tid_address) } == 0;
    let mut flags = (libc::CLONE_PARENT | libc::SIGCHLD) as libc::c_ulong;
    if known {
        flags |= (libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID) as libc::c_ulong;
    }
    let null = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: without CLONE_VM the child gets a copy of the whole address space and goes on on a copy of this
    // stack (a null stack pointer); tid_address is glibc's own field of this thread's descriptor.
    #[cfg(target_arch = "x86_64")]
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, null, null, tid_address, null) };
    // SAFETY: as above; other architectures have the last two arguments the other way round (clone(2)).
    #[cfg(not(target_arch = "x86_64"))]
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, null, null, null, tid_address) };
    match pid {
        0 => Ok(Fork::Child),
        n if n > 0 => Ok(Fork::Parent(n as u32)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What a forked child of a warm process does first: session of its own, signals at their defaults, timers off.
pub fn become_run() {
    super::signals::reset_all();
    // SAFETY: integers and a live zero struct only. setsid cannot fail in a process that has just been
    // forked (it leads no group), and a timer that was not set need not be unset.
    unsafe {
        libc::setsid();
        let zero: libc::itimerval = std::mem::zeroed();
        for which in [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF] {
            libc::setitimer(which, &zero, std::ptr::null_mut());
        }
    }
}

/// Leaves at once: no `atexit` handler, no destructor, no flush.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: never returns, touches nothing.
    unsafe { libc::_exit(code) }
}
