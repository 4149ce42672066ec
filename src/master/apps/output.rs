//! Where a worker's output goes: through pipes, one a stream, to its log files.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;

use slog::error;

use super::super::Master;
use super::super::logs::StreamKey;
use super::{Worker, identity};
use crate::logs::{Kind, StreamConfig, of_app};
use crate::processfile::{App, Format, Program, Ready};
use crate::sys::users::Identity;

fn key(worker: &Worker, kind: Kind) -> StreamKey {
    StreamKey { name: Rc::clone(&worker.app), instance: Some(worker.instance), kind }
}

impl Master {
    /// The files of standard output and standard error; None: nowhere.
    pub(super) fn worker_files(&self, app: &App, instance: u32) -> (Option<PathBuf>, Option<PathBuf>) {
        let folder = self.options.dirs.logs();
        let all = |kind| of_app(&app.logs, &app.name, instance, kind, &folder, None);
        let file = |kind| all(kind).into_iter().next().map(|file| file.path.to_path_buf());
        (file(Kind::Out), file(Kind::Err))
    }

    /// Standard input, output and error of its next process.
    pub(in super::super) fn worker_stdio(&mut self, id: u32) -> io::Result<[OwnedFd; 3]> {
        let app = &self.apps.entry_of(id).ok_or(io::ErrorKind::NotFound)?.app;
        let app = Rc::clone(app);
        let identity = match &app.program {
            Program::Exec { .. } => identity(&app)?,
            Program::Pool { .. } => match self.pool_of_worker(id) {
                Some(index) => {
                    let pool = &self.pools[index].definition;
                    crate::sys::users::resolve(pool.user.as_deref(), pool.group.as_deref())?
                }
                None => None,
            },
        };
        let input = File::options().read(true).write(true).open("/dev/null")?;
        let out = self.worker_stream(id, &app, Kind::Out, identity.as_ref())?;
        let error = self.worker_stream(id, &app, Kind::Err, identity.as_ref())?;
        Ok([input.into(), out, error])
    }

    fn worker_stream(&mut self, id: u32, app: &App, kind: Kind, identity: Option<&Identity>) -> io::Result<OwnedFd> {
        let worker = self.apps.workers.get(&id).ok_or(io::ErrorKind::NotFound)?;
        let files = of_app(&app.logs, &app.name, worker.instance, kind, &self.options.dirs.logs(), identity);
        // What nobody keeps or looks for needs no pipe.
        if files.is_empty() && kind == Kind::Out && !matches!(app.ready, Ready::Log(_)) {
            return Ok(File::options().write(true).open("/dev/null")?.into());
        }
        let config = StreamConfig {
            name: Rc::clone(&worker.app),
            namespace: Some(Rc::clone(&app.namespace)),
            worker: Some(id),
            kind,
            format: app.logs.format,
            // In JSON the time has a key of its own.
            date: app.logs.date.clone().filter(|_| app.logs.format == Format::Text),
            files,
            recent: kind == Kind::Err,
        };
        let key = key(worker, kind);
        self.open_stream(&key, &config, identity.map(Identity::uid))
    }

    /// Pipes of a former master's go on to their workers' files. A worker that has ended meanwhile has left its last lines there.
    pub(super) fn take_over_output(&mut self) {
        let left = |worker: &Worker| [Kind::Out, Kind::Err].iter().any(|kind| self.logs.is_former(&key(worker, *kind)));
        let ids: Vec<u32> = self.apps.workers.iter().filter(|(_, w)| left(w)).map(|(id, _)| *id).collect();
        for id in ids {
            if let Err(e) = self.worker_stdio(id) {
                error!(self.log, "a worker's output cannot be taken over"; "worker" => id, "error" => %e);
            }
        }
    }

    /// The worker is no more: its pipes go with whoever still writes there.
    pub(super) fn close_worker_streams(&mut self, worker: &Worker) {
        for kind in [Kind::Out, Kind::Err] {
            self.close_stream(&key(worker, kind));
        }
    }

    /// A line is awaited that says it is ready.
    pub(super) fn await_ready_line(&mut self, id: u32, pattern: &str) {
        let Some(worker) = self.apps.workers.get(&id) else { return };
        // Checked when it was read.
        let pattern = regex::Regex::new(pattern).ok();
        for key in [key(worker, Kind::Out), key(worker, Kind::Err)] {
            self.await_line(&key, pattern.clone());
        }
    }

    /// Awaited lines have come.
    pub(in super::super) fn lines_matched(&mut self) {
        for stream in self.matched_streams() {
            let found =
                self.apps.workers.values().find(|w| w.app == stream.name && Some(w.instance) == stream.instance);
            // The one that was started last is the one that gets ready.
            let slot = found.and_then(|w| w.successor.as_ref().map_or(w.slot, |s| s.slot));
            if let Some(slot) = slot {
                self.process_ready(slot);
            }
        }
    }

    /// The last lines of its standard error.
    pub(super) fn stderr_tail(&self, id: u32) -> Vec<Cow<'_, str>> {
        let Some(worker) = self.apps.workers.get(&id) else { return Vec::new() };
        self.recent_lines(&key(worker, Kind::Err)).into_iter().map(Cow::Owned).collect()
    }

    /// Bytes of its output that could not be written.
    pub(super) fn log_lost(&self, id: u32) -> u64 {
        let Some(worker) = self.apps.workers.get(&id) else { return 0 };
        [Kind::Out, Kind::Err].into_iter().map(|kind| self.log_lost_of(&key(worker, kind))).sum()
    }
}
