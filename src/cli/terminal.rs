//! What is known about the other end of stdout, and the one way to write to it.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};

/// How much a command may decorate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    /// Columns to fit into; `None` when stdout is not a terminal.
    pub width: Option<usize>,
    /// Whether colours may be used.
    pub colour: bool,
    /// A person reads: relative times instead of timestamps.
    pub person: bool,
}

impl Terminal {
    /// A pipe or a file: everything in full and nothing decorated.
    pub const PLAIN: Terminal = Terminal { width: None, colour: false, person: false };

    /// Looks at stdout, `NO_COLOR` (no-color.org) and `TERM`.
    pub fn of_stdout() -> Terminal {
        if !io::stdout().is_terminal() {
            return Terminal::PLAIN;
        }
        let width = terminal_size::terminal_size_of(io::stdout())
            .map_or(80, |(terminal_size::Width(columns), _)| usize::from(columns))
            .max(20);
        let no_color = std::env::var_os("NO_COLOR");
        let term = std::env::var_os("TERM");
        Terminal { width: Some(width), colour: may_colour(no_color.as_deref(), term.as_deref()), person: true }
    }

    /// `text` in `style`, or as it is where colours are not wanted.
    pub fn paint(&self, style: Style, text: &str) -> String {
        match style.code() {
            Some(code) if self.colour => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }

    /// `text` in that colour, or as it is where colours are not wanted.
    pub fn tint(&self, hue: Hue, text: &str) -> String {
        match hue {
            Hue::Error => self.paint(Style::Bad, text),
            Hue::Name(code) if self.colour => format!("\x1b[{code}m{text}\x1b[0m"),
            Hue::Name(_) => text.to_owned(),
        }
    }
}

fn may_colour(no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    no_color.is_none_or(OsStr::is_empty) && term.is_some_and(|term| term != "dumb" && !term.is_empty())
}

/// What a piece of text means; the colours follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Nothing special.
    Normal,
    /// Headings and labels.
    Label,
    /// Alive and well.
    Good,
    /// On its way to something else.
    Waiting,
    /// Wants attention.
    Bad,
}

impl Style {
    /// The SGR parameter (ECMA-48 8.3.117).
    fn code(self) -> Option<u8> {
        match self {
            Style::Normal => None,
            Style::Label => Some(1),
            Style::Good => Some(32),
            Style::Waiting => Some(33),
            Style::Bad => Some(31),
        }
    }
}

/// A colour that tells names apart and means nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hue {
    /// One of a few, always the same for the same name.
    Name(u8),
    /// What came on standard error.
    Error,
}

impl Hue {
    /// The colour of a name: blue, magenta, cyan, or one of them bright, or green. Red and yellow have a meaning.
    pub fn of(name: &str) -> Hue {
        const CODES: [u8; 7] = [32, 34, 35, 36, 94, 95, 96];
        let sum = name.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        Hue::Name(CODES[sum % CODES.len()])
    }
}

/// Writes all of `text` to stdout at once.
pub fn write_out(text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref())?;
    out.flush()
}

/// Writes one message to stderr; if that fails there is nobody left to tell.
pub fn message(text: &str) {
    let _ = writeln!(io::stderr(), "preforkd: {}", super::escape::lines(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_and_dumb_terminals_are_honoured() {
        let some = |text: &'static str| Some(OsStr::new(text));
        assert!(may_colour(None, some("xterm")));
        assert!(may_colour(some(""), some("xterm")));
        assert!(!may_colour(some("1"), some("xterm")));
        assert!(!may_colour(None, some("dumb")));
        assert!(!may_colour(None, None));
    }

    #[test]
    fn paint_keeps_pipes_clean() {
        assert_eq!(Terminal::PLAIN.paint(Style::Bad, "failed"), "failed");
        let colourful = Terminal { colour: true, ..Terminal::PLAIN };
        assert_eq!(colourful.paint(Style::Bad, "failed"), "\x1b[31mfailed\x1b[0m");
        assert_eq!(colourful.paint(Style::Normal, "x"), "x");
    }
}
