//! From an inherited descriptor to a serving master.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Poll};
use slog::{debug, info, warn};

use super::apps::{Apps, List};
use super::gate::{Gate, TokenFileError};
use super::handed::Handed;
use super::kept::{Begun, DEFINITIONS, INBOX, Kept, STAGE, definitions, definitions_file, kept, kept_memory, succeed};
use super::left::Left;
use super::listeners::Listener;
use super::runs::Runs;
use super::sources::{Source, Sources};
use super::trees::Trees;
use super::{Master, logging};
use crate::handover::TakeError;
use crate::journal::{Journal, JournalError, Read};
use crate::pool::Pool;
use crate::processfile;
use crate::settings::ServeOptions;
use crate::sys::clock::monotonic_ns;
use crate::sys::eventfd::EventFd;
use crate::sys::pipe::Scratch;
use crate::sys::seqpacket::Batch;
use crate::sys::stage::Stage;
use crate::sys::{fault, process, signals, slice};
use crate::table::{Beat, RingReader, Table};
use crate::wire::channel::MESSAGE_MAX;
use crate::wire::control::{self, ToKeeper};

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGPIPE: i32 = 13;
const SIGTERM: i32 = 15;
const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;
/// A log file that has reached RLIMIT_FSIZE is one that cannot be written, no reason to die.
const SIGXFSZ: i32 = 25;

/// Room for so many descriptors from the start: 8 bytes each.
const FILES: u64 = 4096;
/// How many replies are read at once.
const REPLIES_AT_ONCE: usize = 32;

/// Why a master could not begin, or go on.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// The process file has faults, told one a line.
    #[error("{0}")]
    ProcessFile(#[from] processfile::Errors),
    /// The token file cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokenFileError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A listener could not be bound.
    #[error("{0}")]
    Listen(io::Error),
    /// What a former master has handed over cannot be used.
    #[error(transparent)]
    Take(#[from] TakeError),
    /// A system call failed.
    #[error("{doing}: {source}")]
    System {
        /// What was being done.
        doing: String,
        /// The system's word.
        source: io::Error,
    },
}

pub(super) fn system(doing: &str) -> impl FnOnce(io::Error) -> MasterError {
    let doing = doing.to_owned();
    move |source| MasterError::System { doing, source }
}

/// The descriptor that is held back for the time when there are no more.
pub(super) fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

impl Master {
    /// Makes a master out of what the keeper hands over. When it returns, clients can connect.
    pub(super) fn begin(options: &ServeOptions) -> Result<(Master, slog_async::AsyncGuard), MasterError> {
        // A SIGTERM to everybody at once (a service manager's way) is the keeper's to act on: it tells us.
        signals::ignore(&[SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ]);
        let keeper = process::inherited(control::MASTER_FD).map_err(system("hearing from the keeper"))?;
        let successor = std::env::var_os(control::SUCCESSOR_ENV).is_some();
        let (Kept { stored, restart, strangers }, handed, begun) = match successor {
            true => succeed(&keeper, options)?,
            false => {
                let kept = kept(&keeper).map_err(system("hearing from the keeper"))?;
                let table = Table::open(&options.dirs.table(), false).map_err(system("opening the shared table"))?;
                let left = Left::read(&table, kept.restart);
                (kept, Handed::default(), Begun { table, left, ahead: None })
            }
        };
        let Begun { table, mut left, ahead } = begun;
        // What has come makes more; so much more is small, and growing later costs everybody's time.
        let room = FILES.max(2 * (stored.len() as u64 + handed.files()));
        let made = process::make_room_for_files(room);
        let (log, guard) = logging::start(options);
        if let Err(e) = made {
            warn!(log, "making room for descriptors"; "count" => room, "error" => %e);
        }
        process::set_name("preforkd-master");
        // Little at a time, and somebody waits for it: so it comes before runs that go on for longer. Nothing but speed is lost without.
        if let Err(e) = slice::shorten() {
            debug!(log, "asking for short slices of the processor"; "error" => %e);
        }
        if let Some(title) = process::Title::find() {
            title.set(&["preforkd: master"]);
        }
        let gate = Gate::new(options.token_file.as_deref())?;
        table.set_master(std::process::id());
        let mut beat = Beat::new(std::process::id());
        if beat.begin(&table) {
            super::keeping::keep(&keeper, &ToKeeper::Busy, None, &log);
        }
        let (journal, read) = Journal::open_from(&options.dirs.journal(), ahead)?;
        match read {
            Read::More(records) => left.take(&table, records),
            Read::All(records) => {
                left.begin_anew();
                left.take(&table, records);
            }
        }
        if let Some(torn) = journal.torn() {
            warn!(log, "the journal's end was damaged"; "what" => %torn);
        }
        let poll = Poll::new().map_err(system("making an epoll instance"))?;
        let mut listeners = Vec::new();
        let (mut wake, mut lock, mut known, mut evaluated, mut others) = (None, None, None, None, Vec::new());
        let (mut inbox, mut stage) = (None, None);
        for (name, fd) in stored {
            match name.as_str() {
                "wake" => wake = Some(EventFd::from(fd)),
                DEFINITIONS => known = Some(fd),
                "file" => evaluated = Some(fd),
                "lock" => lock = Some(fd),
                INBOX => inbox = Some(fd),
                STAGE => stage = Some(fd),
                _ if name == "unix" || name.starts_with("tcp/") => listeners.extend(Listener::stored(&name, fd)),
                _ => others.push((name, fd)),
            }
        }
        let wake: EventFd = wake.ok_or_else(|| system("hearing from the keeper")(io::ErrorKind::NotFound.into()))?;
        wake.take();
        let lock = lock.ok_or_else(|| system("hearing from the keeper")(io::ErrorKind::NotFound.into()))?;
        let mut kept_definitions =
            known.as_ref().map(OwnedFd::try_clone).transpose().map_err(system("copying a descriptor"))?;
        let in_javascript = evaluated.is_some();
        let (definitions, apps) = definitions(options, known, evaluated)?;
        if !restart {
            let file = definitions_file(&definitions, &apps).map_err(system("keeping the pools"))?;
            super::keeping::keep(&keeper, &ToKeeper::Store(DEFINITIONS.into()), Some(file.as_fd()), &log);
            kept_definitions = Some(file);
        }
        let (pools, default_pool) = pools(definitions)?;
        if listeners.is_empty() {
            listeners.push(Listener::bind_unix(&options.dirs.socket()).map_err(MasterError::Listen)?);
            for address in &options.listen {
                listeners.extend(Listener::bind_tcp(address, gate.has_tokens()).map_err(MasterError::Listen)?);
            }
        }
        let batch = kept_memory(INBOX, inbox, |file| Batch::kept(file, REPLIES_AT_ONCE, MESSAGE_MAX), &keeper, &log)
            .map_err(system("making memory for replies"))?;
        let stage =
            kept_memory(STAGE, stage, Stage::open, &keeper, &log).map_err(system("making memory for output"))?;
        let count = pools.len();
        let trees = Trees::open(&tree_name(options).map_err(system("looking at the directory"))?, !restart, &log);
        let mut master = Master {
            options: options.clone(),
            log,
            poll,
            sources: Sources::default(),
            timers: super::timers::Timers::default(),
            ring: RingReader::new(&table),
            beat,
            table,
            runs: Runs::new(count),
            pool_names: pools.iter().enumerate().map(|(i, p)| (p.definition.name.clone(), i)).collect(),
            pools,
            default_pool,
            journal,
            keeper,
            orphaned: false,
            fostered: false,
            lock,
            definitions: kept_definitions,
            in_javascript,
            wake,
            listeners,
            gate,
            batch: Some(batch),
            scratch: Vec::new(),
            room: vec![0; super::clients::ROOM].into(),
            pids: std::collections::HashMap::new(),
            unclaimed: std::collections::HashMap::new(),
            late: Vec::new(),
            claimed: Vec::new(),
            trees,
            starting: 0,
            watching_starts: vec![false; count],
            busy: Vec::new(),
            is_busy: vec![false; count],
            dirty: Vec::new(),
            again: Vec::new(),
            again_replies: Vec::new(),
            again_captures: Vec::new(),
            late_captures: Vec::new(),
            kept_until_flushed: Vec::new(),
            scratch_pipe: Scratch::new().map_err(system("making a pipe"))?,
            again_nodes: Vec::new(),
            again_clients: Vec::new(),
            connections: 0,
            accept_paused: false,
            reserve: reserve(),
            counts: Default::default(),
            apps: Apps::new(List::new(options.dirs.apps()).map_err(system("making an eventfd"))?),
            handed,
            former_captures: Default::default(),
            former_tails: Default::default(),
            logs: super::logs::Logs::new(stage),
            subscriptions: Default::default(),
            reloads: Vec::new(),
            wrong_tokens: Default::default(),
            keep_timer: None,
            upgrade: None,
            replacing: None,
            phase: None,
            askers: 0,
            journal_failed: false,
            journal_timer: None,
            renewal: None,
            no_renewal_until: 0,
            began_at: monotonic_ns(),
            calming: false,
        };
        master.watch().map_err(system("watching the sockets"))?;
        master.turn_begins();
        master.recover(restart, left, others);
        if strangers {
            master.watch_strangers();
        }
        master.recover_trees();
        master.turn_begins();
        for index in 0..master.pools.len() {
            let name = master.pools[index].definition.name.clone();
            master.open_outlets(index).map_err(system(&format!("opening the output of pool \"{name}\"")))?;
            master.keep_orders(index);
        }
        // After the first master only those that it had not put into the list on the disk before it died.
        master.apps.unlisted = !apps.is_empty();
        master.define_apps(apps);
        master.drop_former_logs();
        if successor {
            master.take_begun_lines();
            master.take_the_rest();
        }
        master.finish_output(successor);
        for listener in &master.listeners {
            super::keeping::keep(
                &master.keeper,
                &ToKeeper::Store(listener.store_name()),
                Some(listener.as_fd()),
                &master.log,
            );
            info!(master.log, "listening"; "address" => listener.address());
        }
        fault::point("new-recovered");
        master.tell_keeper(&ToKeeper::Ready, None);
        fault::point("new-ready");
        if successor {
            master.upgraded();
            fault::point("new-answered");
        }
        master.calm_soon();
        Ok((master, guard))
    }

    fn watch(&mut self) -> io::Result<()> {
        let registry = self.poll.registry();
        let mut add = |fd: i32, source: Source| {
            let token = self.sources.add(source);
            registry.register(&mut SourceFd(&fd), token, Interest::READABLE)
        };
        add(self.wake.as_fd().as_raw_fd(), Source::Wake)?;
        add(self.keeper.as_raw_fd(), Source::Keeper)?;
        add(self.apps.list.wake().as_fd().as_raw_fd(), Source::List)?;
        for (i, listener) in self.listeners.iter().enumerate() {
            add(listener.as_raw_fd(), Source::Listener(i))?;
        }
        Ok(())
    }
}

/// Names this daemon among all of the machine: its folder, which is locked, can be no other one's.
fn tree_name(options: &ServeOptions) -> io::Result<String> {
    use std::os::unix::fs::MetadataExt;
    let folder = std::fs::metadata(&options.dirs.runtime)?;
    Ok(format!("preforkd-{:x}-{:x}", folder.dev(), folder.ino()))
}

fn pools(definitions: Vec<processfile::Pool>) -> Result<(Vec<Pool>, Option<usize>), MasterError> {
    let default = processfile::default_pool(&definitions).map(|pool| pool.name.clone());
    let mut pools = Vec::new();
    for definition in definitions {
        pools.push(Pool::new(definition).map_err(system("making a pool's channel"))?);
    }
    let default = default.and_then(|name| pools.iter().position(|p| p.definition.name == name));
    Ok((pools, default))
}
