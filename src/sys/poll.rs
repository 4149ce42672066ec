//! Waiting for a few descriptors (`poll(2)`); the master's many are mio's.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Of `fds`, the indices of those whose other side is gone. No waiting.
pub fn hung_up<'a>(fds: impl Iterator<Item = BorrowedFd<'a>>) -> io::Result<Vec<usize>> {
    let mut polled: Vec<PollFd<'_>> = fds.map(|fd| PollFd::new(fd, PollFlags::empty())).collect();
    if polled.is_empty() {
        return Ok(Vec::new());
    }
    poll(&mut polled, PollTimeout::ZERO)?;
    Ok(ready(&polled).collect())
}

/// Waits until one of two can be read, or is at its end, at most `timeout` (None: for ever). Rounded up to whole milliseconds.
pub fn readable(fds: [BorrowedFd<'_>; 2], timeout: Option<Duration>) -> io::Result<[bool; 2]> {
    let mut polled = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    let timeout = match timeout {
        None => PollTimeout::NONE,
        Some(t) => PollTimeout::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX),
    };
    match poll(&mut polled, timeout) {
        Ok(_) => Ok([0, 1].map(|i| ready(&polled).any(|r| r == i))),
        Err(nix::errno::Errno::EINTR) => Ok([false; 2]),
        Err(e) => Err(e.into()),
    }
}

fn ready(polled: &[PollFd<'_>]) -> impl Iterator<Item = usize> {
    polled.iter().enumerate().filter(|(_, p)| p.revents().is_some_and(|r| !r.is_empty())).map(|(i, _)| i)
}
