//! Opening a log file: whose rights count, and what the names of the standard streams mean.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

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
    match config.path.to_str() {
        Some("/dev/stdout" | "/proc/self/fd/1") => return own(io::stdout().as_fd()),
        Some("/dev/stderr" | "/proc/self/fd/2") => return own(io::stderr().as_fd()),
        _ => {}
    }
    with_rights(config, || logfile::open(&config.path))
}

/// A socket cannot be opened again, only copied.
fn own(stream: BorrowedFd<'_>) -> io::Result<File> {
    logfile::open_again(stream).or_else(|_| stream.try_clone_to_owned().map(File::from))
}
