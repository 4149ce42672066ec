//! `watch`: files that change restart an app's instances, or make a pool's next generation.
//!
//! Nothing is read of the files; that one has changed is enough, once nothing has changed any more for `watch_delay`.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use mio::Interest;
use mio::unix::SourceFd;
use slog::{error, info, warn};

use super::super::Master;
use super::super::runs::{Asker, Form};
use super::super::sources::Source;
use super::super::timers::{Key, Timer};
use super::numbered;
use crate::processfile::Watch;
use crate::sys::watch::{Change, Watcher};
use crate::workers::{Event, Ignored};

/// All that is watched.
#[derive(Debug)]
pub(super) struct Watching {
    /// None until somebody watches.
    watcher: Option<Watcher>,
    watched: BTreeMap<u32, Watched>,
    next: u32,
    /// Apps or pools have changed.
    pub stale: bool,
}

impl Default for Watching {
    fn default() -> Watching {
        Watching { watcher: None, watched: BTreeMap::new(), next: 0, stale: true }
    }
}

/// Whose files they are. Apps and pools have one name space.
#[derive(Debug)]
struct Watched {
    name: String,
    is_pool: bool,
    watch: Watch,
    ignored: Ignored,
    timer: Option<Key>,
    /// The first that has changed.
    changed: Option<PathBuf>,
}

impl Watching {
    fn counts(watched: &BTreeMap<u32, Watched>, number: u32, path: &std::path::Path) -> bool {
        watched.get(&number).is_some_and(|watched| watched.ignored.counts(path))
    }

    /// Watches what is not watched yet.
    fn add(&mut self, number: u32) -> io::Result<()> {
        let Some(watched) = self.watched.get(&number) else { return Ok(()) };
        let Some(watcher) = &mut self.watcher else { return Ok(()) };
        let counts = |number: u32, path: &std::path::Path| Watching::counts(&self.watched, number, path);
        watched.watch.paths.iter().try_for_each(|path| watcher.add(number, path, &counts))
    }
}

impl Master {
    /// Watches for those who want it now, and no more for those who do not.
    pub(in super::super) fn watch_files(&mut self) {
        if !std::mem::take(&mut self.apps.watching.stale) {
            return;
        }
        let own_folders = self.own_folders();
        let mut wanted: BTreeMap<String, (bool, Watch, Vec<PathBuf>)> = BTreeMap::new();
        for pool in &self.pools {
            let definition = &pool.definition;
            if let Some(watch) = &definition.watch {
                wanted.insert(definition.name.clone(), (true, watch.clone(), own_folders.clone()));
            }
        }
        for (name, entry) in &self.apps.entries {
            if let Some(watch) = &entry.app.watch {
                wanted.insert(name.clone(), (false, (**watch).clone(), self.own_files(name)));
            }
        }
        let watching = &mut self.apps.watching;
        let (mut gone, mut known) = (Vec::new(), Vec::new());
        for (number, watched) in &watching.watched {
            let same = wanted
                .get(&watched.name)
                .is_some_and(|(is_pool, watch, _)| *watch == watched.watch && *is_pool == watched.is_pool);
            if same { known.push(watched.name.clone()) } else { gone.push(*number) }
        }
        for number in gone {
            if let Some(watcher) = &mut watching.watcher {
                watcher.remove(number);
            }
            let timer = watching.watched.remove(&number).and_then(|watched| watched.timer);
            self.timers.cancel(timer);
        }
        wanted.retain(|name, _| !known.contains(name));
        if wanted.is_empty() {
            return;
        }
        if let Err(e) = self.begin_watching() {
            return error!(self.log, "files cannot be watched"; "error" => %e);
        }
        for (name, (is_pool, watch, own)) in wanted {
            let (ignored, faults) = Ignored::new(&watch, own);
            for fault in faults {
                warn!(self.log, "a pattern cannot be used"; "of" => &name, "why" => fault);
            }
            let watching = &mut self.apps.watching;
            watching.next += 1;
            let number = watching.next;
            let watched = Watched { name: name.clone(), is_pool, watch, ignored, timer: None, changed: None };
            watching.watched.insert(number, watched);
            if let Err(e) = watching.add(number) {
                error!(self.log, "not all files are watched"; "of" => name, "error" => %e);
            }
        }
    }

    fn begin_watching(&mut self) -> io::Result<()> {
        if self.apps.watching.watcher.is_none() {
            let watcher = Watcher::new()?;
            let token = self.sources.add(Source::Watch);
            let fd = watcher.as_fd().as_raw_fd();
            self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)?;
            self.apps.watching.watcher = Some(watcher);
        }
        Ok(())
    }

    fn own_folders(&self) -> Vec<PathBuf> {
        vec![self.options.dirs.state.clone(), self.options.dirs.runtime.clone()]
    }

    /// Files that the daemon writes for an app, and that may lie in a folder that is watched.
    fn own_files(&self, name: &str) -> Vec<PathBuf> {
        let Some(entry) = self.apps.entries.get(name) else { return Vec::new() };
        let mut files = self.own_folders();
        for id in self.apps.ids_of(name) {
            let instance = self.apps.workers.get(&id).map_or(0, |worker| worker.instance);
            let (out, error) = self.worker_files(&entry.app, instance);
            let pid = entry.app.pid_file.as_ref().map(|file| numbered(file, instance));
            files.extend([out, error, pid].into_iter().flatten());
        }
        files
    }

    /// Something has happened to what is watched.
    pub(in super::super) fn files_changed(&mut self) {
        let watching = &mut self.apps.watching;
        let Some(watcher) = &mut watching.watcher else { return };
        let counts = |number: u32, path: &std::path::Path| Watching::counts(&watching.watched, number, path);
        let changes = watcher.read(&counts).unwrap_or_else(|e| {
            error!(self.log, "not all files are watched"; "error" => %e);
            vec![Change::Overflow]
        });
        for change in changes {
            match change {
                Change::Path(number, path) => self.file_changed(number, path),
                Change::Overflow => {
                    let numbers: Vec<u32> = self.apps.watching.watched.keys().copied().collect();
                    for number in numbers {
                        if let Err(e) = self.apps.watching.add(number) {
                            error!(self.log, "not all files are watched"; "error" => %e);
                        }
                        self.file_changed(number, PathBuf::from("(too many to tell)"));
                    }
                }
            }
        }
    }

    fn file_changed(&mut self, number: u32, path: PathBuf) {
        let Some(watched) = self.apps.watching.watched.get_mut(&number) else { return };
        watched.changed.get_or_insert(path);
        let (delay, old) = (watched.watch.delay, watched.timer.take());
        self.timers.cancel(old);
        watched.timer = Some(self.timers.after(delay, Timer::Watch(number)));
    }

    /// Nothing has changed for so long that it is done.
    pub(in super::super) fn watch_over(&mut self, number: u32) {
        let Some(watched) = self.apps.watching.watched.get_mut(&number).filter(|_| self.phase.is_none()) else {
            return;
        };
        watched.timer = None;
        let path = watched.changed.take().unwrap_or_default();
        let name = watched.name.clone();
        if !watched.is_pool {
            info!(self.log, "files have changed: restarting"; "app" => &name, "first" => %path.display());
            for id in self.apps.ids_of(&name) {
                if self.apps.workers.get(&id).is_some_and(|worker| worker.life.wanted() && !worker.doomed) {
                    self.tell_worker(id, Event::Restart);
                }
            }
            return;
        }
        let Some(index) = self.pool_index(&name) else { return };
        if self.reloads.iter().any(|(pool, _, _)| *pool == index) || self.pools[index].loading().is_some() {
            // What is loading now may have read the old files.
            return self.file_changed(number, path);
        }
        info!(self.log, "files have changed: loading the next generation"; "pool" => &name, "first" => %path.display());
        self.reload(Asker { connection: mio::Token(usize::MAX), form: Form::Silent }, index);
    }
}
