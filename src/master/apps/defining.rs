//! Apps that come, change and go.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use slog::{error, info};

use super::super::Master;
use super::super::runs::Asker;
use super::{Entry, Environment, Until, Worker};
use crate::processfile::{self, App, Program};
use crate::sys::clock::wall_ns;
use crate::wire::apps::{Applied, Change};
use crate::wire::request::Define;
use crate::wire::rpc::RpcError;
use crate::workers::{Event, Life, Policy, count, free_numbers};

impl Master {
    /// `apps.start` with definitions, and `apps.apply`.
    pub(in super::super) fn define(&mut self, asker: Asker, define: Box<Define>) {
        let (apps, pools) = match self.read_definitions(&define) {
            Ok(read) => read,
            Err(e) => return self.refuse(asker, &e),
        };
        let changes = self.changes(&define, &apps, &pools);
        if define.dry_run {
            return self.answer(asker, &Applied { changes, dry_run: true });
        }
        for pool in pools {
            if let Err(e) = self.define_pool(pool) {
                return self.refuse(asker, &RpcError::invalid_params(e));
            }
        }
        let env: Environment = Rc::new(define.env.clone());
        let mut ids = Vec::new();
        for app in apps {
            let name = app.name.clone();
            self.define_app(app, &env, define.update_env, !define.apply);
            ids.extend(self.apps.ids_of(&name));
        }
        // They may wait for something else now, or for nothing.
        self.release_held();
        if define.apply {
            for change in changes.iter().filter(|c| c.change == "removed" && c.kind == "app") {
                let gone = self.apps.ids_of(&change.name);
                gone.into_iter().for_each(|id| self.doom_worker(id));
            }
        }
        self.save_list();
        if define.apply {
            return self.answer(asker, &Applied { changes, dry_run: false });
        }
        let until = if define.wait { Until::Up } else { Until::Now };
        self.answer_when(asker, ids, until);
    }

    /// Apps of the file that the daemon was started with.
    pub(in super::super) fn define_apps(&mut self, apps: Vec<App>) {
        if apps.is_empty() {
            return;
        }
        if let Some(why) = self.circle_with(&apps, false) {
            return error!(self.log, "the apps of the file, with those of the list, cannot be started"; "why" => why);
        }
        let text = |word: std::ffi::OsString| word.into_string().ok();
        let env: Environment = Rc::new(std::env::vars_os().filter_map(|(k, v)| Some((text(k)?, text(v)?))).collect());
        for app in apps {
            self.define_app(app, &env, false, false);
        }
        self.save_list();
    }

    fn read_definitions(&self, define: &Define) -> Result<(Vec<App>, Vec<processfile::Pool>), RpcError> {
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
        if let Some(why) = self.circle_with(&apps, define.apply) {
            return Err(RpcError::invalid_params(why));
        }
        if let Some(pool) = pools.iter().find(|p| self.apps.entries.contains_key(&p.name)) {
            let text = format!("\"{}\" is an app's name already: pools and apps share one name space", pool.name);
            return Err(RpcError::invalid_params(text));
        }
        Ok((apps, pools))
    }

    /// The circle of `depends_on` that there would be with these apps, of which each would wait for ever. `alone`: all others go.
    fn circle_with(&self, apps: &[App], alone: bool) -> Option<String> {
        let new: HashSet<&str> = apps.iter().map(|app| app.name.as_str()).collect();
        let staying: HashSet<&str> = self.apps.workers.values().filter(|w| !w.doomed).map(|w| &*w.app).collect();
        let stays = |name: &str| !alone && staying.contains(name) && !new.contains(name);
        let there = self.apps.entries.values().map(|entry| &*entry.app).filter(|app| stays(&app.name));
        let all: Vec<&App> = apps.iter().chain(there).collect();
        processfile::circle(&all).map(|names| processfile::circle_told(&names))
    }

    /// What would become different.
    fn changes(&self, define: &Define, apps: &[App], pools: &[processfile::Pool]) -> Vec<Change> {
        let change = |name: &str, kind: &str, keys: Option<Vec<String>>| Change {
            name: name.to_owned(),
            kind: kind.to_owned(),
            change: match &keys {
                None => "added",
                Some(keys) if keys.is_empty() => "unchanged",
                Some(_) => "changed",
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
        if define.apply {
            let gone = self.apps.entries.keys().filter(|name| apps.iter().all(|app| app.name != **name));
            changes.extend(gone.map(|name| Change {
                name: name.clone(),
                kind: "app".to_owned(),
                change: "removed".to_owned(),
                keys: Vec::new(),
            }));
        }
        changes
    }

    /// Adds an app, or gives one that is there another definition. `start`: those that are not up are started, too, but
    /// for an app that is started by name alone.
    pub(super) fn define_app(&mut self, app: App, env: &Environment, update_env: bool, start: bool) {
        self.apps.watching.stale = true;
        let name = app.name.clone();
        let policy = Policy::of(&app);
        let (wanted, autostart) = (count(&app, processors()), app.autostart);
        let start = start && autostart;
        let mut former = self.apps.ids_of(&name);
        former.retain(|id| self.apps.workers.get(id).is_some_and(|w| !w.doomed));
        let Some(old) = self.apps.entries.get_mut(&name) else {
            info!(self.log, "an app has been added"; "app" => &name, "instances" => wanted);
            let entry = Entry { app: Rc::new(app), policy, env: Rc::clone(env), sockets: Vec::new() };
            self.apps.entries.insert(name.clone(), entry);
            for id in self.set_instances(&name, wanted) {
                if autostart {
                    self.tell_worker(id, Event::Start);
                }
            }
            return;
        };
        let keys = app.differs(&old.app);
        // It is being removed, and is to be there again.
        let anew = former.is_empty();
        // Another number of instances touches none of those that stay.
        let changed = keys.iter().any(|key| key != "instances");
        if update_env || anew {
            old.env = Rc::clone(env);
        }
        if !keys.is_empty() {
            info!(self.log, "an app has been changed"; "app" => &name, "keys" => keys.join(", "));
            let defined = std::mem::replace(&mut old.app, Rc::new(app));
            old.policy = policy;
            self.close_sockets(&name, &defined);
        }
        if !keys.is_empty() || anew {
            let up = former.iter().any(|id| self.apps.workers.get(id).is_some_and(|w| w.life.wanted()));
            let starts = if anew { autostart } else { up || start };
            for id in self.set_instances(&name, wanted) {
                if starts {
                    self.tell_worker(id, Event::Start);
                }
            }
        }
        for id in former {
            let up = self.apps.workers.get(&id).is_some_and(|w| w.life.wanted() && !w.doomed);
            match (up, changed || update_env) {
                (true, true) => self.tell_worker(id, Event::Restart),
                (_, _) if start => self.tell_worker(id, Event::Start),
                _ => {}
            }
        }
    }

    /// So many instances; gives the new ones. Those with the highest numbers go first.
    pub(in super::super) fn set_instances(&mut self, name: &str, wanted: u32) -> Vec<u32> {
        let ids = self.apps.ids_of(name);
        let (staying, going): (Vec<u32>, Vec<u32>) =
            ids.into_iter().partition(|id| self.apps.workers.get(id).is_some_and(|w| !w.doomed));
        for id in staying.iter().skip(wanted as usize) {
            self.doom_worker(*id);
        }
        // One that is still stopping has its pid file and log pipes to its end: whoever gets its number starts after it.
        let number = |id: &u32| Some((self.apps.workers.get(id)?.instance, *id));
        let going: HashMap<u32, u32> = going.iter().filter_map(number).collect();
        let taken: Vec<u32> = staying.iter().filter_map(|id| self.apps.workers.get(id)).map(|w| w.instance).collect();
        let mut new = Vec::new();
        for number in free_numbers(taken, (wanted as usize).saturating_sub(staying.len())) {
            let id = self.apps.next_id;
            self.apps.next_id += 1;
            let mut worker = Worker::new(name.into(), number, Life::new());
            worker.added_at = wall_ns();
            worker.after = going.get(&number).copied();
            self.apps.workers.insert(id, worker);
            new.push(id);
        }
        new
    }

    /// To be stopped and forgotten.
    pub(in super::super) fn doom_worker(&mut self, id: u32) {
        if let Some(worker) = self.apps.workers.get_mut(&id) {
            worker.doomed = true;
            self.tell_worker(id, Event::Stop);
        }
    }

    /// It has stopped, and is forgotten; its app with the last one.
    pub(super) fn remove_worker(&mut self, id: u32) {
        let info = self.worker_info(id).map(|info| super::value(&info));
        for pending in self.apps.pending.iter_mut().filter(|p| p.ids.contains(&id)) {
            pending.gone.extend(info.clone());
        }
        let Some(worker) = self.apps.workers.remove(&id) else { return };
        let waits = |held: &u32| self.apps.workers.get(held).is_some_and(|next| next.after == Some(id));
        let next = self.apps.held.extract_if(.., |held| waits(held));
        next.for_each(|id| self.apps.starts.push(id));
        self.timers.cancel(worker.timer);
        self.close_worker_streams(&worker);
        self.forget_worker(id);
        if self.apps.workers.values().all(|w| w.app != worker.app) {
            info!(self.log, "an app has been removed"; "app" => &*worker.app);
            if let Some(entry) = self.apps.entries.remove(&*worker.app) {
                self.drop_sockets(&entry.app, entry.sockets);
            }
            self.apps.watching.stale = true;
        }
        self.save_list();
    }

    /// `apps.scale`.
    pub(in super::super) fn scale(&mut self, asker: Asker, name: &str, to: &str) {
        let Some(entry) = self.apps.entries.get(name) else {
            let names = self.apps.entries.keys().map(String::as_str);
            let hint = processfile::nearest(name, names).map(|near| format!("; did you mean \"{near}\"?"));
            let text = format!("there is no app \"{name}\"{}", hint.unwrap_or_default());
            return self.refuse(asker, &RpcError::app_not_found(text));
        };
        let app = Rc::clone(&entry.app);
        if let Program::Pool { params_each: Some(_), .. } = &app.program {
            let text = format!("app \"{name}\" has one instance for each of its `params_each`: change those");
            return self.refuse(asker, &RpcError::invalid_params(text));
        }
        let now = self.apps.workers.values().filter(|w| &*w.app == name && !w.doomed).count() as u32;
        let wanted = match crate::workers::scale(to, now) {
            Ok(wanted) => wanted,
            Err(why) => return self.refuse(asker, &RpcError::invalid_params(why)),
        };
        let mut app = (*app).clone();
        app.instances = processfile::Instances::Fixed(wanted);
        if let Some(entry) = self.apps.entries.get_mut(name) {
            entry.app = Rc::new(app);
        }
        let new = self.set_instances(name, wanted);
        new.iter().for_each(|id| self.tell_worker(*id, Event::Start));
        self.save_list();
        let ids: Vec<u32> = self.apps.ids_of(name);
        let (going, staying): (Vec<u32>, Vec<u32>) =
            ids.into_iter().partition(|id| self.apps.workers.get(id).is_some_and(|w| w.doomed));
        let (ids, until) = if wanted < now { (going, Until::Down) } else { (staying, Until::Up) };
        self.answer_when(asker, ids, until);
    }

    /// A caller's environment takes the place of the one before.
    pub(in super::super) fn update_env(&mut self, ids: &[u32], env: BTreeMap<String, String>) {
        let env: Environment = Rc::new(env);
        for id in ids {
            let Some(name) = self.apps.workers.get(id).map(|w| Rc::clone(&w.app)) else { continue };
            if let Some(entry) = self.apps.entries.get_mut(&*name) {
                entry.env = Rc::clone(&env);
            }
        }
    }
}

/// How many processors we may use (sched_getaffinity(2)).
fn processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u32)
}
