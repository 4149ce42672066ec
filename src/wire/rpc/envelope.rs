//! A call's members and a batch's, as text.

use super::{Call, MAX_BATCH, RpcError, null_id};
use crate::wire::params::unknown_key;
use crate::wire::request::Method;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The members of a call as text, and the first thing that is wrong with them;
/// kept so that the error can go to the call's own id.
#[derive(Default)]
pub(super) struct Envelope<'a> {
    jsonrpc: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    wrong: Option<String>,
}

const MEMBERS: [&str; 4] = ["jsonrpc", "id", "method", "params"];

impl Envelope<'_> {
    pub(super) fn call(self) -> Call {
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
pub(super) struct Members<'a>(pub(super) Vec<&'a RawValue>);

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
