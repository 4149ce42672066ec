//! The pipes that output comes through: one a stream of each pool and worker, from its writers to the log files.
//!
//! The reading end is with the keeper under `log/NAME/N/out` before anybody can write, so that nobody gets EPIPE and
//! nothing unread is lost when a master ends; the next one goes on reading. A writing end is opened for each process
//! that is to have one; when the last of them has gone the pipe is at its end, and stays for the next process.
//!
//! A stream has its share of each turn. A writer that is faster than the disk finds its pipe full, and waits.
//! What a run wrote before its exit is in the pipe before the exit is in the ring, and so read in the same turn, before
//! the exit is told.

mod awaited;
mod begun;
mod keys;
mod opening;
mod outlets;
mod show;

use std::collections::{BTreeMap, HashSet};
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use mio::Token;
use mio::unix::SourceFd;
use regex::Regex;
use slog::{error, info, warn};

pub use begun::{LineNote, is_line};
pub use keys::StreamKey;

use super::Master;
use super::sources::Source;
use super::timers::Timer;
use crate::logs::{Files, Notice, Stream};
use crate::sys::clock::{monotonic_ns, wall_ns};
use crate::sys::fault;
use crate::sys::stage::{READ, Stage};
use crate::wire::control::ToKeeper;

/// What one stream may have read of it in one turn, in bytes: more than a pipe holds, so that what was there at the
/// beginning of the turn has been read at its end.
const SHARE: usize = 4 * READ;
/// What is read of one stream when the daemon ends, in bytes.
const LAST: usize = 1 << 20;
/// A line that has begun and gets no further for this long is written as it is.
const OPEN_LINE: Duration = Duration::from_millis(500);

/// One stream's pipe.
#[derive(Debug)]
pub struct LogPipe {
    key: StreamKey,
    reading: PipeReader,
    /// None: what comes is of nobody who is known any more, and goes nowhere.
    stream: Option<Stream>,
    /// It goes when it is at its end.
    closing: bool,
    /// It is among those with an open line; when that got further last, ns monotonic.
    open_line: Option<u64>,
    /// A line with this is waited for.
    awaited: Option<Box<Regex>>,
    /// The journal has a note of a line that has begun there.
    noted: bool,
}

impl LogPipe {
    /// What it is called, and where it goes.
    pub fn key_and_stream(&self) -> Option<(&StreamKey, &Stream)> {
        Some((&self.key, self.stream.as_ref()?))
    }
}

/// Its name in the keeper's store, and what is kept.
pub fn kept(pipe: &LogPipe) -> (String, BorrowedFd<'_>) {
    (pipe.key.store_name(), pipe.reading.as_fd())
}

/// All of them, and their files.
#[derive(Debug)]
pub struct Logs {
    files: Files,
    /// What is read lies there until it is written. Lent out meanwhile.
    stage: Option<Stage>,
    /// What a killed master had begun.
    unfinished: Option<Box<begun::Unfinished>>,
    pipes: BTreeMap<StreamKey, Token>,
    /// Those of a former master's, until somebody asks for them.
    former: BTreeMap<StreamKey, OwnedFd>,
    again: Vec<Token>,
    open_lines: Vec<Token>,
    scratch: Vec<u8>,
    /// Streams in which a line has come that was waited for.
    matched: Vec<StreamKey>,
}

impl Logs {
    /// None yet.
    pub fn new(stage: Stage) -> Logs {
        Logs {
            files: Files::marked(stage.marks().clone()),
            stage: Some(stage),
            unfinished: None,
            pipes: BTreeMap::new(),
            former: BTreeMap::new(),
            again: Vec::new(),
            open_lines: Vec::new(),
            scratch: Vec::new(),
            matched: Vec::new(),
        }
    }

    /// Where what is read lies: for the keeper to keep.
    pub fn stage(&self) -> Option<BorrowedFd<'_>> {
        self.stage.as_ref().map(AsFd::as_fd)
    }

    /// For a step that is none of theirs; to be given back.
    pub fn lend_stage(&mut self) -> Option<Stage> {
        self.stage.take()
    }

    /// It is back.
    pub fn give_stage_back(&mut self, stage: Stage) {
        self.stage = Some(stage);
    }

    /// Whether a former master has left that one, and nobody has asked for it yet.
    pub fn is_former(&self, key: &StreamKey) -> bool {
        self.former.contains_key(key)
    }

    /// Those that have had their share of the turn before.
    pub fn take_again(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.again)
    }

    /// Whether there are such.
    pub fn has_more(&self) -> bool {
        !self.again.is_empty()
    }
}

impl Master {
    /// Reads what is there, for one turn. A read that did not fill its buffer has emptied the pipe, but it does not tell
    /// whether that is at its end: `to_end` looks.
    pub(super) fn read_log(&mut self, token: Token, to_end: bool) {
        if self.read_some(token, to_end, SHARE) {
            self.logs.again.push(token);
        }
        self.tell_notices();
    }

    /// True: there may be more.
    fn read_some(&mut self, token: Token, to_end: bool, share: usize) -> bool {
        self.finish_before(token);
        let mut total = 0;
        loop {
            let Some(pipe) = self.sources.log(token) else { return false };
            let Some(mut stage) = self.logs.stage.take() else { return false };
            let (name, wall) = (pipe.key.store_name(), wall_ns());
            let read = stage.read(pipe.reading.as_fd(), &name, wall);
            if read.as_ref().is_ok_and(|n| *n > 0) {
                fault::point("output-read");
                self.take_output(token, stage.bytes(), wall, stage.number());
            }
            stage.done();
            self.logs.stage = Some(stage);
            match read {
                Ok(0) => {
                    self.pipe_is_at_its_end(token);
                    return false;
                }
                Ok(n) => {
                    total += n;
                    if n < READ && !to_end {
                        return false;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
                Err(e) => {
                    error!(self.log, "reading output"; "stream" => name, "error" => %e);
                    return false;
                }
            }
            if total >= share {
                return true;
            }
        }
    }

    fn take_output(&mut self, token: Token, bytes: &[u8], wall: u64, number: u64) {
        let Some(pipe) = self.sources.log(token) else { return };
        let Some(stream) = &mut pipe.stream else { return };
        stream.push(bytes, wall, &mut self.logs.scratch);
        if let Some(marks) = self.logs.files.marks() {
            marks.written();
        }
        fault::point("output-written");
        let mut lines = Vec::new();
        stream.watched(bytes, |line| lines.push(String::from_utf8_lossy(line).into_owned()));
        if pipe.awaited.as_ref().is_some_and(|pattern| lines.iter().any(|line| pattern.is_match(line))) {
            pipe.awaited = None;
            self.logs.matched.push(pipe.key.clone());
        }
        if stream.holds() {
            self.list_open_line(token);
        }
        self.note_line(token, number);
        self.tell_lines(token, &lines);
    }

    /// A line has begun there, or got further.
    fn list_open_line(&mut self, token: Token) {
        let Some(pipe) = self.sources.log(token) else { return };
        if pipe.open_line.replace(monotonic_ns()).is_none() {
            if self.logs.open_lines.is_empty() {
                self.timers.after(OPEN_LINE, Timer::OpenLines);
            }
            self.logs.open_lines.push(token);
        }
    }

    fn pipe_is_at_its_end(&mut self, token: Token) {
        let Some(pipe) = self.sources.log(token) else { return };
        let closing = pipe.closing;
        self.flush_stream(token, true);
        let mut lines = Vec::new();
        if let Some(stream) = self.sources.log(token).and_then(|pipe| pipe.stream.as_mut()) {
            stream.watched_end(|line| lines.push(String::from_utf8_lossy(line).into_owned()));
        }
        self.tell_lines(token, &lines);
        if closing && let Some(Source::Log(pipe)) = self.sources.remove(token) {
            // Off the loop before it is closed: the keeper has a copy for a moment.
            let _ = self.poll.registry().deregister(&mut SourceFd(&pipe.reading.as_raw_fd()));
            self.logs.pipes.remove(&pipe.key);
            self.tell_keeper(&ToKeeper::Drop(pipe.key.store_name()), None);
        }
    }

    /// Lines that do not get any further are written as they are.
    pub(super) fn open_lines(&mut self) {
        let now = monotonic_ns();
        let (mut left, mut stalled) = (std::mem::take(&mut self.logs.open_lines), Vec::new());
        left.retain(|token| {
            let Some(pipe) = self.sources.log(*token) else { return false };
            if !pipe.stream.as_ref().is_some_and(Stream::holds) {
                pipe.open_line = None;
                return false;
            }
            if pipe.open_line.is_some_and(|at| now.saturating_sub(at) < OPEN_LINE.as_nanos() as u64) {
                return true;
            }
            pipe.open_line = None;
            stalled.push(*token);
            false
        });
        for token in stalled {
            self.flush_stream(token, false);
        }
        if !left.is_empty() {
            self.timers.after(OPEN_LINE, Timer::OpenLines);
        }
        self.logs.open_lines = left;
        self.tell_notices();
    }

    /// The daemon ends: what is there is written down.
    pub(super) fn drain_logs(&mut self) {
        let tokens: Vec<Token> = self.logs.pipes.values().copied().collect();
        for token in tokens {
            self.read_some(token, true, LAST);
            self.flush_stream(token, true);
        }
        self.tell_notices();
    }

    /// Opens all files anew by their names. Returns how many there are.
    pub(super) fn reopen_logs(&mut self) -> usize {
        for (path, e) in self.logs.files.reopen() {
            error!(self.log, "a log file cannot be opened anew; the old one is written on"; "file" => path.display(), "error" => %e);
        }
        info!(self.log, "log files opened anew");
        self.stream_files(self.logs.pipes.values().copied().collect()).len()
    }

    /// The files of these streams, each once.
    fn stream_files(&mut self, tokens: Vec<Token>) -> Vec<Rc<std::cell::RefCell<crate::logs::LogFile>>> {
        let (mut seen, mut all) = (HashSet::new(), Vec::new());
        for token in tokens {
            let files = self.sources.log(token).and_then(|pipe| pipe.stream.as_ref()).map(Stream::files);
            for file in files.into_iter().flatten() {
                if seen.insert(Rc::as_ptr(file)) {
                    all.push(file.clone());
                }
            }
        }
        all
    }

    fn tell_notices(&self) {
        for notice in self.logs.files.notices() {
            match notice {
                Notice::Losing(path, why) => {
                    error!(self.log, "output cannot be written and is lost; it is counted"; "file" => path.display(), "error" => why);
                }
                Notice::Recovered(path, lost) => {
                    warn!(self.log, "output can be written again"; "file" => path.display(), "lost_bytes" => lost);
                }
                Notice::NotRotated(path, why) => {
                    error!(self.log, "a log file cannot be rotated; it grows"; "file" => path.display(), "error" => why);
                }
            }
        }
    }
}
