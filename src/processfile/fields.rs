//! An object of the process file whose keys are known: finds them in either spelling, and reports
//! those that are unknown or there twice.

use super::apps::APP_KEYS;
use super::error::{At, Report, nearest};
use super::pool::POOL_KEYS;
use super::tree::{Entry, Node, Quoted, Value};

/// A key of the format. The spelling is snake_case; camelCase of it is read as the same key.
pub(super) type Keys = &'static [&'static str];

/// The known keys of one object.
pub(super) struct Fields<'t> {
    known: Keys,
    /// In step with `known`.
    found: Vec<Option<&'t Entry>>,
    /// Where the object begins: the place of what is missing.
    pub place: (u32, u32),
}

impl<'t> Fields<'t> {
    /// Reports whatever is not an object of these keys. None only where it is no object.
    pub fn of(node: &'t Node, known: Keys, at: &At, report: &mut Report) -> Option<Fields<'t>> {
        let place = (node.line, node.column);
        let Value::Object(entries) = &node.value else {
            report.add(place, at, || format!("expected an object, found {}", node.found()));
            return None;
        };
        let mut found: Vec<Option<&Entry>> = vec![None; known.len()];
        for entry in entries {
            let place = (entry.line, entry.column);
            let at = At::Key(at, &entry.key);
            match known.iter().position(|name| is_key(name, &entry.key)) {
                None => report.add(place, &at, || unknown(&entry.key, known)),
                Some(index) => match found[index] {
                    None => found[index] = Some(entry),
                    Some(first) => report.add(place, &at, || twice(first, entry)),
                },
            }
        }
        Some(Fields { known, found, place })
    }

    /// The value of a key, None where the key is not there.
    pub fn get(&self, key: &str) -> Option<&'t Node> {
        let index = self.known.iter().position(|name| *name == key);
        debug_assert!(index.is_some(), "{key} is not among the known keys");
        self.found.get(index?)?.map(|entry| &entry.node)
    }

    /// Reads a key that may be left out. None where it is wrong, which is then reported.
    pub fn or<T>(
        &self,
        key: &str,
        default: T,
        at: &At,
        report: &mut Report,
        read: impl FnOnce(&Node, &At, &mut Report) -> Option<T>,
    ) -> Option<T> {
        match self.get(key) {
            None => Some(default),
            Some(node) => read(node, &At::Key(at, key), report),
        }
    }

    /// Reads a key that has no default. None where it is not there, or is wrong and reported.
    pub fn opt<T>(
        &self,
        key: &str,
        at: &At,
        report: &mut Report,
        read: impl FnOnce(&Node, &At, &mut Report) -> Option<T>,
    ) -> Option<T> {
        self.or(key, None, at, report, |node, at, report| read(node, at, report).map(Some))?
    }

    /// Reads a key that must be there. None where it is not, or is wrong; both are reported.
    pub fn required<T>(
        &self,
        key: &str,
        expected: &str,
        at: &At,
        report: &mut Report,
        read: impl FnOnce(&Node, &At, &mut Report) -> Option<T>,
    ) -> Option<T> {
        if self.get(key).is_none() {
            report.add(self.place, &At::Key(at, key), || format!("missing: expected {expected}"));
        }
        self.opt(key, at, report, read)
    }
}

/// What is said of a key that an object has twice.
pub(super) fn twice(first: &Entry, second: &Entry) -> String {
    let key = Quoted(&second.key);
    if first.key == second.key {
        format!("duplicate key {key} in line {}, first in line {}", second.line, first.line)
    } else {
        let other = Quoted(&first.key);
        format!("key {key} in line {} is the same as {other} in line {}", second.line, first.line)
    }
}

fn unknown(key: &str, known: Keys) -> String {
    let shown = Quoted(key);
    let sections = [("pools", POOL_KEYS), ("apps", APP_KEYS)];
    let here = sections.iter().find(|(_, keys)| *keys == known);
    let there = sections.iter().find(|(_, keys)| keys.iter().any(|name| is_key(name, key)));
    match (nearest(key, known.iter().copied()), here, there) {
        (Some(name), ..) => format!("unknown key {shown}; did you mean \"{name}\"?"),
        (None, Some((here, _)), Some((there, _))) => {
            format!("unknown key {shown}: {there} have it, {here} have not")
        }
        _ => format!("unknown key {shown}; expected one of {}", known.join(", ")),
    }
}

/// Whether a written key is `name` (snake_case) in that spelling or in camelCase.
fn is_key(name: &str, written: &str) -> bool {
    name == written || name.contains('_') && camel(name).eq(written.chars())
}

fn camel(name: &str) -> impl Iterator<Item = char> {
    let mut upper = false;
    name.chars().filter_map(move |character| {
        if character == '_' {
            upper = true;
            return None;
        }
        Some(if std::mem::take(&mut upper) { character.to_ascii_uppercase() } else { character })
    })
}

/// The camelCase spelling of a key.
#[cfg(test)]
pub(super) fn camel_case(name: &str) -> String {
    camel(name).collect()
}
