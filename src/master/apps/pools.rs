//! Pools that come, or change, while the daemon runs.

use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;

use slog::{info, warn};

use super::super::Master;
use super::super::kept::{DEFINITIONS, definitions_file};
use super::super::runs::{Asker, Form};
use super::comparing::Others;
use crate::pool::Pool;
use crate::processfile;
use crate::wire::control::ToKeeper;

impl Master {
    /// Adds a pool, or gives one that is there another definition: its next generation is of that.
    pub(super) fn define_pool(&mut self, definition: processfile::Pool, others: Others) -> Result<(), String> {
        let name = definition.name.clone();
        self.apps.list.pools.retain(|pool| pool.name != name);
        if definition.default {
            self.make_way_for_default(&name)?;
        }
        if others != Others::GoIfDeclared {
            self.apps.list.pools.push(definition.clone());
        }
        self.apps.watching.stale = true;
        let Some(index) = self.pool_index(&name) else { return self.add_pool(definition) };
        let keys = definition.differs(&self.pools[index].definition);
        if keys.is_empty() {
            return Ok(());
        }
        info!(self.log, "a pool has been changed"; "pool" => &name, "keys" => keys.join(", "));
        let pool = &mut self.pools[index];
        pool.admission.resize(definition.max_running, definition.max_queued);
        pool.definition = definition;
        self.choose_default_pool();
        if keys == ["default"] {
            return Ok(());
        }
        self.open_outlets(index).map_err(|e| format!("pool \"{name}\": opening its output: {e}"))?;
        if self.reloads.iter().any(|(pool, _, _)| *pool == index) || self.pools[index].loading().is_some() {
            self.pools[index].outdated = true;
        } else {
            self.reload(Asker { connection: mio::Token(usize::MAX), form: Form::Silent }, index);
        }
        Ok(())
    }

    /// A generation is ready, or will not be: was it one of a definition that has been replaced meanwhile?
    pub(in super::super) fn load_anew_if_outdated(&mut self, index: usize) {
        if std::mem::take(&mut self.pools[index].outdated) && !self.stopping() {
            self.reload(Asker { connection: mio::Token(usize::MAX), form: Form::Silent }, index);
        }
    }

    /// Of two pools that say so the younger is the default; both together would be refused by whoever reads the list.
    fn make_way_for_default(&mut self, name: &str) -> Result<(), String> {
        self.apps.list.pools.iter_mut().for_each(|pool| pool.default = false);
        let definitions = self.pools.iter_mut().map(|pool| &mut pool.definition);
        let mut any = false;
        for pool in definitions.filter(|pool| pool.name != name) {
            any |= std::mem::take(&mut pool.default);
        }
        match any {
            true => self.store_definitions().map_err(|e| format!("pool \"{name}\": keeping what is the default: {e}")),
            false => Ok(()),
        }
    }

    /// The process file has been read again, and has these pools; `default` is what is, by the file alone. Those that it had
    /// before stay, and what they are called is returned; none of them is the default any more.
    pub(super) fn keep_definitions(
        &mut self,
        of_the_file: &HashSet<String>,
        default: Option<&str>,
    ) -> io::Result<Vec<String>> {
        let of_the_list: HashSet<&str> = self.apps.list.pools.iter().map(|pool| pool.name.as_str()).collect();
        let definitions = self.pools.iter_mut().map(|pool| &mut pool.definition);
        let mut kept: Vec<_> = definitions.filter(|pool| !of_the_list.contains(&*pool.name)).collect();
        let left: Vec<String> =
            kept.iter().filter(|pool| !of_the_file.contains(&pool.name)).map(|pool| pool.name.clone()).collect();
        if !left.is_empty() {
            kept.iter_mut().for_each(|pool| pool.default = default == Some(&pool.name));
        }
        self.choose_default_pool();
        self.store_definitions().map(|()| left)
    }

    /// What the process file has, for the masters that follow. Other pools are in the list.
    pub(super) fn store_definitions(&mut self) -> io::Result<()> {
        let of_the_list: HashSet<&str> = self.apps.list.pools.iter().map(|pool| pool.name.as_str()).collect();
        let definitions = self.pools.iter().map(|pool| &pool.definition);
        let kept = definitions.filter(|pool| !of_the_list.contains(&*pool.name));
        let file = definitions_file(kept, &[])?;
        self.tell_keeper(&ToKeeper::Store(DEFINITIONS.into()), Some(file.as_fd()));
        self.definitions = Some(file);
        Ok(())
    }

    fn add_pool(&mut self, definition: processfile::Pool) -> Result<(), String> {
        let name = definition.name.clone();
        let index = self.insert_pool(definition)?;
        info!(self.log, "a pool has been added"; "pool" => &name);
        self.open_outlets(index).map_err(|e| format!("pool \"{name}\": opening its output: {e}"))?;
        self.keep_orders(index);
        self.load(index);
        Ok(())
    }

    /// A pool that has no output, no orders and no zygote yet. Returns its index.
    fn insert_pool(&mut self, definition: processfile::Pool) -> Result<usize, String> {
        let name = definition.name.clone();
        let pool = Pool::new(definition).map_err(|e| format!("pool \"{name}\": making its channel: {e}"))?;
        let index = self.pools.len();
        self.pools.push(pool);
        self.pool_names.insert(name.clone(), index);
        self.watching_starts.push(false);
        self.is_busy.push(false);
        self.runs.add_pool();
        self.choose_default_pool();
        Ok(index)
    }

    fn choose_default_pool(&mut self) {
        let definitions: Vec<processfile::Pool> = self.pools.iter().map(|p| p.definition.clone()).collect();
        let name = processfile::default_pool(&definitions).map(|pool| pool.name.clone());
        self.default_pool = name.and_then(|name| self.pool_index(&name));
    }

    /// Pools of the list. `restart`: they have been changed since the process file was read; else that is younger.
    pub(in super::super) fn recover_pools(&mut self, restart: bool, pools: &[serde_json::Value]) {
        let text = serde_json::json!({ "pools": pools }).to_string();
        let definitions = match processfile::parse_apps(&text, std::path::Path::new("/"), &[]) {
            Ok((_, pools)) => pools,
            Err(e) => return warn!(self.log, "the list's pools cannot be used"; "what" => %e),
        };
        for definition in definitions {
            let known = self.pool_index(&definition.name);
            if known.is_some() && !restart {
                continue;
            }
            self.apps.list.pools.push(definition.clone());
            // What it needs besides is made for all pools once everything has been recovered.
            match known.map(|index| &mut self.pools[index]) {
                Some(pool) => {
                    pool.admission.resize(definition.max_running, definition.max_queued);
                    pool.definition = definition;
                }
                None => {
                    if let Err(why) = self.insert_pool(definition) {
                        warn!(self.log, "a pool of the list cannot be had"; "why" => why);
                    }
                }
            }
        }
    }
}
