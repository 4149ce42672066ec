//! What is asked of any JSON text before it is looked into or passed on.
//!
//! Values are spliced as text from a client's line into a child's request and from a child's
//! result into a status, so the text must be good for every reader: UTF-8, not nested beyond
//! what a recursive parser bears, no half surrogate pairs, no newline.

use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt;

/// How deep a request may be nested.
pub const MAX_DEPTH: usize = 128;
/// How deep a run's result may be nested: what PHP's `json_encode` goes to by default.
pub const MAX_RESULT_DEPTH: usize = 512;

/// Why a text is not taken as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadJson {
    /// Not UTF-8; the offset of the first bad byte.
    NotUtf8(usize),
    /// Nested deeper than this.
    TooDeep(usize),
    /// Half of a surrogate pair in a `\u` escape at this offset: no Unicode text.
    LoneSurrogate(usize),
    /// Not JSON, and where.
    Syntax(String),
}

impl fmt::Display for BadJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadJson::NotUtf8(at) => write!(f, "not UTF-8 at byte {at}"),
            BadJson::TooDeep(max) => write!(f, "nested deeper than {max} levels"),
            BadJson::LoneSurrogate(at) => write!(f, "half of a surrogate pair at byte {at}"),
            BadJson::Syntax(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for BadJson {}

impl From<serde_json::Error> for BadJson {
    fn from(error: serde_json::Error) -> Self {
        BadJson::Syntax(error.to_string())
    }
}

/// The text of `bytes`, if it is UTF-8, nested at most `max_depth` deep and free of half surrogate pairs.
/// Its grammar is not checked.
pub fn text(bytes: &[u8], max_depth: usize) -> Result<&str, BadJson> {
    let text = std::str::from_utf8(bytes).map_err(|error| BadJson::NotUtf8(error.valid_up_to()))?;
    let opens = bytes.iter().filter(|&&byte| byte == b'[' || byte == b'{').count();
    if opens > max_depth || text.contains("\\u") {
        scan(bytes, max_depth)?;
    }
    Ok(text)
}

/// One JSON value of a child (a result, progress) as text that can be spliced into a line.
///
/// # Errors
/// Whatever [`text`] refuses, and what is not exactly one JSON value.
pub fn value(bytes: &[u8], max_depth: usize) -> Result<Box<RawValue>, BadJson> {
    let text = text(bytes, max_depth)?;
    let value: &RawValue = serde_json::from_str(text)?;
    if !value.get().contains('\n') {
        return Ok(value.to_owned());
    }
    // A raw newline in valid JSON stands between tokens, where a blank means the same.
    Ok(RawValue::from_string(value.get().replace('\n', " "))?)
}

/// For a field whose `null` is a value and not the same as its absence.
pub(in crate::wire) fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

fn scan(bytes: &[u8], max_depth: usize) -> Result<(), BadJson> {
    let mut depth = 0usize;
    let mut at = 0;
    let mut in_string = false;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                at = escape(bytes, at)?;
                continue;
            }
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > max_depth {
                    return Err(BadJson::TooDeep(max_depth));
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// The offset after the escape at `at`, a surrogate pair being one.
fn escape(bytes: &[u8], at: usize) -> Result<usize, BadJson> {
    match unit(bytes, at) {
        None => Ok(at + 2),
        Some(0xD800..=0xDBFF) => match unit(bytes, at + 6) {
            Some(0xDC00..=0xDFFF) => Ok(at + 12),
            _ => Err(BadJson::LoneSurrogate(at)),
        },
        Some(0xDC00..=0xDFFF) => Err(BadJson::LoneSurrogate(at)),
        Some(_) => Ok(at + 6),
    }
}

/// The UTF-16 unit of a `\uXXXX` at `at`; anything malformed is the parser's to report.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let escape = bytes.get(at..at + 6)?;
    if !escape.starts_with(b"\\u") {
        return None;
    }
    escape[2..].iter().try_fold(0u16, |unit, &digit| {
        let value = char::from(digit).to_digit(16)?;
        // invariant: a hexadecimal digit is below 16.
        Some(unit << 4 | u16::try_from(value).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        "[".repeat(levels) + &"]".repeat(levels)
    }

    #[test]
    fn depth_is_bounded_exactly() {
        assert!(text(nested(128).as_bytes(), 128).is_ok());
        assert_eq!(text(nested(129).as_bytes(), 128), Err(BadJson::TooDeep(128)));
        assert_eq!(text(nested(100_000).as_bytes(), 128), Err(BadJson::TooDeep(128)));
        assert_eq!(text("{\"a\":".repeat(100_000).as_bytes(), 128), Err(BadJson::TooDeep(128)));
    }

    #[test]
    fn brackets_in_strings_and_side_by_side_do_not_count() {
        assert!(text(format!("\"{}\"", "[".repeat(1000)).as_bytes(), 128).is_ok());
        assert!(text(format!("[\"\\\"{}\"]", "[".repeat(1000)).as_bytes(), 128).is_ok());
        assert!(text(format!("[{}0]", "[],".repeat(1000)).as_bytes(), 128).is_ok());
        let escaped_end = format!("[\"\\\\\",{}", "[".repeat(1000));
        assert_eq!(text(escaped_end.as_bytes(), 128), Err(BadJson::TooDeep(128)));
    }

    #[test]
    fn half_surrogate_pairs_are_refused() {
        assert!(text(br#""\ud83d\ude00 \u0000 \uffff \\ud83d""#, 8).is_ok());
        for bad in [r#""\ud83d""#, r#""\ud83dx""#, r#""\ude00\ud83d""#, r#""\ud83d\u0041""#, r#""\ud83d\n""#] {
            assert_eq!(text(bad.as_bytes(), 8), Err(BadJson::LoneSurrogate(1)), "{bad}");
        }
    }

    #[test]
    fn not_utf8_says_where() {
        assert_eq!(text(b"[\"a\xff\"]", 8), Err(BadJson::NotUtf8(3)));
    }

    #[test]
    fn a_value_never_holds_a_newline() {
        let spliced = value(b"{\n \"a\": [1,\r\n2],\n \"b\": \"x\\ny\"\n}\n", 8).unwrap();
        assert_eq!(spliced.get(), "{  \"a\": [1,\r 2],  \"b\": \"x\\ny\" }");
        assert_eq!(value(b" null ", 8).unwrap().get(), "null");
        assert!(value(b"1 2", 8).is_err());
        assert!(value(b"", 8).is_err());
        assert!(value(b"\"a\nb\"", 8).is_err());
    }
}
