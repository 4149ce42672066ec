//! Bytes into lines, with a bound on what is held.

use memchr::memchr;

use super::PIECE;

/// How a piece of output ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With its newline (which is not part of the piece).
    Newline,
    /// The line goes on, or nobody knows yet.
    Open,
}

/// What has come of a line that has not ended.
#[derive(Debug, Default)]
pub struct Lines {
    held: Vec<u8>,
}

impl Lines {
    /// Takes what was read, and gives each line that has ended, and each whole piece of a very long one.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8], End)) {
        while let Some(at) = memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..at], &bytes[at + 1..]);
            if self.held.is_empty() {
                pieces(line, &mut each, true);
            } else {
                self.held.extend_from_slice(line);
                pieces(&self.held, &mut each, true);
                self.held.clear();
            }
            bytes = rest;
        }
        self.held.extend_from_slice(bytes);
        if self.held.len() > PIECE {
            let done = pieces(&self.held, &mut each, false);
            self.held.drain(..done);
        }
        if self.held.is_empty() {
            // Most streams end with a whole line, and then wait for long.
            self.held = Vec::new();
        }
    }

    /// Gives what is held, though its line has not ended.
    pub fn flush(&mut self, mut each: impl FnMut(&[u8], End)) {
        if !self.held.is_empty() {
            each(&std::mem::take(&mut self.held), End::Open);
        }
    }

    /// What is held.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Goes on from what another one held.
    pub fn from_held(held: Vec<u8>) -> Lines {
        Lines { held }
    }

    /// Whether a line has begun and not ended.
    pub fn is_open(&self) -> bool {
        !self.held.is_empty()
    }
}

/// Gives `line` in pieces, the last of them too if the line is `whole`. Returns how much has been given.
fn pieces(line: &[u8], each: &mut impl FnMut(&[u8], End), whole: bool) -> usize {
    let mut from = 0;
    while line.len() - from > PIECE {
        let to = boundary(line, from + PIECE);
        each(&line[from..to], End::Open);
        from = to;
    }
    if whole {
        each(&line[from..], End::Newline);
        from = line.len();
    }
    from
}

/// `at`, or up to three bytes before it, so that no character of UTF-8 is cut.
fn boundary(line: &[u8], at: usize) -> usize {
    let is_continuation = |at: &usize| line[*at] & 0xc0 == 0x80;
    (at - 3..=at).rev().find(|at| !is_continuation(at)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(chunks: &[&[u8]]) -> Vec<(Vec<u8>, End)> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.push(chunk, |piece, end| all.push((piece.to_vec(), end)));
        }
        lines.flush(|piece, end| all.push((piece.to_vec(), end)));
        assert!(!lines.is_open());
        all
    }

    #[test]
    fn lines_come_whole_however_they_were_cut() {
        let text = b"one\n\ntwo\nrest";
        let expected: Vec<(Vec<u8>, End)> =
            [("one", End::Newline), ("", End::Newline), ("two", End::Newline), ("rest", End::Open)]
                .map(|(line, end)| (line.as_bytes().to_vec(), end))
                .into();
        for size in 1..=text.len() {
            assert_eq!(collect(&text.chunks(size).collect::<Vec<_>>()), expected, "{size}");
        }
    }

    #[test]
    fn a_very_long_line_comes_in_pieces_and_little_of_it_is_held() {
        let long = "ü".repeat(40_001);
        let text = format!("a{long}\nb\n");
        for size in [1000, 65_536, text.len()] {
            let mut lines = Lines::default();
            let mut told: Vec<(Vec<u8>, End)> = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                lines.push(chunk, |piece, end| told.push((piece.to_vec(), end)));
                assert!(lines.held.len() <= PIECE);
            }
            assert!(told.iter().all(|(piece, _)| piece.len() <= PIECE && std::str::from_utf8(piece).is_ok()));
            let ends: Vec<End> = told.iter().map(|(_, end)| *end).collect();
            assert_eq!(ends.iter().filter(|e| **e == End::Newline).count(), 2);
            let joined: Vec<u8> = told.iter().take(told.len() - 1).flat_map(|(piece, _)| piece.clone()).collect();
            assert_eq!(joined, format!("a{long}").into_bytes(), "{size}");
            assert_eq!(told.last().unwrap().0, b"b");
        }
    }
}
