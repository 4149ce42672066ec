//! The one tree that every text format is mapped to before it is checked.
//!
//! It keeps what an error has to say: where a key and a value stand, the order of keys, and
//! keys that are there twice (a format's parser must not merge them).

use std::fmt;

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub value: Value,
    /// From 1.
    pub line: u32,
    /// From 1, counted in characters.
    pub column: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// As it is written: what fits is decided by the key it belongs to.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file, duplicates included.
    Object(Vec<Entry>),
}

/// A key of an object with its value. Line and column are the key's.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub key: String,
    pub line: u32,
    pub column: u32,
    pub node: Node,
}

impl Node {
    /// What an error says was found: scalars as they are (shortened), the rest by kind.
    pub fn found(&self) -> String {
        match &self.value {
            Value::Null => "null (leave the key out to get the default)".to_owned(),
            Value::Bool(flag) => flag.to_string(),
            Value::Number(text) => Shown(text).to_string(),
            Value::Text(text) => Quoted(text).to_string(),
            Value::List(_) | Value::Object(_) => self.kind().to_owned(),
        }
    }

    /// What an error says was found where the value itself may be a secret.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Object(_) => "an object",
        }
    }
}

/// Characters of a user's text that an error repeats.
const SHOWN_CHARACTERS: usize = 60;

/// A user's text in an error: on one line, nothing a terminal obeys, of bounded length.
pub(super) struct Shown<'a>(pub &'a str);

/// The same between double quotes.
pub(super) struct Quoted<'a>(pub &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, character) in self.0.chars().enumerate() {
            if count == SHOWN_CHARACTERS {
                return f.write_str("…");
            }
            match character {
                '\'' => f.write_str("'")?,
                other => write!(f, "{}", other.escape_debug())?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", Shown(self.0))
    }
}
