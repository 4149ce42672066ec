//! Reading an exit before it is reaped (`waitid(2)` with `WNOWAIT`), then reaping it.

use std::fmt;
use std::io;

use nix::sys::signal::Signal;

use super::pidfd::PidFd;

/// How a process ended. Code and signal are never mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// `exit(code)`, 0 to 255.
    Exited(i32),
    /// Ended by this signal.
    Killed(i32),
    /// Ended by this signal, and left a core dump.
    Dumped(i32),
}

impl fmt::Display for How {
    /// `exit code 3`, `killed by SIGKILL`, `killed by SIGSEGV (core dumped)`; a real-time signal by its number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, core) = match *self {
            How::Exited(code) => return write!(f, "exit code {code}"),
            How::Killed(n) => (n, ""),
            How::Dumped(n) => (n, " (core dumped)"),
        };
        match Signal::try_from(n) {
            Ok(signal) => write!(f, "killed by {}{core}", signal.as_str()),
            Err(_) => write!(f, "killed by signal {n}{core}"),
        }
    }
}

/// What it used, children it waited for included (`getrusage(2)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Rusage {
    pub user_us: u64,
    pub system_us: u64,
    pub max_rss_bytes: u64,
    pub minor_faults: u64,
    pub major_faults: u64,
    pub voluntary_switches: u64,
    pub involuntary_switches: u64,
}

/// An exit, peeked at or taken.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    /// The number it had, which is free for reuse as soon as it is reaped.
    pub pid: u32,
    /// Its pidfs inode, 0 where the kernel has none.
    pub inode: u64,
    /// Code or signal.
    pub how: How,
    /// What it used.
    pub usage: Rusage,
}

/// Looks at one dead child without reaping it: `Some(pid)` that one, `None` any. `Ok(None)`: none is dead.
/// ECHILD (no such child) is `Ok(None)` too.
pub fn peek(pid: Option<u32>) -> io::Result<Option<Exit>> {
    let Some((pid, how, usage)) = waitid(pid, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)? else {
        return Ok(None);
    };
    // It is a zombie of ours, so the number cannot have been reused and the handle is exact.
    let inode = PidFd::open(pid).ok().and_then(|fd| fd.inode()).unwrap_or(0);
    Ok(Some(Exit { pid, inode, how, usage }))
}

/// Whether this child is stopped by a signal (SIGSTOP and alike). One that a debugger holds is not.
pub fn stopped(pid: u32) -> io::Result<bool> {
    Ok(waitid(Some(pid), libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT)?.is_some())
}

/// Reaps a child that [`peek`] has shown.
pub fn reap(pid: u32) -> io::Result<()> {
    waitid(Some(pid), libc::WEXITED | libc::WNOHANG).map(drop)
}

fn waitid(pid: Option<u32>, options: libc::c_int) -> io::Result<Option<(u32, How, Rusage)>> {
    let (kind, id) = match pid {
        Some(pid) => (libc::P_PID, pid),
        None => (libc::P_ALL, 0),
    };
    // SAFETY: all-zero is a valid value of these two plain C structs.
    let (mut info, mut usage): (libc::siginfo_t, libc::rusage) = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live structs of the kernel's layout. The raw call is used because
    // glibc's waitid has no rusage; the kernel's fifth argument has (waitid(2), "C library/kernel differences").
    let r = unsafe { libc::syscall(libc::SYS_waitid, kind, id, &mut info, options, &mut usage) };
    if r < 0 {
        let e = io::Error::last_os_error();
        return if e.raw_os_error() == Some(libc::ECHILD) { Ok(None) } else { Err(e) };
    }
    // SAFETY: after a successful waitid these fields of the union are the ones that are set, or zero.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let how = match info.si_code {
        libc::CLD_EXITED => How::Exited(status),
        libc::CLD_DUMPED => How::Dumped(status),
        _ => How::Killed(status),
    };
    let us = |t: libc::timeval| t.tv_sec as u64 * 1_000_000 + t.tv_usec as u64;
    let usage = Rusage {
        user_us: us(usage.ru_utime),
        system_us: us(usage.ru_stime),
        max_rss_bytes: usage.ru_maxrss as u64 * 1024,
        minor_faults: usage.ru_minflt as u64,
        major_faults: usage.ru_majflt as u64,
        voluntary_switches: usage.ru_nvcsw as u64,
        involuntary_switches: usage.ru_nivcsw as u64,
    };
    Ok(Some((pid as u32, how, usage)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn end(script: &str) -> Exit {
        #[allow(clippy::zombie_processes, reason = "reaping it is what is tested")]
        let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            if let Some(exit) = peek(Some(child.id())).unwrap() {
                let again = peek(Some(child.id())).unwrap().unwrap();
                assert_eq!((exit.how, exit.inode), (again.how, again.inode));
                reap(child.id()).unwrap();
                assert!(peek(Some(child.id())).unwrap().is_none());
                return exit;
            }
            assert!(std::time::Instant::now() < deadline);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    #[test]
    fn a_child_is_stopped_until_it_goes_on() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let is = |wanted: bool| {
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while stopped(child.id()).unwrap() != wanted {
                assert!(std::time::Instant::now() < deadline);
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        };
        let handle = PidFd::open(child.id()).unwrap();
        is(false);
        handle.send(libc::SIGSTOP).unwrap();
        is(true);
        assert!(stopped(child.id()).unwrap(), "also when asked again");
        handle.send(libc::SIGCONT).unwrap();
        is(false);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!stopped(child.id()).unwrap());
    }

    #[test]
    fn codes_and_signals_are_told_apart() {
        assert_eq!(end("exit 0").how, How::Exited(0));
        assert_eq!(end("exit 255").how, How::Exited(255));
        assert_eq!(end("exit 137").how, How::Exited(137));
        assert_eq!(end("kill -9 $$").how, How::Killed(9));
        assert_eq!(end("ulimit -c 0; kill -SEGV $$").how, How::Killed(11));
        assert!(end("exit 0").usage.minor_faults > 0);
    }

    #[test]
    fn an_end_is_told_in_words() {
        for (how, told) in [
            (How::Exited(137), "exit code 137"),
            (How::Killed(9), "killed by SIGKILL"),
            (How::Dumped(11), "killed by SIGSEGV (core dumped)"),
            (How::Killed(35), "killed by signal 35"),
        ] {
            assert_eq!(how.to_string(), told);
        }
    }
}
