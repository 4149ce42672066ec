//! Captured output of one run: a pipe, and the last 64 KiB of what came through it.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::clock::wall_ns;
use crate::sys::fault;
use crate::sys::pipe::{self, Scratch, Tail};
use crate::sys::seqpacket::set_nonblocking;
use crate::sys::stage::Stage;

/// What is kept of each stream, in bytes.
pub const KEPT: usize = 64 * 1024;

/// One stream of one run.
#[derive(Debug)]
pub struct Capture {
    pub(super) slot: u32,
    /// `out` or `error`.
    pub(super) stream: &'static str,
    pub(super) pipe: PipeReader,
    /// With so much in it, it is read at once, in bytes: half of what it holds. Small writes may fill it with little more.
    pub(super) much: usize,
    /// What has been taken out of the pipe, where the next master finds it.
    pub(super) tail: Option<Tail>,
    /// It is going to be read.
    pub(super) listed: bool,
    /// The log has been told that it cannot be read for now.
    pub(super) told: bool,
}

impl Capture {
    /// A pipe; the writing end is for the run.
    pub fn new(slot: u32, stream: &'static str) -> io::Result<(Capture, PipeWriter)> {
        let (pipe, writer) = io::pipe()?;
        set_nonblocking(pipe.as_fd())?;
        let much = pipe::capacity(pipe.as_fd())? / 2;
        Ok((Capture { slot, stream, pipe, much, tail: None, listed: false, told: false }, writer))
    }

    /// One that a former master had, and what that had taken out of it.
    pub fn adopt(slot: u32, stream: &'static str, pipe: OwnedFd, tail: Option<OwnedFd>) -> io::Result<Capture> {
        let tail = tail.map(|fd| Tail::adopt(fd, KEPT)).transpose()?;
        let much = pipe::capacity(pipe.as_fd())? / 2;
        Ok(Capture { slot, stream, pipe: pipe.into(), much, tail, listed: false, told: false })
    }

    /// What has been taken out of the pipe, if anything has.
    pub fn tail(&self) -> Option<&Tail> {
        self.tail.as_ref()
    }

    /// The end of it all as text, and whether nothing is missing; bytes that are not UTF-8 become U+FFFD. Nothing is taken out of the
    /// pipe, so that the next master can do the same.
    pub(super) fn text(&self, scratch: &mut Scratch) -> io::Result<(String, bool)> {
        let mut all = self.tail.as_ref().map_or(Ok(Vec::new()), Tail::bytes)?;
        let unread = pipe::unread(self.pipe.as_fd())?;
        let copied = if unread > 0 { scratch.copy(self.pipe.as_fd(), &mut all)? } else { 0 };
        let text = String::from_utf8_lossy(&all[all.len().saturating_sub(KEPT)..]).into_owned();
        Ok((text, copied >= unread))
    }

    /// Takes something out of the pipe; how much, 0: it is at its end. There must be a tail for it.
    pub(super) fn read(&mut self, stage: &mut Stage) -> io::Result<usize> {
        let tail = self.tail.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let n = stage.read(self.pipe.as_fd(), &tail_name(self.slot, self.stream), wall_ns())?;
        if n == 0 {
            return Ok(0);
        }
        fault::point("capture-read");
        let pushed = tail.push(stage.bytes(), stage.number());
        stage.done();
        pushed.map(|()| n)
    }

    /// Takes all out that is there now. Who goes on writing does not hold us up.
    pub(super) fn drain(&mut self, stage: &mut Stage) -> io::Result<()> {
        let mut rest = pipe::unread(self.pipe.as_fd())?;
        while rest > 0 {
            match self.read(stage) {
                Ok(0) => break,
                Ok(n) => rest = rest.saturating_sub(n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// The name of a run's captured output in the keeper's store.
pub(super) fn capture_name(slot: u32, stream: &str) -> String {
    format!("capture/{slot}/{stream}")
}

/// The name of what has been taken out of it.
pub(super) fn tail_name(slot: u32, stream: &str) -> String {
    format!("tail/{slot}/{stream}")
}

/// Whose that is: slot, and `out` or `error`.
pub(super) fn tail_of(name: &str) -> Option<(u32, &str)> {
    let (slot, stream) = name.strip_prefix("tail/")?.split_once('/')?;
    Some((slot.parse().ok()?, stream))
}

/// What a run reads on its standard input: a file in memory, at its start.
pub fn stdin(text: &str) -> io::Result<File> {
    use std::io::Seek;
    let mut file = File::from(crate::sys::memfd::sealed("preforkd-stdin", text.as_bytes())?);
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests;
