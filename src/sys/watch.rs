//! Whether anything changes below some folders (inotify(7)).
//!
//! Folders are watched one by one, those that come later too. What editors, tools and interpreters leave beside the code does
//! not count. Events that the kernel had no room for count as a change.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};

/// What never counts: what is hidden, what others made, what editors leave.
const NEVER: [&str; 8] = ["node_modules", "__pycache__", "*.pyc", "*.swp", "*.swx", "*~", "4913", "#*#"];
/// Folders that one watch follows at most.
const MOST: usize = 100_000;

/// A set of folders and files.
#[derive(Debug)]
pub struct Watcher {
    inotify: Inotify,
    folders: HashMap<WatchDescriptor, PathBuf>,
    /// Files that are watched by their folder: nothing else in there counts.
    files: Vec<PathBuf>,
    roots: Vec<PathBuf>,
    ignore: GlobSet,
}

impl Watcher {
    /// Begins to watch `paths`, absolute. `ignore`: names, paths below one of `paths`, or globs of them.
    pub fn new(paths: &[PathBuf], ignore: &[String]) -> io::Result<Watcher> {
        let mut set = GlobSetBuilder::new();
        for pattern in NEVER.into_iter().chain(ignore.iter().map(String::as_str)) {
            let glob = GlobBuilder::new(pattern.trim_end_matches('/')).literal_separator(true).build();
            set.add(glob.map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?);
        }
        let ignore = set.build().map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let inotify = Inotify::init()?;
        let mut watcher =
            Watcher { inotify, folders: HashMap::new(), files: Vec::new(), roots: paths.to_vec(), ignore };
        for path in paths {
            if path.is_dir() {
                watcher.add(path)?;
            } else if let Some(folder) = path.parent() {
                // By its folder: an editor that saves by renaming makes another file of the same name.
                watcher.files.push(path.clone());
                watcher.add_one(folder)?;
            }
        }
        Ok(watcher)
    }

    fn add(&mut self, root: &Path) -> io::Result<()> {
        let mut left = vec![root.to_owned()];
        while let Some(folder) = left.pop() {
            self.add_one(&folder)?;
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                let path = entry.path();
                // Links are not followed: they may lead in circles.
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !self.is_ignored(&path) {
                    left.push(path);
                }
            }
        }
        Ok(())
    }

    fn add_one(&mut self, folder: &Path) -> io::Result<()> {
        let mask = WatchMask::MODIFY
            | WatchMask::ATTRIB
            | WatchMask::CLOSE_WRITE
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVE
            | WatchMask::DELETE_SELF
            | WatchMask::ONLYDIR;
        if self.folders.len() >= MOST {
            return Err(io::Error::other(format!("more than {MOST} folders; watch fewer, or ignore some")));
        }
        match self.inotify.watches().add(folder, mask) {
            Ok(descriptor) => drop(self.folders.insert(descriptor, folder.to_owned())),
            // It has gone again.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) if e.raw_os_error() == Some(libc::ENOSPC) => {
                let text = "the system watches as many folders as it may: raise fs.inotify.max_user_watches";
                return Err(io::Error::new(e.kind(), text));
            }
            Err(e) => return Err(io::Error::new(e.kind(), format!("cannot watch {}: {e}", folder.display()))),
        }
        Ok(())
    }

    /// Whether something has changed since the last time. Never waits.
    pub fn changed(&mut self) -> io::Result<bool> {
        let mut changed = false;
        let mut buffer = [0; 16 * 1024];
        loop {
            let mut found: Vec<(WatchDescriptor, EventMask, Option<std::ffi::OsString>)> = Vec::new();
            match self.inotify.read_events(&mut buffer) {
                Ok(events) => found.extend(events.map(|e| (e.wd, e.mask, e.name.map(OsStr::to_owned)))),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(changed),
                Err(e) => return Err(e),
            }
            if found.is_empty() {
                return Ok(changed);
            }
            for (descriptor, mask, name) in found {
                if mask.contains(EventMask::Q_OVERFLOW) {
                    changed = true;
                    continue;
                }
                if mask.contains(EventMask::IGNORED) {
                    self.folders.remove(&descriptor);
                    continue;
                }
                let Some(folder) = self.folders.get(&descriptor) else { continue };
                let path = name.map_or_else(|| folder.clone(), |name| folder.join(name));
                if self.is_ignored(&path) {
                    continue;
                }
                if mask.contains(EventMask::ISDIR) && mask.intersects(EventMask::CREATE | EventMask::MOVED_TO) {
                    self.add(&path)?;
                }
                // Attributes of a folder change with whatever is ignored in it.
                changed |= !(mask.contains(EventMask::ISDIR) && mask.contains(EventMask::ATTRIB));
            }
        }
    }

    fn is_ignored(&self, path: &Path) -> bool {
        if self.files.iter().any(|file| file == path) {
            return false;
        }
        let Some((root, inside)) = self.roots.iter().find_map(|root| Some((root, path.strip_prefix(root).ok()?)))
        else {
            return true;
        };
        let mut so_far = PathBuf::new();
        let whole = |part: &Path| self.ignore.is_match(root.join(part));
        inside.components().any(|part| {
            so_far.push(part);
            let name = Path::new(part.as_os_str());
            let hidden = part.as_os_str().as_encoded_bytes().starts_with(b".");
            hidden || self.ignore.is_match(name) || self.ignore.is_match(&so_far) || whole(&so_far)
        })
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_and_what_does_not() {
        let tmp = tempfile::tempdir().unwrap();
        let root = tmp.path().to_owned();
        fs::create_dir_all(root.join("src/deep")).unwrap();
        fs::create_dir_all(root.join("var/cache")).unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        let mut watcher = Watcher::new(std::slice::from_ref(&root), &["var".to_owned(), "*.log".to_owned()]).unwrap();
        assert!(!watcher.changed().unwrap());
        for quiet in ["var/cache/x", ".git/index", "src/a.log", "src/.a.php.swp", "src/a.php~"] {
            fs::write(root.join(quiet), "x").unwrap();
            assert!(!watcher.changed().unwrap(), "{quiet}");
        }
        for loud in ["src/deep/a.php", "b.php"] {
            fs::write(root.join(loud), "x").unwrap();
            assert!(watcher.changed().unwrap(), "{loud}");
            assert!(!watcher.changed().unwrap());
        }
        fs::create_dir(root.join("src/new")).unwrap();
        assert!(watcher.changed().unwrap());
        fs::write(root.join("src/new/c.php"), "x").unwrap();
        assert!(watcher.changed().unwrap(), "a folder that came later");
        fs::rename(root.join("src/new/c.php"), root.join("src/new/d.php")).unwrap();
        assert!(watcher.changed().unwrap());
    }

    #[test]
    fn a_file_that_is_saved_by_renaming() {
        let tmp = tempfile::tempdir().unwrap();
        let file = tmp.path().join("app.php");
        fs::write(&file, "1").unwrap();
        let mut watcher = Watcher::new(std::slice::from_ref(&file), &[]).unwrap();
        fs::write(tmp.path().join("other"), "x").unwrap();
        assert!(!watcher.changed().unwrap());
        for text in ["2", "3"] {
            fs::write(tmp.path().join("app.php.tmp"), text).unwrap();
            fs::rename(tmp.path().join("app.php.tmp"), &file).unwrap();
            assert!(watcher.changed().unwrap());
        }
    }
}
