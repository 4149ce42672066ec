//! Reading a method's params: straight into a struct, and only when that fails a second look
//! for the key that is to blame.

use super::quote::Quoted;
use super::rpc::RpcError;
use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

/// The most of serde's own words that goes into an error, in characters.
const MAX_MESSAGE: usize = 200;

/// A struct of optional keys; made by [`params!`].
pub(super) trait Params: DeserializeOwned {
    /// Its keys.
    const KEYS: &[&str];
}

/// Defines a struct of params and the list of its keys in one place. No key is required here,
/// so that each can be tried on its own for an error message.
macro_rules! params {
    ($name:ident { $($(#[$meta:meta])* $field:ident : $type:ty),* $(,)? }) => {
        #[derive(Deserialize, Default)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $name { $($(#[$meta])* pub(super) $field: $type),* }
        impl Params for $name {
            const KEYS: &[&str] = &[$(stringify!($field)),*];
        }
    };
}
pub(super) use params;

/// The params of a call; absent and `[]` are the same as `{}`.
///
/// # Errors
/// `invalid_params` that names the key.
pub(super) fn read<T: Params>(raw: Option<&RawValue>) -> Result<T, RpcError> {
    let text = raw.map_or("{}", RawValue::get);
    if let Some(list) = text.strip_prefix('[') {
        // serde would take a list for the fields in order; the contract has names only.
        if list.trim_start() == "]" {
            return read::<T>(None);
        }
        return Err(RpcError::invalid_params("params are given by name, as an object"));
    }
    serde_json::from_str(text).map_err(|error| RpcError::invalid_params(diagnose::<T>(text, &error)))
}

fn diagnose<T: Params>(text: &str, error: &serde_json::Error) -> String {
    let Ok(Pairs(pairs)) = serde_json::from_str(text) else {
        return without_position(error);
    };
    for (index, (key, value)) in pairs.iter().enumerate() {
        if !T::KEYS.contains(&key.as_str()) {
            return unknown_key(key, T::KEYS);
        }
        if pairs[..index].iter().any(|(earlier, _)| earlier == key) {
            return format!("`{key}` is there twice");
        }
        if let Err(error) = serde_json::from_str::<T>(&format!("{{\"{key}\":{value}}}")) {
            return format!("`{key}`: {}", without_position(&error));
        }
    }
    without_position(error)
}

/// `unknown key "tiemout", did you mean "timeout"?`
pub(super) fn unknown_key(key: &str, known: &[&str]) -> String {
    match nearest(key, known) {
        Some(near) => format!("unknown key {}, did you mean {near:?}?", Quoted(key)),
        None if known.is_empty() => format!("unknown key {}: there are no params", Quoted(key)),
        None => format!("unknown key {}, known are {}", Quoted(key), known.join(", ")),
    }
}

/// The known word that `word` is most likely meant to be.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // The distance costs the product of the lengths, and nothing that long is near.
    if word.len() > 32 {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&lower, name);
    known.iter().copied().map(|name| (distance(name), name)).min().filter(|(d, _)| *d <= 2).map(|(_, name)| name)
}

/// The line and column are of a text that the client never saw; and serde repeats whole strings.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    match text[..end].char_indices().nth(MAX_MESSAGE) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text[..end].to_owned(),
    }
}

struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                    pairs.push((key, value.get().to_owned()));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A string that can be an argument of a process.
pub(super) struct NoNul(pub(super) String);

impl<'de> Deserialize<'de> for NoNul {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.contains('\0') {
            return Err(de::Error::custom("holds a NUL, which an argument cannot"));
        }
        Ok(NoNul(text))
    }
}

/// Environment variables, each there once.
pub(super) struct UniqueMap(pub(super) BTreeMap<String, String>);

impl<'de> Deserialize<'de> for UniqueMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Variables;
        impl<'de> Visitor<'de> for Variables {
            type Value = UniqueMap;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueMap, A::Error> {
                let mut variables = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    if name.is_empty() || name.contains(['=', '\0']) {
                        return Err(de::Error::custom(format!("{} cannot be a variable's name", Quoted(&name))));
                    }
                    if value.contains('\0') {
                        return Err(de::Error::custom(format!("{} holds a NUL", Quoted(&name))));
                    }
                    match variables.entry(name) {
                        Entry::Vacant(entry) => entry.insert(value),
                        Entry::Occupied(entry) => {
                            return Err(de::Error::custom(format!("{} is there twice", Quoted(entry.key()))));
                        }
                    };
                }
                Ok(UniqueMap(variables))
            }
        }
        deserializer.deserialize_map(Variables)
    }
}
