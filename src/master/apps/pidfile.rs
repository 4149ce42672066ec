//! `pid_file`: there while a process runs, for programs that look for it there.

use std::path::PathBuf;

use slog::warn;

use super::super::Master;
use super::{identity, numbered};
use crate::sys::files;
use crate::sys::users::{Identity, acting_as};

impl Master {
    /// Writes a worker's pid down.
    pub(super) fn write_pid_file(&self, id: u32, pid: u32) {
        let Some((path, identity)) = self.pid_file(id) else { return };
        let written = match &identity {
            Some(identity) => acting_as(identity, || files::write_pid(&path, pid)),
            None => files::write_pid(&path, pid),
        };
        if let Err(e) = written {
            warn!(self.log, "a pid file cannot be written"; "file" => %path.display(), "error" => %e);
        }
    }

    /// Removes it, unless somebody else's pid is in it by now.
    pub(super) fn remove_pid_file(&self, id: u32, pid: u32) {
        let Some((path, identity)) = self.pid_file(id) else { return };
        let removed = match &identity {
            Some(identity) => acting_as(identity, || files::remove_pid(&path, pid)),
            None => files::remove_pid(&path, pid),
        };
        if let Err(e) = removed
            && e.kind() != std::io::ErrorKind::NotFound
        {
            warn!(self.log, "a pid file cannot be removed"; "file" => %path.display(), "error" => %e);
        }
    }

    /// Where it is, and with whose rights it is opened: the app's, or it could be any file of the machine's.
    fn pid_file(&self, id: u32) -> Option<(PathBuf, Option<Identity>)> {
        let app = &self.apps.entry_of(id)?.app;
        let path = numbered(app.pid_file.as_ref()?, self.apps.workers.get(&id)?.instance);
        // Without that user nothing could have been started.
        Some((path, identity(app).ok()?))
    }
}
