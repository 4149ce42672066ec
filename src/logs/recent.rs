//! The last few lines of a stream, in memory: what a worker that is given up had to say.

use std::collections::VecDeque;

use memchr::{memchr, memrchr_iter};

/// Lines that are kept.
const LINES: usize = 10;
/// What is kept of each, in bytes.
const LENGTH: usize = 512;

/// The last lines.
#[derive(Debug, Default)]
pub struct Recent {
    lines: VecDeque<Box<[u8]>>,
    open: Vec<u8>,
}

impl Recent {
    /// Takes what was read. Costs as much as its last lines do.
    pub fn push(&mut self, bytes: &[u8]) {
        let from = memrchr_iter(b'\n', bytes).nth(LINES).map_or(0, |at| at + 1);
        let mut rest = &bytes[from..];
        while let Some(at) = memchr(b'\n', rest) {
            self.append(&rest[..at]);
            if self.lines.len() == LINES {
                self.lines.pop_front();
            }
            self.lines.push_back(std::mem::take(&mut self.open).into());
            rest = &rest[at + 1..];
        }
        self.append(rest);
    }

    /// Oldest first; bytes that are not UTF-8 are U+FFFD.
    pub fn lines(&self) -> Vec<String> {
        let open = (!self.open.is_empty()).then_some(&self.open[..]);
        let all = self.lines.iter().map(|line| &line[..]).chain(open);
        let surplus = (self.lines.len() + usize::from(open.is_some())).saturating_sub(LINES);
        all.skip(surplus).map(|line| String::from_utf8_lossy(line).trim_end_matches('\r').to_owned()).collect()
    }

    /// Everything, as it could be pushed again.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for line in &self.lines {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        text.extend_from_slice(&self.open);
        text
    }

    fn append(&mut self, bytes: &[u8]) {
        let room = LENGTH - self.open.len();
        self.open.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ten_and_the_open_one() {
        let mut recent = Recent::default();
        let text: String = (0..100).map(|n| format!("line {n}\n")).collect();
        recent.push(text.as_bytes());
        assert_eq!(recent.lines(), (90..100).map(|n| format!("line {n}")).collect::<Vec<_>>());
        recent.push(b"op");
        recent.push(b"en");
        let lines = recent.lines();
        assert_eq!((lines.len(), &*lines[0], &*lines[9]), (10, "line 91", "open"));
        recent.push(&vec![b'x'; 5000]);
        assert_eq!(recent.lines()[9].len(), LENGTH);
    }
}
