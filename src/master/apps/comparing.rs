//! Definitions that come, held against what is there: whether they can be, and what they would change.

use std::collections::HashSet;

use super::super::Master;
use crate::processfile::{self, App, Program};
use crate::wire::apps::Change;
use crate::wire::request::Define;
use crate::wire::rpc::RpcError;

/// The change of what is not there yet.
pub(super) const ADDED: &str = "added";
/// The change of what has another definition now.
pub(super) const CHANGED: &str = "changed";
/// The change of what is as it was.
pub(super) const UNCHANGED: &str = "unchanged";
/// The change of an app that goes.
pub(super) const REMOVED: &str = "removed";

/// What becomes of apps that are not among those that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// `start`: they stay.
    Stay,
    /// `apply`: they go.
    Go,
    /// SIGHUP: those that a process file had go, those that came by `start` stay.
    GoIfDeclared,
}

/// Definitions that can be.
#[derive(Debug)]
pub(super) struct Definitions {
    pub apps: Vec<App>,
    pub pools: Vec<processfile::Pool>,
    /// What would become different.
    pub changes: Vec<Change>,
}

impl Master {
    pub(super) fn read_definitions(&self, define: &Define, others: Others) -> Result<Definitions, RpcError> {
        let raw = |list: &Option<Box<serde_json::value::RawValue>>| list.as_ref().map_or("[]", |l| l.get()).to_owned();
        let text = format!("{{\"apps\": {}, \"pools\": {}}}", raw(&define.apps), raw(&define.pools));
        let names: Vec<&str> = self.pools.iter().map(|p| p.definition.name.as_str()).collect();
        let read = processfile::parse_apps(&text, &define.folder, &names);
        let (apps, pools) = read.map_err(|e| RpcError::invalid_params(e.to_string()))?;
        for app in &apps {
            if self.pool_index(&app.name).is_some() {
                let text = format!("\"{}\" is a pool's name already: pools and apps share one name space", app.name);
                return Err(RpcError::invalid_params(text));
            }
            if let Program::Pool { pool, .. } = &app.program
                && self.pool_index(pool).is_none()
                && pools.iter().all(|p| p.name != *pool)
            {
                return Err(RpcError::pool_not_found(format!("app \"{}\": there is no pool \"{pool}\"", app.name)));
            }
        }
        if let Some(why) = self.circle_with(&apps, others) {
            return Err(RpcError::invalid_params(why));
        }
        if let Some(pool) = pools.iter().find(|p| self.apps.entries.contains_key(&p.name)) {
            let text = format!("\"{}\" is an app's name already: pools and apps share one name space", pool.name);
            return Err(RpcError::invalid_params(text));
        }
        let changes = self.changes(&apps, &pools, others);
        Ok(Definitions { apps, pools, changes })
    }

    /// The circle of `depends_on` that there would be with these apps, of which each would wait for ever.
    pub(super) fn circle_with(&self, apps: &[App], others: Others) -> Option<String> {
        let new: HashSet<&str> = apps.iter().map(|app| app.name.as_str()).collect();
        let staying: HashSet<&str> = self.apps.workers.values().filter(|w| !w.doomed).map(|w| &*w.app).collect();
        let stays = |name: &str| !self.goes(name, others) && staying.contains(name) && !new.contains(name);
        let there = self.apps.entries.values().map(|entry| &*entry.app).filter(|app| stays(&app.name));
        let all: Vec<&App> = apps.iter().chain(there).collect();
        processfile::circle(&all).map(|names| processfile::circle_told(&names))
    }

    /// Whether an app goes that is not among those that come.
    fn goes(&self, name: &str, others: Others) -> bool {
        match others {
            Others::Stay => false,
            Others::Go => true,
            Others::GoIfDeclared => self.apps.entries.get(name).is_some_and(|entry| entry.declared),
        }
    }

    fn changes(&self, apps: &[App], pools: &[processfile::Pool], others: Others) -> Vec<Change> {
        let change = |name: &str, kind: &str, keys: Option<Vec<String>>| Change {
            name: name.to_owned(),
            kind: kind.to_owned(),
            change: match &keys {
                None => ADDED,
                Some(keys) if keys.is_empty() => UNCHANGED,
                Some(_) => CHANGED,
            }
            .to_owned(),
            keys: keys.unwrap_or_default(),
        };
        let mut changes = Vec::new();
        for pool in pools {
            let old = self.pool_index(&pool.name).map(|i| &self.pools[i].definition);
            changes.push(change(&pool.name, "pool", old.map(|old| pool.differs(old))));
        }
        for app in apps {
            let old = self.apps.entries.get(&app.name);
            changes.push(change(&app.name, "app", old.map(|old| app.differs(&old.app))));
        }
        let new: HashSet<&str> = apps.iter().map(|app| app.name.as_str()).collect();
        let gone = self.apps.entries.keys().filter(|name| !new.contains(name.as_str()) && self.goes(name, others));
        changes.extend(gone.map(|name| Change {
            name: name.clone(),
            kind: "app".to_owned(),
            change: REMOVED.to_owned(),
            keys: Vec::new(),
        }));
        changes
    }
}
