//! Opening a log file: whose rights count, and what the names of the standard streams mean.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::file::FileConfig;
use crate::sys::logfile;
use crate::sys::users::acting_as;

/// Does something to its files with the rights that it is to have.
pub fn with_rights<T>(config: &FileConfig, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    match &config.identity {
        None => act(),
        Some(identity) => acting_as(identity, act),
    }
}

/// Opens a log file for appending; it is made if it is not there.
pub fn open(config: &FileConfig) -> io::Result<File> {
    // These are links, which are not followed elsewhere, and they mean ours whoever asks.
    match own(&config.path) {
        Some(1) => open_own(io::stdout().as_fd()),
        Some(_) => open_own(io::stderr().as_fd()),
        None => with_rights(config, || logfile::open(&config.path)),
    }
}

/// Which of our own standard streams that is: 1 or 2.
pub fn own(path: &Path) -> Option<u32> {
    match path.to_str()? {
        "/dev/stdout" | "/proc/self/fd/1" => Some(1),
        "/dev/stderr" | "/proc/self/fd/2" => Some(2),
        _ => None,
    }
}

/// A socket cannot be opened again, only copied.
fn open_own(stream: BorrowedFd<'_>) -> io::Result<File> {
    logfile::open_again(stream).or_else(|_| stream.try_clone_to_owned().map(File::from))
}
