//! A run that lives, who waits for it, and what it leaves.

use std::rc::Rc;
use std::time::Duration;

use mio::Token;
use serde_json::value::RawValue;

use super::super::timers::Key;
use crate::journal::RecordRef;
use crate::sys::pidfd::PidFd;
use crate::sys::tree::Member;
use crate::wire::request::Run as Request;
use crate::wire::rpc::RpcId;
use crate::wire::status::{RunError, State};

/// Where an answer goes.
#[derive(Debug)]
pub struct Asker {
    /// The connection; it may be gone by then.
    pub connection: Token,
    /// In which form.
    pub form: Form,
}

/// In which form an answer goes.
#[derive(Debug)]
pub enum Form {
    /// A call's answer; in a batch (its name and the place in it) as a member of it.
    Rpc { id: RpcId, batch: Option<(u32, usize)> },
    /// A notification: none.
    Silent,
    /// Phprocksyd's, in order.
    Ticket(u64),
}

/// Somebody who waits for a run.
#[derive(Debug)]
pub struct Waiter {
    /// Who.
    pub asker: Asker,
    /// Names it for its timer.
    pub number: u64,
    /// For the end; else for the start.
    pub for_end: bool,
    /// The run was there before it asked to `run` it.
    pub duplicate: bool,
    /// It asked to `run`, not to `wait`: a start that fails is an error for it.
    pub asked_to_run: bool,
    /// The timer of a `wait` with a timeout.
    pub timer: Option<Key>,
}

/// What an ended run leaves beside its row in the table.
#[derive(Debug, Clone, Default)]
pub struct Extra {
    /// What the entry returned.
    pub result: Option<Box<RawValue>>,
    /// An uncaught error, or why it did not run.
    pub error: Option<RunError<'static>>,
    /// Captured output.
    pub stdout: Option<String>,
    /// Captured errors.
    pub stderr: Option<String>,
}

impl Extra {
    /// As the journal has it.
    pub fn record<'a>(&'a self, slot: u32, id: &'a str, timed_out: bool) -> RecordRef<'a> {
        RecordRef::Ended {
            slot,
            id,
            result: self.result.as_deref(),
            error: self.error.as_ref(),
            stdout: self.stdout.as_deref(),
            stderr: self.stderr.as_deref(),
            timed_out,
        }
    }
}

impl Live {
    /// A run of that id of which nothing has happened yet; its `seq` is given when it is put into its slot.
    pub fn new(id: impl Into<Rc<str>>, pool: Option<usize>) -> Live {
        Live {
            id: id.into(),
            pool,
            worker: None,
            seq: 0,
            state: State::Queued,
            request: None,
            recovered: false,
            told: false,
            nonce: 0,
            fork_seq: 0,
            asked_at: 0,
            order: (0, 0),
            ordered: (0, 0),
            carried: false,
            generation: 0,
            process: None,
            waiters: Vec::new(),
            timeout: None,
            kill_timeout: Duration::ZERO,
            timer: None,
            ending: false,
            tree: Vec::new(),
            early_signal: None,
            node: None,
            captures: Vec::new(),
            said: false,
            extra: None,
        }
    }
}

impl Extra {
    /// Its size, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let text = |t: &Option<String>| t.as_ref().map_or(0, String::len);
        let error = self.error.as_ref();
        let error = error.map_or(0, |e| e.class.len() + e.message.len() + e.trace.as_ref().map_or(0, |t| t.len()));
        self.result.as_ref().map_or(0, |r| r.get().len()) + error + text(&self.stdout) + text(&self.stderr)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.result.is_none() && self.error.is_none() && self.stdout.is_none() && self.stderr.is_none()
    }
}

/// A run that has not ended.
#[derive(Debug)]
pub struct Live {
    /// Its id.
    pub id: Rc<str>,
    /// Its pool, an index; None for one of a pool that is gone from the process file.
    pub pool: Option<usize>,
    /// The worker whose process it is; such a one is no client's, and in no list of runs.
    pub worker: Option<u32>,
    /// Counts all runs; also tells apart two users of one slot.
    pub seq: u64,
    /// As in the table.
    pub state: State,
    /// What is below its process, once it has been told to end.
    pub tree: Vec<Member>,
    /// What was asked for, until it has started.
    pub request: Option<Box<Request>>,
    /// A former master has asked for it, and may have heard of it more than we know.
    pub recovered: bool,
    /// Somebody has been told of it: it may fail, but not vanish.
    pub told: bool,
    /// What the child has to repeat.
    pub nonce: u64,
    /// The ring's head when its fork was asked for.
    pub fork_seq: u64,
    /// When that was, ns monotonic.
    pub asked_at: u64,
    /// The order its process was made by: its slot and nonce, or the idle child's.
    pub order: (u32, u64),
    /// The place of that order among all of the pool's, and when it was sent, ns monotonic.
    pub ordered: (u64, u64),
    /// The zygote that it was sent to has died before it had read it.
    pub carried: bool,
    /// The generation it was bound to.
    pub generation: u32,
    /// Its process, once it has said that it started.
    pub process: Option<(u32, Option<PidFd>)>,
    /// Who waits for it.
    pub waiters: Vec<Waiter>,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// From TERM to KILL.
    pub kill_timeout: Duration,
    /// For its timeout, or its grace.
    pub timer: Option<Key>,
    /// It has been signalled to end: its group goes with it.
    pub ending: bool,
    /// A signal that came before its process.
    pub early_signal: Option<(i32, Option<Duration>)>,
    /// A worker's channel in Node's way.
    pub node: Option<Token>,
    /// Captured stdout and stderr.
    pub captures: Vec<Token>,
    /// All of what it leaves is in the journal already.
    pub said: bool,
    /// What has come so far.
    pub extra: Option<Box<Extra>>,
}
