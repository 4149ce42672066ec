//! Processes of workers: started by exec or forked from a pool.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::rc::Rc;

use slog::debug;

use super::super::Master;
use super::super::runs::Live;
use super::super::trees::mark;
use super::identity;
use crate::processfile::{App, Program as What, Ready, entry_allowed};
use crate::sys::cgroup::Cgroup;
use crate::sys::clock::{monotonic_ns, wall_ns};
use crate::sys::notify::NOTIFY_SOCKET;
use crate::sys::spawn::{Limit, Program, spawn};
use crate::table::Claim;
use crate::wire::channel::TREE_ENV;
use crate::wire::request::Run as Request;
use crate::wire::status::State;
use crate::workers::{Event, environment};

impl Master {
    /// Starts a worker whose turn it is, if it still is to be started.
    pub(super) fn spawn_worker(&mut self, id: u32) {
        let Some(worker) = self.apps.workers.get(&id) else { return };
        let starting = worker.life.state() == crate::wire::apps::WorkerState::Starting;
        // A successor that is on its way takes the place of a process that has ended meanwhile.
        if !starting || worker.slot.is_some() || worker.successor.is_some() || self.stopping() {
            return;
        }
        if let Some(why) = self.waits_for(id) {
            return self.hold_worker(id, why);
        }
        if let Err(why) = self.start_process(id) {
            self.tell_worker(id, Event::SpawnFailed(&why));
        }
    }

    /// Starts a process for a worker: its own, or its successor.
    pub(super) fn start_process(&mut self, id: u32) -> Result<(), String> {
        let Some(app) = self.apps.entry_of(id).map(|entry| Rc::clone(&entry.app)) else { return Ok(()) };
        match &app.program {
            What::Exec { .. } => self.exec_worker(id, &app),
            What::Pool { pool, .. } => match self.pool_index(pool) {
                None => Err(format!("there is no pool \"{pool}\" any more")),
                Some(index) if self.pools[index].current().is_some() => self.fork_worker(id, &app, index),
                Some(index) if self.pools[index].down => {
                    let why = self.pools[index].error.as_deref().unwrap_or("its warm process cannot be started");
                    Err(format!("pool \"{pool}\" cannot run anything now: {why}"))
                }
                Some(_) => Err(format!("pool \"{pool}\" has no warm process yet")),
            },
        }
    }

    /// The pool that a worker is forked from.
    pub(in super::super) fn pool_of_worker(&self, id: u32) -> Option<usize> {
        match &self.apps.entry_of(id)?.app.program {
            What::Pool { pool, .. } => self.pool_index(pool),
            What::Exec { .. } => None,
        }
    }

    /// What has to be there before that worker can be started: an app it depends on, its pool.
    pub(super) fn waits_for(&self, id: u32) -> Option<String> {
        let app = &self.apps.entry_of(id)?.app;
        if let Some(missing) = app.depends_on.iter().find(|name| !self.is_up(name)) {
            return Some(format!("waits for \"{missing}\""));
        }
        let index = self.pool_of_worker(id)?;
        let pool = &self.pools[index];
        (pool.current().is_none() && !pool.down).then(|| format!("waits for pool \"{}\"", pool.definition.name))
    }

    pub(super) fn hold_worker(&mut self, id: u32, why: String) {
        if let Some(worker) = self.apps.workers.get_mut(&id) {
            worker.waits_for = Some(why.into());
        }
        self.apps.held.push(id);
    }

    /// A slot for a worker's process. The table knows of it before there is one.
    fn worker_slot(&mut self, id: u32, app: &App, generation: u32) -> Result<u32, String> {
        let slot = self.take_slot().ok_or("the shared table is full")?;
        if let Err(e) = self.table.reserve(slot) {
            self.runs.unreserve(slot);
            return Err(format!("there is no room in {}: {e}", self.options.dirs.table().display()));
        }
        let entry = match &app.program {
            What::Exec { script, .. } => script,
            What::Pool { entry, .. } => entry,
        };
        let claim = Claim {
            id: &id.to_string(),
            pool: &app.name,
            entry: crate::wire::cut(entry, crate::wire::request::MAX_ENTRY),
            state: State::Starting,
            worker: true,
            queued_at: wall_ns(),
            timeout: None,
            kill_timeout: app.kill_timeout,
        };
        self.table.claim(slot, &claim);
        let (nonce, head) = (self.nonce(), self.table.ring_head());
        self.table.set_starting(slot, generation, nonce, head);
        let mut live = Live::new(id.to_string(), None);
        live.worker = Some(id);
        live.state = State::Starting;
        live.fork_seq = head;
        live.nonce = nonce;
        live.kill_timeout = app.kill_timeout;
        self.runs.insert_worker(slot, live);
        if let Some(worker) = self.apps.workers.get_mut(&id) {
            match &mut worker.successor {
                Some(successor) => successor.slot = Some(slot),
                None => worker.slot = Some(slot),
            }
        }
        Ok(slot)
    }

    /// The slot of a process that there will not be.
    pub(super) fn drop_worker_slot(&mut self, id: u32, slot: u32) {
        if self.leave_worker_slot(id, slot) {
            self.runs.unreserve(slot);
        }
        self.table.clear(slot);
    }

    /// Nobody is in that slot any more, but its row stays. False: nobody was.
    pub(super) fn leave_worker_slot(&mut self, id: u32, slot: u32) -> bool {
        self.close_node_channel(slot);
        let left = self.runs.vanish_reserved(slot).is_some();
        let Some(worker) = self.apps.workers.get_mut(&id) else { return left };
        if worker.slot == Some(slot) {
            (worker.slot, worker.process) = (None, None);
        }
        if let Some(successor) = worker.successor.as_mut().filter(|s| s.slot == Some(slot)) {
            successor.slot = None;
        }
        left
    }

    fn exec_worker(&mut self, id: u32, app: &App) -> Result<(), String> {
        let What::Exec { script, args, interpreter } = &app.program else { return Ok(()) };
        let identity = identity(app).map_err(|e| e.to_string())?;
        let stdio = self.worker_stdio(id).map_err(|e| format!("opening its output: {e}"))?;
        let sockets = self.open_sockets(app).map_err(|e| e.to_string())?;
        let mut env = self.worker_environment(id, app);
        if !sockets.is_empty() {
            let names: Vec<&str> = app.listen.iter().map(|l| l.name.as_str()).collect();
            env.push(("LISTEN_FDS".into(), sockets.len().to_string().into()));
            env.push(("LISTEN_FDNAMES".into(), names.join(":").into()));
        }
        if app.ready == Ready::Notify {
            env.push((NOTIFY_SOCKET.into(), self.notify_address().map_err(|e| e.to_string())?));
        }
        let limits = app.limits.as_ref().map(|limits| {
            [
                (Limit::Memory, limits.memory),
                (Limit::CpuTime, limits.cpu_time.map(|time| time.as_secs())),
                (Limit::OpenFiles, limits.open_files),
                (Limit::Core, limits.core),
            ]
        });
        let slot = self.worker_slot(id, app, 0)?;
        let channel = if super::node::wanted(app) {
            match self.open_node_channel(slot) {
                Ok(channel) => Some(channel),
                Err(e) => {
                    self.drop_worker_slot(id, slot);
                    return Err(format!("making Node's channel: {e}"));
                }
            }
        } else {
            None
        };
        if channel.is_some() {
            env.push(("NODE_CHANNEL_FD".into(), (stdio.len() + sockets.len()).to_string().into()));
            env.push(("NODE_CHANNEL_SERIALIZATION_MODE".into(), "json".into()));
        }
        let mut cgroup = None;
        if let Some(live) = self.runs.live(slot) {
            env.push((TREE_ENV.into(), mark(live.nonce).into()));
            cgroup = if app.treekill { self.trees.groups.make(live, &self.log) } else { None };
        }
        let program = Program {
            argv: interpreter.iter().chain([script]).chain(args).map(OsString::from).collect(),
            env,
            cwd: Some(app.cwd.clone()),
            fds: stdio
                .iter()
                .chain(&sockets)
                .chain(&channel)
                .zip(0..)
                .map(|(fd, number)| (fd.as_fd(), number))
                .collect(),
            identity,
            limits: limits.into_iter().flatten().filter_map(|(limit, value)| Some((limit, value?))).collect(),
            umask: app.umask,
            nice: app.nice,
            oom_score_adj: app.oom_score_adj,
            listen_pid: !sockets.is_empty(),
            cgroup: cgroup.as_ref().map(Cgroup::folder),
            pid_to: Some(self.table.pid_word(slot)),
            sibling: true,
        };
        let spawned = spawn(&program);
        drop(program);
        match spawned {
            Ok((pid, handle)) => {
                self.pids.insert(pid, slot);
                if let Some(live) = self.runs.live(slot) {
                    live.process = Some((pid, Some(handle)));
                    live.state = State::Running;
                }
                self.table.set_running(slot, pid, wall_ns(), monotonic_ns());
                self.worker_spawned(slot);
                Ok(())
            }
            Err(e) => {
                self.forget_tree(slot);
                self.drop_worker_slot(id, slot);
                Err(e.to_string())
            }
        }
    }

    fn fork_worker(&mut self, id: u32, app: &App, index: usize) -> Result<(), String> {
        let What::Pool { pool, entry, params, params_each, args } = &app.program else { return Ok(()) };
        let definition = &self.pools[index].definition;
        if let Some(patterns) = &definition.entries
            && !entry_allowed(patterns, entry)
        {
            return Err(format!(
                "\"{entry}\" may not be run in pool \"{pool}\": its `entries` allow {}",
                patterns.join(", ")
            ));
        }
        let instance = self.apps.workers.get(&id).map_or(0, |w| w.instance);
        let own = params_each.as_ref().and_then(|each| each.get(instance as usize)).or(params.as_ref());
        let generation = self.pools[index].current.unwrap_or(0);
        let mut env = environment(app, &BTreeMap::new(), id, instance);
        if app.ready == Ready::Notify {
            let address = self.notify_address().map_err(|e| e.to_string())?;
            // What a child is asked is JSON.
            let address = address.into_string().map_err(|path| format!("{} is not in UTF-8", path.display()))?;
            env.insert(NOTIFY_SOCKET.to_owned(), address);
        }
        let request = Request {
            pool: None,
            entry: entry.clone(),
            params: own.cloned(),
            args: args.clone(),
            id: None,
            env: Some(env),
            timeout: None,
            kill_timeout: Some(app.kill_timeout),
            output: None,
            stdin: None,
            wait: false,
        };
        let slot = self.worker_slot(id, app, generation)?;
        if let Some(live) = self.runs.live(slot) {
            live.pool = Some(index);
            live.request = Some(Box::new(request));
        }
        // Told first: an order that cannot be sent is a start that failed by then.
        if let Some(worker) = self.apps.workers.get_mut(&id) {
            worker.life.asked_for(monotonic_ns());
        }
        self.start_run(index, slot);
        Ok(())
    }

    /// What its next process gets.
    pub(in super::super) fn worker_environment(&self, id: u32, app: &App) -> Vec<(OsString, OsString)> {
        let Some(entry) = self.apps.entry_of(id) else { return Vec::new() };
        let instance = self.apps.workers.get(&id).map_or(0, |w| w.instance);
        let none = BTreeMap::new();
        // A forked process has its zygote's.
        let caller = if matches!(app.program, What::Pool { .. }) { &none } else { &*entry.env };
        environment(app, caller, id, instance).into_iter().map(|(k, v)| (k.into(), v.into())).collect()
    }

    /// A worker's process runs: it was started, or its zygote's child has said so.
    pub(in super::super) fn worker_spawned(&mut self, slot: u32) {
        let Some(live) = self.runs.live(slot) else { return };
        let (Some(id), Some(pid)) = (live.worker, live.process.as_ref().map(|p| p.0)) else { return };
        if live.pool.is_some() && self.treekill(id) {
            self.bring_into_cgroup(slot);
        }
        let Some(worker) = self.apps.workers.get_mut(&id) else { return };
        if worker.slot != Some(slot) {
            return if self.role_of(id, slot).1 {
                self.successor_spawned(id, slot)
            };
        }
        worker.process = Some((pid, self.table.record(slot).map_or(0, |row| row.started_at)));
        debug!(self.log, "a worker has been started"; "app" => &*worker.app, "instance" => worker.instance, "pid" => pid);
        self.write_pid_file(id, pid);
        self.measure_soon(id);
        self.tell_worker(id, Event::Spawned);
        self.await_ready(id, slot);
    }

    /// Whether that is the worker's own process, and whether it is to take its place.
    pub(super) fn role_of(&self, id: u32, slot: u32) -> (bool, bool) {
        let Some(worker) = self.apps.workers.get(&id) else { return (false, false) };
        (worker.slot == Some(slot), worker.successor.as_ref().is_some_and(|next| next.slot == Some(slot)))
    }

    /// A zygote could not fork it.
    pub(in super::super) fn worker_not_spawned(&mut self, slot: u32, id: u32, why: &str) {
        let (own, next) = self.role_of(id, slot);
        self.drop_worker_slot(id, slot);
        if own {
            self.tell_worker(id, Event::SpawnFailed(why));
        } else if next {
            self.successor_failed(id, why);
        }
    }
}
