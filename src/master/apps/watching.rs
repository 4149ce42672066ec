//! `watch`: a change of the code restarts an app's instances, or loads a new generation of a pool.

use std::os::fd::{AsFd, AsRawFd};

use mio::unix::SourceFd;
use mio::{Interest, Token};
use slog::{info, warn};

use super::super::Master;
use super::super::runs::{Asker, Form};
use super::super::sources::Source;
use super::super::timers::{Key, Timer};
use crate::processfile::Watch;
use crate::sys::watch::Watcher;
use crate::workers::Event;

/// One app's, or pool's.
#[derive(Debug)]
pub struct Watched {
    name: String,
    watch: Watch,
    watcher: Watcher,
    /// Runs while something still changes.
    timer: Option<Key>,
}

impl Master {
    /// Watches what is to be watched now, and nothing else.
    pub(in super::super) fn watch_files(&mut self) {
        let apps = self.apps.entries.values().filter_map(|e| Some((e.app.name.clone(), e.app.watch.clone()?)));
        let pools = self.pools.iter().filter_map(|p| Some((p.definition.name.clone(), p.definition.watch.clone()?)));
        let wanted: Vec<(String, Watch)> = apps.chain(pools).collect();
        let stale: Vec<Token> = self
            .apps
            .watched
            .iter()
            .copied()
            .filter(|token| match self.sources.peek(*token) {
                Some(Source::Watch(w)) => !wanted.iter().any(|(name, watch)| *name == w.name && *watch == w.watch),
                _ => true,
            })
            .collect();
        for token in stale {
            self.apps.watched.retain(|t| *t != token);
            if let Some(Source::Watch(watched)) = self.sources.remove(token) {
                // It is closed at once; no other process has it.
                let _ = self.poll.registry().deregister(&mut SourceFd(&watched.watcher.as_fd().as_raw_fd()));
                self.timers.cancel(watched.timer);
            }
        }
        for (name, watch) in wanted {
            let there = self
                .apps
                .watched
                .iter()
                .any(|token| matches!(self.sources.peek(*token), Some(Source::Watch(w)) if w.name == name));
            if !there && let Err(e) = self.begin_watch(&name, watch) {
                warn!(self.log, "files cannot be watched"; "name" => &name, "error" => %e);
            }
        }
    }

    fn begin_watch(&mut self, name: &str, watch: Watch) -> std::io::Result<()> {
        let watcher = Watcher::new(&watch.paths, &watch.ignore)?;
        let fd = watcher.as_fd().as_raw_fd();
        let watched = Watched { name: name.to_owned(), watch, watcher, timer: None };
        let token = self.sources.add(Source::Watch(Box::new(watched)));
        if let Err(e) = self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE) {
            self.sources.remove(token);
            return Err(e);
        }
        self.apps.watched.push(token);
        Ok(())
    }

    /// Something has happened to files.
    pub(in super::super) fn files_changed(&mut self, token: Token) {
        let Some(Source::Watch(watched)) = self.sources.get(token) else { return };
        match watched.watcher.changed() {
            Ok(false) => {}
            Ok(true) => {
                let (delay, old) = (watched.watch.delay, watched.timer.take());
                self.timers.cancel(old);
                let timer = self.timers.after(delay, Timer::Changed(token));
                if let Some(Source::Watch(watched)) = self.sources.get(token) {
                    watched.timer = Some(timer);
                }
            }
            Err(e) => warn!(self.log, "watching files"; "name" => &watched.name, "error" => %e),
        }
    }

    /// Nothing has changed any more for a while.
    pub(in super::super) fn changes_over(&mut self, token: Token) {
        let Some(Source::Watch(watched)) = self.sources.get(token) else { return };
        watched.timer = None;
        let name = watched.name.clone();
        info!(self.log, "files have changed"; "name" => &name);
        if let Some(index) = self.pool_index(&name) {
            let nobody = Asker { connection: Token(usize::MAX), form: Form::Silent };
            return self.reload(nobody, index);
        }
        for id in self.apps.ids_of(&name) {
            if self.apps.workers.get(&id).is_some_and(|w| w.life.wanted() && !w.doomed) {
                self.tell_worker(id, Event::Restart);
            }
        }
    }
}
