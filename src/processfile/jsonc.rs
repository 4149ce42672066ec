//! JSON with comments, trailing commas and unquoted keys, mapped to the tree.
//!
//! Nothing more of JavaScript's notation is taken, so that other tools for "JSON with comments"
//! read the same files.

use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{CollectOptions, ParseOptions, ParseStringErrorKind, ast};

use super::tree::{Entry, Node, Value};

/// The first fault of syntax: line, column, and what was expected.
pub(super) struct SyntaxError {
    pub line: u32,
    pub column: u32,
    pub message: String,
}

/// Reads a text without its byte order mark.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let fault = |offset: usize, message: String| {
        let (line, column) = Cursor::new(text).advance(offset);
        SyntaxError { line, column, message }
    };
    if let Some(offset) = string_over_line_end(text) {
        return Err(fault(offset, "a string is not closed in its line: expected \"".to_owned()));
    }
    let options = ParseOptions {
        allow_comments: true,
        allow_loose_object_property_names: true,
        allow_trailing_commas: true,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed = jsonc_parser::parse_to_ast(text, &CollectOptions::default(), &options)
        .map_err(|error| fault(error.range().start, explain(error.kind(), &text[error.range().start..])))?;
    match parsed.value {
        Some(value) => Ok(map(value, &mut Cursor::new(text))),
        None => Err(fault(text.len(), "the file has no value: expected { \"pools\": [ … ] }".to_owned())),
    }
}

/// Depth is bounded by the parser (512).
fn map(value: ast::Value, cursor: &mut Cursor) -> Node {
    let (line, column) = cursor.advance(value.range().start);
    let value = match value {
        ast::Value::NullKeyword(_) => Value::Null,
        ast::Value::BooleanLit(literal) => Value::Bool(literal.value),
        ast::Value::NumberLit(literal) => Value::Number(literal.value.to_owned()),
        ast::Value::StringLit(literal) => Value::Text(literal.value.into_owned()),
        ast::Value::Array(array) => {
            Value::List(array.elements.into_iter().map(|element| map(element, cursor)).collect())
        }
        ast::Value::Object(object) => {
            let entry = |property: ast::ObjectProp| {
                let (line, column) = cursor.advance(property.range.start);
                let key = property.name.into_string();
                Entry { key, line, column, node: map(property.value, cursor) }
            };
            Value::Object(object.properties.into_iter().map(entry).collect())
        }
    };
    Node { value, line, column }
}

/// Turns offsets that only grow into lines and columns, in one pass over the text.
struct Cursor<'a> {
    text: &'a str,
    offset: usize,
    line: u32,
    column: u32,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Cursor<'a> {
        Cursor { text, offset: 0, line: 1, column: 1 }
    }

    fn advance(&mut self, to: usize) -> (u32, u32) {
        let passed = self.text.get(self.offset..to).unwrap_or("");
        for (index, character) in passed.char_indices() {
            let next = self.text.as_bytes().get(self.offset + index + 1);
            // A lone carriage return ends a line too: the parser ends a comment there.
            if character == '\n' || (character == '\r' && next != Some(&b'\n')) {
                self.line += 1;
                self.column = 1;
            } else if character != '\r' {
                self.column += 1;
            }
        }
        self.offset = self.offset.max(to);
        (self.line, self.column)
    }
}

/// Where the first string begins that has a line end in it. The parser would take it, and then
/// complain of the innocent text behind the next quote.
fn string_over_line_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, bytes.get(at + 1)) {
            (b'"', _) => {
                let start = at;
                at += 1;
                while *bytes.get(at)? != b'"' {
                    match bytes[at] {
                        b'\n' | b'\r' => return Some(start),
                        // An escaped line end is a line end.
                        b'\\' if !matches!(bytes.get(at + 1), Some(b'\n' | b'\r')) => at += 2,
                        _ => at += 1,
                    }
                }
            }
            (b'/', Some(b'/')) => {
                at += bytes[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
            }
            (b'/', Some(b'*')) => at += 2 + text.get(at + 2..)?.find("*/")? + 1,
            // Refused by the parser, and what follows may be anything.
            (b'\'', _) => return None,
            _ => {}
        }
        at += 1;
    }
    None
}

/// `rest` is the text from the fault on.
fn explain(kind: &ParseErrorKind, rest: &str) -> String {
    use ParseErrorKind as Kind;
    let text = match kind {
        Kind::ExpectedComma => "expected a comma before the next value",
        Kind::ExpectedColonAfterObjectKey => "expected a colon after the key",
        Kind::ExpectedObjectValue => "expected a value after the colon",
        Kind::MultipleRootJsonValues => "expected the end of the file after the first value",
        Kind::UnterminatedObject => "an object is not closed: expected }",
        Kind::UnterminatedArray => "a list is not closed: expected ]",
        Kind::UnterminatedCommentBlock => "a comment is not closed: expected */",
        Kind::UnexpectedCloseBrace => "expected a value, found }",
        Kind::UnexpectedCloseBracket => "expected a value, found ]",
        Kind::UnexpectedColon => "expected a value, found a colon",
        Kind::UnexpectedComma => "expected a value, found a comma",
        Kind::UnexpectedTokenInObject => "expected a key or }",
        Kind::NestingDepthExceeded => "lists and objects are nested too deep",
        Kind::SingleQuotedStringsNotAllowed => "expected text in double quotes, found a single quote",
        Kind::HexadecimalNumbersNotAllowed | Kind::UnaryPlusNumbersNotAllowed => {
            "expected a number in digits, such as 64"
        }
        Kind::String(ParseStringErrorKind::InvalidEscape) => {
            "expected an escape such as \\n; a backslash itself is written twice: \\\\"
        }
        Kind::String(ParseStringErrorKind::UnterminatedStringLiteral) => "a string is not closed: expected \"",
        Kind::UnexpectedWord | Kind::UnexpectedToken => {
            let word = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
            let found: String = rest.chars().take_while(word).take(40).collect();
            return match (found.is_empty(), rest.chars().next()) {
                (false, _) => {
                    format!("expected a value, found {found}; text stands in double quotes")
                }
                (true, Some(c)) => format!("expected a key or a value, found {}", c.escape_debug()),
                (true, None) => "expected a value, found the end of the file".to_owned(),
            };
        }
        other => return lower_first(&other.to_string()),
    };
    text.to_owned()
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// Line and column just behind a text.
pub(super) fn place_of_end(text: &str) -> (u32, u32) {
    Cursor::new(text).advance(text.len())
}
