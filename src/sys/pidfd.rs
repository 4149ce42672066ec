//! A process held by a descriptor: signals through it can never reach a stranger (`pidfd_open(2)`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

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
}
