//! JSON-RPC 2.0, strict (<https://www.jsonrpc.org/specification>).

use super::json;
use super::params::{nearest, unknown_key};
use super::request::{METHODS, Method};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, ser::SerializeStruct};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

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

/// The members of a call as text, and the first thing that is wrong with them;
/// kept so that the error can go to the call's own id.
#[derive(Default)]
struct Envelope<'a> {
    jsonrpc: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    wrong: Option<String>,
}

const MEMBERS: [&str; 4] = ["jsonrpc", "id", "method", "params"];

impl Envelope<'_> {
    fn call(self) -> Call {
        let id_is_valid = self.id.is_none_or(|id| id.get() == "null" || !id.get().starts_with(['{', '[', 't', 'f']));
        let method = if id_is_valid {
            self.method()
        } else {
            Err(RpcError::invalid_request("`id` is not a string, a number or null"))
        };
        // Without a readable request there is no telling a notification from a call: it is answered.
        let invalid = matches!(&method, Err(error) if error.code == RpcError::INVALID_REQUEST);
        let id = match self.id {
            Some(id) if id_is_valid => Some(id.to_owned()),
            None if !invalid => None,
            _ => Some(null_id()),
        };
        Call { id, method }
    }

    fn method(&self) -> Result<Method, RpcError> {
        if let Some(wrong) = &self.wrong {
            return Err(RpcError::invalid_request(wrong.clone()));
        }
        if self.jsonrpc.and_then(string).as_deref() != Some("2.0") {
            return Err(RpcError::invalid_request("`jsonrpc` is not \"2.0\""));
        }
        let name = self.method.and_then(string).ok_or_else(|| RpcError::invalid_request("`method` is not a string"))?;
        if self.params.is_some_and(|params| !params.get().starts_with(['{', '['])) {
            return Err(RpcError::invalid_request("`params` is not an object"));
        }
        Method::parse(&name, self.params)
    }
}

fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(raw.get()).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Envelope<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<'de>, A::Error> {
                let mut envelope = Envelope::default();
                while let Some(Key(key)) = map.next_key()? {
                    let value = map.next_value::<&RawValue>()?;
                    let member = match key.as_ref() {
                        "jsonrpc" => &mut envelope.jsonrpc,
                        "id" => &mut envelope.id,
                        "method" => &mut envelope.method,
                        "params" => &mut envelope.params,
                        unknown => {
                            envelope.wrong.get_or_insert_with(|| unknown_key(unknown, &MEMBERS));
                            continue;
                        }
                    };
                    if member.replace(value).is_some() {
                        envelope.wrong.get_or_insert_with(|| format!("`{key}` is there twice"));
                    }
                }
                Ok(envelope)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A key, borrowed unless it is written with escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A batch's members; of one that is too large, no more than shows it.
struct Members<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while members.len() <= MAX_BATCH {
                    match seq.next_element()? {
                        Some(member) => members.push(member),
                        None => return Ok(Members(members)),
                    }
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Members(members))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

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
    /// Not there in this version.
    not_available = NOT_AVAILABLE -32013 "not_available";
    /// No such class, function or file.
    entry_not_found = ENTRY_NOT_FOUND -32014 "entry_not_found";
}

impl RpcError {
    /// `method_not_found` with the nearest method there is.
    pub(super) fn unknown_method(name: &str) -> Self {
        RpcError::method_not_found(match nearest(name, &METHODS) {
            Some(near) => format!("no method {name:.64?}, did you mean {near:?}?"),
            None => format!("no method {name:.64?}"),
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
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
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

#[cfg(test)]
mod tests;
