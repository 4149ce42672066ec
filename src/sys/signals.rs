//! Signals as data: blocked, then read from a `signalfd(2)`.

use std::collections::VecDeque;
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

/// The reading end, and what has been read of it.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    read: VecDeque<Delivered>,
}

/// How many are read at once, and the size of one (`struct signalfd_siginfo`, signalfd(2)).
const AT_ONCE: usize = 16;
const INFO: usize = size_of::<libc::signalfd_siginfo>();

impl Signals {
    /// Blocks `signals` for this process and everything it forks (a child resets its own mask), and opens them for reading.
    pub fn take(signals: &[i32]) -> io::Result<Self> {
        let mut set = SigSet::empty();
        for &n in signals {
            set.add(Signal::try_from(n)?);
        }
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Signals { fd, read: VecDeque::with_capacity(AT_ONCE) })
    }

    /// Those that are there now, some at a time. Whatever is left makes the descriptor readable again.
    pub fn read(&mut self) -> io::Result<impl Iterator<Item = Delivered> + '_> {
        let mut buffer = [0; AT_ONCE * INFO];
        let n = match nix::unistd::read(&self.fd, &mut buffer) {
            Ok(n) => n,
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => 0,
            Err(e) => return Err(e.into()),
        };
        // ssi_signo is the first word, ssi_pid the fourth.
        let word = |info: &[u8], at: usize| u32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
        let infos = buffer[..n].chunks_exact(INFO);
        self.read.extend(infos.map(|i| Delivered { signal: word(i, 0) as i32, pid: word(i, 12) }));
        Ok(self.read.drain(..))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Everything unblocked and at its default: what a freshly exec'd program expects. Async-signal-safe. SIGKILL and SIGSTOP
/// cannot be set and are passed over.
pub(super) fn reset_all() {
    for n in 1..=64 {
        // SAFETY: setting a disposition to SIG_DFL takes no handler of ours; errors (KILL, STOP, the two
        // that glibc keeps to itself) change nothing.
        unsafe { libc::signal(n, libc::SIG_DFL) };
    }
    // Cannot fail for a valid `how`; nothing could be done here either.
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// Ignores these; SIGPIPE then is an error of `write` instead of a death.
pub fn ignore(signals: &[i32]) {
    for &n in signals {
        // SAFETY: SIG_IGN installs no code.
        unsafe { libc::signal(n, libc::SIG_IGN) };
    }
}

/// SIGPIPE as the shell's tools have it: the end of `preforkd … | head` is silent.
pub fn default_sigpipe() {
    // SAFETY: SIG_DFL installs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}
