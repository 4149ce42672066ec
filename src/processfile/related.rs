//! Names that apps use of each other, and of pools.

use std::collections::HashSet;

use super::apps::snake;
use super::check::name_of;
use super::circle::{circle, told};
use super::error::{At, Report, nearest};
use super::tree::{Node, Quoted, Value};
use super::{App, Pool, Program};

/// The apps of a file, and where they are written.
pub(super) struct Listed<'t> {
    /// With their index in `items`: an app with a fault of its own is not among them.
    pub apps: Vec<(usize, App)>,
    pub items: &'t [Node],
    /// The path of the list.
    pub at: &'t At<'t>,
}

impl Listed<'_> {
    /// Reports a fault of the key of an app, at the key's value.
    fn fault(&self, index: usize, key: &str, report: &mut Report, message: impl FnOnce() -> String) {
        let item = &self.items[index];
        let node = match &item.value {
            Value::Object(entries) => entries.iter().find(|entry| snake(&entry.key) == key).map(|entry| &entry.node),
            _ => None,
        };
        let node = node.unwrap_or(item);
        report.add((node.line, node.column), &At::Key(&At::Item(self.at, index), key), message);
    }
}

/// `known` are pools that are there already.
pub(super) fn related(listed: &Listed<'_>, pools: &[Pool], known: &[&str], report: &mut Report) {
    // One with a fault of its own is there, too: that is told already.
    let written = listed.items.iter().filter_map(name_of);
    let names: HashSet<&str> = listed.apps.iter().map(|(_, app)| app.name.as_str()).chain(written).collect();
    for (index, app) in &listed.apps {
        for on in app.depends_on.iter().filter(|on| !names.contains(on.as_str())) {
            let others = names.iter().copied().filter(|name| *name != app.name);
            listed.fault(*index, "depends_on", report, || {
                format!("{} is no app of this file{}", Quoted(on), hint(on, others))
            });
        }
        if let Program::Pool { pool, .. } = &app.program
            && !pools.is_empty()
            && pools.iter().all(|p| p.name != *pool)
            && !known.contains(&pool.as_str())
        {
            let names = pools.iter().map(|p| p.name.as_str());
            listed.fault(*index, "pool", report, || {
                format!("{} is no pool of this file{}", Quoted(pool), hint(pool, names))
            });
        }
    }
    let apps: Vec<&App> = listed.apps.iter().map(|(_, app)| app).collect();
    if let Some(circle) = circle(&apps) {
        let first = listed.apps.iter().find(|(_, app)| circle.first() == Some(&app.name.as_str()));
        if let Some((index, _)) = first {
            listed.fault(*index, "depends_on", report, || told(&circle));
        }
    }
}

fn hint<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    nearest(name, names).map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default()
}
