//! The master: one event loop for protocol, policy, timers. It may be killed at any instant, and nothing is lost.
//!
//! A turn of the loop: wait; read what clients, zygotes and children have said; complete the exits whose words have been
//! read; do what is due; write the journal; write the answers; and only then, off everybody's path, start who
//! waited and ask for new idle children.
//!
//! [`Master`] is one struct, and each file of this folder is one of its subjects.

mod capture;
mod clients;
mod connection;
mod exits;
mod gate;
mod killing;
mod listeners;
mod logging;
mod recovery;
mod replies;
mod runs;
mod sources;
mod starting;
mod startup;
mod stopping;
mod timers;
mod verbs;
mod zygotes;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Poll, Token};
use rand::RngExt;
use slog::{Logger, crit, error, warn};

use runs::{Asker, Runs};
use sources::{Source, Sources};
pub use startup::MasterError;
use stopping::Phase;
use timers::{Timer, Timers};

use crate::journal::Journal;
use crate::pool::Pool;
use crate::settings::ServeOptions;
use crate::sys::clock::monotonic_ns;
use crate::sys::eventfd::EventFd;
use crate::sys::pidfd::PidFd;
use crate::sys::seqpacket::{self, Batch};
use crate::table::{ExitEntry, RingReader, Table};
use crate::wire::control::{self, ToKeeper, ToMaster};
use crate::wire::info::Counts;
use crate::wire::rpc::RpcError;

/// How often starts that have not been answered are looked into, while there are any.
const START_CHECK: Duration = Duration::from_secs(1);
/// A zygote that leaves an order unread for this long is killed.
const HUNG: Duration = Duration::from_secs(5);
/// How long an ended run of a pool that is gone is kept.
const KEEP_GONE: Duration = Duration::from_secs(24 * 3600);
/// Between two tries to write the journal anew.
const COMPACTION_PAUSE: Duration = Duration::from_secs(10);
/// Events that one turn takes.
const EVENTS: usize = 1024;

/// Everything the master has.
struct Master {
    options: ServeOptions,
    log: Logger,
    poll: Poll,
    sources: Sources,
    timers: Timers,
    table: Table,
    ring: RingReader,
    runs: Runs,
    pools: Vec<Pool>,
    pool_names: HashMap<String, usize>,
    default_pool: Option<usize>,
    journal: Journal,
    keeper: OwnedFd,
    wake: EventFd,
    listeners: Vec<listeners::Listener>,
    gate: gate::Gate,
    batch: Option<Batch>,
    scratch: Vec<u8>,
    /// The processes of running runs.
    pids: HashMap<u32, u32>,
    /// Exits of nobody that is known, kept while some start has not been answered.
    unclaimed: HashMap<u32, ExitEntry>,
    /// Exits that were there before their start was read: (slot, seq, exit).
    late: Vec<(u32, u64, ExitEntry)>,
    /// Those of them that are still to come by in the ring, by their place in it.
    claimed: Vec<u64>,
    /// Groups whose leader has ended and that are to follow it.
    leftovers: HashMap<u64, PidFd>,
    next_leftover: u64,
    /// Runs that have been asked for and have not answered.
    starting: usize,
    watching_starts: Vec<bool>,
    /// Pools to look after at the end of the turn.
    busy: Vec<usize>,
    is_busy: Vec<bool>,
    /// Connections to write to at the end of the turn.
    dirty: Vec<Token>,
    /// Listeners with more to accept in the next turn.
    again: Vec<usize>,
    /// Reply channels to go on with in the next turn: (pool, generation).
    again_replies: Vec<(usize, u32)>,
    /// Captured output to go on with in the next turn.
    again_captures: Vec<Token>,
    /// Connections to go on with in the next turn.
    again_clients: Vec<Token>,
    connections: usize,
    accept_paused: bool,
    reserve: Option<File>,
    counts: Counts,
    /// Captured output of a former master's runs, until the runs are found: (slot, whether it is stderr).
    former_captures: HashMap<(u32, bool), OwnedFd>,
    /// (pool, generation, who asked)
    reloads: Vec<(usize, u32, Asker)>,
    wrong_tokens: VecDeque<Asker>,
    keep_timer: Option<timers::Key>,
    phase: Option<Phase>,
    askers: u64,
    journal_failed: bool,
    /// ns monotonic.
    no_compaction_until: u64,
    began_at: u64,
}

/// Serves until told to stop. Returns the exit code.
pub fn run(options: &ServeOptions) -> Result<u8, MasterError> {
    let (mut master, guard) = Master::begin(options)?;
    let code = master.serve();
    drop(master);
    drop(guard);
    Ok(code)
}

impl Master {
    fn serve(&mut self) -> u8 {
        let mut events = Events::with_capacity(EVENTS);
        for index in 0..self.pools.len() {
            self.busy(index);
        }
        loop {
            self.end_of_turn();
            if self.stopped() {
                self.farewell();
                return 0;
            }
            let before = self.ring.arm(&self.table);
            let pending = before != self.table.ring_tail() || self.has_more();
            let timeout = if pending { Some(Duration::ZERO) } else { self.timers.next() };
            if let Err(e) = self.poll.poll(&mut events, timeout)
                && e.kind() != io::ErrorKind::Interrupted
            {
                crit!(self.log, "waiting for events"; "error" => %e);
                return 1;
            }
            // A wake-up vouches for the exits it announced; the poll itself for those before it, unless it was cut short.
            let (mut announced, mut count) = (self.table.ring_tail(), 0);
            let clients = std::mem::take(&mut self.again_clients);
            let captures = std::mem::take(&mut self.again_captures);
            for (pool, generation) in std::mem::take(&mut self.again_replies) {
                self.replies(pool, generation);
            }
            for event in &events {
                let token = event.token();
                count += 1;
                match self.sources.get(token) {
                    Some(Source::Wake) => {
                        let wake = &self.wake;
                        announced = self.ring.woken(&self.table, || wake.take()).unwrap_or(0).max(announced);
                    }
                    Some(Source::Keeper) => {
                        let alive = self.keeper_says();
                        if !alive {
                            return 1;
                        }
                    }
                    Some(Source::Replies { pool, generation }) => {
                        let (pool, generation) = (*pool, *generation);
                        self.replies(pool, generation);
                    }
                    Some(Source::Connection(connection)) => {
                        connection.gone |= event.is_write_closed() || event.is_error();
                        let (readable, ended) = (event.is_readable(), event.is_read_closed());
                        self.client_event(token, readable || ended, event.is_writable(), ended);
                    }
                    Some(Source::Listener(index)) => {
                        let index = *index;
                        self.accept(index);
                    }
                    Some(Source::Capture(_)) => self.read_capture(token),
                    None => {}
                }
            }
            for index in std::mem::take(&mut self.again) {
                self.accept(index);
            }
            for token in captures {
                self.read_capture(token);
            }
            for token in clients {
                self.resume_client(token);
            }
            // What was said is on record before the end of who said it.
            self.flush_journal();
            self.exits(if count < EVENTS { before.max(announced) } else { announced });
            while let Some(timer) = self.timers.due(monotonic_ns()) {
                self.due(timer);
            }
        }
    }

    /// Whether somebody has had his share of a turn and there is more of him.
    fn has_more(&self) -> bool {
        let (listeners, replies) = (self.again.is_empty(), self.again_replies.is_empty());
        !(listeners && replies && self.again_captures.is_empty() && self.again_clients.is_empty())
    }

    fn end_of_turn(&mut self) {
        self.flush_journal();
        self.flush_all();
        while let Some(index) = self.busy.pop() {
            self.is_busy[index] = false;
            self.dispatch(index);
            self.refill(index);
        }
        // Starting those that waited may have gone wrong, which is an answer, too.
        self.flush_journal();
        self.flush_all();
    }

    fn due(&mut self, timer: Timer) {
        match timer {
            Timer::RunTimeout { slot, seq } => self.run_timeout(slot, seq),
            Timer::Grace { slot, seq } => self.grace_over(slot, seq),
            Timer::Leftovers(number) => self.leftovers_over(number),
            Timer::Wait { slot, seq, asker } => self.wait_over(slot, seq, asker),
            Timer::Request(token) => {
                if let Some(c) = self.sources.connection(token) {
                    c.request_timer = None;
                    let text = format!("no whole request within {} s", clients::REQUEST_TIME.as_secs());
                    self.give_up(token, &RpcError::limit(text));
                }
            }
            Timer::Answer(token) => {
                if self.sources.connection(token).is_some() {
                    warn!(self.log, "a client does not read its answers; closing it");
                    self.counts.refused_connections += 1;
                    self.close(token);
                }
            }
            Timer::WrongToken(token) => self.wrong_token(token),
            Timer::Accept => self.accept_all(),
            Timer::Preload { pool, generation } => self.preload_timeout(pool, generation),
            Timer::Load { pool } => self.load(pool),
            Timer::Forks { pool } => {
                self.pools[pool].no_forks_until = None;
                self.busy(pool);
            }
            Timer::Starts { pool } => self.check_starts(pool),
            Timer::Keep => self.keep_over(),
            Timer::Stop => self.stop_step(),
        }
    }

    /// Looks after this pool at the end of the turn.
    fn busy(&mut self, index: usize) {
        if !self.is_busy[index] {
            self.is_busy[index] = true;
            self.busy.push(index);
        }
    }

    /// As many idle children as wanted, asked for when nobody waits for anything else.
    fn refill(&mut self, index: usize) {
        let pool = &mut self.pools[index];
        if self.phase.is_some() || pool.current().is_none() || pool.no_forks_until.is_some() {
            return;
        }
        if let Err(e) = pool.refill(monotonic_ns(), || rand::rng().random()) {
            warn!(self.log, "asking for idle children"; "pool" => &pool.definition.name, "error" => %e);
            self.pause_forks(index);
        }
    }

    fn nonce(&mut self) -> u64 {
        rand::rng().random()
    }

    fn next_asker(&mut self) -> u64 {
        self.askers += 1;
        self.askers
    }

    fn pool_index(&self, name: &str) -> Option<usize> {
        self.pool_names.get(name).copied()
    }

    fn wait_over(&mut self, slot: u32, seq: u64, asker: u64) {
        let Some(live) = self.runs.live_seq(slot, seq) else { return };
        if let Some(at) = live.waiters.iter().position(|w| w.number == asker) {
            let waiter = live.waiters.remove(at);
            self.tell(slot, waiter);
        }
    }

    fn keep_over(&mut self) {
        self.keep_timer = None;
        if let Some(next) = self.forget_surplus() {
            self.forget_after(Duration::from_nanos(next.saturating_sub(monotonic_ns())));
        }
    }

    fn read_capture(&mut self, token: Token) {
        let Some(capture) = self.sources.capture(token) else { return };
        match capture.read() {
            Ok(Some(true)) => {}
            Ok(None) => self.again_captures.push(token),
            // Nothing more will come. What has come is fetched at the run's end.
            Ok(Some(false)) | Err(_) => {
                let fd = capture.as_fd().as_raw_fd();
                let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
            }
        }
    }

    /// The end of a run's output: stdout and stderr.
    fn finish_captures(&mut self, slot: u32, tokens: Vec<Token>) -> Vec<String> {
        let captures = self.take_captures(slot, tokens);
        captures.into_iter().map(|capture| capture.finish()).collect()
    }

    fn drop_captures(&mut self, slot: u32, tokens: Vec<Token>) {
        drop(self.take_captures(slot, tokens));
    }

    fn take_captures(&mut self, slot: u32, tokens: Vec<Token>) -> Vec<capture::Capture> {
        if !tokens.is_empty() {
            self.tell_keeper(&ToKeeper::Drop(starting::capture_name(slot, "out")), None);
            self.tell_keeper(&ToKeeper::Drop(starting::capture_name(slot, "error")), None);
        }
        let mut captures = Vec::new();
        for token in tokens {
            if let Some(Source::Capture(capture)) = self.sources.remove(token) {
                // It may have been at its end, and off the loop, before.
                let _ = self.poll.registry().deregister(&mut SourceFd(&capture.as_fd().as_raw_fd()));
                captures.push(*capture);
            }
        }
        captures
    }

    /// One write for everything that this turn has to remember. What cannot be written stays in memory and is tried again.
    fn flush_journal(&mut self) {
        match self.journal.flush() {
            Ok(()) => self.journal_failed = false,
            Err(e) if !self.journal_failed => {
                self.journal_failed = true;
                error!(self.log, "the journal cannot be written; results live in memory only until it can"; "error" => %e);
            }
            Err(_) => {}
        }
        if !self.journal_failed && self.journal.wants_compaction() && self.no_compaction_until <= monotonic_ns() {
            self.no_compaction_until = monotonic_ns() + COMPACTION_PAUSE.as_nanos() as u64;
            self.compact_journal();
        }
    }

    /// False: the keeper has gone.
    fn keeper_says(&mut self) -> bool {
        let mut batch = Batch::new(8, control::MAX);
        loop {
            let received = match batch.receive(self.keeper.as_fd()) {
                Ok(received) => received,
                Err(e) => {
                    crit!(self.log, "hearing from the keeper"; "error" => %e);
                    return self.keeper_gone();
                }
            };
            for i in 0..received.messages {
                match ToMaster::decode(batch.message(i).0) {
                    Some(ToMaster::Terminate) => self.stop(),
                    Some(ToMaster::Kill) => self.stop_now(),
                    Some(ToMaster::Reload) => warn!(
                        self.log,
                        "SIGHUP: a reload of the process file is not there yet; `preforkd reload POOL` reloads a pool"
                    ),
                    Some(ToMaster::Stored(_) | ToMaster::Begin(_)) | None => {}
                }
            }
            if received.closed {
                return self.keeper_gone();
            }
            if !received.more {
                return true;
            }
        }
    }

    /// Without a keeper nobody learns how anything ends. Until a daemon can adopt what is left, ending it is the only thing
    /// that leaves no process unwatched; whatever cannot be known is `unknown` at the next start.
    fn keeper_gone(&mut self) -> bool {
        crit!(self.log, "the keeper has died: ending everything; how running runs end cannot be known any more");
        self.signal_all(9);
        self.kill_all_leftovers();
        for pool in &self.pools {
            for (_, zygote) in pool.generations.iter().filter_map(|g| g.zygote.as_ref()) {
                let _ = zygote.send(9); // gone already is as good
            }
        }
        let _ = std::fs::remove_file(self.options.dirs.socket());
        false
    }

    fn tell_keeper(&self, message: &ToKeeper, fd: Option<BorrowedFd<'_>>) {
        keep(&self.keeper, message, fd, &self.log);
    }
}

/// Says something to the keeper. It always listens, so this waits for room if there is none for a moment.
fn keep(keeper: &OwnedFd, message: &ToKeeper, fd: Option<BorrowedFd<'_>>, log: &Logger) {
    let fds: &[BorrowedFd<'_>] = fd.as_slice();
    if let Err(e) = seqpacket::send(keeper.as_fd(), &[IoSlice::new(&message.encode())], fds, true) {
        error!(log, "telling the keeper"; "message" => ?message, "error" => %e);
    }
}
