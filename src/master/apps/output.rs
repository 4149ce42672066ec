//! Where a worker's output goes.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::super::Master;
use super::numbered;
use crate::processfile::{App, Sink};
use crate::sys::files;

impl Master {
    /// The files of standard output and standard error; None: nowhere.
    pub(super) fn worker_files(&self, app: &App, instance: u32) -> (Option<PathBuf>, Option<PathBuf>) {
        let number = if app.logs.merge { 0 } else { instance };
        let file = |sink: &Sink, what: &str| match sink {
            Sink::Off => None,
            Sink::File(path) => Some(numbered(path, number)),
            Sink::Default => Some(numbered(&self.options.dirs.logs().join(format!("{}-{what}.log", app.name)), number)),
        };
        (file(&app.logs.out, "out"), file(&app.logs.error, "error"))
    }

    /// Standard input, output and error of its next process.
    pub(in super::super) fn worker_stdio(&mut self, id: u32) -> io::Result<[OwnedFd; 3]> {
        let null = || -> io::Result<OwnedFd> { Ok(File::options().read(true).write(true).open("/dev/null")?.into()) };
        let worker = self.apps.workers.get(&id).ok_or(io::ErrorKind::NotFound)?;
        let app = &self.apps.entry_of(id).ok_or(io::ErrorKind::NotFound)?.app;
        let (out, error) = self.worker_files(app, worker.instance);
        let open = |file: Option<PathBuf>| file.map_or_else(null, |file| files::log_file(&file).map(OwnedFd::from));
        Ok([null()?, open(out)?, open(error)?])
    }

    /// The last lines of its standard error, once it has been given up.
    pub(super) fn stderr_tail(&self, _id: u32) -> Vec<Cow<'_, str>> {
        Vec::new()
    }

    /// Bytes of output that could not be written.
    pub(super) fn log_lost(&self, _id: u32) -> u64 {
        0
    }
}
