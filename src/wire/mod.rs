//! Bytes into types and back: line framing, JSON-RPC 2.0, Phprocksyd's commands, the zygote channel.
//!
//! Nothing here reads, writes or waits, so that all of it can be run against any bytes
//! in a test. What belongs here is a shape that two processes must agree on; what it means
//! to run something does not. The contracts are `proto/PROTOCOL.md` and `proto/ZYGOTE.md`.

pub mod apps;
pub mod channel;
pub mod client;
pub mod control;
pub mod duration;
pub mod http;
pub mod info;
pub mod json;
pub mod lines;
mod params;
pub mod phprocksyd;
pub mod quote;
pub mod request;
pub mod rpc;
pub mod signal;
pub mod status;
pub mod timestamp;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod mutation;

/// At most the first `most` bytes of a text, and no half character.
pub fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

/// Which of the two protocols a line speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Nothing but blanks: no request, no answer.
    Blank,
    /// JSON-RPC; also whatever is neither, as that gets a JSON-RPC parse error.
    Rpc,
    /// A Phprocksyd command.
    Phprocksyd,
}

/// The protocol of a line, decided by its first byte that is not blank.
pub fn protocol(line: &[u8]) -> Protocol {
    match line.trim_ascii_start().first() {
        None => Protocol::Blank,
        Some(byte) if byte.is_ascii_alphabetic() => Protocol::Phprocksyd,
        Some(_) => Protocol::Rpc,
    }
}
