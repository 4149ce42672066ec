//! Text that users' programs chose (entries, errors, results) must not steer the
//! terminal it is shown on: whatever could is written as an escape.

use std::borrow::Cow;
use std::fmt::Write as _;

/// One line: control characters, newlines and what reorders text become `\n`, `\x1b`, `\u{202e}`.
pub fn line(text: &str) -> Cow<'_, str> {
    escape(text, false)
}

/// The same, but line feeds and tabs stay: for messages and traces of several lines.
pub fn lines(text: &str) -> Cow<'_, str> {
    escape(text, true)
}

/// JSON that is valid stays so: what JSON lets through raw becomes `\u009b`.
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' | '\t' | '\r' => out.push(' '),
            c if steers(c) => {
                // A String takes everything.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

fn escape(text: &str, keep_lines: bool) -> Cow<'_, str> {
    if !text.chars().any(|c| steers(c) && !(keep_lines && matches!(c, '\n' | '\t'))) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' | '\t' if keep_lines => out.push(c),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_ascii() && steers(c) => {
                // A String takes everything.
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if steers(c) => {
                // A String takes everything.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// C0, DEL and C1 (Unicode's Cc), line and paragraph separators, and the marks
/// that hide or reorder what follows (UAX #9, "Trojan Source").
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_not_copied() {
        assert!(matches!(line("App\\Jobs\\Übung 漢"), Cow::Borrowed(_)));
        assert!(matches!(lines("a\n\tb"), Cow::Borrowed(_)));
    }

    #[test]
    fn escape_sequences_lose_their_teeth() {
        assert_eq!(line("\x1b[2Jx\n\0\x7f"), r"\x1b[2Jx\n\x00\x7f");
        assert_eq!(line("\u{9b}2J"), r"\u{9b}2J");
        assert_eq!(line("a\u{202e}b"), r"a\u{202e}b");
        assert_eq!(lines("a\r\n\x1b]0;t\x07"), "a\\r\n\\x1b]0;t\\x07");
    }

    #[test]
    fn json_stays_json() {
        let text = "\"a\u{9b}\u{7f}\u{202e}\"";
        let out = json(text);
        assert_eq!(out, r#""a\u009b\u007f\u202e""#);
        let back: String = serde_json::from_str(&out).unwrap();
        assert_eq!(back, "a\u{9b}\u{7f}\u{202e}");
        assert_eq!(json("{\n \"a\": 1}"), "{  \"a\": 1}");
    }
}
