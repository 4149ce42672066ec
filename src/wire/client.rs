//! The other end of the line: writing calls and reading answers, for the command line and tests.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;

/// Appends one call with its newline. `params` serialises to an object.
///
/// # Errors
/// If `params` cannot be JSON; `out` is as before then.
pub fn write_call<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    id: u64,
    method: &str,
    params: &T,
) -> Result<(), serde_json::Error> {
    #[derive(Serialize)]
    struct Outgoing<'a, T: ?Sized> {
        jsonrpc: &'a str,
        id: u64,
        method: &'a str,
        params: &'a T,
    }
    let start = out.len();
    if let Err(error) = serde_json::to_writer(&mut *out, &Outgoing { jsonrpc: "2.0", id, method, params }) {
        out.truncate(start);
        return Err(error);
    }
    out.push(b'\n');
    Ok(())
}

/// One answer: `result` or `error`.
#[derive(Debug, Clone, Deserialize)]
pub struct Answer {
    /// The call's id; `None` for `null`.
    pub id: Option<Box<RawValue>>,
    /// What was asked for, as text.
    #[serde(default, deserialize_with = "super::json::present")]
    pub result: Option<Box<RawValue>>,
    /// Why not.
    #[serde(default)]
    pub error: Option<AnswerError>,
}

impl Answer {
    /// The result, or the error that came instead.
    ///
    /// # Errors
    /// The daemon's own; one of code 0 for an answer that has neither.
    pub fn into_result(self) -> Result<Box<RawValue>, AnswerError> {
        match (self.error, self.result) {
            (Some(error), _) => Err(error),
            (None, Some(result)) => Ok(result),
            (None, None) => Err(AnswerError {
                code: 0,
                message: "the answer has neither a result nor an error".to_owned(),
                data: None,
            }),
        }
    }
}

/// An error as the daemon told it.
#[derive(Debug, Clone, Deserialize)]
pub struct AnswerError {
    /// JSON-RPC's codes, ours from -32000 down.
    pub code: i32,
    /// For people.
    pub message: String,
    /// For programs.
    #[serde(default)]
    pub data: Option<AnswerErrorData>,
}

/// What an error carries for programs.
#[derive(Debug, Clone, Deserialize)]
pub struct AnswerErrorData {
    /// `run_not_found` and so on.
    pub kind: String,
}

impl AnswerError {
    /// The kind, empty where none was told.
    pub fn kind(&self) -> &str {
        self.data.as_ref().map_or("", |data| &data.kind)
    }
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for AnswerError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rpc::{self, Incoming, RpcError};

    #[test]
    fn calls_are_what_the_daemon_reads_and_answers_come_back() {
        let mut line = Vec::new();
        write_call(&mut line, 7, "status", &serde_json::json!({"id": "a"})).unwrap();
        let Incoming::Call(call) = rpc::parse(line.strip_suffix(b"\n").unwrap()) else { panic!("no call") };
        assert_eq!(call.method.unwrap().name(), "status");
        let id = call.id.unwrap();

        let mut out = Vec::new();
        rpc::write_error(&mut out, &id, &RpcError::run_not_found("no run \"a\""));
        let answer: Answer = serde_json::from_slice(&out).unwrap();
        assert_eq!(answer.id.as_ref().unwrap().get(), "7");
        let error = answer.into_result().unwrap_err();
        assert_eq!((error.code, error.kind(), error.message.as_str()), (-32002, "run_not_found", "no run \"a\""));

        out.clear();
        rpc::write_result(&mut out, &rpc::null_id(), &None::<u8>);
        let answer: Answer = serde_json::from_slice(&out).unwrap();
        assert!(answer.id.is_none());
        assert_eq!(answer.into_result().unwrap().get(), "null");
    }
}
