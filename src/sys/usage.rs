//! What a process uses, as `/proc` shows it to everybody.

use std::fs;
use std::io;
use std::time::Duration;

/// Memory and processor time of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Resident bytes, what is shared with others among them.
    pub memory: u64,
    /// In user and kernel mode, all threads, without children.
    pub cpu: Duration,
}

/// What process `pid` uses now.
pub fn of(pid: u32) -> io::Result<Usage> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is not as proc(5) tells"));
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = statm.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = ticks(&stat).ok_or_else(wrong)?;
    Ok(Usage {
        memory: pages * configured(libc::_SC_PAGESIZE, 4096),
        cpu: Duration::from_millis(ticks * 1000 / configured(libc::_SC_CLK_TCK, 100)),
    })
}

/// utime and stime, fields 14 and 15; the second field may hold blanks and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let mut words = stat.get(stat.rfind(')')? + 2..)?.split(' ').skip(11);
    let mut next = || words.next()?.parse::<u64>().ok();
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
    }

    #[test]
    fn a_name_with_brackets_and_blanks_hides_nothing() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 30 12 0 0 20 0 1 0 100 5 6";
        assert_eq!(ticks(stat), Some(42));
    }

    #[test]
    fn a_process_that_is_gone_is_not_found() {
        assert_eq!(of(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
