//! A wake-up that a process can leave for another one (`eventfd(2)`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Registered edge-triggered it need not be read: each [`EventFd::signal`] is an edge of its own.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// A new one, close-on-exec and non-blocking.
    pub fn new() -> io::Result<Self> {
        use nix::sys::eventfd::{EfdFlags, EventFd as Raw};
        let raw = Raw::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(EventFd(raw.into()))
    }

    /// Wakes whoever waits. A full counter (nobody has read 2^64 wake-ups) means that it is
    /// already signalled, so EAGAIN is success; a saturated counter is emptied to make a new edge.
    pub fn signal(&self) -> io::Result<()> {
        match nix::unistd::write(&self.0, &1u64.to_ne_bytes()) {
            Ok(_) => Ok(()),
            Err(nix::errno::Errno::EAGAIN) => {
                let mut count = [0; 8];
                nix::unistd::read(&self.0, &mut count)?;
                nix::unistd::write(&self.0, &1u64.to_ne_bytes())?;
                Ok(())
            }
            Err(e) => Err(e.into()),
        }
    }
}

impl EventFd {
    /// How often it has been signalled since this was asked last.
    pub fn take(&self) -> u64 {
        let mut count = [0; 8];
        match nix::unistd::read(&self.0, &mut count) {
            Ok(8) => u64::from_ne_bytes(count),
            _ => 0,
        }
    }
}

impl From<OwnedFd> for EventFd {
    fn from(fd: OwnedFd) -> Self {
        EventFd(fd)
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
