//! What a daemon was started with: plain data that the command line fills and
//! keeper and master read. Nothing here opens, checks or creates anything.

use std::path::PathBuf;
use std::time::Duration;

/// TCP address a daemon listens on unless told otherwise. The port is Phprocksyd's.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:31337";

/// The two folders of a daemon. With `--dir` both are the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// Holds what means nothing after a reboot: socket, shared table, lock.
    pub runtime: PathBuf,
    /// Holds what outlives a restart: journal, logs.
    pub state: PathBuf,
}

impl Dirs {
    /// The Unix socket every command speaks over.
    pub fn socket(&self) -> PathBuf {
        self.runtime.join("preforkd.sock")
    }

    /// The shared table of runs.
    pub fn table(&self) -> PathBuf {
        self.runtime.join("table")
    }

    /// Where workers say that they are ready.
    pub fn notify(&self) -> PathBuf {
        self.runtime.join("notify")
    }

    /// Where a master without a keeper waits for another one.
    pub fn adopt(&self) -> PathBuf {
        self.runtime.join("adopt.sock")
    }

    /// The lock that keeper and master hold.
    pub fn lock(&self) -> PathBuf {
        self.runtime.join("lock")
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.state.join("journal")
    }

    /// The list of apps.
    pub fn apps(&self) -> PathBuf {
        self.state.join("apps.json")
    }

    /// The folder of `POOL-out.log` and `POOL-error.log`.
    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }
}

/// How the daemon's own log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line a record.
    Text,
    /// One JSON object a line.
    Json,
}

/// The least important records that are still written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// What went wrong and was not recovered.
    Error,
    /// What went wrong and was.
    Warning,
    /// Starts, reloads, shutdowns.
    Info,
    /// Each run.
    Debug,
    /// Each message.
    Trace,
}

/// Everything `preforkd serve` can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeOptions {
    /// Absolute path of the process file; `None` starts without pools.
    pub file: Option<PathBuf>,
    /// What that file says, as JSON, where it is in JavaScript: evaluated before there is a daemon.
    pub evaluated: Option<String>,
    /// Absolute paths; whether they exist and whose they are is not checked yet.
    pub dirs: Dirs,
    /// `HOST:PORT` each, syntax checked, names not resolved. Empty: no TCP.
    pub listen: Vec<String>,
    /// TCP was refused with `--no-tcp`; `listen` is empty then.
    pub no_tcp: bool,
    /// Take over from a daemon whose keeper has died.
    pub adopt: bool,
    /// Absolute path of the token file.
    pub token_file: Option<PathBuf>,
    /// See [`LogFormat`].
    pub log_format: LogFormat,
    /// See [`LogLevel`].
    pub log_level: LogLevel,
    /// Time from SIGTERM (or `shutdown`) to the end of the last process.
    pub shutdown_timeout: Duration,
    /// A master that has stood still for this long is ended, and another one serves. None: never.
    pub watchdog: Option<Duration>,
    /// Longest request line, in bytes.
    pub max_line: usize,
    /// Most connections at a time.
    pub max_connections: usize,
}
