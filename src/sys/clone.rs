//! `fork(2)` for a warm process: the child is a sibling, not a child.

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};

/// Which side of the fork this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The caller; the new process has this pid and the same parent as the caller.
    Parent(u32),
    /// The new process.
    Child,
}

/// What a warm process finds out about itself once, so that its children need not.
#[derive(Debug)]
pub struct Forker {
    tid_address: *mut libc::c_int,
}

impl Forker {
    /// Finds where glibc keeps the calling thread's id, and sets all signals to their defaults, unblocked: here once instead of
    /// in each child. Whatever handled them must not be needed any more.
    pub fn new() -> Forker {
        let mut tid_address: *mut libc::c_int = std::ptr::null_mut();
        // SAFETY: prctl writes one pointer to the live variable. Without CONFIG_CHECKPOINT_RESTORE it fails, and it stays null.
        unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut tid_address) };
        super::signals::reset_all();
        Forker { tid_address }
    }

    /// Forks with `CLONE_PARENT`: the child's parent is the caller's parent, which gets its SIGCHLD and its status.
    ///
    /// The kernel writes the child's thread id to the place glibc keeps it (`PR_GET_TID_ADDRESS`), so `raise` and the like work.
    /// No `pthread_atfork` handler runs: callers make sure that there is one thread (see
    /// [`super::process::thread_count`]), so that no lock can be held by another.
    pub fn fork_sibling(&self) -> io::Result<Fork> {
        let mut flags = (libc::CLONE_PARENT | libc::SIGCHLD) as libc::c_ulong;
        if !self.tid_address.is_null() {
            flags |= (libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID) as libc::c_ulong;
        }
        let null = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: without CLONE_VM the child gets a copy of the whole address space and goes on on a copy of this
        // stack (a null stack pointer); tid_address is glibc's own field of this thread's descriptor.
        #[cfg(target_arch = "x86_64")]
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, null, null, self.tid_address, null) };
        // SAFETY: as above; other architectures have the last two arguments the other way round (clone(2)).
        #[cfg(not(target_arch = "x86_64"))]
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, null, null, null, self.tid_address) };
        match pid {
            0 => Ok(Fork::Child),
            n if n > 0 => Ok(Fork::Parent(n as u32)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// What a child does first: a session of its own. (Timers are not inherited by a fork.)
pub fn become_run() {
    // The call itself, as for the fork: the library's function lies in another page, which would be one more fault.
    // SAFETY: no arguments. It cannot fail in a process that has just been forked, which leads no group.
    unsafe { libc::syscall(libc::SYS_setsid) };
}

/// Closes a descriptor, by the call itself for the same reason.
pub fn close_now(fd: OwnedFd) {
    // SAFETY: into_raw_fd gives up the ownership. It has no way to fail that leaves the descriptor open (close(2)).
    unsafe { libc::syscall(libc::SYS_close, fd.into_raw_fd()) };
}

impl Default for Forker {
    fn default() -> Self {
        Forker::new()
    }
}

/// Leaves at once: no `atexit` handler, no destructor, no flush.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: as _exit(2), which is a function in another page: takes an integer, never comes back.
    unsafe { libc::syscall(libc::SYS_exit_group, code) };
    std::process::abort()
}
