//! Signals as data: blocked, then read from a `signalfd(2)`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// A signal that has been delivered.
#[derive(Clone, Copy, Debug)]
pub struct Delivered {
    /// Its number.
    pub signal: i32,
    /// Who sent it, or, for SIGCHLD, who died. Further children may have died of which
    /// no entry tells: equal signals are merged while one is pending.
    pub pid: u32,
}

/// The reading end.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks `signals` for this process and everything it forks (a child resets its own mask), and opens them for reading.
    pub fn take(signals: &[i32]) -> io::Result<Self> {
        let mut set = SigSet::empty();
        for &n in signals {
            set.add(Signal::try_from(n)?);
        }
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
        Ok(Signals(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// The next one, None when there is none.
    pub fn next(&self) -> io::Result<Option<Delivered>> {
        Ok(self.0.read_signal()?.map(|s| Delivered { signal: s.ssi_signo as i32, pid: s.ssi_pid }))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Everything unblocked and at its default: what a freshly exec'd or forked program expects.
/// Async-signal-safe. SIGKILL and SIGSTOP cannot be set and are passed over.
pub(super) fn reset_all() {
    for n in 1..=64 {
        // SAFETY: setting a disposition to SIG_DFL takes no handler of ours; errors (KILL, STOP, the two
        // that glibc keeps to itself) change nothing.
        unsafe { libc::signal(n, libc::SIG_DFL) };
    }
    let empty = SigSet::empty();
    // Cannot fail for a valid `how`; nothing could be done here either.
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&empty), None);
}

/// SIGPIPE as an error of `write` instead of a death.
pub fn ignore_sigpipe() {
    // SAFETY: SIG_IGN installs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// SIGPIPE as the shell's tools have it: the end of `preforkd … | head` is silent.
pub fn default_sigpipe() {
    // SAFETY: SIG_DFL installs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}
