//! The master: one event loop for protocol, policy, timers. It may be killed at any instant, and nothing is lost.
//!
//! A turn of the loop: wait; read what clients, zygotes and children have said; complete the exits whose words have been
//! read; do what is due; write the journal; write the answers; and only then, off everybody's path, start who
//! waited and ask for new idle children.
//!
//! [`Master`] is one struct, and each file of this folder is one of its subjects.

mod apps;
mod capture;
mod capturing;
mod cgroups;
mod clients;
mod connection;
mod ending;
mod exits;
mod gate;
mod handing;
mod keeping;
mod kept;
mod killing;
mod left;
mod listeners;
mod logging;
mod logs;
mod lost;
mod orphaned;
mod record;
mod recovery;
mod replacing;
mod replies;
mod resting;
mod runs;
mod sources;
mod starting;
mod startup;
mod stopping;
mod subscriptions;
mod taking;
mod timers;
mod trees;
mod unheard;
mod upgrade;
mod verbs;
mod waiting;
mod zygotes;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self};
use std::os::fd::OwnedFd;
use std::time::Duration;

use mio::{Events, Poll, Token};
use rand::RngExt;
use slog::{Logger, crit, warn};

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
use crate::sys::pipe::Scratch;
use crate::sys::seqpacket::Batch;
use crate::sys::{fault, memory};
use crate::table::{Beat, ExitEntry, RingReader, Table};
use crate::wire::info::Counts;
use crate::wire::rpc::RpcError;
use crate::workers::Event;

/// How often starts that have not been answered are looked into, while there are any.
const START_CHECK: Duration = Duration::from_secs(1);
/// A zygote that leaves an order unread for this long is killed.
const HUNG: Duration = Duration::from_secs(5);
/// How long an ended run of a pool that is gone is kept.
const KEEP_GONE: Duration = Duration::from_secs(24 * 3600);
/// After a start or new definitions, until memory is given back.
const CALM: Duration = Duration::from_secs(2);
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
    beat: Beat,
    runs: Runs,
    pools: Vec<Pool>,
    pool_names: HashMap<String, usize>,
    default_pool: Option<usize>,
    journal: Journal,
    keeper: OwnedFd,
    /// The keeper has died.
    orphaned: bool,
    /// The keeper is not our parent, so that nothing may be started.
    fostered: bool,
    /// Of the directory. Held for as long as we live: a second daemon must not start beside a master whose keeper has gone.
    lock: OwnedFd,
    /// The process file's pools, as they were when it was read last.
    definitions: Option<OwnedFd>,
    /// The process file is in JavaScript, which no master evaluates.
    in_javascript: bool,
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
    trees: trees::Trees,
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
    /// Captured output that is read some time from now.
    late_captures: Vec<Token>,
    /// What the keeper keeps of what is not on record yet, by name.
    kept_until_flushed: Vec<String>,
    scratch_pipe: Scratch,
    /// Channels of Node's to go on with in the next turn.
    again_nodes: Vec<Token>,
    /// Connections to go on with in the next turn.
    again_clients: Vec<Token>,
    connections: usize,
    accept_paused: bool,
    reserve: Option<File>,
    counts: Counts,
    apps: apps::Apps,
    /// What a predecessor has handed over, until it is in its place.
    handed: taking::Handed,
    /// Captured output of a former master's runs, until the runs are found: (slot, whether it is stderr).
    former_captures: HashMap<(u32, bool), OwnedFd>,
    /// What that one had taken out of them.
    former_tails: HashMap<(u32, bool), OwnedFd>,
    logs: logs::Logs,
    subscriptions: subscriptions::Subscriptions,
    /// (pool, generation, who asked)
    reloads: Vec<(usize, u32, Asker)>,
    wrong_tokens: VecDeque<Asker>,
    keep_timer: Option<timers::Key>,
    upgrade: Option<upgrade::Upgrade>,
    /// Another keeper is wanted.
    replacing: Option<replacing::Replacing>,
    phase: Option<Phase>,
    askers: u64,
    journal_failed: bool,
    /// ns monotonic.
    no_compaction_until: u64,
    began_at: u64,
    /// A timer runs for [`Master::calm`].
    calming: bool,
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
        // Before anything is started: it may be that we are to shut down.
        if !self.keeper_says() {
            return 1;
        }
        (0..self.pools.len()).for_each(|index| self.load(index));
        loop {
            self.end_of_turn();
            if self.stopped() {
                self.farewell();
                return 0;
            }
            if self.may_hand_over() && self.hand_over() {
                return 0;
            }
            let before = self.ring.arm(&self.table);
            let pending = before != self.table.ring_tail() || self.has_more();
            let timeout = if pending { Some(Duration::ZERO) } else { self.timers.next() };
            self.beat.rest(&self.table);
            let waited = self.poll.poll(&mut events, timeout);
            self.turn_begins();
            fault::point("turn-begun");
            if let Err(e) = waited
                && e.kind() != io::ErrorKind::Interrupted
            {
                crit!(self.log, "waiting for events"; "error" => %e);
                return 1;
            }
            // A wake-up vouches for the exits it announced; the poll itself for those before it, unless it was cut short.
            let (mut announced, mut count) = (self.table.ring_tail(), 0);
            let clients = std::mem::take(&mut self.again_clients);
            let captures = std::mem::take(&mut self.again_captures);
            let nodes = std::mem::take(&mut self.again_nodes);
            let logs = self.logs.take_again();
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
                    Some(Source::Capture(_)) => self.capture_event(token),
                    Some(Source::List) => self.list_saved(),
                    Some(Source::ProcessFile) => self.process_file_read(),
                    Some(Source::Notify) => self.apps.notify_due = true,
                    Some(Source::Node(_)) => self.node_says(token),
                    Some(Source::Probe(_)) => self.probe_event(token),
                    Some(Source::Log(_)) => self.read_log(token, event.is_read_closed()),
                    Some(Source::Watch) => self.files_changed(),
                    Some(Source::Successor) => self.successor_says(),
                    Some(Source::Adoption(_)) => self.adopted(token),
                    Some(Source::Process { .. }) => self.process_died(token),
                    None => {}
                }
            }
            for index in std::mem::take(&mut self.again) {
                self.accept(index);
            }
            for token in captures {
                self.read_capture(token);
            }
            for token in nodes {
                self.node_says(token);
            }
            for token in logs {
                self.read_log(token, true);
            }
            for token in clients {
                self.resume_client(token);
            }
            self.lines_matched();
            self.notified(count < EVENTS);
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
        if self.apps.starts.next_at(monotonic_ns()).is_some_and(|at| at <= monotonic_ns()) {
            return true;
        }
        let (listeners, replies) = (self.again.is_empty(), self.again_replies.is_empty());
        !(listeners
            && replies
            && self.again_captures.is_empty()
            && self.again_clients.is_empty()
            && self.again_nodes.is_empty()
            && self.apps.early_ready.is_empty()
            && !self.apps.notify_due
            && !self.logs.has_more())
    }

    fn end_of_turn(&mut self) {
        // Without it no output would be read any more.
        debug_assert!(self.logs.stage().is_some() && self.batch.is_some(), "lent out and not given back");
        self.flush_journal();
        self.flush_all();
        while let Some(index) = self.busy.pop() {
            self.is_busy[index] = false;
            self.dispatch(index);
            self.refill(index);
        }
        self.watch_files();
        self.start_workers();
        self.flush_list();
        // Starting those that waited may have gone wrong, which is an answer, too.
        self.flush_journal();
        self.flush_all();
        self.tidy_journal();
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
            Timer::OpenLines => self.open_lines(),
            Timer::Captures => self.read_late_captures(),
            Timer::Stop => self.stop_step(),
            Timer::Worker(id) => self.tell_worker(id, Event::Due),
            Timer::Ready { slot, seq } => self.ready_timer(slot, seq),
            Timer::Successor { slot, seq } => self.successor_timer(slot, seq),
            Timer::Memory => self.measure(),
            Timer::List => self.write_list_again(),
            Timer::Watch(number) => self.watch_over(number),
            Timer::Upgrade => self.upgrade_late(),
            Timer::Replace => self.keeper_stays("the keeper does not answer"),
            Timer::AskHow { slot, seq, since } => self.ask_how(slot, seq, since),
            // Only to wake us: starts are looked at in each turn.
            Timer::Workers => {}
            Timer::Calm => self.calm(),
            Timer::Idle { pool } => self.keep_idle(pool),
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
        if self.phase.is_some() || self.fostered || pool.current().is_none() || pool.no_forks_until.is_some() {
            return;
        }
        if let Err(e) = pool.refill(monotonic_ns(), || rand::rng().random()) {
            warn!(self.log, "asking for idle children"; "pool" => &pool.definition.name, "error" => %e);
            self.pause_forks(index);
        }
        self.watch_idle(index);
    }

    /// Much has been read and made: some time from now on memory is given back.
    fn calm_soon(&mut self) {
        if !self.calming {
            self.calming = true;
            self.timers.after(CALM, Timer::Calm);
        }
    }

    fn calm(&mut self) {
        self.calming = false;
        if self.apps.starts.next_at(monotonic_ns()).is_some() {
            return self.calm_soon();
        }
        memory::give_back();
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
}
