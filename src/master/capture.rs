//! Captured output of one run: a pipe, and the last 64 KiB of what came through it.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use mio::Token;
use mio::unix::SourceFd;

use super::Master;
use super::sources::Source;
use super::starting;
use crate::sys::seqpacket::set_nonblocking;
use crate::wire::control::ToKeeper;

/// What is kept of each stream, in bytes.
pub const KEPT: usize = 64 * 1024;
/// How much is read at most in one turn, and after the run's end: a grandchild may write for ever.
const LAST: usize = 1024 * 1024;

/// One stream of one run.
#[derive(Debug)]
pub struct Capture {
    pipe: PipeReader,
    tail: Vec<u8>,
}

impl Capture {
    /// A pipe; the writing end is for the run.
    pub fn new() -> io::Result<(Capture, PipeWriter)> {
        let (pipe, writer) = io::pipe()?;
        set_nonblocking(pipe.as_fd())?;
        Ok((Capture { pipe, tail: Vec::new() }, writer))
    }

    /// One that a former master had, and what that had read, if it could tell.
    pub fn adopt(fd: OwnedFd, tail: Vec<u8>) -> Capture {
        Capture { pipe: fd.into(), tail }
    }

    /// What has been read.
    pub fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Reads what is there, for one turn. `Ok(None)`: there may be more; `Ok(Some(false))`: the other side is closed.
    pub fn read(&mut self) -> io::Result<Option<bool>> {
        self.take(LAST)
    }

    /// Reads what is there, within bounds, and gives the end of it all as text; bytes that are not UTF-8 become U+FFFD.
    pub fn finish(mut self) -> String {
        // What cannot be read any more is not there; the status is told nevertheless.
        let _ = self.take(LAST);
        self.trim();
        String::from_utf8_lossy(&self.tail).into_owned()
    }

    fn take(&mut self, most: usize) -> io::Result<Option<bool>> {
        let mut buffer = [0; 16 * 1024];
        let mut total = 0;
        while total < most {
            match self.pipe.read(&mut buffer) {
                Ok(0) => return Ok(Some(false)),
                Ok(n) => {
                    total += n;
                    self.tail.extend_from_slice(&buffer[..n]);
                    if self.tail.len() > 2 * KEPT {
                        self.trim();
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Some(true)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    fn trim(&mut self) {
        let surplus = self.tail.len().saturating_sub(KEPT);
        self.tail.drain(..surplus);
    }
}

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl Master {
    pub(super) fn read_capture(&mut self, token: Token) {
        let Some(capture) = self.sources.capture(token) else { return };
        match capture.read() {
            Ok(Some(true)) => {}
            Ok(None) => self.again_captures.push(token),
            // Nothing more will come. What has come is fetched at the run's end.
            Ok(Some(false)) | Err(_) => {
                let fd = capture.as_fd().as_raw_fd();
                let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
            }
        }
    }

    /// The end of a run's output: stdout and stderr.
    pub(super) fn finish_captures(&mut self, slot: u32, tokens: Vec<Token>) -> Vec<String> {
        let captures = self.take_captures(slot, tokens);
        captures.into_iter().map(|capture| capture.finish()).collect()
    }

    pub(super) fn drop_captures(&mut self, slot: u32, tokens: Vec<Token>) {
        drop(self.take_captures(slot, tokens));
    }

    pub(super) fn take_captures(&mut self, slot: u32, tokens: Vec<Token>) -> Vec<Capture> {
        if !tokens.is_empty() {
            self.tell_keeper(&ToKeeper::Drop(starting::capture_name(slot, "out")), None);
            self.tell_keeper(&ToKeeper::Drop(starting::capture_name(slot, "error")), None);
        }
        let mut captures = Vec::new();
        for token in tokens {
            if let Some(Source::Capture(capture)) = self.sources.remove(token) {
                // It may have been at its end, and off the loop, before.
                let _ = self.poll.registry().deregister(&mut SourceFd(&capture.as_fd().as_raw_fd()));
                captures.push(*capture);
            }
        }
        captures
    }
}

/// What a run reads on its standard input: a file in memory, at its start.
pub fn stdin(text: &str) -> io::Result<File> {
    use std::io::Seek;
    let mut file = File::from(crate::sys::memfd::sealed("preforkd-stdin", text.as_bytes())?);
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_end_is_kept_and_a_writer_that_stays_does_not_hold_us_up() {
        let (mut capture, mut writer) = Capture::new().unwrap();
        for _ in 0..10 {
            writer.write_all(&[b'a'; 30_000]).unwrap();
            assert_eq!(capture.read().unwrap(), Some(true));
        }
        writer.write_all(b"end").unwrap();
        let text = capture.finish();
        assert_eq!((text.len(), &text[KEPT - 4..]), (KEPT, "aend"));
    }
}
