//! The process file: read, checked, and turned into pools with every default filled in.
//!
//! A text format (`jsonc`) maps the text to one tree with places (`tree`). The rules (`check` and
//! `parts`, on `fields`, `values` and `paths`) know only that tree and tell every fault at once
//! (`error`). Nothing here starts or changes anything; of the file system it looks at the file
//! itself and at whether the folders and files that it names are there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod app;
mod apps;
mod canonical;
mod check;
mod circle;
mod entry;
mod error;
mod fields;
pub mod import;
mod jsonc;
mod parts;
mod paths;
mod pool;
mod related;
#[cfg(test)]
mod tests;
mod tree;
mod values;
mod variables;
mod yaml;

pub use app::{Address, App, Format, Inherit, Instances, Listen, Logs, Program, Ready, Sink, Watch};
pub use circle::{circle, told as circle_told};
pub use entry::entry_allowed;
pub use error::{Error, Errors, nearest};
pub use variables::Variables;

use error::{At, Report};

/// JSON Schema (2020-12) of a process file.
pub const SCHEMA: &str = include_str!("../../proto/schema/process-file.json");

/// Largest process file that is read, in bytes.
pub const MAX_BYTES: u64 = 4 << 20;

/// A process file that has been checked.
#[derive(Debug, Clone)]
pub struct ProcessFile {
    /// Absolute path of the file.
    pub path: PathBuf,
    /// Its folder, absolute: relative paths in the file are relative to it.
    pub folder: PathBuf,
    /// In the order of the file; names differ, those of apps among them.
    pub pools: Vec<Pool>,
    /// In the order of the file.
    pub apps: Vec<App>,
    /// What was taken, and is of no use here; one line each.
    pub warnings: Vec<String>,
}

/// Whether files and folders that are named must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// They must.
    Checked,
    /// They were when this was written, or will be when it is used.
    Assumed,
}

/// What a zygote of the pool runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// PHP 8.1 or later with the embedded kit.
    Php,
    /// Python 3.9 or later with the embedded kit.
    Python,
    /// A program that links this crate's `zygote`.
    Native,
}

/// How a run's process leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Output flushed and shutdown functions run, then `_exit`.
    Fast,
    /// The runtime's own teardown.
    Full,
}

/// Whether a zygote's memory is put into huge pages after the preload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HugePages {
    /// Where the kernel can do it.
    Auto,
    /// No.
    Off,
}

/// Where the output of runs goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// `DIR/logs/POOL-out.log` and `DIR/logs/POOL-error.log`.
    Log,
    /// The last 64 KiB of each stream, in the status.
    Capture,
    /// The daemon's own stdout and stderr.
    Inherit,
    /// Nowhere.
    None,
}

/// How many pre-forked children wait: as many as the latest load has needed, within these bounds. A number in the file is both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Idle {
    /// So many whatever the load.
    pub min: u32,
    /// At most so many, not below `min`.
    pub max: u32,
}

/// Resource limits of a run, None where nothing is limited beyond the daemon's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Address space in bytes (RLIMIT_AS).
    pub memory: Option<u64>,
    /// CPU time in whole seconds, rounded up (RLIMIT_CPU).
    pub cpu_time: Option<Duration>,
    /// Open files (RLIMIT_NOFILE).
    pub open_files: Option<u64>,
    /// Largest core file in bytes (RLIMIT_CORE).
    pub core: Option<u64>,
}

/// One pool with every default filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// `[A-Za-z0-9._-]{1,64}`, the first a letter or digit; unique in the file.
    pub name: String,
    /// What its zygotes are.
    pub runtime: Runtime,
    /// Program and arguments; there if and only if the runtime is native.
    pub command: Option<Vec<String>>,
    /// Absolute path of the file to preload, which could be read; None with native.
    pub preload: Option<PathBuf>,
    /// Absolute path of the working directory, which was there. Default: the file's folder.
    pub cwd: PathBuf,
    /// Variables added to the environment.
    pub env: BTreeMap<String, String>,
    /// Program and arguments of the interpreter; empty with native. A program with a slash is an
    /// absolute path, one without is looked up in PATH.
    pub interpreter: Vec<String>,
    /// User to run as; None: the daemon's.
    pub user: Option<String>,
    /// Group to run as; None: the user's.
    pub group: Option<String>,
    /// Whether the file says that this is the default pool; see [`default_pool`].
    pub default: bool,
    /// Pre-forked children kept waiting, at most `max_running`. Default 0: fork on demand.
    pub idle: Idle,
    /// Runs at a time, at least 1. Default 64.
    pub max_running: u32,
    /// Runs that may wait beyond those. Default 1000.
    pub max_queued: u32,
    /// How long a run may take; None: for ever.
    pub timeout: Option<Duration>,
    /// From SIGTERM to SIGKILL. Default 10 s; zero kills at once.
    pub kill_timeout: Duration,
    /// How long a zygote may take to be ready. Default 30 s.
    pub preload_timeout: Duration,
    /// How long a finished run's status stays. Default 24 h.
    pub keep: Duration,
    /// Patterns for [`entry_allowed`]; None: the app's own code under `cwd`.
    pub entries: Option<Vec<String>>,
    /// Default: fast.
    pub shutdown: Shutdown,
    /// Default: auto.
    pub huge_pages: HugePages,
    /// Default: log.
    pub output: Output,
    /// Default: none of them.
    pub limits: Limits,
    /// Files whose change makes a new generation.
    pub watch: Option<Watch>,
}

impl Runtime {
    /// The word in process files and statuses.
    pub fn as_str(self) -> &'static str {
        match self {
            Runtime::Php => "php",
            Runtime::Python => "python",
            Runtime::Native => "native",
        }
    }

    /// The interpreter where the file names none; empty with native.
    fn interpreter(self) -> Vec<String> {
        match self {
            Runtime::Php => vec!["php".to_owned()],
            Runtime::Python => vec!["python3".to_owned()],
            Runtime::Native => Vec::new(),
        }
    }
}

/// Reads and checks a file. All faults come at once, a fault of syntax alone.
pub fn load(path: &Path) -> Result<ProcessFile, Errors> {
    let mut report = Report::new(path);
    let bytes = match read(path) {
        Ok(bytes) => bytes,
        Err(message) => {
            report.add((0, 0), &At::Root, || message);
            return Err(report.into_errors());
        }
    };
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(text, path),
        Err(error) => {
            // The text up to the first bad byte is good, so that its end is the place.
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let place = jsonc::place_of_end(without_mark(&good));
            let byte = bytes[error.valid_up_to()];
            report.add(place, &At::Root, || format!("expected UTF-8, found the byte 0x{byte:02x}"));
            Err(report.into_errors())
        }
    }
}

/// Checks the text of a file. `path` is where it is or would be: its folder is what relative paths
/// are relative to, and the folders and files that the text names must be there.
pub fn parse(text: &str, path: &Path) -> Result<ProcessFile, Errors> {
    let mut report = Report::new(path);
    let absolute = match std::path::absolute(path) {
        Ok(absolute) => absolute,
        Err(error) => {
            report.add((0, 0), &At::Root, || format!("expected the path of a file: {error}"));
            return Err(report.into_errors());
        }
    };
    let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    let yaml = absolute.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let tree = if yaml { yaml::parse(without_mark(text)) } else { jsonc::parse(without_mark(text)) };
    let contents = match tree {
        Ok(tree) => check::file(&tree, &folder, Presence::Checked, &[], &mut report),
        Err(error) => {
            report.add((error.line, error.column), &At::Root, || error.message);
            None
        }
    };
    match contents {
        Some(check::Contents { pools, apps, warnings }) if report.is_empty() => {
            Ok(ProcessFile { path: absolute, folder, pools, apps, warnings })
        }
        _ => Err(report.into_errors()),
    }
}

/// Checks apps and pools that come from somewhere else than a file: JSON as in a process file, an object with `apps`
/// or `pools`. Files and folders that they name need not be there. `pools` are names that are known beside those in the text.
pub fn parse_apps(text: &str, folder: &Path, pools: &[&str]) -> Result<(Vec<App>, Vec<Pool>), Errors> {
    let mut report = Report::new(Path::new("apps"));
    let contents = match jsonc::parse(text) {
        Ok(tree) => check::file(&tree, folder, Presence::Assumed, pools, &mut report),
        Err(error) => {
            report.add((error.line, error.column), &At::Root, || error.message);
            None
        }
    };
    match contents {
        Some(contents) if report.is_empty() => Ok((contents.apps, contents.pools)),
        _ => Err(report.into_errors()),
    }
}

impl ProcessFile {
    /// Merges each app's `env_NAME` into its environment. The error says which there are.
    pub fn choose_env(&mut self, name: &str) -> Result<(), String> {
        let mut any = false;
        for app in &mut self.apps {
            if let Some(variables) = app.env_named.get(name) {
                any = true;
                app.env = app.env.merged(variables);
            }
        }
        if any {
            return Ok(());
        }
        let mut known: Vec<&str> = self.apps.iter().flat_map(|app| app.env_named.keys()).map(String::as_str).collect();
        known.sort_unstable();
        known.dedup();
        let there =
            if known.is_empty() { "there is none".to_owned() } else { format!("there are {}", known.join(", ")) };
        Err(format!("no app of {} has env_{name}; {there}", self.path.display()))
    }

    /// Only these apps. The error names one that is not there.
    pub fn only(&mut self, names: &[String]) -> Result<(), String> {
        if let Some(name) = names.iter().find(|name| self.apps.iter().all(|app| app.name != **name)) {
            let near = nearest(name, self.apps.iter().map(|app| app.name.as_str()));
            let hint = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
            return Err(format!("there is no app \"{name}\" in {}{hint}", self.path.display()));
        }
        self.apps.retain(|app| names.contains(&app.name));
        Ok(())
    }
}

/// The pool of Phprocksyd's commands and of a `run` without `pool`: the one that says so, or the
/// only one.
pub fn default_pool(pools: &[Pool]) -> Option<&Pool> {
    match pools {
        [only] => Some(only),
        several => several.iter().find(|pool| pool.default),
    }
}

fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// At most [`MAX_BYTES`] of a regular file, or what is wrong with it.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot read the process file: {error}");
    // The type first: opening a pipe could wait for ever.
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err("cannot read the process file: not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("expected a process file of at most {} MiB", MAX_BYTES >> 20));
    }
    Ok(bytes)
}
