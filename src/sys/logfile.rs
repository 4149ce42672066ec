//! Files that logs are written to, and the pipes that logs come through.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens (or makes, 0600) a file for appending, never through a link. A pipe or a device of that name does not make us
/// wait, now or later.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot open {}: {e}", path.display())))
}

/// Opens one for reading, never through a link.
pub fn open_for_reading(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
}

/// Makes a file that is not there yet, 0600.
pub fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)
}

/// What this descriptor of ours refers to, opened once more for appending: for a standard stream that is to be a log.
pub fn open_again(fd: BorrowedFd<'_>) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Another writing end of the pipe whose reading end this is. It blocks when the pipe is full, whatever the reading end does.
pub fn writing_end(reading: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", reading.as_raw_fd());
    OpenOptions::new().write(true).custom_flags(libc::O_CLOEXEC).open(path).map(OwnedFd::from)
}

/// The pipe becomes that user's, who then may open it by the name of a standard stream (`/dev/stdout`).
pub fn give_to(fd: BorrowedFd<'_>, uid: u32) -> io::Result<()> {
    Ok(nix::unistd::fchown(fd, Some(nix::unistd::Uid::from_raw(uid)), None)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    #[test]
    fn a_pipe_gets_a_new_writer_after_its_last_one_has_gone() {
        let (mut reading, writing) = io::pipe().unwrap();
        drop(writing);
        let mut text = String::new();
        for word in ["one", "two"] {
            let mut again = File::from(writing_end(reading.as_fd()).unwrap());
            again.write_all(word.as_bytes()).unwrap();
            drop(again);
            reading.read_to_string(&mut text).unwrap();
        }
        assert_eq!(text, "onetwo");
    }

    #[test]
    fn a_link_is_not_followed_and_a_pipe_without_reader_does_not_hold_us_up() {
        let tmp = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(tmp.path().join("other"), tmp.path().join("link")).unwrap();
        assert!(open(&tmp.path().join("link")).is_err());
        assert!(!tmp.path().join("other").exists());
        let fifo = tmp.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(open(&fifo).unwrap_err().kind(), io::Error::from_raw_os_error(6).kind());
    }
}
