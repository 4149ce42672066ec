//! Newline framing without I/O.
//!
//! One buffer holds what came and was not taken yet: `buffer` from `start` on, of which
//! `start..searched` is known to hold no newline. Everything before `start` is room to win back.

use std::fmt;

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
    max_line: usize,
    too_long: bool,
}

impl LineBuffer {
    /// A buffer for lines of at most `max_line` bytes, counted without `\n` or `\r\n`.
    pub fn new(max_line: usize) -> Self {
        LineBuffer { buffer: Vec::new(), start: 0, searched: 0, max_line, too_long: false }
    }

    /// Changes the limit for lines that have not been taken yet.
    pub fn set_max(&mut self, max_line: usize) {
        self.max_line = max_line;
    }

    /// Adds what has come. Moving costs what is held. After it there is room for as much again, so the next move comes no sooner
    /// than that many bytes later: O(1) a byte.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.too_long {
            return;
        }
        if self.start > 0 && self.buffer.capacity() - self.buffer.len() < bytes.len() {
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
            self.buffer.reserve(self.buffer.len().max(bytes.len()));
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next line, without `\n` and without one `\r` before it; empty lines too.
    /// `None`: there is no whole line yet. Too long is for good.
    pub fn next_line(&mut self) -> Option<Result<&[u8], LineTooLong>> {
        if self.too_long {
            return Some(Err(LineTooLong { max_line: self.max_line }));
        }
        let unseen = &self.buffer[self.searched..];
        let (stop, whole) = match memchr::memchr(b'\n', unseen) {
            Some(at) => (self.searched + at, true),
            None => (self.buffer.len(), false),
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
            if self.start == self.buffer.len() {
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
        self.buffer.len() - self.start
    }

    /// Everything that no line has been made of yet.
    pub fn held(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Puts back what was held elsewhere, before anything else is read.
    pub fn refill(&mut self, held: &[u8]) {
        self.buffer = held.to_vec();
        (self.start, self.searched) = (0, 0);
    }

    fn give_back(&mut self) {
        self.buffer = Vec::new();
        self.start = 0;
        self.searched = 0;
    }
}

#[cfg(test)]
mod tests;
