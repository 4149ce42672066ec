//! The errors of the contract.

use crate::wire::params::nearest;
use crate::wire::quote::Quoted;
use crate::wire::request::METHODS;
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};
use std::fmt;

/// An error as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcError {
    /// JSON-RPC's codes, ours from -32000 down.
    pub code: i32,
    /// For people: what was being done, to what, and what to do about it.
    pub message: String,
    /// For programs, as `data.kind`.
    pub kind: &'static str,
}

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $constant:ident $code:literal $kind:literal;)*) => {
        impl RpcError {
            $(#[doc = concat!("The code of `", $kind, "`.")] pub const $constant: i32 = $code;)*
            $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Self {
                RpcError { code: $code, message: message.into(), kind: $kind }
            })*
            /// Every code with its kind.
            pub const ALL: &[(i32, &str)] = &[$(($code, $kind)),*];
        }
    };
}

errors! {
    /// Not JSON, not UTF-8, or nested too deep.
    parse_error = PARSE_ERROR -32700 "parse_error";
    /// JSON, but no call.
    invalid_request = INVALID_REQUEST -32600 "invalid_request";
    /// No such method.
    method_not_found = METHOD_NOT_FOUND -32601 "method_not_found";
    /// Params of a wrong shape.
    invalid_params = INVALID_PARAMS -32602 "invalid_params";
    /// The daemon's own fault.
    internal = INTERNAL -32603 "internal_error";
    /// `auth` first.
    unauthenticated = UNAUTHENTICATED -32000 "unauthenticated";
    /// The role does not allow it.
    forbidden = FORBIDDEN -32001 "forbidden";
    /// No run has this id.
    run_not_found = RUN_NOT_FOUND -32002 "run_not_found";
    /// No pool has this name.
    pool_not_found = POOL_NOT_FOUND -32003 "pool_not_found";
    /// The pool does not allow this entry.
    entry_refused = ENTRY_REFUSED -32004 "entry_refused";
    /// As many run and wait as may.
    queue_full = QUEUE_FULL -32005 "queue_full";
    /// The pool has no warm process.
    pool_unavailable = POOL_UNAVAILABLE -32006 "pool_unavailable";
    /// The fork failed, or the child died before it started.
    start_failed = START_FAILED -32007 "start_failed";
    /// `kill` of an ended run.
    already_ended = ALREADY_ENDED -32008 "already_ended";
    /// `free` of a live run.
    still_running = STILL_RUNNING -32009 "still_running";
    /// A limit of the connection; it is closed after this.
    limit = LIMIT -32010 "limit";
    /// The daemon takes nothing new.
    shutting_down = SHUTTING_DOWN -32011 "shutting_down";
    /// The new generation did not get ready; the old one stays.
    reload_failed = RELOAD_FAILED -32012 "reload_failed";
    /// No such class, function or file.
    entry_not_found = ENTRY_NOT_FOUND -32014 "entry_not_found";
    /// No app or worker is meant by that.
    app_not_found = APP_NOT_FOUND -32015 "app_not_found";
    /// The new program could not take over; the old one carries on.
    upgrade_failed = UPGRADE_FAILED -32016 "upgrade_failed";
}

impl RpcError {
    /// `method_not_found` with the nearest method there is.
    pub(in crate::wire) fn unknown_method(name: &str) -> Self {
        RpcError::method_not_found(match nearest(name, &METHODS) {
            Some(near) => format!("no method {}, did you mean {near:?}?", Quoted(name)),
            None => format!("no method {}", Quoted(name)),
        })
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RpcError {}

impl Serialize for RpcError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Data {
            kind: &'static str,
        }
        let mut object = serializer.serialize_struct("RpcError", 3)?;
        object.serialize_field("code", &self.code)?;
        object.serialize_field("message", &self.message)?;
        object.serialize_field("data", &Data { kind: self.kind })?;
        object.end()
    }
}
