//! The keeper: parent and subreaper of everything, so that anything else may die.
//!
//! It holds descriptors for the master (the fd store), writes each exit into the shared table's ring before it
//! reaps, and starts a new master when the master dies or stands still. It parses no request, reads no process file and has one
//! thread; it fits on a few screens, so that it has no reason to crash. Nothing else may enter this folder.

mod adopting;
mod ending;
mod masters;
mod reaper;
mod replacing;
mod store;
mod successor;
mod turn;
mod watchdog;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use reaper::{Masters, Reaper};
use replacing::{Candidate, Errand};
use store::Store;
use successor::Successor;
use watchdog::Watchdog;

use crate::settings::{LogFormat, ServeOptions};
use crate::sys::clock::{monotonic_ns, wall_ns};
use crate::sys::eventfd::EventFd;
use crate::sys::files::{self, DirLock, LockError};
use crate::sys::pidfd::PidFd;
use crate::sys::seqpacket::Batch;
use crate::sys::signals::Signals;
use crate::sys::spawn::SpawnError;
use crate::sys::{memfd, notify, process};
use crate::table::Table;
use crate::wire::control::{self, ToMaster};
use crate::wire::status::Timestamp;

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;
const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;
const SIGCONT: i32 = 18;

/// What a master that ends is given to do so.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// After a start or a word from the master, until memory is given back.
const CALM: Duration = Duration::from_secs(2);
/// How long a master that does not read may hold us up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a daemon could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// Another one serves this directory.
    #[error("preforkd is already running on {dir}{}; stop it with `preforkd --dir {dir} shutdown`, or name another directory with --dir", pid.map(|p| format!(" (pid {p})")).unwrap_or_default())]
    AlreadyRunning {
        /// The directory.
        dir: String,
        /// The first one's pid, where it could be read.
        pid: Option<u32>,
    },
    /// The one that serves it has lost its keeper.
    #[error(
        "the daemon on {dir} has lost its keeper, and its master still serves: take over with `preforkd serve --adopt` and the same arguments"
    )]
    Orphaned {
        /// The directory.
        dir: String,
    },
    /// A system call failed.
    #[error("{doing}: {source}")]
    System {
        /// What was being done.
        doing: String,
        /// The system's word.
        source: io::Error,
    },
    /// The master's program could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

struct Master {
    pid: u32,
    handle: PidFd,
    /// None once it has closed its end.
    control: Option<OwnedFd>,
    started_at: u64,
    quit: Option<u8>,
    /// Of a former keeper's: its end is that of the channel.
    fostered: bool,
}

struct Keeper<'a> {
    options: &'a ServeOptions,
    table: Table,
    signals: Signals,
    wake: EventFd,
    store: Store,
    reaper: Reaper,
    master: Option<Master>,
    /// For what masters say.
    inbox: Batch,
    /// What is to be the master, if all goes well.
    successor: Option<Successor>,
    /// A master that has been succeeded, and is killed at this time, ns monotonic.
    leaving: Option<(u32, PidFd, u64)>,
    /// Who could take our place.
    candidate: Option<Candidate>,
    /// The program that masters are; None: ours.
    binary: Option<OsString>,
    /// Some of those who are looked after are not our children.
    strangers: bool,
    /// A master has been ready: from now on another one follows when it dies.
    served: bool,
    short_lives: u32,
    restart_at: Option<u64>,
    /// SIGHUP has come, and no master has said that it has done what is to be done then.
    reload_due: bool,
    /// A master that has let go of us but still lives is killed at this time, ns monotonic.
    end_master_at: Option<u64>,
    watchdog: Watchdog,
    /// Memory is given back then.
    calm_at: Option<u64>,
    /// Shutting down; the master is killed at this time, ns monotonic.
    stop_by: Option<u64>,
    /// What masters have been told to shut down with; another one is told it, too.
    last_order: Option<ToMaster>,
    /// A master has been started during the shutdown.
    last_master: bool,
}

/// Runs a daemon in the foreground until it is told to stop. Returns the exit code.
pub fn serve(options: &ServeOptions) -> Result<u8, KeeperError> {
    let mut keeper = match replacing::errand().map_err(system("taking a keeper's place"))? {
        Errand::None => Keeper::begin(options)?,
        Errand::Answered => return Ok(0),
        Errand::Take(inherited) => Keeper::go_on(options, *inherited)?,
    };
    let code = keeper.run().map_err(system("waiting for events"))?;
    keeper.end_everybody();
    // A socket left behind would only tell clients that nobody listens in a more confusing way.
    let _ = std::fs::remove_file(options.dirs.socket());
    Ok(code)
}

fn system(doing: &str) -> impl Fn(io::Error) -> KeeperError {
    move |source| KeeperError::System { doing: doing.to_owned(), source }
}

impl<'a> Keeper<'a> {
    /// The first of a daemon.
    fn begin(options: &'a ServeOptions) -> Result<Self, KeeperError> {
        // The one may lie in the other, and what it makes on the way would be open to look at.
        for dir in [&options.dirs.state, &options.dirs.runtime] {
            files::private_dir(dir).map_err(system("preparing the directory"))?;
        }
        files::private_dir(&options.dirs.logs()).map_err(system("preparing the directory of logs"))?;
        let (lock, fostered) = match DirLock::take(&options.dirs.lock()) {
            Ok(lock) => (Some(lock), None),
            Err(LockError::Held(pid)) => (None, Some(adopting::find(options, pid)?)),
            Err(LockError::Io(source)) => return Err(system("locking the directory")(source)),
        };
        let wake = EventFd::new().map_err(system("making an eventfd"))?;
        let mut store = Store::default();
        let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map_err(system("copying a descriptor"));
        store.put("wake".into(), copy(wake.as_fd())?);
        if let Some(lock) = &lock {
            store.put("lock".into(), copy(lock.file().as_fd())?);
        }
        if let Some(text) = &options.evaluated {
            let file = memfd::sealed("process-file", text.as_bytes()).map_err(system("keeping the process file"))?;
            store.put("file".into(), file);
        }
        // Whoever is adopted goes on reading the ring where it was.
        let mut keeper = Keeper::new(options, fostered.is_none(), wake, store)?;
        match fostered {
            Some(master) => keeper.foster(master).map_err(system("taking over from the keeper that has died"))?,
            None => keeper.start_master()?,
        }
        Ok(keeper)
    }

    /// `anew`: nobody reads the ring of the table yet.
    fn new(options: &'a ServeOptions, anew: bool, wake: EventFd, store: Store) -> Result<Self, KeeperError> {
        process::keep_inherited_to_ourselves().map_err(system("marking inherited descriptors close-on-exec"))?;
        process::become_subreaper().map_err(system("becoming the subreaper"))?;
        process::raise_open_files().map_err(system("raising the limit of open files"))?;
        let signals = Signals::take(&[SIGHUP, SIGINT, SIGUSR1, SIGUSR2, SIGTERM, SIGCHLD]);
        let signals = signals.map_err(system("blocking signals"))?;
        let table = Table::open(&options.dirs.table(), anew).map_err(system("opening the shared table"))?;
        table.set_keeper(std::process::id());
        process::set_name("preforkd-keeper");
        let mut keeper = Keeper {
            options,
            table,
            signals,
            wake,
            store,
            reaper: Reaper::default(),
            master: None,
            inbox: Batch::lasting(16, control::MAX).map_err(system("making room for messages"))?,
            successor: None,
            leaving: None,
            candidate: None,
            binary: None,
            strangers: false,
            served: false,
            short_lives: 0,
            restart_at: None,
            reload_due: false,
            end_master_at: None,
            watchdog: Watchdog::default(),
            calm_at: None,
            stop_by: None,
            last_order: None,
            last_master: false,
        };
        // A master that is there already may have rung a keeper that has gone.
        keeper.watch(monotonic_ns());
        Ok(keeper)
    }
}

impl Keeper<'_> {
    /// Wakes the master, if it sleeps and there is something new in the ring.
    fn wake_master(&self) -> io::Result<()> {
        if self.table.ring_writer().wake_needed() { self.wake.signal() } else { Ok(()) }
    }

    /// The service manager, where there is one, goes on with what waits for us.
    fn tell_manager(&self) {
        if let Some(socket) = std::env::var_os(notify::NOTIFY_SOCKET)
            && let Err(e) = notify::notify(&socket, "READY=1")
        {
            self.say(&format!("telling the service manager on {}: {e}", socket.to_string_lossy()));
        }
    }

    fn say(&self, text: &str) {
        let line = match self.options.log_format {
            LogFormat::Text => {
                let mut time = Vec::new();
                // As the master's lines have it; into memory, which cannot fail.
                let _ = slog_term::timestamp_utc(&mut time);
                format!("{} WARN keeper: {text}\n", String::from_utf8_lossy(&time))
            }
            LogFormat::Json => {
                let ts = Timestamp(wall_ns());
                format!("{}\n", serde_json::json!({"ts": ts, "level": "WARN", "component": "keeper", "msg": text}))
            }
        };
        // Where nobody reads our stderr there is nobody to tell either.
        let _ = io::stderr().write_all(line.as_bytes());
    }
}
