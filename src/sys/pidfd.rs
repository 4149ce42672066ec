//! A process held by a descriptor: signals through it can never reach a stranger (`pidfd_open(2)`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::reap::How;

/// `_IOWR(0xFF, 11, struct pidfd_info)` and a bit of its mask (linux/pidfd.h, 6.13 and 6.15); not in libc yet.
const PIDFD_GET_INFO: libc::Ioctl = 0xc040_ff0b_u32 as libc::Ioctl;
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// `struct pidfd_info` as it was first: 64 bytes, which is its size in the request's number.
#[derive(Default)]
#[repr(C)]
struct Info {
    mask: u64,
    cgroup: u64,
    /// pid, tgid, ppid, and eight of users and groups.
    numbers: [u32; 11],
    /// As wait(2) has it.
    exit_code: i32,
}

/// A handle on one process, alive, dead or reaped. Its number may be reused; the handle is not.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Opens `pid`. That it is the process you mean must be known from elsewhere: hold its
    /// parent back from reaping, or check afterwards that it has not been reaped meanwhile.
    pub fn open(pid: u32) -> io::Result<Self> {
        // SAFETY: pidfd_open takes two integers and returns a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just made this descriptor (close-on-exec), nobody else owns it.
        Ok(PidFd(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    /// Sends `signal` to the process. ESRCH: it is gone.
    pub fn send(&self, signal: i32) -> io::Result<()> {
        self.send_flags(signal, 0)
    }

    /// Sends `signal` to the process group that this process leads, which may outlive it. Exact, and only there from Linux 6.9
    /// on (`PIDFD_SIGNAL_PROCESS_GROUP`); EINVAL before.
    pub fn send_to_group(&self, signal: i32) -> io::Result<()> {
        self.send_flags(signal, libc::PIDFD_SIGNAL_PROCESS_GROUP)
    }

    /// The same; before Linux 6.9 by `kill(-pid)`, for which `pid` has to be the leader's number, and the leader not yet reaped.
    pub fn send_group(&self, pid: u32, signal: i32) -> io::Result<()> {
        match self.send_to_group(signal) {
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                // SAFETY: kill takes two integers.
                match unsafe { libc::kill(-(pid as libc::pid_t), signal) } {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            }
            other => other,
        }
    }

    fn send_flags(&self, signal: i32, flags: libc::c_uint) -> io::Result<()> {
        // SAFETY: a null siginfo means "as kill(2) would fill it"; the rest are integers.
        let r = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                flags,
            )
        };
        if r == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// How it ended, for those who are not its parent: known once its parent has reaped it, from Linux 6.15 on
    /// (`PIDFD_GET_INFO` with `PIDFD_INFO_EXIT`, linux/pidfd.h). `Ok(None)`: not yet. ENOTTY or EINVAL: an older kernel.
    pub fn how_it_ended(&self) -> io::Result<Option<How>> {
        let mut info = Info { mask: PIDFD_INFO_EXIT, ..Info::default() };
        // SAFETY: the request's size is that of `Info`, which is alive and the kernel's to fill.
        let r = unsafe { libc::ioctl(self.0.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
        if r < 0 {
            let e = io::Error::last_os_error();
            // Dead, and not reaped yet; or dead and reaped before its exit could be kept.
            return if e.raw_os_error() == Some(libc::ESRCH) { Ok(None) } else { Err(e) };
        }
        let status = info.exit_code;
        if info.mask & PIDFD_INFO_EXIT == 0 {
            return Ok(None);
        }
        Ok(Some(match status & 0x7f {
            0 => How::Exited(status >> 8 & 0xff),
            signal if status & 0x80 != 0 => How::Dumped(signal),
            signal => How::Killed(signal),
        }))
    }

    /// The process's inode in pidfs: unique for the time of a boot, never reused (Linux 6.9).
    /// None on older kernels, where all pidfds share one anonymous inode.
    pub fn inode(&self) -> Option<u64> {
        pidfs_inode(self.0.as_fd())
    }
}

/// See [`PidFd::inode`]. Told from the old anonymous inode by the file type, which pidfs sets to a regular file's.
pub(super) fn pidfs_inode(fd: BorrowedFd<'_>) -> Option<u64> {
    let stat = nix::sys::stat::fstat(fd).ok()?;
    (stat.st_mode & libc::S_IFMT == libc::S_IFREG).then_some(stat.st_ino)
}

impl From<OwnedFd> for PidFd {
    fn from(fd: OwnedFd) -> Self {
        PidFd(fd)
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process() {
        let me = PidFd::open(std::process::id()).unwrap();
        me.send(0).unwrap();
        let again = PidFd::open(std::process::id()).unwrap();
        assert_eq!(me.inode(), again.inode());
        if let Some(inode) = me.inode() {
            let init = PidFd::open(1).unwrap();
            assert_ne!(Some(inode), init.inode());
        }
        assert!(PidFd::open(u32::MAX >> 2).is_err());
    }

    #[test]
    fn how_it_ended_is_known_once_it_has_been_reaped_where_the_kernel_tells() {
        use std::os::unix::process::ExitStatusExt;
        for (script, how) in
            [("exit 7", How::Exited(7)), ("kill -9 $$", How::Killed(9)), ("exit 255", How::Exited(255))]
        {
            let mut child = std::process::Command::new("sh")
                .args(["-c", &format!("read _; {script}")])
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let handle = PidFd::open(child.id()).unwrap();
            let alive = handle.how_it_ended();
            drop(child.stdin.take());
            let status = child.wait().unwrap();
            // Before 6.13 there is no such call.
            let Ok(alive) = alive else { return };
            assert_eq!(alive, None);
            match handle.how_it_ended().unwrap() {
                Some(told) => assert_eq!(told, how, "{status:?}"),
                // Between 6.13 and 6.15 there is the call, and no exit in it.
                None => assert!(status.signal().is_some() || status.code().is_some()),
            }
        }
    }
}
