//! What callers hear: workers as they are, and answers that wait until something is so.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use serde_json::value::RawValue;

use super::super::Master;
use super::super::runs::Asker;
use super::{Pending, Until};
use crate::processfile::{Program, Ready};
use crate::sys::clock::{monotonic_ns, wall_ns};
use crate::sys::reap::How;
use crate::table::ExitEntry;
use crate::wire::apps::{Described, Event as WorkerEvent, WorkerInfo, WorkerState, Workers};
use crate::wire::request::{Target, Targets};
use crate::wire::rpc::RpcError;
use crate::wire::status::Timestamp;
use crate::workers::{Named, find};

/// A pool has no workers that could be stopped or counted.
pub(super) fn not_an_app(pool: &str) -> String {
    format!("\"{pool}\" is a pool, not an app: `preforkd pools` shows it, `preforkd reload {pool}` loads it anew")
}

impl Master {
    /// The workers that are meant. `staying`: without those that are being removed.
    pub(in super::super) fn workers_of(&self, targets: &Targets, staying: bool) -> Result<Vec<u32>, RpcError> {
        let named: Vec<Named<'_>> = self
            .apps
            .workers
            .iter()
            .filter(|(_, worker)| !(staying && worker.doomed))
            .map(|(id, worker)| Named {
                id: *id,
                name: &worker.app,
                namespace: self.apps.entries.get(&*worker.app).map_or("", |entry| &entry.app.namespace),
            })
            .collect();
        find(targets, &named).map_err(|why| {
            let pool = targets.0.iter().find_map(|target| match target {
                Target::Word(word) => self.pools.iter().map(|pool| &pool.definition.name).find(|name| *name == word),
                _ => None,
            });
            RpcError::app_not_found(pool.map_or(why, |pool| not_an_app(pool)))
        })
    }

    /// A worker as it is now.
    pub(in super::super) fn worker_info(&self, id: u32) -> Option<WorkerInfo<'_>> {
        let worker = self.apps.workers.get(&id)?;
        let app = &self.apps.entries.get(&*worker.app)?.app;
        let life = &worker.life;
        let state = life.state();
        let (script, interpreter, pool) = match &app.program {
            Program::Exec { script, interpreter, .. } => (script, interpreter.first(), None),
            Program::Pool { pool, entry, .. } => (entry, None, Some(pool)),
        };
        let now = monotonic_ns();
        let alive = worker.process.filter(|_| worker.slot.is_some());
        let generation = pool.and(worker.slot).and_then(|slot| self.table.record(slot)).map(|r| r.generation);
        let text = |path: Option<std::path::PathBuf>| path.map(|p| Cow::Owned(p.display().to_string()));
        let (out_file, error_file) = self.worker_files(app, worker.instance);
        Some(WorkerInfo {
            id,
            name: Cow::Borrowed(&app.name),
            namespace: Cow::Borrowed(&app.namespace),
            instance: worker.instance,
            state,
            pid: alive.map(|(pid, _)| pid),
            added_at: Some(Timestamp(worker.added_at)).filter(|at| at.0 > 0),
            started_at: alive.map(|(_, at)| Timestamp(at)),
            uptime_ms: alive.and(life.started_at()).map(|at| now.saturating_sub(at) / 1_000_000),
            restarts: life.restarts(),
            asked_restarts: life.asked_restarts(),
            unstable: life.unstable(),
            next_try_at: life
                .wake_at()
                .filter(|_| state == WorkerState::Backoff)
                .map(|at| Timestamp(wall_ns() + at.saturating_sub(now))),
            last_exit: worker.last_exit.as_deref().cloned(),
            reason: worker.waits_for.as_deref().or(life.reason()).map(Cow::Borrowed),
            stderr_tail: if state == WorkerState::Fatal { self.stderr_tail(id) } else { Vec::new() },
            script: Cow::Borrowed(script),
            interpreter: interpreter.map(|word| Cow::Borrowed(word.as_str())),
            pool: pool.map(|pool| Cow::Borrowed(pool.as_str())),
            generation,
            user: app.user.as_deref().map(Cow::Borrowed),
            watch: app.watch.is_some(),
            out_file: text(out_file),
            error_file: text(error_file),
            pid_file: text(app.pid_file.as_ref().map(|file| super::numbered(file, worker.instance))),
            cwd: app.cwd.to_string_lossy(),
            log_lost: self.log_lost(id),
        })
    }

    /// Tells those who want to know that a worker's state is another one, or that its process has ended.
    pub(super) fn worker_event(&mut self, id: u32, exit: Option<&ExitEntry>) {
        if self.subscriptions.is_empty() {
            return;
        }
        let Some(worker) = self.apps.workers.get(&id) else { return };
        let namespace = self.apps.entries.get(&*worker.app).map(|entry| entry.app.namespace.clone());
        let (exit_code, signal) = match exit.map(|exit| exit.how) {
            Some(How::Exited(code)) => (Some(code), None),
            Some(How::Killed(n) | How::Dumped(n)) => (None, Some(n)),
            None => (None, None),
        };
        let event = WorkerEvent {
            kind: if exit.is_some() { "exit" } else { "state" }.into(),
            at: Timestamp(wall_ns()),
            name: worker.app.to_string().into(),
            worker: Some(id),
            run: None,
            state: exit.is_none().then(|| worker.life.state().as_str().into()),
            pid: exit.map(|exit| exit.pid).or(worker.process.map(|(pid, _)| pid)),
            exit_code,
            signal,
            reason: worker.life.reason().filter(|_| exit.is_none()).map(|why| why.to_owned().into()),
        };
        self.notify_event(&event, namespace.as_deref());
    }

    /// Answers with these workers as they are.
    pub(in super::super) fn answer_workers(&mut self, asker: Asker, ids: &[u32]) {
        let answer = Workers { workers: ids.iter().filter_map(|id| self.worker_info(*id)).collect() };
        let answer = super::json(&answer);
        self.answer(asker, &answer);
    }

    /// Answers `apps.describe`.
    pub(in super::super) fn describe(&mut self, asker: Asker, ids: &[u32]) {
        let names: std::collections::BTreeSet<&str> =
            ids.iter().filter_map(|id| self.apps.workers.get(id)).map(|w| &*w.app).collect();
        let apps = names
            .into_iter()
            .filter_map(|name| self.apps.entries.get(name))
            .map(|entry| {
                let mut json = entry.app.to_json();
                hide_values(&mut json);
                json
            })
            .collect();
        let answer = Described { workers: ids.iter().filter_map(|id| self.worker_info(*id)).collect(), apps };
        let answer = super::json(&answer);
        self.answer(asker, &answer);
    }

    /// Answers when all of them are where they are to be, and the list is on the disk.
    pub(super) fn answer_when(&mut self, asker: Asker, ids: Vec<u32>, until: Until) {
        let missing = if until == Until::Now { HashSet::new() } else { ids.iter().copied().collect() };
        let version = self.apps.list.version();
        self.apps.pending.push(Pending { asker, ids, missing, until, version, gone: Vec::new(), answer: None });
        self.settle(None);
    }

    /// Answers this when the list is on the disk.
    pub(super) fn answer_once_saved(&mut self, asker: Asker, answer: Box<RawValue>) {
        let (version, until) = (self.apps.list.version(), Until::Now);
        let (ids, missing, gone) = (Vec::new(), HashSet::new(), Vec::new());
        self.apps.pending.push(Pending { asker, ids, missing, until, version, gone, answer: Some(answer) });
        self.settle(None);
    }

    /// Looks whether somebody's answer is due, after a change of this worker (None: of anything).
    pub(in super::super) fn settle(&mut self, changed: Option<u32>) {
        if self.apps.pending.is_empty() {
            return;
        }
        let tried = self.apps.list.tried();
        let mut pending = std::mem::take(&mut self.apps.pending);
        for p in &mut pending {
            let there = |id: &u32| self.is_there(*id, p.until);
            match changed {
                Some(id) if !p.missing.contains(&id) => {}
                Some(id) if there(&id) => {
                    p.missing.remove(&id);
                }
                Some(_) => {}
                None => p.missing.retain(|id| !there(id)),
            }
        }
        let (due, left): (Vec<Pending>, Vec<Pending>) =
            pending.into_iter().partition(|p| p.missing.is_empty() && p.version <= tried);
        self.apps.pending = left;
        for p in due {
            if p.until == Until::Saved
                && let Some(why) = self.apps.list.failure()
            {
                let text =
                    format!("the list of apps is not on the disk: {why}; it is tried again until it can be written");
                self.refuse(p.asker, &RpcError::internal(text));
                continue;
            }
            if let Some(answer) = p.answer {
                self.answer(p.asker, &answer);
                continue;
            }
            let mut workers = p.gone;
            workers.extend(p.ids.iter().filter_map(|id| self.worker_info(*id)).map(|w| super::json(&w)));
            self.answer(p.asker, &BTreeMap::from([("workers", workers)]));
        }
    }

    fn is_there(&self, id: u32, until: Until) -> bool {
        let Some(worker) = self.apps.workers.get(&id) else { return true };
        let state = worker.life.state();
        match until {
            Until::Now | Until::Saved => true,
            // Wanted again by somebody who came later: it will not get there.
            Until::Gone => !worker.doomed,
            Until::Down if worker.life.wanted() => !worker.doomed && !self.apps.stops.contains(&id),
            Until::Down => worker.slot.is_none() && !matches!(state, WorkerState::Starting | WorkerState::Stopping),
            Until::Up => match state {
                WorkerState::Starting => worker.waits_for.is_some(),
                WorkerState::Stopping => false,
                WorkerState::Running => self.apps.entry_of(id).is_none_or(|entry| entry.app.ready == Ready::Started),
                _ => true,
            },
        }
    }

    /// What its next process gets, for `apps.env`.
    pub(in super::super) fn env_of(&self, id: u32) -> Option<crate::wire::apps::Environment> {
        let app = Rc::clone(&self.apps.entry_of(id)?.app);
        let env = self.worker_environment(id, &app);
        let text = |word: std::ffi::OsString| word.to_string_lossy().into_owned();
        Some(crate::wire::apps::Environment { id, env: env.into_iter().map(|(k, v)| (text(k), text(v))).collect() })
    }
}

/// Values of variables are for `apps.env` alone.
fn hide_values(app: &mut serde_json::Value) {
    let Some(map) = app.as_object_mut() else { return };
    for (key, value) in map.iter_mut() {
        if (key == "env" || key.starts_with("env_"))
            && let Some(variables) = value.as_object()
        {
            *value = variables.keys().cloned().collect::<Vec<_>>().into();
        }
    }
}
