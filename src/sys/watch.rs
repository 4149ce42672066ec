//! Changes of files (inotify(7)): folders with all below them, for several owners, on one descriptor.
//!
//! A file counts as changed when a writer has closed it, or when it has come, gone or been renamed. Writes alone do not count: who
//! keeps a log open is no change. A socket or a pipe that is made is none either.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};

/// Whoever wants to know; a number of the caller's choice.
pub type Owner = u32;

/// All that is watched.
#[derive(Debug)]
pub struct Watcher {
    inotify: Inotify,
    places: HashMap<WatchDescriptor, Vec<Place>>,
    buffer: Vec<u8>,
}

/// A folder as one owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    owner: Owner,
    path: PathBuf,
    /// This file of it alone, and nothing below.
    only: Option<PathBuf>,
}

/// A change that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This file or folder of that owner's.
    Path(Owner, PathBuf),
    /// More happened than the kernel has kept: anything may have changed, and all has to be watched anew.
    Overflow,
}

/// Tells whether a path counts for its owner.
pub type Counts<'a> = &'a dyn Fn(Owner, &Path) -> bool;

impl Watcher {
    /// Watches nothing yet.
    pub fn new() -> io::Result<Watcher> {
        Ok(Watcher { inotify: Inotify::init()?, places: HashMap::new(), buffer: vec![0; 64 * 1024] })
    }

    /// Watches a folder with all below it that counts, or a file, for `owner`.
    pub fn add(&mut self, owner: Owner, root: &Path, counts: Counts<'_>) -> io::Result<()> {
        let meta = fs::metadata(root).map_err(|e| named(root, e))?;
        if meta.is_dir() {
            return self.add_folder(owner, root, counts, &mut Vec::new());
        }
        // An editor puts another file in its place, so that its folder is what tells.
        let folder = root.parent().unwrap_or(Path::new("/"));
        self.place(Place { owner, path: folder.to_owned(), only: Some(root.to_owned()) })
    }

    /// Nobody wants to know for `owner` any more.
    pub fn remove(&mut self, owner: Owner) {
        self.forget(|place| place.owner == owner);
    }

    /// Takes what has happened; never waits.
    pub fn read(&mut self, counts: Counts<'_>) -> io::Result<Vec<Change>> {
        let mut changes = Vec::new();
        loop {
            let mut buffer = std::mem::take(&mut self.buffer);
            let events = match self.inotify.read_events(&mut buffer) {
                Ok(events) => events.map(|event| event.to_owned()).collect::<Vec<_>>(),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => Vec::new(),
                Err(e) => return Err(e),
            };
            self.buffer = buffer;
            if events.is_empty() {
                return Ok(changes);
            }
            for event in events {
                if event.mask.contains(EventMask::Q_OVERFLOW) {
                    changes.push(Change::Overflow);
                } else if event.mask.contains(EventMask::IGNORED) {
                    self.places.remove(&event.wd);
                } else if let Some(name) = &event.name {
                    self.happened(&event.wd, event.mask, name, counts, &mut changes)?;
                }
            }
        }
    }

    fn happened(
        &mut self,
        wd: &WatchDescriptor,
        mask: EventMask,
        name: &OsStr,
        counts: Counts<'_>,
        changes: &mut Vec<Change>,
    ) -> io::Result<()> {
        for place in self.places.get(wd).cloned().unwrap_or_default() {
            let path = place.path.join(name);
            let meant = place.only.as_ref().is_none_or(|only| *only == path);
            if !meant || !counts(place.owner, &path) {
                continue;
            }
            let folder = mask.contains(EventMask::ISDIR);
            if folder && mask.intersects(EventMask::MOVED_FROM | EventMask::DELETE) {
                self.forget(|known| {
                    known.owner == place.owner && known.only.is_none() && known.path.starts_with(&path)
                });
            }
            if folder && mask.intersects(EventMask::CREATE | EventMask::MOVED_TO) {
                // What was put into it before it was watched is news, too. An empty folder is none.
                let mut files = Vec::new();
                self.add_folder(place.owner, &path, counts, &mut files)?;
                changes.extend(files.into_iter().map(|file| Change::Path(place.owner, file)));
                continue;
            }
            // A new file is a change when its writer has closed it; a new name of an old one at once.
            if mask.contains(EventMask::CREATE) && !is_link(&path) {
                continue;
            }
            changes.push(Change::Path(place.owner, path));
        }
        Ok(())
    }

    /// Gives the files that are there.
    fn add_folder(
        &mut self,
        owner: Owner,
        root: &Path,
        counts: Counts<'_>,
        files: &mut Vec<PathBuf>,
    ) -> io::Result<()> {
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            // Watched first, read then: so nothing gets lost in between.
            match self.place(Place { owner, path: folder.clone(), only: None }) {
                // Gone already, or not ours to read: nothing of it can be told.
                Err(e)
                    if folder != root
                        && matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) =>
                {
                    continue;
                }
                other => other?,
            }
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let (path, kind) = (entry.path(), entry.file_type()?);
                if !counts(owner, &path) {
                    continue;
                }
                if kind.is_dir() {
                    folders.push(path);
                } else if !kind.is_socket() && !kind.is_fifo() {
                    files.push(path);
                }
            }
        }
        Ok(())
    }

    fn place(&mut self, place: Place) -> io::Result<()> {
        let mask = WatchMask::CREATE
            | WatchMask::CLOSE_WRITE
            | WatchMask::DELETE
            | WatchMask::MOVE
            | WatchMask::ONLYDIR
            | WatchMask::EXCL_UNLINK;
        match self.inotify.watches().add(&place.path, mask) {
            Ok(wd) => {
                let places = self.places.entry(wd).or_default();
                if !places.contains(&place) {
                    places.push(place);
                }
                Ok(())
            }
            Err(e) if e.raw_os_error() == Some(libc::ENOSPC) => {
                let limit = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").unwrap_or_default();
                let text = format!(
                    "{}: no more folders can be watched: the limit of {} is reached; raise it with \
                     `sysctl fs.inotify.max_user_watches=…`, or leave out folders with ignore_watch",
                    place.path.display(),
                    limit.trim()
                );
                Err(io::Error::new(io::ErrorKind::StorageFull, text))
            }
            Err(e) => Err(named(&place.path, e)),
        }
    }

    fn forget(&mut self, gone: impl Fn(&Place) -> bool) {
        let mut watches = self.inotify.watches();
        self.places.retain(|wd, places| {
            places.retain(|place| !gone(place));
            if places.is_empty() {
                // A folder that has been deleted is not watched any more anyway.
                let _ = watches.remove(wd.clone());
            }
            !places.is_empty()
        });
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// A link, symbolic or hard.
fn is_link(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink() || meta.is_file() && meta.nlink() > 1)
}

fn named(path: &Path, e: io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests;
