//! Captured output of all runs: when it is read, where the next master finds it, and its end.

use std::io::{self, PipeWriter};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Token};
use slog::error;

use super::Master;
use super::capture::{Capture, KEPT, capture_name, tail_name, tail_of};
use super::sources::Source;
use super::timers::Timer;
use crate::sys::pipe::{self, Tail};
use crate::sys::stage::Left;
use crate::wire::control::ToKeeper;

/// How much is read at most in one turn: a grandchild may write for ever.
const LAST: usize = 1024 * 1024;
/// A pipe that is not half full is read after this time, if its run has not ended by then: most have, and what lies in it is safe
/// there.
const SOON: Duration = Duration::from_millis(100);

impl Master {
    /// Pipes for a run's stdout and stderr; the writing ends are the run's.
    pub(super) fn open_captures(&mut self, slot: u32) -> io::Result<[PipeWriter; 2]> {
        let (out, out_writer) = Capture::new(slot, "out")?;
        let (error, error_writer) = Capture::new(slot, "error")?;
        let out = self.watch_capture(out)?;
        let error = self.watch_capture(error).inspect_err(|_| drop(self.sources.remove(out)))?;
        // With the keeper before the run has them: if we die, it must not get EPIPE. Its slot may have been another one's in this turn.
        if !self.kept_until_flushed.is_empty() {
            self.flush_journal();
        }
        for token in [out, error] {
            if let Some(Source::Capture(capture)) = self.sources.peek(token) {
                let message = ToKeeper::Store(capture_name(slot, capture.stream));
                self.tell_keeper(&message, Some(capture.as_fd()));
            }
        }
        if let Some(live) = self.runs.live(slot) {
            live.captures = vec![out, error];
        }
        Ok([out_writer, error_writer])
    }

    pub(super) fn watch_capture(&mut self, capture: Capture) -> io::Result<Token> {
        let fd = capture.as_fd().as_raw_fd();
        let token = self.sources.add(Source::Capture(Box::new(capture)));
        let watched = self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE);
        watched.inspect_err(|_| drop(self.sources.remove(token)))?;
        Ok(token)
    }

    /// Something has been written there.
    pub(super) fn capture_event(&mut self, token: Token) {
        let Some(capture) = self.sources.capture(token) else { return };
        // What cannot be looked at is read; then it says why.
        let unread = pipe::unread(capture.pipe.as_fd()).unwrap_or(capture.much);
        if unread >= capture.much {
            self.read_capture(token);
        } else if unread > 0 {
            self.read_later(token);
        }
    }

    fn read_later(&mut self, token: Token) {
        let Some(capture) = self.sources.capture(token).filter(|capture| !capture.listed) else { return };
        capture.listed = true;
        if self.late_captures.is_empty() {
            self.timers.after(SOON, Timer::Captures);
        }
        self.late_captures.push(token);
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
        if let Err(e) = self.make_tail(token) {
            return self.not_read(token, &e);
        }
        let mut total = 0;
        while total < LAST {
            let Some(capture) = self.sources.capture(token) else { return };
            let Some(mut stage) = self.logs.lend_stage() else { return };
            let read = capture.read(&mut stage);
            self.logs.give_stage_back(stage);
            match read {
                Ok(0) => return,
                Ok(n) => total += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) => return self.not_read(token, &e),
            }
        }
        self.again_captures.push(token);
    }

    /// There is no descriptor left, say. What lies in the pipe stays there, and its writer waits when it is full.
    fn not_read(&mut self, token: Token, why: &io::Error) {
        let Some(capture) = self.sources.capture(token) else { return };
        if !std::mem::replace(&mut capture.told, true) {
            error!(self.log, "reading captured output; it is tried again"; "slot" => capture.slot, "error" => %why);
        }
        self.read_later(token);
    }

    /// Before anything is taken out of a pipe there is somewhere to put it, and the keeper has it.
    fn make_tail(&mut self, token: Token) -> io::Result<()> {
        let Some(capture) = self.sources.capture(token).filter(|capture| capture.tail.is_none()) else { return Ok(()) };
        let (slot, stream) = (capture.slot, capture.stream);
        let tail = self.new_tail(slot, stream)?;
        if let Some(capture) = self.sources.capture(token) {
            capture.tail = Some(tail);
        }
        Ok(())
    }

    fn new_tail(&self, slot: u32, stream: &str) -> io::Result<Tail> {
        let tail = Tail::new(KEPT)?;
        self.tell_keeper(&ToKeeper::Store(tail_name(slot, stream)), Some(tail.as_fd()));
        Ok(tail)
    }

    /// What a killed master had taken out of a pipe and had not kept yet.
    pub(super) fn finish_capture(&mut self, left: &Left) {
        let Some((slot, stream)) = tail_of(&left.name) else { return };
        let is_error = stream == "error";
        let live = self.runs.live(slot).and_then(|live| live.captures.get(usize::from(is_error)).copied());
        let finish = |tail: &mut Tail| match tail.step() == left.number {
            true => Ok(()),
            false => tail.push(&left.bytes, left.number),
        };
        let done = match (live, self.former_tails.get(&(slot, is_error))) {
            (Some(token), _) => self.make_tail(token).and_then(|()| {
                let tail = self.sources.capture(token).and_then(|capture| capture.tail.as_mut());
                tail.map_or(Ok(()), finish)
            }),
            // Of a run that has ended and is going to be on record.
            (None, Some(fd)) => fd.try_clone().and_then(|fd| finish(&mut Tail::adopt(fd, KEPT)?)),
            (None, None) => Ok(()),
        };
        if let Err(e) = done {
            error!(self.log, "keeping captured output"; "slot" => slot, "error" => %e);
        }
    }

    /// The end of a run's output: stdout and stderr. It stays with the keeper until it is on record.
    pub(super) fn finish_captures(&mut self, slot: u32, tokens: Vec<Token>) -> Vec<String> {
        let captures = self.take_captures(slot, tokens);
        captures.into_iter().map(|capture| self.captured_text(capture)).collect()
    }

    /// The same of a run of a former master's that has ended and is not on record with it.
    pub(super) fn captured_text(&mut self, mut capture: Capture) -> String {
        let (slot, stream) = (capture.slot, capture.stream);
        let first = match capture.text(&mut self.scratch_pipe) {
            Ok((text, true)) => return text,
            Ok((text, false)) => text,
            Err(e) => {
                error!(self.log, "reading captured output"; "slot" => slot, "error" => %e);
                return String::new();
            }
        };
        self.drained(&mut capture).unwrap_or_else(|e| {
            error!(self.log, "reading captured output: its end is lost"; "slot" => slot, "stream" => stream, "error" => %e);
            first
        })
    }

    /// The same, where more lies in the pipe than can be looked at there: our own scratch pipe is a small one.
    fn drained(&mut self, capture: &mut Capture) -> io::Result<String> {
        if capture.tail.is_none() {
            capture.tail = Some(self.new_tail(capture.slot, capture.stream)?);
            self.kept_until_flushed.push(tail_name(capture.slot, capture.stream));
        }
        let mut stage = self.logs.lend_stage().ok_or(io::ErrorKind::ResourceBusy)?;
        let drained = capture.drain(&mut stage);
        self.logs.give_stage_back(stage);
        drained?;
        Ok(capture.text(&mut self.scratch_pipe)?.0)
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
