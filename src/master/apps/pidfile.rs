//! `pid_file`: there while a process runs, for programs that look for it there.

use slog::warn;

use super::super::Master;
use super::numbered;
use crate::sys::files;

impl Master {
    /// Writes a worker's pid down.
    pub(super) fn write_pid_file(&self, id: u32, pid: u32) {
        let Some(path) = self.pid_file(id) else { return };
        if let Err(e) = files::write_pid(&path, pid) {
            warn!(self.log, "a pid file cannot be written"; "file" => %path.display(), "error" => %e);
        }
    }

    /// Removes it, unless somebody else's pid is in it by now.
    pub(super) fn remove_pid_file(&self, id: u32, pid: u32) {
        let Some(path) = self.pid_file(id) else { return };
        if let Err(e) = files::remove_pid(&path, pid)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            warn!(self.log, "a pid file cannot be removed"; "file" => %path.display(), "error" => %e);
        }
    }

    /// Where it is. An app of another user's has none: opened with our rights it could be any file of the machine's.
    fn pid_file(&self, id: u32) -> Option<std::path::PathBuf> {
        let app = &self.apps.entry_of(id)?.app;
        let own = app.user.is_none() && app.group.is_none();
        Some(numbered(app.pid_file.as_ref().filter(|_| own)?, self.apps.workers.get(&id)?.instance))
    }
}
