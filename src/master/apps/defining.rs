//! Apps that come, change and go.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use slog::{error, info};

use super::super::Master;
use super::super::runs::Asker;
use super::comparing::{Definitions, Others, REMOVED, UNCHANGED};
use super::telling::not_an_app;
use super::{Entry, Environment, Until, Worker};
use crate::processfile::{self, App, Program};
use crate::sys::clock::wall_ns;
use crate::wire::apps::{Applied, Change};
use crate::wire::request::Define;
use crate::wire::rpc::RpcError;
use crate::workers::{Event, Life, count, free_numbers};

impl Master {
    /// `apps.start` with definitions, and `apps.apply`.
    pub(in super::super) fn define(&mut self, asker: Asker, define: Box<Define>) {
        let others = if define.apply { Others::Go } else { Others::Stay };
        let definitions = match self.read_definitions(&define, others) {
            Ok(read) => read,
            Err(e) => return self.refuse(asker, &e),
        };
        if define.dry_run {
            return self.answer(asker, &Applied { changes: definitions.changes, dry_run: true });
        }
        let env: Environment = Rc::new(define.env.clone());
        let names: Vec<String> = definitions.apps.iter().map(|app| app.name.clone()).collect();
        let changes = match self.take_definitions(definitions, &env, define.update_env, others) {
            Ok(changes) => changes,
            Err(e) => return self.refuse(asker, &RpcError::invalid_params(e)),
        };
        if define.apply {
            let answer = super::json(&Applied { changes, dry_run: false });
            return self.answer_once_saved(asker, answer);
        }
        let ids = names.iter().flat_map(|name| self.apps.ids_of(name)).collect();
        let until = if define.wait { Until::Up } else { Until::Now };
        self.answer_when(asker, ids, until);
    }

    /// What runs becomes what they say. Returns what has changed; the error is of the system, and what came before it stays.
    pub(super) fn take_definitions(
        &mut self,
        definitions: Definitions,
        env: &Environment,
        update_env: bool,
        others: Others,
    ) -> Result<Vec<Change>, String> {
        let Definitions { apps, pools, changes } = definitions;
        for pool in pools {
            self.define_pool(pool, others)?;
        }
        let going: HashSet<Rc<str>> =
            self.apps.workers.values().filter(|w| w.doomed).map(|w| Rc::clone(&w.app)).collect();
        let same: HashSet<&str> = match others {
            Others::Stay => HashSet::new(),
            _ => changes.iter().filter(|c| c.change == UNCHANGED).map(|c| &*c.name).collect(),
        };
        for app in apps {
            let name = app.name.clone();
            // Most of a large file is as it was.
            if update_env || !same.contains(&*name) || going.contains(&*name) {
                self.define_app(app, env, update_env, others == Others::Stay);
            }
            if others != Others::Stay {
                self.declared(&name);
            }
        }
        // They may wait for something else now, or for nothing.
        self.release_held();
        for change in changes.iter().filter(|c| c.change == REMOVED) {
            let gone = self.apps.ids_of(&change.name);
            gone.into_iter().for_each(|id| self.doom_worker(id));
        }
        self.save_list();
        Ok(changes)
    }

    /// Apps of the file that the daemon was started with.
    pub(in super::super) fn define_apps(&mut self, apps: Vec<App>) {
        if apps.is_empty() {
            return;
        }
        if let Some(why) = self.circle_with(&apps, Others::Stay) {
            return error!(self.log, "the apps of the file, with those of the list, cannot be started"; "why" => why);
        }
        let env = self.own_environment();
        for app in apps {
            let name = app.name.clone();
            self.define_app(app, &env, false, false);
            self.declared(&name);
        }
        self.save_list();
    }

    /// The daemon's, for apps of its file; the one that others of them have, where it is the same.
    pub(super) fn own_environment(&self) -> Environment {
        let text = |word: std::ffi::OsString| word.into_string().ok();
        let own: BTreeMap<String, String> =
            std::env::vars_os().filter_map(|(k, v)| Some((text(k)?, text(v)?))).collect();
        let known = self.apps.entries.values().map(|entry| &entry.env).find(|env| ***env == own);
        known.map_or_else(|| Rc::new(own), Rc::clone)
    }

    /// A process file has that app.
    fn declared(&mut self, name: &str) {
        if let Some(entry) = self.apps.entries.get_mut(name) {
            entry.declared = true;
        }
    }

    /// Adds an app, or gives one that is there another definition. `start`: those that are not up are started, too, but
    /// for an app that is started by name alone.
    pub(super) fn define_app(&mut self, app: App, env: &Environment, update_env: bool, start: bool) {
        self.apps.watching.stale = true;
        self.calm_soon();
        let name = app.name.clone();
        let (wanted, autostart) = (count(&app, processors), app.autostart);
        let start = start && autostart;
        let (former, going) = self.partition_doomed(self.apps.ids_of(&name));
        let Some(old) = self.apps.entries.get_mut(&name) else {
            info!(self.log, "an app has been added"; "app" => &name, "instances" => wanted);
            let entry = Entry::new(Rc::new(app), Rc::clone(env), false);
            self.apps.entries.insert(name.clone(), Box::new(entry));
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
            self.close_sockets(&name, &defined);
        }
        if !keys.is_empty() || anew || !going.is_empty() {
            let up = former.iter().any(|id| self.apps.workers.get(id).is_some_and(|w| w.life.wanted()));
            let starts = if anew { autostart } else { up || start };
            for id in self.set_instances(&name, wanted) {
                if starts {
                    self.tell_worker(id, Event::Start);
                }
            }
        }
        let (former, _) = self.partition_doomed(former);
        if start {
            self.not_to_be_stopped(&former);
        }
        for id in former {
            let up = self.apps.workers.get(&id).is_some_and(|w| w.life.wanted());
            match (up, changed || update_env) {
                (true, true) => self.tell_worker(id, Event::Restart),
                (_, _) if start => self.tell_worker(id, Event::Start),
                _ => {}
            }
        }
    }

    /// So many instances; gives those that are to be told to start. Those with the highest numbers go first.
    pub(in super::super) fn set_instances(&mut self, name: &str, wanted: u32) -> Vec<u32> {
        let ids = self.apps.ids_of(name);
        let taken: Vec<u32> = ids.iter().filter_map(|id| self.apps.workers.get(id)).map(|w| w.instance).collect();
        let (staying, going) = self.partition_doomed(ids);
        for id in staying.iter().skip(wanted as usize) {
            self.doom_worker(*id);
        }
        let missing = (wanted as usize).saturating_sub(staying.len());
        // The processes of those that were to go may live, and have their numbers as long as they do.
        let mut new: Vec<u32> = going.into_iter().take(missing).collect();
        for id in &new {
            if let Some(worker) = self.apps.workers.get_mut(id) {
                worker.doomed = false;
            }
        }
        self.not_to_be_stopped(&new);
        let app: Rc<str> = name.into();
        for number in free_numbers(taken, missing - new.len()) {
            let id = self.apps.next_id;
            self.apps.next_id += 1;
            let mut worker = Worker::new(Rc::clone(&app), number, Life::new());
            worker.added_at = wall_ns();
            self.apps.add(id, worker);
            new.push(id);
        }
        new
    }

    /// Those that stay, and those that are being removed.
    fn partition_doomed(&self, ids: Vec<u32>) -> (Vec<u32>, Vec<u32>) {
        ids.into_iter().partition(|id| self.apps.workers.get(id).is_some_and(|w| !w.doomed))
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
        let info = self.worker_info(id).filter(|_| !self.apps.pending.is_empty()).map(|info| super::json(&info));
        for pending in self.apps.pending.iter_mut().filter(|p| p.ids.contains(&id)) {
            pending.gone.extend(info.clone());
        }
        let Some((worker, last)) = self.apps.remove(id) else { return };
        self.timers.cancel(worker.timer);
        self.close_worker_streams(&worker);
        self.forget_worker(id);
        if last {
            info!(self.log, "an app has been removed"; "app" => &*worker.app);
            if let Some(entry) = self.apps.entries.remove(&*worker.app) {
                self.drop_sockets(&entry.app, entry.sockets);
            }
            self.apps.watching.stale = true;
        }
        self.release_held_by(&worker.app);
        self.save_list();
    }

    /// `apps.scale`.
    pub(in super::super) fn scale(&mut self, asker: Asker, name: &str, to: &str) {
        let Some(entry) = self.apps.entries.get(name) else {
            let names = self.apps.entries.keys().map(String::as_str);
            let hint = processfile::nearest(name, names).map(|near| format!("; did you mean \"{near}\"?"));
            let text = match self.pools.iter().any(|pool| pool.definition.name == name) {
                true => not_an_app(name),
                false => format!("there is no app \"{name}\"{}", hint.unwrap_or_default()),
            };
            return self.refuse(asker, &RpcError::app_not_found(text));
        };
        let app = Rc::clone(&entry.app);
        if let Program::Pool { params_each: Some(_), .. } = &app.program {
            let text = format!("app \"{name}\" has one instance for each of its `params_each`: change those");
            return self.refuse(asker, &RpcError::invalid_params(text));
        }
        let now = self.partition_doomed(self.apps.ids_of(name)).0.len() as u32;
        let wanted = match crate::workers::scale(to, now) {
            Ok(wanted) => wanted,
            Err(why) => return self.refuse(asker, &RpcError::invalid_params(why)),
        };
        let mut app = (*app).clone();
        app.instances = processfile::Instances::Fixed(wanted);
        if let Some(entry) = self.apps.entries.get_mut(name) {
            entry.app = Rc::new(app);
        }
        self.calm_soon();
        let new = self.set_instances(name, wanted);
        new.iter().for_each(|id| self.tell_worker(*id, Event::Start));
        self.save_list();
        let (staying, going) = self.partition_doomed(self.apps.ids_of(name));
        let until = if going.is_empty() { Until::Up } else { Until::Down };
        let ids = if going.is_empty() { staying } else { going };
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

/// How many processors we may use (sched_getaffinity(2), and what the cgroup allows: some twenty system calls).
fn processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u32)
}
