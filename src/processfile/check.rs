//! From the tree to pools and apps: the rules about a process file as a whole; about one pool, see [`super::pool`].
//!
//! A rule about two keys is applied only where both are right by themselves, so that one mistake
//! is one error.

use std::collections::HashMap;
use std::path::Path;

use super::apps::Beside;
use super::error::{At, Report};
use super::fields::{Fields, Keys};
use super::paths::folder_fault;
use super::pool::pool;
use super::related::{Listed, related};
use super::tree::{Entry, Node, Quoted, Value};
use super::values::text;
use super::{App, Pool, Presence};

/// Keys of the file's object. `$schema` is for editors.
pub(super) const FILE_KEYS: Keys = &["$schema", "pools", "apps", "deploy"];

/// What a file has.
pub(super) struct Contents {
    pub pools: Vec<Pool>,
    pub apps: Vec<App>,
    pub warnings: Vec<String>,
}

/// The pools and apps of a file, or None where they could not be read. Faults are in the report. `known` are pools that
/// are there already.
pub(super) fn file(
    root: &Node,
    base: &Path,
    presence: Presence,
    known: &[&str],
    report: &mut Report,
) -> Option<Contents> {
    let top = &At::Root;
    let mut seen = Seen::default();
    let mut beside = Beside::default();
    let is_app = |entries: &[Entry]| {
        let has = |key: &str| entries.iter().any(|entry| entry.key == key);
        !has("apps") && !has("pools") && ["script", "exec", "cmd", "command", "entry"].into_iter().any(has)
    };
    let under = At::Key(top, "apps");
    let (pools, listed) = match &root.value {
        // pm2's other forms: a list of apps, one app.
        Value::List(items) => (Some(Vec::new()), Some((items.as_slice(), top))),
        Value::Object(entries) if is_app(entries) => (Some(Vec::new()), Some((std::slice::from_ref(root), top))),
        Value::Object(_) => {
            let fields = Fields::of(root, FILE_KEYS, top, report)?;
            if let Some(schema) = fields.get("$schema") {
                text(schema, &At::Key(top, "$schema"), report, "the address of a schema", 4096);
            }
            if fields.get("deploy").is_some() {
                beside.foreign.push("deploy".to_owned());
            }
            if fields.get("pools").is_none() && fields.get("apps").is_none() {
                let message = "missing: expected a list of pools, or \"apps\", a list of apps";
                report.add(fields.place, &At::Key(top, "pools"), || message.to_owned());
                return None;
            }
            let found = section(&fields, "pools", top, report)
                .and_then(|items| pools(items, &At::Key(top, "pools"), base, presence, &mut seen, report));
            (found, section(&fields, "apps", top, report).map(|items| (items, &under)))
        }
        _ => {
            let message =
                || format!("expected an object, {{ \"pools\": [ … ], \"apps\": [ … ] }}, found {}", root.kind());
            report.add((root.line, root.column), top, message);
            return None;
        }
    };
    let listed = listed.map(|(items, at)| Listed {
        apps: apps(items, at, base, presence, &mut seen, &mut beside, report),
        items,
        at,
    });
    let (pools, listed) = (pools?, listed?);
    if presence == Presence::Checked {
        related(&listed, &pools, known, report);
    }
    let apps = listed.apps.into_iter().map(|(_, app)| app).collect();
    Some(Contents { pools, apps, warnings: warnings(&beside) })
}

/// The members of a list that may be left out.
fn section<'t>(fields: &Fields<'t>, key: &str, top: &At, report: &mut Report) -> Option<&'t [Node]> {
    match fields.get(key) {
        None => Some(&[]),
        Some(Node { value: Value::List(items), .. }) => Some(items),
        Some(node) => {
            let message = || format!("expected a list of {key}, found {}", node.found());
            report.add((node.line, node.column), &At::Key(top, key), message);
            None
        }
    }
}

/// Where a file's relative paths begin, and whether what they lead to is looked at.
pub(super) struct Place<'b> {
    pub base: &'b Path,
    pub presence: Presence,
    /// Why nobody can work there.
    pub fault: Option<String>,
}

fn pools<'t>(
    items: &'t [Node],
    at: &At,
    base: &Path,
    presence: Presence,
    seen: &mut Seen<'t>,
    report: &mut Report,
) -> Option<Vec<Pool>> {
    let place = Place { base, presence, fault: folder_fault(base).filter(|_| presence == Presence::Checked) };
    let mut pools = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let at = At::Item(at, index);
        pools.extend(match name_of(item) {
            Some(name) => pool(item, &place, seen, &At::Pool(&at, name), report),
            None => pool(item, &place, seen, &at, report),
        });
    }
    Some(pools)
}

/// The apps that are right by themselves, each with its index in the list.
fn apps<'t>(
    items: &'t [Node],
    at: &At,
    base: &Path,
    presence: Presence,
    seen: &mut Seen<'t>,
    beside: &mut Beside,
    report: &mut Report,
) -> Vec<(usize, App)> {
    let mut apps = Vec::with_capacity(items.len());
    let mut unnamed: HashMap<String, u32> = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        let at = &At::Item(at, index);
        let Some(app) = super::apps::app(item, base, presence, beside, at, report) else { continue };
        let place = (item.line, item.column);
        match name_of(item) {
            Some(written) => seen.name(written, item, at, report),
            // The script's name: two of them would be one app.
            None => {
                match unnamed.insert(app.name.clone(), item.line).or_else(|| seen.names.get(app.name.as_str()).copied())
                {
                    None => {}
                    Some(first) => report.add(place, &At::Key(at, "name"), || {
                        format!("the name {} is used twice, first in line {first}: give a \"name\"", Quoted(&app.name))
                    }),
                }
            }
        }
        apps.push((index, app));
    }
    apps
}

/// One line for all that is of no use here.
fn warnings(beside: &Beside) -> Vec<String> {
    if beside.foreign.is_empty() {
        return Vec::new();
    }
    vec![format!("of no use here, and ignored (they are for Node or for pm2's cloud): {}", beside.foreign.join(", "))]
}

/// What one pool must not repeat of those before it.
#[derive(Default)]
pub(super) struct Seen<'t> {
    /// Line of each name.
    names: HashMap<&'t str, u32>,
    /// Line of the first `"default": true`.
    pub default: Option<u32>,
}

impl<'t> Seen<'t> {
    /// A name that is written in `node`: told when it is there for the second time.
    pub fn name(&mut self, written: &'t str, node: &Node, at: &At, report: &mut Report) {
        if let Some(first) = self.names.get(written) {
            let message = || format!("the name {} is used twice, first in line {first}", Quoted(written));
            report.add((node.line, node.column), &At::Key(at, "name"), message);
        } else {
            self.names.insert(written, node.line);
        }
    }
}

/// The name to show in errors, be it valid or not.
pub(super) fn name_of(node: &Node) -> Option<&str> {
    let Value::Object(entries) = &node.value else {
        return None;
    };
    entries.iter().find(|entry| entry.key == "name").and_then(|entry| match &entry.node.value {
        Value::Text(name) => Some(name.as_str()),
        _ => None,
    })
}
