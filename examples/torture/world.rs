//! What all actors share: the seed, the ledger, what has been done, and the first fault that was found.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::chance::{Chance, Step};
use crate::ledger::{Incident, Ledger};
use crate::link::{Address, Link};

/// Steps that are shown with a fault.
const REMEMBERED: usize = 80;

pub struct World {
    pub seed: u64,
    pub started: Instant,
    pub house: House,
    /// The keeper, and where its master listens.
    daemon: Mutex<(u32, Address)>,
    /// Actors go on until it is set.
    pub calm: AtomicBool,
    ledger: Mutex<Ledger>,
    counts: Mutex<BTreeMap<String, u64>>,
    history: Mutex<VecDeque<String>>,
    /// All steps, in a file; kept after a fault.
    steps: Option<File>,
    fault: Mutex<Option<String>>,
}

/// Where everything lies.
#[derive(Debug, Clone)]
pub struct House {
    pub root: PathBuf,
    /// The daemon's directory.
    pub dir: PathBuf,
    /// Whether that is a disk of its own, which can be filled.
    pub small_disk: bool,
    pub pools: Vec<&'static str>,
    pub binary: PathBuf,
}

impl House {
    /// Each run adds its id to it.
    pub fn marks(&self) -> String {
        self.root.join("marks").display().to_string()
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.join("preforkd.sock")
    }

    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }
}

/// A lock is never held across anything that could panic half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub fn new(seed: u64, house: House, tcp: Address, keeper: u32) -> World {
        let steps = File::create(house.root.join("steps")).ok(); // the last steps are shown without it, too
        World {
            seed,
            started: Instant::now(),
            house,
            daemon: Mutex::new((keeper, tcp)),
            calm: AtomicBool::new(true),
            ledger: Mutex::default(),
            counts: Mutex::default(),
            history: Mutex::default(),
            steps,
            fault: Mutex::default(),
        }
    }

    pub fn keeper(&self) -> u32 {
        lock(&self.daemon).0
    }

    pub fn tcp(&self) -> Address {
        lock(&self.daemon).1.clone()
    }

    /// Another keeper has taken over.
    pub fn moved(&self, keeper: u32, tcp: Address) {
        *lock(&self.daemon) = (keeper, tcp);
    }

    pub fn chance(&self, actor: impl Into<String>) -> Chance {
        Chance::new(self.seed, actor)
    }

    /// As an administrator.
    pub fn link(&self) -> Link {
        Link::new(Address::Unix(self.house.socket()))
    }

    /// Whether actors are to come to an end.
    pub fn over(&self) -> bool {
        self.calm.load(Ordering::Relaxed) || lock(&self.fault).is_some()
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    pub fn happened(&self, what: Incident) {
        self.ledger().happened(what);
    }

    pub fn count(&self, what: impl Into<String>) {
        self.add(what, 1);
    }

    pub fn add(&self, what: impl Into<String>, many: u64) {
        *lock(&self.counts).entry(what.into()).or_default() += many;
    }

    pub fn counts(&self) -> BTreeMap<String, u64> {
        lock(&self.counts).clone()
    }

    /// What is done now, for the case that it is one step too many.
    pub fn note(&self, chance: &Chance, step: &Step, what: &str) {
        self.say(&format!("{} {}: {what}", chance.actor(), step.number));
    }

    /// The same, without a step.
    pub fn say(&self, what: &str) {
        let line = format!("{} {:9.3} s  {what}", now(), self.started.elapsed().as_secs_f64());
        let mut history = lock(&self.history);
        if history.len() == REMEMBERED {
            history.pop_front();
        }
        if let Some(mut file) = self.steps.as_ref() {
            // One step less in the file: the fault is found all the same.
            let _ = writeln!(file, "{line}");
        }
        history.push_back(line);
    }

    pub fn history(&self) -> Vec<String> {
        lock(&self.history).iter().cloned().collect()
    }

    /// What should never have happened. The first is the one that is told.
    pub fn fault(&self, actor: &str, what: &str) {
        let at = self.started.elapsed().as_secs_f64();
        lock(&self.fault).get_or_insert_with(|| format!("{actor}, after {at:.3} s: {what}"));
    }

    pub fn found(&self) -> Option<String> {
        lock(&self.fault).clone()
    }

    /// Waits, unless it is over.
    pub fn pause(&self, ms: u64) {
        let until = Instant::now() + Duration::from_millis(ms);
        while !self.over() && Instant::now() < until {
            std::thread::sleep(until.saturating_duration_since(Instant::now()).min(Duration::from_millis(20)));
        }
    }
}

/// As in the daemon's log, so that the two can be read side by side.
fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    format!("{:02}:{:02}:{:02}.{:03}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60, since.subsec_millis())
}

/// Looks again and again until it is so; the last that was seen, if it never is.
pub fn eventually<T>(limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let deadline = Instant::now() + limit;
    loop {
        match look() {
            Ok(seen) => return Ok(seen),
            Err(last) if Instant::now() > deadline => return Err(format!("{last} (looked at for {limit:?})")),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// The names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
