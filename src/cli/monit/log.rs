//! The lines of one worker that are on the screen, and those above them.

use std::collections::VecDeque;

use crate::cli::escape;
use crate::wire::apps::LogLine;

/// Lines that are kept to scroll back to.
const KEPT: usize = 2000;
/// More of a line is not shown, in characters: it bounds what is kept.
const LONGEST: usize = 2000;

/// A line that may be shown: nothing in it steers the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Of standard error.
    pub error: bool,
    /// Escaped.
    pub text: String,
}

impl Line {
    /// That line, made harmless.
    pub fn of(line: &LogLine) -> Line {
        let text = line.text.trim_end_matches('\r');
        let text = match text.char_indices().nth(LONGEST) {
            Some((end, _)) => &text[..end],
            None => text,
        };
        Line { error: line.stream == "err", text: escape::line(&text.replace('\t', "    ")).into_owned() }
    }

    /// That this many lines were not told.
    pub fn gap(lost: u64) -> Line {
        Line { error: true, text: format!("… {lost} lines came too fast to be shown") }
    }

    /// That the connection ended, and what came then is not here.
    pub fn interrupted() -> Line {
        Line { error: true, text: "… the daemon's master was replaced; lines may be missing here".to_owned() }
    }
}

/// The latest lines, and how far back one looks.
#[derive(Debug, Default)]
pub struct Log {
    lines: VecDeque<Line>,
    back: usize,
    right: usize,
}

impl Log {
    /// One more. Who looks back goes on seeing the same lines.
    pub fn push(&mut self, line: Line) {
        self.lines.push_back(line);
        if self.lines.len() > KEPT {
            self.lines.pop_front();
        }
        if self.back > 0 {
            self.back = (self.back + 1).min(self.lines.len());
        }
    }

    /// Back by that many lines; forward if it is negative.
    pub fn scroll(&mut self, lines: isize) {
        self.back = self.back.saturating_add_signed(lines).min(self.lines.len());
    }

    /// To the right by that many columns; to the left if it is negative.
    pub fn shift(&mut self, columns: isize) {
        self.right = self.right.saturating_add_signed(columns).min(LONGEST);
    }

    /// How many lines back one looks; 0: it follows.
    pub fn back(&self) -> usize {
        self.back
    }

    /// How many columns are left out at the left.
    pub fn right(&self) -> usize {
        self.right
    }

    /// The lines to show, oldest first, at most `height`.
    pub fn visible(&mut self, height: usize) -> impl Iterator<Item = &Line> {
        self.back = self.back.min(self.lines.len().saturating_sub(height));
        let end = self.lines.len() - self.back;
        self.lines.range(end.saturating_sub(height)..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line { error: false, text: text.to_owned() }
    }

    fn shown(log: &mut Log, height: usize) -> Vec<String> {
        log.visible(height).map(|line| line.text.clone()).collect()
    }

    #[test]
    fn it_follows_until_one_looks_back() {
        let mut log = Log::default();
        (0..5).for_each(|n| log.push(line(&n.to_string())));
        assert_eq!(shown(&mut log, 2), ["3", "4"]);
        log.scroll(2);
        assert_eq!(shown(&mut log, 2), ["1", "2"]);
        log.push(line("5"));
        assert_eq!(shown(&mut log, 2), ["1", "2"], "what one reads stays");
        log.scroll(100);
        assert_eq!(shown(&mut log, 2), ["0", "1"]);
        log.scroll(-100);
        assert_eq!(shown(&mut log, 2), ["4", "5"]);
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let mut log = Log::default();
        log.push(line("first"));
        log.scroll(1);
        (0..KEPT * 2).for_each(|n| log.push(line(&n.to_string())));
        assert_eq!(log.lines.len(), KEPT);
        assert_eq!(shown(&mut log, 1).len(), 1);
        let long = LogLine {
            name: "a".into(),
            worker: None,
            stream: "err".into(),
            at: None,
            text: "é".repeat(LONGEST * 2).into(),
        };
        assert_eq!(Line::of(&long).text.chars().count(), LONGEST);
    }

    #[test]
    fn lines_cannot_steer_the_terminal() {
        let line =
            LogLine { name: "a".into(), worker: None, stream: "err".into(), at: None, text: "\x1b[2J\tx\r".into() };
        assert_eq!(Line::of(&line), Line { error: true, text: r"\x1b[2J    x".into() });
    }
}
