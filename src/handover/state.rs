//! The sections. Descriptors are indices into those that come along; clients, where somebody waits for an answer, into
//! [`State::clients`]. Times are ns on the monotonic clock.

use serde::{Deserialize, Serialize};

/// An index into the descriptors that come with the state.
pub type FdIndex = u32;
/// The index of a client that there is not.
pub const NOBODY: u32 = u32::MAX;

/// Everything.
#[derive(Debug, Default, PartialEq)]
pub struct State {
    /// About the daemon.
    pub daemon: Daemon,
    /// Who is connected.
    pub clients: Vec<Client>,
    /// Warm processes.
    pub pools: Vec<Pool>,
    /// Runs and workers' processes that have not ended.
    pub runs: Vec<Run>,
    /// Who waits for something else than a run.
    pub waiting: Waiting,
    /// Streams of output of which there is something to know.
    pub output: Vec<Output>,
    /// What is left of ended trees, and has some time left.
    pub trees: Vec<Tree>,
}

/// About the daemon.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Daemon {
    /// The version that wrote this.
    pub version: String,
    /// When it began to serve.
    pub began_at: u64,
    /// When the pause began.
    pub frozen_at: u64,
    /// When the upgrade was asked for.
    pub asked_at: u64,
    /// Counts those who wait.
    pub askers: u64,
    /// Connections that were refused, messages that were dropped.
    pub counts: (u64, u64),
    /// Who asked for the upgrade.
    pub asker: Option<Asker>,
    /// Exits of nobody that was known.
    pub unclaimed: Vec<Exit>,
    /// Places in the ring that are done with before their turn.
    pub claimed: Vec<u64>,
}

/// A dead process, as the ring had it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// Its place in the ring.
    pub seq: u64,
    /// Its number.
    pub pid: u32,
    /// Its pidfs inode, or 0.
    pub inode: u64,
    /// 0 exited with this code, 1 killed by this signal, 2 and left a core dump.
    pub how: (u8, i32),
    /// User and system time in µs, most resident bytes, faults without and with a page from the disk, voluntary and involuntary
    /// switches.
    pub usage: [u64; 7],
    /// Wall clock.
    pub at: u64,
}

/// Where an answer goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asker {
    /// An index into the clients.
    pub client: u32,
    /// In which form.
    pub form: Form,
}

/// In which form an answer goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Form {
    /// JSON-RPC; the id's JSON, and the batch and the place in it.
    Rpc(String, Option<(u32, u64)>),
    /// None.
    Silent,
    /// Phprocksyd's.
    Ticket(u64),
}

/// A client.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Client {
    /// Its socket.
    pub fd: FdIndex,
    /// Over TCP; else over the Unix socket.
    pub tcp: bool,
    /// 0 none, 1 run, 2 admin.
    pub role: u8,
    /// See [`flags`].
    pub flags: u32,
    /// What has been read and not looked at.
    pub unread: Vec<u8>,
    /// What waits to be written.
    pub unwritten: Vec<u8>,
    /// Answers still to come.
    pub pending: u64,
    /// When its line, or its authentication, has to be whole.
    pub request_by: Option<u64>,
    /// When it has to have read its answers.
    pub answer_by: Option<u64>,
    /// So far.
    pub wrong_tokens: u32,
    /// Phprocksyd's answers in order, from this place on.
    pub tickets: (u64, Vec<Option<Vec<u8>>>),
    /// Batches: name, answers still to come, answers.
    pub batches: Vec<(u32, u64, Vec<Vec<u8>>)>,
    /// The latest batch's name.
    pub next_batch: u32,
    /// What it is told of without asking again.
    pub subscription: Option<Subscription>,
}

/// Flags of a [`Client`].
pub mod flags {
    /// No line has been looked at.
    pub const FIRST: u32 = 1;
    /// It has sent everything.
    pub const EOF: u32 = 2;
    /// It is not there any more.
    pub const GONE: u32 = 4;
    /// Closed once everything is written.
    pub const CLOSING: u32 = 8;
    /// Closed once everything is answered.
    pub const LAST: u32 = 16;
    /// A guess has to be paid for.
    pub const PENALTY: u32 = 32;
}

/// Some texts; None: all there may be.
pub type Texts = Option<Vec<String>>;

/// What a client is told of.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    /// Kinds and targets of events.
    pub events: Option<(Texts, Texts)>,
    /// Targets of logs; 1 stdout alone, 2 stderr alone, 0 both.
    pub logs: Option<(Option<Vec<String>>, u8)>,
    /// Not told since the last gap.
    pub lost: u64,
}

/// A pool.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// The generation that runs are forked from.
    pub current: Option<u32>,
    /// The latest number given.
    pub last_number: u32,
    /// Why there is no zygote, or why the latest reload failed.
    pub error: Option<String>,
    /// The latest preload failed.
    pub down: bool,
    /// Failed preloads in a row.
    pub failures: u32,
    /// Runs taken; not ended with 0.
    pub totals: (u64, u64),
    /// Somebody waits who has not been told so.
    pub untold: bool,
    /// Counters of idle children and of orders.
    pub counters: (u32, u64),
    /// Children that wait for a request.
    pub idle: Vec<Idle>,
    /// Zygotes.
    pub generations: Vec<Generation>,
}

/// A child that waits for a request.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Idle {
    /// The generation that it answers on the channel of.
    pub generation: u32,
    /// What its order named it.
    pub number: u32,
    /// Its order's nonce.
    pub nonce: u64,
    /// Place and time of its order.
    pub order: (u64, u64),
    /// Its zygote died before it had read that.
    pub carried: bool,
    /// Where its request goes.
    pub channel: FdIndex,
}

/// A zygote and those forked from it. The keeper has its reply channel.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// 1, 2, …
    pub number: u32,
    /// The inode of the other end of its reply channel.
    pub their_end: u64,
    /// Pid and pidfd.
    pub zygote: Option<(u32, FdIndex)>,
    /// What it said when it was ready, as JSON.
    pub ready: Option<String>,
    /// When it was started.
    pub started_at: u64,
    /// When its preload must be done.
    pub preload_by: Option<u64>,
    /// How long that took, in ms.
    pub preload_ms: Option<u64>,
    /// Orders of its own: our end, its end.
    pub orders: Option<(FdIndex, FdIndex)>,
    /// It takes nothing new.
    pub retired: bool,
    /// Nobody is left to say anything.
    pub silent: bool,
}

/// What a run is, beside its row in the table.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its row.
    pub slot: u32,
    /// The params of `run`, until it has started.
    pub request: Option<String>,
    /// Somebody has been told of it.
    pub told: bool,
    /// A former master had asked for it.
    pub recovered: bool,
    /// When its process was asked for.
    pub asked_at: u64,
    /// Slot and nonce of the order.
    pub order: (u32, u64),
    /// Place and time of the order.
    pub ordered: (u64, u64),
    /// The zygote died before it had read it.
    pub carried: bool,
    /// A signal that came before its process, and its grace in ns.
    pub early_signal: Option<(i32, Option<u64>)>,
    /// It has been signalled to end.
    pub ending: bool,
    /// What is below it, once it has been.
    pub tree: Vec<Member>,
    /// An error that is not in the journal yet, as JSON.
    pub error: Option<String>,
    /// Who waits for it.
    pub waiters: Vec<Waiter>,
}

/// A process that is held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its number.
    pub pid: u32,
    /// Its group.
    pub group: u32,
    /// Its pidfd.
    pub handle: FdIndex,
}

/// Somebody who waits for a run.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiter {
    /// Who.
    pub asker: Asker,
    /// Names it for its timer.
    pub number: u64,
    /// For the end; else for the start.
    pub for_end: bool,
    /// The run was there already.
    pub duplicate: bool,
    /// It asked to `run`.
    pub asked_to_run: bool,
    /// When it has waited long enough.
    pub by: Option<u64>,
}

/// Who waits for something else.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// Reloads of pools: name, generation, who.
    pub reloads: Vec<(String, u32, Asker)>,
    /// For workers.
    pub workers: Vec<WorkersAsked>,
    /// Who gave a wrong token, and hears of it only later.
    pub wrong_tokens: Vec<Asker>,
}

/// Somebody who waits until something is true of workers.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkersAsked {
    /// Who.
    pub asker: Asker,
    /// Which of them.
    pub ids: Vec<u32>,
    /// Those that are not there yet.
    pub missing: Vec<u32>,
    /// 0 nothing, 1 up, 2 down, 3 gone, 4 the list is on the disk.
    pub until: u8,
    /// Those that are gone, as JSON.
    pub gone: Vec<String>,
    /// What it is told instead, as JSON.
    pub answer: Option<String>,
}

/// What is known of a stream that goes to files.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Its name in the keeper's store.
    pub name: String,
    /// The beginning of a line.
    pub held: Vec<u8>,
    /// What was written last did not end its line.
    pub mid_line: bool,
    /// Bytes that could not be written.
    pub lost: u64,
    /// Its last lines, where they are kept, and a newline after each that has ended.
    pub recent: Vec<u8>,
    /// The beginning of a line, for those who follow it.
    pub watched: Vec<u8>,
}

/// What may be left of an ended tree.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// Its mark.
    pub nonce: u64,
    /// Its first process.
    pub leader: Option<FdIndex>,
    /// The others.
    pub members: Vec<Member>,
    /// Its cgroup.
    pub cgroup: Option<String>,
    /// What it has left, in ns.
    pub grace: u64,
}
