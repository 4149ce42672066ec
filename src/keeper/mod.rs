//! The keeper: parent and subreaper of everything, so that anything else may die.
//!
//! It holds descriptors for the master (the fd store), writes each exit into the shared table's ring before it
//! reaps, and starts a new master when the master dies. It parses no request, reads no process file and has one
//! thread; it fits on a few screens, so that it has no reason to crash. Nothing else may enter this folder.

mod adopting;
mod reaper;
mod store;
mod successor;

use std::ffi::OsString;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use reaper::{Masters, Reaper};
use store::Store;
use successor::Successor;

use crate::settings::ServeOptions;
use crate::sys::clock::monotonic_ns;
use crate::sys::eventfd::EventFd;
use crate::sys::files::{self, DirLock, LockError};
use crate::sys::pidfd::PidFd;
use crate::sys::reap::{Exit, How};
use crate::sys::signals::{Delivered, Signals};
use crate::sys::spawn::{Program, SpawnError, spawn};
use crate::sys::{memfd, memory, notify, poll, process, seqpacket};
use crate::table::Table;
use crate::wire::control::{self, ToKeeper, ToMaster};

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;
const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;

/// What a master that ends is given to do so.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// What a master is given when it is asked to stop for a second time.
const HURRY: Duration = Duration::from_millis(500);
/// After a start or a word from the master, until memory is given back.
const CALM: Duration = Duration::from_secs(2);
/// A master that lived for less than this is started again only after a pause.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// The pause doubles from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
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
    /// What is to be the master, if all goes well.
    successor: Option<Successor>,
    /// A master that has been succeeded, and is killed at this time, ns monotonic.
    leaving: Option<(u32, PidFd, u64)>,
    /// The program that masters are; None: ours.
    binary: Option<OsString>,
    /// Some of those who are looked after are not our children.
    strangers: bool,
    /// A master has been ready: from now on another one follows when it dies.
    served: bool,
    short_lives: u32,
    restart_at: Option<u64>,
    /// A master that has let go of us but still lives is killed at this time, ns monotonic.
    end_master_at: Option<u64>,
    /// Memory is given back then.
    calm_at: Option<u64>,
    /// Shutting down; the master is killed at this time, ns monotonic.
    stop_by: Option<u64>,
}

/// Runs a daemon in the foreground until it is told to stop. Returns the exit code.
pub fn serve(options: &ServeOptions) -> Result<u8, KeeperError> {
    let system = |doing: &str| {
        let doing = doing.to_owned();
        move |source| KeeperError::System { doing, source }
    };
    // The one may lie in the other, and what it makes on the way would be open to look at.
    for dir in [&options.dirs.state, &options.dirs.runtime] {
        files::private_dir(dir).map_err(system("preparing the directory"))?;
    }
    files::private_dir(&options.dirs.logs()).map_err(system("preparing the directory of logs"))?;
    let (lock, fostered) = match DirLock::take(&options.dirs.lock()) {
        Ok(lock) => (Some(lock), None),
        Err(LockError::Held(pid)) => (None, Some(adopting::find(options, pid)?)),
        Err(LockError::Io(source)) => {
            return Err(KeeperError::System { doing: "locking the directory".into(), source });
        }
    };
    process::keep_inherited_to_ourselves().map_err(system("marking inherited descriptors close-on-exec"))?;
    process::become_subreaper().map_err(system("becoming the subreaper"))?;
    process::raise_open_files().map_err(system("raising the limit of open files"))?;
    let signals =
        Signals::take(&[SIGHUP, SIGINT, SIGUSR1, SIGUSR2, SIGTERM, SIGCHLD]).map_err(system("blocking signals"))?;
    // Whoever is adopted goes on reading the ring where it was.
    let table = Table::open(&options.dirs.table(), fostered.is_none()).map_err(system("opening the shared table"))?;
    table.set_keeper(std::process::id());
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
    process::set_name("preforkd-keeper");
    let mut keeper = Keeper {
        options,
        table,
        signals,
        wake,
        store,
        reaper: Reaper::default(),
        master: None,
        successor: None,
        leaving: None,
        binary: None,
        strangers: false,
        served: false,
        short_lives: 0,
        restart_at: None,
        end_master_at: None,
        calm_at: None,
        stop_by: None,
    };
    match fostered {
        Some(master) => keeper.foster(master).map_err(system("taking over from the keeper that has died"))?,
        None => keeper.start_master()?,
    }
    let code = keeper.run().map_err(system("waiting for events"))?;
    keeper.end_everybody();
    // A socket left behind would only tell clients that nobody listens in a more confusing way.
    let _ = std::fs::remove_file(options.dirs.socket());
    Ok(code)
}

impl Keeper<'_> {
    fn run(&mut self) -> io::Result<u8> {
        loop {
            let now = monotonic_ns();
            let leave_by = self.leaving.as_ref().map(|(_, _, at)| *at);
            let times =
                [self.reaper.sweep_at, self.restart_at, self.end_master_at, self.stop_by, leave_by, self.calm_at];
            let next = times.into_iter().flatten().min();
            let timeout = next.map(|at| Duration::from_nanos(at.saturating_sub(now)));
            // What a master says; once it has closed its end, its own.
            let master = self.master.as_ref();
            let said =
                master.map_or(self.signals.as_fd(), |m| m.control.as_ref().map_or(m.handle.as_fd(), AsFd::as_fd));
            let ending = master.is_some_and(|m| m.control.is_none());
            let [signalled, spoken] = poll::readable([self.signals.as_fd(), said], timeout)?;
            let mut died = Vec::new();
            if spoken && ending {
                self.ended_master(&mut died)?;
            } else if spoken && self.master.is_some() {
                self.calm_at = Some(now + CALM.as_nanos() as u64);
                self.listen();
            }
            // Only now: what was said may have made one.
            let masters = self.masters();
            if signalled {
                let (mut reload, mut reopen, mut upgrade, mut stop) = (false, false, false, false);
                for signal in self.signals.read()? {
                    match signal {
                        Delivered { signal: SIGCHLD, pid } => {
                            self.reaper.named(&self.table, pid, &masters, &mut died)?;
                        }
                        Delivered { signal: SIGHUP, .. } => reload = true,
                        Delivered { signal: SIGUSR1, .. } => reopen = true,
                        Delivered { signal: SIGUSR2, .. } => upgrade = true,
                        Delivered { .. } => stop = true,
                    }
                }
                self.wake_master()?;
                if reload {
                    self.tell(&ToMaster::Reload);
                }
                if reopen {
                    self.tell(&ToMaster::Reopen);
                }
                if upgrade {
                    self.tell(&ToMaster::Upgrade);
                }
                if stop {
                    self.stop();
                }
            }
            let now = monotonic_ns();
            // Clients wait for a master that is to be started, nobody for those who died with the last one.
            let starting = self.restart_at.is_some_and(|at| at <= now);
            if self.reaper.sweep_at.is_some_and(|at| at <= now) && died.is_empty() && !starting {
                self.reaper.sweep(&self.table, &masters, &mut died)?;
                self.wake_master()?;
            }
            for exit in died {
                if self.successor_died(&exit) {
                    continue;
                }
                if let Some(code) = self.master_died(&exit) {
                    return Ok(code);
                }
            }
            if self.stop_by.is_some_and(|at| at <= now) {
                self.say("the master did not shut down in time: killing it");
                return Ok(1);
            }
            if self.end_master_at.is_some_and(|at| at <= now) {
                self.end_master_at = None;
                if let Some(master) = &self.master {
                    let _ = master.handle.send(SIGKILL); // dead already is as good
                }
            }
            self.end_who_lingers(now);
            if self.calm_at.is_some_and(|at| at <= now) {
                self.calm_at = None;
                memory::give_back();
            }
            if self.restart_at.is_some_and(|at| at <= now) {
                self.restart_at = None;
                if let Err(e) = self.start_master() {
                    self.say(&format!("{e}; trying again in 5 s"));
                    self.restart_at = Some(now + PAUSE.1.as_nanos() as u64);
                }
            }
        }
    }

    /// Wakes the master, if it sleeps and there is something new in the ring.
    fn wake_master(&self) -> io::Result<()> {
        if self.table.ring_writer().wake_needed() { self.wake.signal() } else { Ok(()) }
    }

    fn start_master(&mut self) -> Result<(), KeeperError> {
        self.reaper.drained();
        // The binary we are, even when its file has been replaced or removed meanwhile.
        let program = self.binary.clone().unwrap_or_else(|| "/proc/self/exe".into());
        let why = if self.served { self.why("restart") } else { String::new() };
        let master = match self.spawn_master(program, &[]) {
            Err(e) if self.binary.take().is_some() => {
                self.say(&format!("{e}; going back to the program that this daemon was started with"));
                return self.start_master();
            }
            spawned => spawned?,
        };
        if let Err(e) = self.hand_kept(&master, &why) {
            // It would wait for the rest for ever; its exit brings the next one, after a pause.
            self.say(&format!("handing the kept descriptors to the master: {e}"));
            let _ = master.handle.send(SIGKILL);
        }
        self.master = Some(master);
        Ok(())
    }

    /// Starts `program` as we were started, as a master with these descriptors besides.
    fn spawn_master(&self, program: OsString, more: &[(BorrowedFd<'_>, i32)]) -> Result<Master, KeeperError> {
        let failed = |source| KeeperError::System { doing: "starting the master".into(), source };
        let (ours, theirs) = seqpacket::pair().map_err(failed)?;
        seqpacket::set_send_timeout(ours.as_fd(), PATIENCE).map_err(failed)?;
        let mut argv: Vec<OsString> = std::env::args_os().collect();
        argv.splice(..1, [program]);
        let ours_alone = [control::MASTER_ENV, control::SUCCESSOR_ENV, notify::NOTIFY_SOCKET];
        let mut env: Vec<(OsString, OsString)> = std::env::vars_os()
            // The service manager hears of readiness from us; for a worker it is not.
            .filter(|(k, _)| ours_alone.iter().all(|name| k != name))
            .chain([(control::MASTER_ENV.into(), control::MASTER_FD.to_string().into())])
            .collect();
        if !more.is_empty() {
            env.push((control::SUCCESSOR_ENV.into(), "1".into()));
        }
        let mut fds = vec![(theirs.as_fd(), control::MASTER_FD)];
        fds.extend_from_slice(more);
        let (pid, handle) = spawn(&Program { argv, env, fds, ..Program::default() })?;
        Ok(Master { pid, handle, control: Some(ours), started_at: monotonic_ns(), quit: None, fostered: false })
    }

    /// Hands everything that is kept to a master, and why it is to begin.
    fn hand_kept(&self, master: &Master, why: &str) -> io::Result<()> {
        let Some(control) = &master.control else { return Ok(()) };
        self.store.send(control.as_fd())?;
        let message = ToMaster::Begin(why.into()).encode();
        seqpacket::send(control.as_fd(), &[IoSlice::new(&message)], &[], true)
    }

    /// Takes everything that the master has said.
    fn listen(&mut self) {
        let Some(master) = &mut self.master else { return };
        let mut batch = seqpacket::Batch::new(16, control::MAX);
        let (mut stopping, mut first) = (false, false);
        let (mut upgrade, mut lost) = (None, None);
        while let Some(control) = &master.control {
            let received = match batch.receive(control.as_fd()) {
                Ok(received) => received,
                Err(e) => {
                    // Its exit follows, or it is broken beyond repair: then a new one serves better.
                    let _ = writeln!(io::stderr(), "preforkd: keeper: reading from the master: {e}");
                    let _ = master.handle.send(SIGKILL);
                    master.control = None;
                    break;
                }
            };
            for i in 0..received.messages {
                let (bytes, extra) = batch.message(i);
                if let Some(step @ (ToKeeper::Upgrade(_) | ToKeeper::Frozen | ToKeeper::Commit | ToKeeper::Abandon)) =
                    ToKeeper::decode(bytes)
                {
                    upgrade = Some((step, std::mem::take(&mut extra.fds)));
                    continue;
                }
                match (ToKeeper::decode(bytes), extra.fds.pop()) {
                    (Some(ToKeeper::Store(name)), Some(fd)) => {
                        if master.fostered && name == "wake" {
                            // What it waits for, and its successors will.
                            match fd.try_clone() {
                                Ok(wake) => self.wake = EventFd::from(wake),
                                Err(e) => drop(writeln!(io::stderr(), "preforkd: keeper: copying a descriptor: {e}")),
                            }
                        }
                        self.store.put(name, fd);
                    }
                    (Some(ToKeeper::Strangers), _) => self.strangers = true,
                    (Some(ToKeeper::Drop(name)), _) => self.store.remove(&name),
                    (Some(ToKeeper::Ready), _) => first |= !std::mem::replace(&mut self.served, true),
                    (Some(ToKeeper::Drained), _) => self.reaper.drained(),
                    (Some(ToKeeper::Stopping), _) => stopping = true,
                    (Some(ToKeeper::Quit(code)), _) => master.quit = Some(code),
                    (Some(_) | None, _) => {}
                }
            }
            if received.closed {
                // It closes this only by ending; that it has something to say on the way takes it a moment.
                master.control = None;
                self.end_master_at = Some(monotonic_ns() + LAST_WORDS.as_nanos() as u64);
                if master.fostered {
                    lost = Some(master.pid);
                }
            }
            if !received.more {
                break;
            }
        }
        if let Some(pid) = lost {
            self.lost_foster(pid);
        }
        if first {
            self.tell_manager();
            if self.master.as_ref().is_some_and(|master| master.fostered) {
                // Its successor will be our own child.
                self.tell(&ToMaster::Upgrade);
            }
        }
        if let Some((step, fds)) = upgrade {
            self.upgrade(step, fds);
        }
        if stopping {
            self.see_to_the_end(self.options.shutdown_timeout);
        }
    }

    /// A master that has closed its channel is dead. Its idle children die with it, all at once, so that the signal which would name
    /// it is lost among theirs, and a sweep comes late.
    fn ended_master(&mut self, died: &mut Vec<Exit>) -> io::Result<()> {
        let masters = self.masters();
        match &self.master {
            Some(master) if master.fostered => self.lost_foster(master.pid),
            Some(master) => self.reaper.named(&self.table, master.pid, &masters, died)?,
            None => {}
        }
        Ok(())
    }

    /// Returns the exit code when that was the end.
    fn master_died(&mut self, exit: &Exit) -> Option<u8> {
        self.listen();
        if self.master.as_ref().is_none_or(|master| master.pid != exit.pid) {
            // Its last words were that it has a successor.
            return None;
        }
        let master = self.master.take()?;
        self.end_successor("its predecessor has died");
        self.end_master_at = None;
        if let Some(code) = master.quit {
            return Some(code);
        }
        let code = match exit.how {
            How::Exited(code) => code as u8,
            How::Killed(_) | How::Dumped(_) => 1,
        };
        if !self.served || self.stop_by.is_some() {
            return Some(code.max(1));
        }
        let lived = Duration::from_nanos(monotonic_ns() - master.started_at);
        self.short_lives = if lived < SHORT_LIFE { self.short_lives + 1 } else { 0 };
        self.distrust();
        let pause = match self.short_lives {
            0 | 1 => Duration::ZERO,
            n => PAUSE.1.min(PAUSE.0 * 2u32.saturating_pow(n.min(16) - 2)),
        };
        self.say(&format!(
            "the master (pid {}) has died ({:?}); starting another in {} ms",
            master.pid,
            exit.how,
            pause.as_millis()
        ));
        self.restart_at = Some(monotonic_ns() + pause.as_nanos() as u64);
        None
    }

    /// Asked to stop. Asked again: without waiting for anybody.
    fn stop(&mut self) {
        let again = self.stop_by.is_some();
        self.tell(if again { &ToMaster::Kill } else { &ToMaster::Terminate });
        self.see_to_the_end(if again { HURRY } else { self.options.shutdown_timeout });
    }

    /// A master that has not shut down within this time is killed, and everybody with it.
    fn see_to_the_end(&mut self, patience: Duration) {
        let by = monotonic_ns() + patience.as_nanos() as u64;
        let by = if self.master.is_none() { 0 } else { by };
        self.stop_by = Some(self.stop_by.map_or(by, |planned| planned.min(by)));
    }

    fn tell(&self, message: &ToMaster) {
        if let Some(control) = self.master.as_ref().and_then(|m| m.control.as_ref())
            && let Err(e) = seqpacket::send(control.as_fd(), &[IoSlice::new(&message.encode())], &[], false)
        {
            self.say(&format!("telling the master {message:?}: {e}"));
        }
    }

    /// Nobody of ours stays behind: what the master has left over (or all, if it was killed) is killed, for at most a second.
    fn end_everybody(&mut self) {
        let deadline = monotonic_ns() + 1_000_000_000;
        while monotonic_ns() < deadline {
            let children = process::children();
            for &pid in &children {
                // Not reaped by anybody but us, so the number is theirs.
                if let Ok(handle) = PidFd::open(pid) {
                    let _ = handle.send_group(pid, SIGKILL);
                    let _ = handle.send(SIGKILL);
                }
            }
            if children.is_empty() {
                return;
            }
            let quiet = poll::readable([self.signals.as_fd(), self.signals.as_fd()], Some(Duration::from_millis(10)));
            while let (Ok(_), Ok(Some(exit))) = (&quiet, crate::sys::reap::peek(None)) {
                let _ = crate::sys::reap::reap(exit.pid);
            }
            let _ = self.signals.read().map(Iterator::count);
        }
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
        // Where nobody reads our stderr there is nobody to tell either.
        let _ = match self.options.log_format {
            crate::settings::LogFormat::Text => writeln!(io::stderr(), "preforkd: keeper: {text}"),
            crate::settings::LogFormat::Json => {
                let text = serde_json::Value::from(text);
                writeln!(io::stderr(), "{{\"level\":\"WARN\",\"component\":\"keeper\",\"msg\":{text}}}")
            }
        };
    }
}
