//! `clone` onto a stack of its own, straight into a cgroup.
//!
//! Moving a process that is there already (a write to `cgroup.procs`) waits for an RCU grace period, 10 ms and more in which the
//! whole machine's forks stand still (`cgroup_threadgroup_rwsem` in kernel/cgroup/cgroup.c). One that is born in its cgroup
//! waits for nothing.

use std::ffi::c_void;
use std::io;
use std::os::fd::RawFd;

use super::child::{Plan, child};

/// clone3(2).
#[cfg(target_arch = "x86_64")]
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Runs [`child`] with `plan` in a new process. `into`: the folder of its cgroup; −1: where we are.
///
/// # Safety
///
/// `flags` have `CLONE_VM | CLONE_VFORK | CLONE_PIDFD`, and what `plan` points to lives. `stack` is used by the child alone.
pub(super) unsafe fn clone(flags: i32, into: RawFd, stack: &mut [u8], plan: *mut Plan) -> io::Result<(u32, RawFd)> {
    let mut pidfd: libc::c_int = -1;
    if into >= 0 {
        // SAFETY: as our caller promises.
        let pid = unsafe { into_cgroup(flags, into, stack, plan, &raw mut pidfd) };
        if pid > 0 {
            return Ok((pid as u32, pidfd));
        }
        // A filter of system calls may not know clone3, and a cgroup may refuse: the child tries by itself.
    }
    let top = ((stack.as_mut_ptr() as usize + stack.len()) & !15) as *mut c_void;
    // SAFETY: CLONE_VFORK stops this thread until the child has exec'd or exited, so stack, plan and everything they point to
    // outlive its use of them; the child runs `child`, which makes only async-signal-safe calls. pidfd is a live c_int.
    let pid = unsafe { libc::clone(enter, top, flags | libc::SIGCHLD, plan.cast(), &raw mut pidfd) };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok((pid as u32, pidfd)) }
}

extern "C" fn enter(plan: *mut c_void) -> libc::c_int {
    // SAFETY: `clone` passes on the live Plan that its caller waits with.
    child(unsafe { &mut *plan.cast::<Plan>() })
}

extern "C" fn inside(plan: *mut c_void) -> libc::c_int {
    // SAFETY: as for `enter`.
    let plan = unsafe { &mut *plan.cast::<Plan>() };
    plan.cgroup = -1;
    child(plan)
}

/// clone3(2), for which the C library has no function. The child's pid, or −errno.
#[cfg(target_arch = "x86_64")]
unsafe fn into_cgroup(flags: i32, into: RawFd, stack: &mut [u8], plan: *mut Plan, pidfd: *mut libc::c_int) -> isize {
    let bottom = (stack.as_mut_ptr() as usize).next_multiple_of(16);
    let top = (stack.as_mut_ptr() as usize + stack.len()) & !15;
    // SAFETY: plain integers, for which 0 is a value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags as u64 | CLONE_INTO_CGROUP;
    args.pidfd = pidfd as u64;
    args.stack = bottom as u64;
    args.stack_size = (top - bottom) as u64;
    args.cgroup = into as u64;
    // With CLONE_PARENT it is ours, and must not be given.
    args.exit_signal = if flags & libc::CLONE_PARENT == 0 { libc::SIGCHLD as u64 } else { 0 };
    let pid: isize;
    // SAFETY: the parent goes on behind the system call with nothing changed but what is declared, as after any other one, once
    // CLONE_VFORK lets it. The child has all our registers but the stack's, whose top is aligned as a call wants it; it has no
    // caller that it could return to, and `inside` does not return.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r8",
            "call r9",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 as isize => pid,
            in("rdi") &raw const args,
            in("rsi") size_of::<libc::clone_args>(),
            in("r8") plan,
            in("r9") inside,
            out("rcx") _,
            out("r11") _,
        );
    }
    pid
}

/// Elsewhere the child goes in by itself.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn into_cgroup(_: i32, _: RawFd, _: &mut [u8], _: *mut Plan, _: *mut libc::c_int) -> isize {
    -(libc::ENOSYS as isize)
}
