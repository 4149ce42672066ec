//! Huge pages: a fork copies a page table's entry for each page that there is, and 2 MiB of small pages have 512.

use std::ffi::c_void;
use std::fs;
use std::io;

/// What `huge` is a multiple of. Architectures with larger ones have nothing collapsed, and no harm done.
const HUGE: usize = 2 << 20;
const PAGE: usize = 4096;
/// The pages that must be there for the whole to become a huge one: memory grows to twice what it was at most.
const ENOUGH: usize = HUGE / PAGE / 2;
/// madvise(2), Linux 6.1; it needs no privilege, and no setting in /sys but that huge pages are not off altogether.
const MADV_COLLAPSE: i32 = 25;

/// Puts the anonymous memory of this process, which is at least half there, into huge pages. What the kernel refuses stays as
/// it is. Costs a copy of the memory, some 3 ms for a megabyte.
pub fn collapse() {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
    let mut there = [0_u8; HUGE / PAGE];
    for (from, to) in maps.lines().filter_map(anonymous) {
        let first = from.next_multiple_of(HUGE);
        for block in (first..to).step_by(HUGE).take_while(|block| block + HUGE <= to) {
            let block = std::ptr::without_provenance_mut::<c_void>(block);
            // SAFETY: mincore writes one byte a page into `there`, and does not touch the memory itself.
            let known = unsafe { libc::mincore(block, HUGE, there.as_mut_ptr()) } == 0;
            if known && there.iter().filter(|byte| *byte & 1 == 1).count() >= ENOUGH {
                // SAFETY: a private mapping of ours: what it holds stays what it was, wherever it lies. A failure changes nothing.
                unsafe { libc::madvise(block, HUGE, MADV_COLLAPSE) };
            }
        }
    }
}

/// The range of a line of proc_pid_maps(5), if it is private, writable and of no file.
fn anonymous(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (from, to) = words.next()?.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    (words.next()? == "rw-p" && words.nth(2)? == "0").then_some((number(from)?, number(to)?))
}

/// Anonymous memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anonymous {
    /// All of it that is there, shared with its forks or not.
    pub all: u64,
    /// What of it lies in huge pages.
    pub huge: u64,
}

/// What process `pid` has. The kernel walks through its page tables: some ms for 200 MB of small pages.
pub fn anonymous_of(pid: u32) -> io::Result<Anonymous> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let bytes = |key: &str| {
        let number =
            text.lines().find_map(|line| line.strip_prefix(key)?.split_ascii_whitespace().next()?.parse().ok());
        number.map(|kb: u64| kb << 10).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    };
    Ok(Anonymous { all: bytes("Anonymous:")?, huge: bytes("AnonHugePages:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn possible() -> bool {
        let memory = vec![1_u8; 2 * HUGE];
        let block = std::ptr::without_provenance_mut::<c_void>(memory.as_ptr().addr().next_multiple_of(HUGE));
        // SAFETY: it lies within the memory above.
        unsafe { libc::madvise(block, HUGE, MADV_COLLAPSE) == 0 }
    }

    #[test]
    fn what_is_there_becomes_huge_and_keeps_what_it_holds() {
        let length = 8 * HUGE;
        if !possible() {
            return crate::sys::skipped("huge pages", "this kernel collapses none");
        }
        let mut memory = vec![0_u8; length];
        memory.iter_mut().step_by(PAGE).enumerate().for_each(|(i, byte)| *byte = i as u8);
        let sparse = vec![0_u8; length];
        std::hint::black_box(&sparse);
        let before = anonymous_of(std::process::id()).unwrap();
        collapse();
        let after = anonymous_of(std::process::id()).unwrap();
        assert!(memory.iter().step_by(PAGE).enumerate().all(|(i, byte)| *byte == i as u8));
        // Other tests run in this process, too; what nobody has touched is not filled.
        assert!(after.all < before.all + length as u64, "{before:?} {after:?}");
        assert!(after.huge >= before.huge + 2 * HUGE as u64, "{before:?} {after:?}");
    }

    #[test]
    fn lines_of_files_and_of_others_are_left_alone() {
        assert_eq!(
            anonymous("7f0000000000-7f0000200000 rw-p 00000000 00:00 0 "),
            Some((0x7f0000000000, 0x7f0000200000))
        );
        assert_eq!(
            anonymous("55d000-55e000 rw-p 00000000 00:00 0                          [heap]"),
            Some((0x55d000, 0x55e000))
        );
        for other in
            ["1000-2000 r--p 0 00:00 0", "1000-2000 rw-s 0 00:01 5 /dev/zero", "1000-2000 rw-p 0 fe:01 77 /bin/x", "x"]
        {
            assert_eq!(anonymous(other), None);
        }
    }

    #[test]
    fn nobody_has_no_memory() {
        assert!(anonymous_of(u32::MAX).is_err());
    }
}
