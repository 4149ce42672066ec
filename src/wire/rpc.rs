//! JSON-RPC 2.0, strict (<https://www.jsonrpc.org/specification>).

mod envelope;
mod error;

pub use error::RpcError;

use super::json;
use super::request::Method;
use envelope::{Envelope, Members};
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// A call's id: a string, a number or `null`, echoed as it came.
pub type RpcId = Box<RawValue>;

/// The most calls in one batch.
pub const MAX_BATCH: usize = 1000;

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// `None`: a notification, which is obeyed and never answered.
    pub id: Option<RpcId>,
    /// What is asked for, or the error to answer with.
    pub method: Result<Method, RpcError>,
}

/// What a line turned out to be.
#[derive(Debug)]
pub enum Incoming {
    /// A single call.
    Call(Call),
    /// 1…[`MAX_BATCH`] calls; an invalid member is a call with the id `null` and an error.
    Batch(Vec<Call>),
    /// No call at all; to be answered with the id `null`.
    Invalid(RpcError),
}

/// Reads a line.
pub fn parse(line: &[u8]) -> Incoming {
    let text = match json::text(line, json::MAX_DEPTH) {
        Ok(text) => text,
        Err(error) => return Incoming::Invalid(RpcError::parse_error(error.to_string())),
    };
    if !text.trim_ascii_start().starts_with('[') {
        return match serde_json::from_str::<Envelope>(text) {
            Ok(envelope) => Incoming::Call(envelope.call()),
            Err(error) => Incoming::Invalid(not_an_envelope(text, &error)),
        };
    }
    match serde_json::from_str(text) {
        Ok(Members(members)) if members.is_empty() => {
            Incoming::Invalid(RpcError::invalid_request("the batch is empty"))
        }
        Ok(Members(members)) if members.len() > MAX_BATCH => {
            Incoming::Invalid(RpcError::invalid_request(format!("a batch is at most {MAX_BATCH} calls")))
        }
        Ok(Members(members)) => Incoming::Batch(members.into_iter().map(member).collect()),
        Err(error) => Incoming::Invalid(RpcError::parse_error(error.to_string())),
    }
}

fn member(raw: &RawValue) -> Call {
    match serde_json::from_str::<Envelope>(raw.get()) {
        Ok(envelope) => envelope.call(),
        Err(error) => Call { id: Some(null_id()), method: Err(not_an_envelope(raw.get(), &error)) },
    }
}

/// An envelope takes any members, so what fails is the text itself or its not being an object.
fn not_an_envelope(text: &str, error: &serde_json::Error) -> RpcError {
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => RpcError::invalid_request("a call is an object"),
        Err(_) => RpcError::parse_error(error.to_string()),
    }
}

/// The id of an answer to something that had none.
pub fn null_id() -> RpcId {
    RawValue::NULL.to_owned()
}

/// Appends one answer, without a newline.
pub fn write_result<T: Serialize + ?Sized>(out: &mut Vec<u8>, id: &RawValue, result: &T) {
    let start = out.len();
    open(out, id);
    out.extend_from_slice(b",\"result\":");
    if let Err(error) = serde_json::to_writer(&mut *out, result) {
        out.truncate(start);
        return write_error(out, id, &RpcError::internal(format!("writing the result: {error}")));
    }
    out.push(b'}');
}

/// Appends one notification of ours, without a newline: `method` is `log`, `event` or `gap`.
pub fn write_notification<T: Serialize + ?Sized>(out: &mut Vec<u8>, method: &str, params: &T) {
    #[derive(Serialize)]
    struct Notification<'a, T: ?Sized> {
        jsonrpc: &'a str,
        method: &'a str,
        params: &'a T,
    }
    let start = out.len();
    if serde_json::to_writer(&mut *out, &Notification { jsonrpc: "2.0", method, params }).is_err() {
        // invariant: what is told of has names for keys and no numbers that JSON does not know.
        debug_assert!(false);
        out.truncate(start);
    }
}

/// Appends one error answer, without a newline.
pub fn write_error(out: &mut Vec<u8>, id: &RawValue, error: &RpcError) {
    open(out, id);
    out.extend_from_slice(b",\"error\":");
    // invariant: strings and an integer go into JSON, and a Vec takes all that is written.
    let written = serde_json::to_writer(&mut *out, error);
    debug_assert!(written.is_ok());
    out.push(b'}');
}

fn open(out: &mut Vec<u8>, id: &RawValue) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.get().as_bytes());
}

#[cfg(test)]
mod tests;
