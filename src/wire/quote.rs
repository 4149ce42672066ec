//! A client's words in an error message.

use std::fmt;

/// How much is repeated, in characters.
const MAX: usize = 64;

/// Text in quotes, control characters escaped, at most 64 characters of it.
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(MAX) {
            Some((at, _)) => write!(f, "{:?}…", &self.0[..at]),
            None => write!(f, "{:?}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_text_is_whole_and_long_text_is_cut_at_a_character() {
        assert_eq!(Quoted("a\"\x1b").to_string(), r#""a\"\u{1b}""#);
        assert_eq!(Quoted(&"é".repeat(64)).to_string(), format!("\"{}\"", "é".repeat(64)));
        assert_eq!(Quoted(&"é".repeat(65)).to_string(), format!("\"{}\"…", "é".repeat(64)));
    }
}
