//! The daemon's own directories and files: whose they are, and who may write to them.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Makes `path` (0700, parents too) or checks what is there: a real directory, ours, writable by nobody else.
pub fn private_dir(path: &Path) -> io::Result<()> {
    let refuse = |why: String| io::Error::new(io::ErrorKind::PermissionDenied, format!("{}: {why}", path.display()));
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o755)
                    .create(parent)
                    .map_err(|e| io::Error::new(e.kind(), format!("cannot create {}: {e}", parent.display())))?;
            }
            match DirBuilder::new().mode(0o700).create(path) {
                Ok(()) => Ok(()),
                // Somebody was quicker: look at what they made.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => private_dir(path),
                Err(e) => Err(io::Error::new(e.kind(), format!("cannot create {}: {e}", path.display()))),
            }
        }
        Err(e) => Err(io::Error::new(e.kind(), format!("cannot look at {}: {e}", path.display()))),
        Ok(meta) if meta.file_type().is_symlink() => {
            // Following is fine when what it points to is ours; check that.
            private_dir(&fs::canonicalize(path)?)
        }
        Ok(meta) if !meta.is_dir() => Err(refuse("is not a directory; name another one with --dir".into())),
        Ok(meta) if meta.uid() != super::process::effective_uid() => Err(refuse(format!(
            "belongs to uid {}, not to us (uid {}); run as its owner, or name another directory with --dir",
            meta.uid(),
            super::process::effective_uid()
        ))),
        Ok(meta) if meta.mode() & 0o022 != 0 => Err(refuse(format!(
            "others may write there (mode {:04o}); `chmod go-w` it, or name another directory with --dir",
            meta.mode() & 0o7777
        ))),
        Ok(_) => Ok(()),
    }
}

/// Opens (or makes, 0600) a file of ours for reading and writing, never through a link.
pub fn private_file(path: &Path) -> io::Result<File> {
    open(path, OpenOptions::new().read(true).write(true).create(true).truncate(false))
}

/// Takes room on the disk for `len` bytes of `file` from `at` on; ENOSPC now, instead of a SIGBUS in a mapping later.
pub fn reserve(file: &File, at: u64, len: u64) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    Ok(nix::fcntl::posix_fallocate(file, at as i64, len as i64)?)
}

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot open {}: {e}", path.display())))?;
    Ok(file)
}

/// Writes a pid and a line's end to a file of its own, 0644, never through a link.
pub fn write_pid(path: &Path, pid: u32) -> io::Result<()> {
    let mut file = open_pid(path, OpenOptions::new().write(true).create(true).truncate(false).mode(0o644))?;
    file.set_len(0)?;
    writeln!(file, "{pid}")
}

/// Removes that file, if it holds this pid.
pub fn remove_pid(path: &Path, pid: u32) -> io::Result<()> {
    let mut text = String::new();
    open_pid(path, OpenOptions::new().read(true))?.take(32).read_to_string(&mut text)?;
    if text.trim().parse() == Ok(pid) { fs::remove_file(path) } else { Ok(()) }
}

fn open_pid(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // A pipe in its place must not make us wait for its other side.
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is there, and is no regular file"));
    }
    Ok(file)
}

/// The inode behind a descriptor.
pub fn inode(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(nix::sys::stat::fstat(fd)?.st_ino)
}

/// A lock on a directory, held for as long as any process has this open file.
#[derive(Debug)]
pub struct DirLock(File);

impl DirLock {
    /// Takes the lock and writes our pid into it. `Err(Some(pid))`: another process holds it.
    pub fn take(path: &Path) -> Result<DirLock, LockError> {
        let mut file = private_file(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                return Err(LockError::Held(text.trim().parse().ok()));
            }
            Err(TryLockError::Error(e)) => return Err(e.into()),
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(DirLock(file))
    }

    /// The open file, to be handed on: whoever has it holds the lock too.
    pub fn file(&self) -> &File {
        &self.0
    }
}

/// Why the lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Held by this process, where it has written its pid down.
    #[error("held by another process")]
    Held(Option<u32>),
    /// The file itself failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn directories_are_made_private_and_others_refused() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("a/b");
        private_dir(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o7777, 0o700);
        private_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(private_dir(&dir).unwrap_err().to_string().contains("others may write"));
        fs::write(tmp.path().join("f"), "").unwrap();
        assert!(private_dir(&tmp.path().join("f")).is_err());
    }

    #[test]
    fn fault_27_the_second_one_learns_the_first_one_s_pid() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("lock");
        let held = DirLock::take(&path).unwrap();
        match DirLock::take(&path) {
            Err(LockError::Held(pid)) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(held);
        DirLock::take(&path).unwrap();
    }

    #[test]
    fn links_are_not_followed() {
        let tmp = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", tmp.path().join("l")).unwrap();
        assert!(private_file(&tmp.path().join("l")).is_err());
        assert!(write_pid(&tmp.path().join("l"), 1).is_err());
    }

    #[test]
    fn a_pid_file_is_written_over_and_removed_by_its_owner_alone() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("p");
        write_pid(&path, 123_456).unwrap();
        write_pid(&path, 77).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "77\n");
        remove_pid(&path, 78).unwrap();
        assert!(path.exists());
        remove_pid(&path, 77).unwrap();
        assert!(!path.exists());
        assert_eq!(remove_pid(&path, 77).unwrap_err().kind(), io::ErrorKind::NotFound);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        assert!(write_pid(&path, 1).is_err(), "nobody waits for a reader");
    }
}
