//! This process: its place in the tree, its limits, its title.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Orphans among our descendants become our children (`PR_SET_CHILD_SUBREAPER`).
pub fn become_subreaper() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// The signal we get when our parent dies.
pub fn set_parent_death_signal(signal: i32) -> io::Result<()> {
    Ok(nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::try_from(signal)?)?)
}

/// Our parent's pid.
pub fn parent() -> u32 {
    nix::unistd::getppid().as_raw() as u32
}

/// Whatever we were started with beyond the three standard streams stays with us: everything from 3 up becomes close-on-exec.
pub fn keep_inherited_to_ourselves() -> io::Result<()> {
    // SAFETY: three integers; no descriptor is closed here.
    let r = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if r == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Our children that have not been reaped, as `/proc` lists them (CONFIG_PROC_CHILDREN).
pub fn children() -> Vec<u32> {
    children_of(std::process::id()).unwrap_or_default()
}

/// The same for another process of one thread.
pub fn children_of(pid: u32) -> io::Result<Vec<u32>> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

/// The inode behind descriptor `fd` of process `pid`; NotFound: it has none of that number.
pub fn inode_of(pid: u32, fd: i32) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs::metadata(format!("/proc/{pid}/fd/{fd}"))?.ino())
}

/// The title that `ps` shows of it.
pub fn title_of(pid: u32) -> io::Result<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline"))?;
    Ok(String::from_utf8_lossy(&bytes).trim_end_matches(['\0', ' ']).to_owned())
}

/// The parent and the owner of a process, as `/proc` shows them; None when there is none of that number.
pub fn parent_and_owner(pid: u32) -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let owner = fs::metadata(format!("/proc/{pid}")).ok()?.uid();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let parent = stat.get(stat.rfind(')')? + 2..)?.split(' ').nth(1)?.parse().ok()?;
    Some((parent, owner))
}

/// What a process that does not go on is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doing {
    /// `S (sleeping)`, as proc_pid_status(5) has it.
    pub state: String,
    /// Who traces it.
    pub tracer: Option<u32>,
    /// The function of the kernel in which it waits; empty where it runs, or the kernel does not tell.
    pub waits_in: String,
}

/// What `/proc` shows of it.
pub fn doing(pid: u32) -> io::Result<Doing> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = |key| status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim();
    // Not of every kernel, and not to everybody.
    let waits_in = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    Ok(Doing {
        state: value("State:").to_owned(),
        tracer: value("TracerPid:").parse().ok().filter(|pid| *pid != 0),
        waits_in: if waits_in == "0" { String::new() } else { waits_in },
    })
}

/// Our effective user id.
pub fn effective_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Raises the soft limit of open files to the hard one; returns what holds then.
pub fn raise_open_files() -> io::Result<u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// Makes room for `count` descriptors, or for as many as may be open, while there is one thread. With more than one a table that
/// grows waits for an RCU grace period (`expand_fdtable` in the kernel's fs/file.c), 10 ms and more, and does so at each doubling.
pub fn make_room_for_files(count: u64) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::sys::resource::{Resource, getrlimit};
    let (allowed, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let highest = i32::try_from(count.min(allowed)).unwrap_or(i32::MAX) - 1;
    let any = super::eventfd::EventFd::new()?;
    let copy = fcntl(any.as_fd(), FcntlArg::F_DUPFD_CLOEXEC(highest))?;
    // SAFETY: fcntl has made this descriptor, and it is nobody else's.
    drop(unsafe { OwnedFd::from_raw_fd(copy) });
    Ok(())
}

/// Sets RLIMIT_CPU, in seconds: SIGXCPU at `seconds`, SIGKILL one later.
pub fn limit_cpu(seconds: u64) -> io::Result<()> {
    use nix::sys::resource::{Resource, setrlimit};
    Ok(setrlimit(Resource::RLIMIT_CPU, seconds, seconds + 1)?)
}

/// The calling thread gets what processor time nobody else wants (nice 19). On Linux that is a thread's, not the process's
/// (setpriority(2), "C library/kernel differences").
pub fn yield_to_others() -> io::Result<()> {
    // SAFETY: three integers; `who` 0 is the calling thread.
    let r = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
    if r == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How many threads this process has: the links of `/proc/self/task`, one stat without opening anything.
pub fn thread_count() -> io::Result<u64> {
    // Who has one thread may ask for it to be made the only one, which does nothing (unshare(2)), and takes the kernel no look at a
    // path. A sandbox may refuse the call whoever asks.
    // SAFETY: an integer; with this flag alone nothing is changed.
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return Ok(1);
    }
    Ok(nix::sys::stat::stat("/proc/self/task")?.st_nlink - 2)
}

/// The place where `ps` reads our arguments from, found once.
#[derive(Debug)]
pub struct Title {
    start: usize,
    len: usize,
}

impl Title {
    /// Looks it up in `/proc/self/stat` (arg_start and arg_end, fields 48 and 49 of proc_pid_stat(5)).
    pub fn find() -> Option<Title> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The command in parentheses may hold blanks; the fields after its end count from 3.
        let mut rest = stat.get(stat.rfind(')')? + 2..)?.split(' ');
        let start: usize = rest.nth(48 - 3)?.parse().ok()?;
        let end: usize = rest.next()?.parse().ok()?;
        (start != 0 && end > start + 1).then_some(Title { start, len: end - start })
    }

    /// Shows these one after the other in `ps`, cut to the room that the original arguments had. Call it only where nobody holds a
    /// reference into the original argv (std reads it from there on each `args()`).
    pub fn set(&self, parts: &[&str]) {
        let mut written = 0;
        for part in parts {
            let n = part.len().min(self.len - 1 - written);
            // SAFETY: arg_start..arg_end is this process's own writable stack memory, which the kernel laid out
            // at exec and never unmaps; written + n is less than its length.
            unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), (self.start as *mut u8).add(written), n) };
            written += n;
        }
        // SAFETY: as above; this is the rest of it.
        unsafe { std::ptr::write_bytes((self.start as *mut u8).add(written), 0, self.len - written) };
    }
}

/// The value of a variable in the environment that this process was started with, to be written over in place: so it shows in
/// `/proc/PID/environ`, and whatever is forked or executed from here on has it.
#[derive(Debug)]
pub struct Mark {
    start: usize,
    len: usize,
}

impl Mark {
    /// Finds the variable `name` with the value `placeholder`. Call it before anything changes the environment.
    pub fn find(name: &str, placeholder: &str) -> Option<Mark> {
        let name = std::ffi::CString::new(name).ok()?;
        // SAFETY: name is a live C string, and this process has one thread by its callers' contract.
        let value = unsafe { libc::getenv(name.as_ptr()) };
        if value.is_null() {
            return None;
        }
        // SAFETY: getenv gives a C string, which nobody changes meanwhile.
        let found = unsafe { std::ffi::CStr::from_ptr(value) };
        (found.to_bytes() == placeholder.as_bytes()).then_some(Mark { start: value as usize, len: placeholder.len() })
    }

    /// Writes `value` there in hexadecimal, if the placeholder has room for just that.
    pub fn set(&self, value: u64) {
        let mut digits = [0; 16];
        for (n, digit) in digits.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(value >> (60 - 4 * n)) as usize & 15];
        }
        if digits.len() == self.len {
            // SAFETY: that memory is this process's own environment, writable and never unmapped, and len bytes long.
            unsafe { std::ptr::copy_nonoverlapping(digits.as_ptr(), self.start as *mut u8, self.len) };
        }
    }
}

/// The short name (15 bytes) of this thread, as `ps -o comm` and `top` show it.
pub fn set_name(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name) {
        // Only cosmetic; the call fails for no valid string.
        let _ = nix::sys::prctl::set_name(&name);
    }
}

/// Takes over a descriptor that was inherited under a fixed number and makes it close-on-exec.
/// Fails with EBADF when there is none. Call it once a number, at the start, before anything else could have
/// opened a file under it.
pub fn inherited(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: borrowed only for the check whether it is open; fcntl fails with EBADF otherwise.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is open, was put there for us by our parent, and by this function's contract nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Moves `fd` to `number` (0, 1 or 2: not close-on-exec), closing what was there.
pub fn move_to(fd: OwnedFd, number: i32) -> io::Result<()> {
    // SAFETY: dup2 takes two integers; the standard numbers are owned by the whole process, not by an OwnedFd.
    if unsafe { libc::dup2(fd.as_fd().as_raw_fd(), number) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Sets a variable of the environment. Only for a process with one thread.
pub fn set_env(key: &str, value: &str) {
    // SAFETY: the callers are warm processes, which refuse to fork while they have a second thread,
    // and a child that has just been forked has one.
    unsafe { std::env::set_var(key, value) };
}

/// Removes a variable of the environment. Only for a process with one thread.
pub fn remove_env(key: &str) {
    // SAFETY: as for set_env.
    unsafe { std::env::remove_var(key) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_and_nothing_stays_open() {
        let size = || {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
            line.trim().parse::<u64>().unwrap()
        };
        let wanted = size() + 1;
        make_room_for_files(wanted).unwrap();
        assert!(size() >= wanted);
        assert!(!fs::exists(format!("/proc/self/fd/{}", wanted - 1)).unwrap());
    }

    #[test]
    fn threads_are_counted() {
        let before = thread_count().unwrap();
        let (tx, rx) = std::sync::mpsc::channel::<()>();
        let t = std::thread::spawn(move || rx.recv());
        // Other tests' threads come and go; ours is there for sure.
        assert!(thread_count().unwrap() >= 2 && before >= 1);
        drop(tx);
        t.join().unwrap().unwrap_err();
    }
}
