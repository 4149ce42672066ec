//! Captured output of one run: a pipe, and the last 64 KiB of what came through it.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use mio::Token;
use mio::unix::SourceFd;
use slog::error;

use super::Master;
use super::sources::Source;
use super::timers::Timer;
use crate::sys::clock::wall_ns;
use crate::sys::fault;
use crate::sys::pipe::{self, Scratch, Tail};
use crate::sys::seqpacket::set_nonblocking;
use crate::sys::stage::Left;
use crate::wire::control::ToKeeper;

/// What is kept of each stream, in bytes.
pub const KEPT: usize = 64 * 1024;
/// How much is read at most in one turn: a grandchild may write for ever.
const LAST: usize = 1024 * 1024;
/// A pipe with so much in it is read at once, in bytes: half of what it holds.
const MUCH: usize = 32 * 1024;
/// One with less is read after this time, if its run has not ended by then: most have, and what lies in a pipe is safe there.
const SOON: Duration = Duration::from_millis(100);

/// One stream of one run.
#[derive(Debug)]
pub struct Capture {
    slot: u32,
    /// `out` or `error`.
    stream: &'static str,
    pipe: PipeReader,
    /// What has been taken out of the pipe, where the next master finds it.
    tail: Option<Tail>,
    /// It is going to be read.
    listed: bool,
}

impl Capture {
    /// A pipe; the writing end is for the run.
    pub fn new(slot: u32, stream: &'static str) -> io::Result<(Capture, PipeWriter)> {
        let (pipe, writer) = io::pipe()?;
        set_nonblocking(pipe.as_fd())?;
        Ok((Capture { slot, stream, pipe, tail: None, listed: false }, writer))
    }

    /// One that a former master had, and what that had taken out of it.
    pub fn adopt(slot: u32, stream: &'static str, pipe: OwnedFd, tail: Option<OwnedFd>) -> io::Result<Capture> {
        let tail = tail.map(|fd| Tail::adopt(fd, KEPT)).transpose()?;
        Ok(Capture { slot, stream, pipe: pipe.into(), tail, listed: false })
    }

    /// What has been taken out of the pipe, if anything has.
    pub fn tail(&self) -> Option<&Tail> {
        self.tail.as_ref()
    }

    /// The end of it all as text; bytes that are not UTF-8 become U+FFFD. Nothing is taken out of the pipe, so that the next
    /// master can do the same.
    fn text(&self, scratch: &mut Scratch) -> io::Result<String> {
        let mut all = self.tail.as_ref().map_or(Ok(Vec::new()), Tail::bytes)?;
        scratch.copy(self.pipe.as_fd(), &mut all)?;
        Ok(String::from_utf8_lossy(&all[all.len().saturating_sub(KEPT)..]).into_owned())
    }
}

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl Master {
    /// Something has been written there.
    pub(super) fn capture_event(&mut self, token: Token) {
        let Some(capture) = self.sources.capture(token) else { return };
        // What cannot be looked at is read; then it says why.
        let unread = pipe::unread(capture.pipe.as_fd()).unwrap_or(MUCH);
        if unread >= MUCH {
            self.read_capture(token);
        } else if unread > 0 && !capture.listed {
            capture.listed = true;
            if self.late_captures.is_empty() {
                self.timers.after(SOON, Timer::Captures);
            }
            self.late_captures.push(token);
        }
    }

    /// Pipes that have not been read for a while.
    pub(super) fn read_late_captures(&mut self) {
        for token in std::mem::take(&mut self.late_captures) {
            if let Some(capture) = self.sources.capture(token) {
                capture.listed = false;
                self.read_capture(token);
            }
        }
    }

    /// Reads what is there, for one turn.
    pub(super) fn read_capture(&mut self, token: Token) {
        let Some((slot, stream)) = self.captured(token) else { return };
        let name = tail_name(slot, stream);
        let mut total = 0;
        while total < LAST {
            let Some(capture) = self.sources.capture(token) else { return };
            let Some(mut stage) = self.logs.lend_stage() else { return };
            let read = stage.read(capture.pipe.as_fd(), &name, wall_ns());
            if let Ok(n @ 1..) = read {
                total += n;
                fault::point("capture-read");
                if let Err(e) = self.take_captured(token, &name, stage.bytes(), stage.number()) {
                    error!(self.log, "keeping captured output"; "slot" => slot, "error" => %e);
                }
            }
            stage.done();
            self.logs.give_stage_back(stage);
            match read {
                Ok(0) => return,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) => return error!(self.log, "reading captured output"; "slot" => slot, "error" => %e),
            }
        }
        self.again_captures.push(token);
    }

    fn take_captured(&mut self, token: Token, name: &str, bytes: &[u8], step: u64) -> io::Result<()> {
        let Some(capture) = self.sources.capture(token) else { return Ok(()) };
        match &mut capture.tail {
            Some(tail) => tail.push(bytes, step),
            tail @ None => {
                let mut new = Tail::new(KEPT)?;
                new.push(bytes, step)?;
                super::keeping::keep(&self.keeper, &ToKeeper::Store(name.into()), Some(new.as_fd()), &self.log);
                *tail = Some(new);
                Ok(())
            }
        }
    }

    /// What a killed master had taken out of a pipe and had not kept yet.
    pub(super) fn finish_capture(&mut self, left: &Left) {
        let Some((slot, stream)) = tail_of(&left.name) else { return };
        let at = usize::from(stream == "error");
        let Some(token) = self.runs.live(slot).and_then(|live| live.captures.get(at).copied()) else { return };
        let kept = self.sources.capture(token).and_then(|capture| capture.tail.as_ref()).map_or(0, Tail::step);
        if kept != left.number
            && let Err(e) = self.take_captured(token, &left.name, &left.bytes, left.number)
        {
            error!(self.log, "keeping captured output"; "slot" => slot, "error" => %e);
        }
    }

    /// Whose that is.
    fn captured(&self, token: Token) -> Option<(u32, &'static str)> {
        match self.sources.peek(token)? {
            Source::Capture(capture) => Some((capture.slot, capture.stream)),
            _ => None,
        }
    }

    /// The end of a run's output: stdout and stderr. It stays with the keeper until it is on record.
    pub(super) fn finish_captures(&mut self, slot: u32, tokens: Vec<Token>) -> Vec<String> {
        let captures = self.take_captures(slot, tokens);
        captures.into_iter().map(|capture| self.captured_text(&capture)).collect()
    }

    /// The same of a run of a former master's that has ended and is not on record with it.
    pub(super) fn captured_text(&mut self, capture: &Capture) -> String {
        capture.text(&mut self.scratch_pipe).unwrap_or_else(|e| {
            error!(self.log, "reading captured output"; "error" => %e);
            String::new()
        })
    }

    pub(super) fn drop_captures(&mut self, slot: u32, tokens: Vec<Token>) {
        drop(self.take_captures(slot, tokens));
    }

    fn take_captures(&mut self, slot: u32, tokens: Vec<Token>) -> Vec<Capture> {
        let mut captures = Vec::new();
        for token in tokens {
            if let Some(Source::Capture(capture)) = self.sources.remove(token) {
                self.forget_capture(slot, capture.stream, capture.tail.is_some());
                // It is closed now; the keeper's copy would keep it in the loop.
                let _ = self.poll.registry().deregister(&mut SourceFd(&capture.as_fd().as_raw_fd()));
                captures.push(*capture);
            }
        }
        captures
    }

    /// The keeper need not keep it any longer than the journal has what was in it.
    pub(super) fn forget_capture(&mut self, slot: u32, stream: &str, tail: bool) {
        self.kept_until_flushed.push(capture_name(slot, stream));
        self.kept_until_flushed.extend(tail.then(|| tail_name(slot, stream)));
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
