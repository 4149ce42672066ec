//! Newline framing without I/O.
//!
//! One buffer holds what came and was not taken yet: `start..end` of `buffer`, of which
//! `start..searched` is known to hold no newline. Everything before `start` is room to win back.

use std::fmt;

/// The least room that [`LineBuffer::spare`] offers, in bytes.
pub const SPARE: usize = 16 * 1024;

/// A line is longer than the limit. Where the next one begins cannot be known
/// without reading it all, so the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineTooLong {
    /// The limit in bytes, without the newline.
    pub max_line: usize,
}

impl fmt::Display for LineTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the line is longer than {} bytes", self.max_line)
    }
}

impl std::error::Error for LineTooLong {}

/// A bounded buffer that bytes go into in chunks and lines come out of.
///
/// Take every line before reading on: what is held is then never more than an unfinished line.
/// An empty buffer owns no memory.
#[derive(Debug)]
pub struct LineBuffer {
    buffer: Vec<u8>,
    start: usize,
    searched: usize,
    end: usize,
    max_line: usize,
    too_long: bool,
}

impl LineBuffer {
    /// A buffer for lines of at most `max_line` bytes, counted without `\n` or `\r\n`.
    pub fn new(max_line: usize) -> Self {
        LineBuffer { buffer: Vec::new(), start: 0, searched: 0, end: 0, max_line, too_long: false }
    }

    /// Changes the limit for lines that have not been taken yet.
    pub fn set_max(&mut self, max_line: usize) {
        self.max_line = max_line;
    }

    /// Room to read into, at least [`SPARE`] bytes; then say [`filled`](Self::filled).
    pub fn spare(&mut self) -> &mut [u8] {
        if self.buffer.len() - self.end < SPARE {
            self.make_room();
        }
        &mut self.buffer[self.end..]
    }

    /// Moving costs what is held. After it there is room for that much and [`SPARE`] more, so
    /// the next move comes no sooner than that many bytes later: O(1) a byte.
    fn make_room(&mut self) {
        let held = self.end - self.start;
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.searched -= self.start;
            self.start = 0;
            self.end = held;
        }
        if self.buffer.len() < 2 * held + SPARE {
            self.buffer.resize(2 * held + SPARE, 0);
        }
    }

    /// The first `n` bytes of [`spare`](Self::spare) hold data now. More than there was room for
    /// counts as all of it.
    pub fn filled(&mut self, n: usize) {
        if !self.too_long {
            self.end = (self.end + n).min(self.buffer.len());
        }
    }

    /// The next line, without `\n` and without one `\r` before it; empty lines too.
    /// `None`: there is no whole line yet. Too long is for good.
    pub fn next_line(&mut self) -> Option<Result<&[u8], LineTooLong>> {
        if self.too_long {
            return Some(Err(LineTooLong { max_line: self.max_line }));
        }
        let unseen = &self.buffer[self.searched..self.end];
        let (stop, whole) = match memchr::memchr(b'\n', unseen) {
            Some(at) => (self.searched + at, true),
            None => (self.end, false),
        };
        let line = &self.buffer[self.start..stop];
        let length = line.len() - usize::from(line.last() == Some(&b'\r'));
        if length > self.max_line {
            self.too_long = true;
            self.give_back();
            return Some(Err(LineTooLong { max_line: self.max_line }));
        }
        if !whole {
            self.searched = stop;
            if self.start == self.end {
                self.give_back();
            }
            return None;
        }
        let from = self.start;
        self.start = stop + 1;
        self.searched = self.start;
        Some(Ok(&self.buffer[from..from + length]))
    }

    /// Bytes held that no line has been made of; after [`next_line`](Self::next_line) said `None`
    /// these are an unfinished line.
    pub fn partial(&self) -> usize {
        self.end - self.start
    }

    /// Everything that no line has been made of yet.
    pub fn held(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Puts back what was held elsewhere, before anything else is read.
    pub fn refill(&mut self, held: &[u8]) {
        self.buffer = held.to_vec();
        (self.start, self.searched, self.end) = (0, 0, held.len());
    }

    fn give_back(&mut self) {
        self.buffer = Vec::new();
        self.start = 0;
        self.searched = 0;
        self.end = 0;
    }
}

#[cfg(test)]
mod tests;
