//! What a process uses, as `/proc` shows it to everybody.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Memory and processor time of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Resident bytes, what is shared with others among them.
    pub memory: u64,
    /// In user and kernel mode, all threads, without children.
    pub cpu: Duration,
}

/// A line of `/proc/PID/stat` is some hundred bytes long, of which a name has 64 at most.
const LINE: usize = 2048;

/// What process `pid` uses now.
pub fn of(pid: u32) -> io::Result<Usage> {
    let mut line = [0; LINE];
    let memory = memory(pid)?;
    let ticks = ticks(read(pid, "stat", &mut line)?).ok_or_else(|| wrong(pid, "stat"))?;
    Ok(Usage { memory, cpu: Duration::from_millis(ticks * 1000 / configured(libc::_SC_CLK_TCK, 100)) })
}

/// The resident bytes of process `pid` alone.
pub fn memory(pid: u32) -> io::Result<u64> {
    let mut line = [0; LINE];
    let pages = read(pid, "statm", &mut line)?.split(|byte| *byte == b' ').nth(1).and_then(number);
    Ok(pages.ok_or_else(|| wrong(pid, "statm"))? * configured(libc::_SC_PAGESIZE, 4096))
}

/// Three system calls and nothing allocated: hundreds of processes are looked at once a second. The kernel gives such a line
/// whole to one read.
fn read<'a>(pid: u32, name: &str, line: &'a mut [u8; LINE]) -> io::Result<&'a [u8]> {
    let mut path = [0; 32];
    let mut rest = &mut path[..];
    write!(rest, "/proc/{pid}/{name}")?;
    let room = rest.len();
    let length = File::open(OsStr::from_bytes(&path[..path.len() - room]))?.read(line)?;
    Ok(&line[..length])
}

fn wrong(pid: u32, name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/{name} is not as proc(5) tells"))
}

fn number(word: &[u8]) -> Option<u64> {
    str::from_utf8(word).ok()?.trim_end().parse().ok()
}

/// utime and stime, fields 14 and 15; the second field may hold blanks, brackets, and bytes that are no text.
fn ticks(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut words = stat.get(end + 2..)?.split(|byte| *byte == b' ').skip(11);
    let mut next = || number(words.next()?);
    Some(next()? + next()?)
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
    fn a_name_with_brackets_and_blanks_hides_nothing() {
        let stat = b"7 (a) \xff (c) S 1 7 7 0 -1 4194560 1 2 3 4 30 12 0 0 20 0 1 0 100 5 6\n";
        assert_eq!(ticks(stat), Some(42));
    }

    #[test]
    fn a_process_that_is_gone_is_not_found() {
        assert_eq!(of(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(memory(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
