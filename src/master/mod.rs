//! The master: one event loop for protocol, policy, timers. It may be killed at any instant, and nothing is lost.
//!
//! A turn of the loop: wait; read what clients, zygotes and children have said; complete the exits whose words have been
//! read; do what is due; write the journal; write the answers; and only then, off everybody's path, start who
//! waited and ask for new idle children.
//!
//! [`Master`] is one struct, and each file of this folder is one of its subjects.

mod adopting;
mod answering;
mod apps;
mod capture;
mod capturing;
mod cgroups;
mod clients;
mod connection;
mod ending;
mod exits;
mod gate;
mod handed;
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
mod succession;
mod taking;
mod timers;
mod trees;
mod turn;
mod unheard;
mod upgrade;
mod verbs;
mod waiting;
mod zygotes;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::Duration;

use mio::{Poll, Token};
use slog::Logger;

use runs::{Asker, Runs};
use sources::Sources;
pub use startup::MasterError;
use stopping::Phase;
use timers::Timers;

use crate::journal::Journal;
use crate::pool::Pool;
use crate::settings::ServeOptions;
use crate::sys::eventfd::EventFd;
use crate::sys::pipe::Scratch;
use crate::sys::seqpacket::Batch;
use crate::table::{Beat, ExitEntry, RingReader, Table};
use crate::wire::info::Counts;

/// How often starts that have not been answered are looked into, while there are any.
const START_CHECK: Duration = Duration::from_secs(1);
/// A zygote that leaves an order unread for this long is killed.
const HUNG: Duration = Duration::from_secs(5);
/// How long an ended run of a pool that is gone is kept.
const KEEP_GONE: Duration = Duration::from_secs(24 * 3600);

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
    /// What clients send is read into, for all of them: whoever says nothing has none.
    room: Box<[u8]>,
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
    handed: handed::Handed,
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
    /// Then it is tried again, even if nothing else happens.
    journal_timer: Option<timers::Key>,
    renewal: Option<record::Renewal>,
    /// ns monotonic.
    no_renewal_until: u64,
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
