//! The list of apps on the disk: what is declared, what is wanted. Written anew after each change, by a thread, since
//! an fsync may take long: to a file beside it that is synced and takes its name. Callers hear when that is done, or has
//! failed; then it is tried again until there is room.
//!
//! The one before stays as `apps.json.before`; a list that cannot be read is kept aside, and that one is used.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use serde::{Deserialize, Serialize};

use crate::sys::eventfd::EventFd;
use crate::sys::files;

/// What the file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Saved {
    /// Counts up when a key changes its meaning.
    pub version: u32,
    /// The next worker's id.
    pub next_id: u32,
    /// The callers', each once.
    pub environments: Vec<BTreeMap<String, String>>,
    /// Pools that came by `start` or `apply`.
    pub pools: Vec<serde_json::Value>,
    /// In the order of names.
    pub apps: Vec<SavedApp>,
    /// By id.
    pub workers: Vec<SavedWorker>,
}

/// An app in the file.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedApp {
    /// Canonical.
    pub app: serde_json::Value,
    /// Which of the environments.
    pub env: usize,
    /// A process file has it.
    #[serde(default)]
    pub declared: bool,
}

/// A worker in the file.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedWorker {
    /// Its id.
    pub id: u32,
    /// Its app's name.
    pub app: String,
    /// Its number.
    pub instance: u32,
    /// When it was added, ns of wall time; 0: not known.
    #[serde(default)]
    pub added_at: u64,
    /// Whether it is to be up.
    pub wanted: bool,
}

/// The version of [`Saved`].
pub const VERSION: u32 = 1;

#[derive(Debug)]
struct Shared {
    saved: AtomicU64,
    /// The latest that could not be written, and why.
    failed: AtomicU64,
    why: Mutex<String>,
    wake: EventFd,
}

/// The file and its writer.
#[derive(Debug)]
pub struct List {
    path: PathBuf,
    /// Counts changes.
    version: u64,
    /// There are changes that the writer does not have.
    pub dirty: bool,
    /// It has been told that the list cannot be written.
    pub told: bool,
    /// It is going to be tried again.
    pub awaited: bool,
    /// Pools that are in the list.
    pub pools: Vec<crate::processfile::Pool>,
    shared: Arc<Shared>,
    writer: Option<mpsc::Sender<(u64, Vec<u8>)>>,
}

impl List {
    /// Nothing is read or written yet.
    pub fn new(path: PathBuf) -> io::Result<List> {
        let shared = Shared {
            saved: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            why: Mutex::default(),
            wake: EventFd::new()?,
        };
        Ok(List {
            path,
            version: 0,
            dirty: false,
            told: false,
            awaited: false,
            pools: Vec::new(),
            shared: Arc::new(shared),
            writer: None,
        })
    }

    /// Becomes readable when something has been saved.
    pub fn wake(&self) -> impl AsFd + '_ {
        &self.shared.wake
    }

    /// After it was readable. The error is the writer's, and is told once.
    pub fn woken(&self) {
        self.shared.wake.take();
    }

    /// Which state there is.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Which state is on the disk.
    pub fn saved(&self) -> u64 {
        self.shared.saved.load(Ordering::Acquire)
    }

    /// Which states have been written, or could not be.
    pub fn tried(&self) -> u64 {
        self.saved().max(self.shared.failed.load(Ordering::Acquire))
    }

    /// Why the latest write has failed, if it has.
    pub fn failure(&self) -> Option<String> {
        let failed = self.shared.failed.load(Ordering::Acquire) > self.saved();
        failed.then(|| self.shared.why.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// There is a new state.
    pub fn change(&mut self) {
        self.version += 1;
        self.dirty = true;
    }

    /// Hands the state to the writer.
    pub fn write(&mut self, state: &Saved) -> io::Result<()> {
        self.dirty = false;
        let bytes = serde_json::to_vec_pretty(state)?;
        let writer = match &self.writer {
            Some(writer) => writer,
            None => {
                let (sender, receiver) = mpsc::channel();
                let (path, shared) = (self.path.clone(), Arc::clone(&self.shared));
                std::thread::Builder::new().name("list".into()).spawn(move || write_all(&path, &shared, &receiver))?;
                self.writer.insert(sender)
            }
        };
        writer.send((self.version, bytes)).map_err(|_| io::Error::other("the writer of the list has ended"))
    }

    /// Reads the file, or the one before where it is damaged; with what was wrong.
    pub fn read(&self) -> (Option<Saved>, Option<String>) {
        match read(&self.path) {
            Ok(saved) => (saved, None),
            Err(why) => {
                let aside = self.path.with_extension("json.damaged");
                let kept = match fs::rename(&self.path, &aside) {
                    Ok(()) => format!("it is kept as {}", aside.display()),
                    Err(e) => format!("it cannot be kept aside: {e}"),
                };
                let before = read(&before(&self.path)).ok().flatten();
                let used = if before.is_some() { "; the one before it is used" } else { "" };
                (before, Some(format!("{}: {why}; {kept}{used}", self.path.display())))
            }
        }
    }
}

fn before(path: &Path) -> PathBuf {
    path.with_extension("json.before")
}

fn read(path: &Path) -> Result<Option<Saved>, String> {
    let bytes = match fs::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|e| e.to_string())?,
    };
    let saved: Saved = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
    if saved.version != VERSION {
        return Err(format!("it is of version {}, this preforkd reads {VERSION}", saved.version));
    }
    Ok(Some(saved))
}

fn write_all(path: &Path, shared: &Shared, states: &mpsc::Receiver<(u64, Vec<u8>)>) {
    while let Ok(mut state) = states.recv() {
        // Only the latest counts.
        while let Ok(newer) = states.try_recv() {
            state = newer;
        }
        match write(path, &state.1) {
            Ok(()) => shared.saved.store(state.0, Ordering::Release),
            Err(e) => {
                *shared.why.lock().unwrap_or_else(PoisonError::into_inner) = e.to_string();
                shared.failed.store(state.0, Ordering::Release);
            }
        }
        // A counter that is full has woken the master already.
        let _ = shared.wake.signal();
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("json.new");
    let mut file = files::private_file(&new)?;
    file.set_len(0)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    if path.exists() {
        let before = before(path);
        match fs::remove_file(&before) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => fs::hard_link(path, &before)?,
        }
    }
    fs::rename(&new, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_for(list: &List) {
        for _ in 0..1000 {
            if list.tried() == list.version() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("not saved within 5 s");
    }

    #[test]
    fn a_damaged_list_is_kept_aside_and_the_one_before_used() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("apps.json");
        let mut list = List::new(path.clone()).unwrap();
        assert!(matches!(list.read(), (None, None)));
        for next_id in [7, 8] {
            list.change();
            list.write(&Saved { version: VERSION, next_id, ..Saved::default() }).unwrap();
            wait_for(&list);
        }
        assert_eq!(list.read().0.unwrap().next_id, 8);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let (saved, why) = list.read();
        assert_eq!(saved.unwrap().next_id, 7);
        assert!(why.unwrap().contains("apps.json.damaged"));
        assert_eq!(fs::read(path.with_extension("json.damaged")).unwrap(), &bytes[..bytes.len() / 2]);
    }

    #[test]
    fn a_list_of_before_it_was_known_whose_an_app_is_is_read() {
        let text = r#"{"version": 1, "next_id": 3, "environments": [{}], "pools": [], "workers": [],
                       "apps": [{"app": {"name": "web"}, "env": 0}]}"#;
        let saved: Saved = serde_json::from_str(text).unwrap();
        assert!(!saved.apps[0].declared, "it stays, for it may have come by `start`");
    }

    #[test]
    fn a_list_that_cannot_be_written_says_so() {
        let tmp = tempfile::tempdir().unwrap();
        let mut list = List::new(tmp.path().join("gone/apps.json")).unwrap();
        list.change();
        list.write(&Saved::default()).unwrap();
        wait_for(&list);
        assert!(list.failure().unwrap().contains("No such file"));
    }
}
