//! What a process uses, as the kernel tells everybody.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::clock;

/// Memory and processor time of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Resident bytes, what is shared with others among them.
    pub memory: u64,
    /// In user and kernel mode, all threads, without children.
    pub cpu: Duration,
}

/// What process `pid` uses now. Five system calls and nothing allocated: `list` asks about thousands of processes. The clock is some
/// ten times cheaper than a read of `/proc/PID/stat`, for which the kernel makes up fifty numbers, and counts nanoseconds.
pub fn of(pid: u32) -> io::Result<Usage> {
    let memory = memory(pid)?;
    Ok(Usage { memory, cpu: clock::used_by(pid)? })
}

/// The resident bytes of process `pid` alone.
pub fn memory(pid: u32) -> io::Result<u64> {
    let (mut path, mut line) = ([0; 32], [0; 256]);
    let mut rest = &mut path[..];
    write!(rest, "/proc/{pid}/statm")?;
    let room = rest.len();
    // Seven numbers, which the kernel gives whole to one read.
    let length = File::open(OsStr::from_bytes(&path[..path.len() - room]))?.read(&mut line)?;
    let pages = line[..length].split(|byte| *byte == b' ').nth(1).and_then(number);
    Ok(pages.ok_or_else(|| wrong(pid))? * configured(libc::_SC_PAGESIZE, 4096))
}

fn wrong(pid: u32) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/statm is not as proc(5) tells"))
}

fn number(word: &[u8]) -> Option<u64> {
    str::from_utf8(word).ok()?.parse().ok()
}

fn configured(name: libc::c_int, usual: u64) -> u64 {
    // SAFETY: sysconf takes an integer and gives one; -1 for a name it does not know.
    let value = unsafe { libc::sysconf(name) };
    u64::try_from(value).ok().filter(|value| *value > 0).unwrap_or(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_usage_is_there() {
        let mut work = 0u64;
        let started = std::time::Instant::now();
        while started.elapsed() < Duration::from_millis(60) {
            work = work.wrapping_mul(31).wrapping_add(std::hint::black_box(7));
        }
        let usage = of(std::process::id()).unwrap();
        assert!(usage.memory > 100_000, "{usage:?} {work}");
        assert!(usage.cpu >= Duration::from_millis(20), "{usage:?}");
        assert!(memory(std::process::id()).unwrap() > 100_000);
    }

    #[test]
    fn anothers_usage_is_there() {
        let of_parent = of(crate::sys::process::parent()).unwrap();
        assert!(of_parent.memory > 0 && of_parent.cpu > Duration::ZERO, "{of_parent:?}");
    }

    #[test]
    fn a_process_that_is_gone_is_not_found() {
        assert_eq!(of(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(memory(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
