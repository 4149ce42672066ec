//! All runs: which slot has which id, what is alive, what is kept and for how long.
//!
//! What has a fixed size lies in the shared table and is read from there; here is what has not, and what only
//! a living master needs. No operation that a run takes is linear in the number of runs.

mod former;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use mio::Token;
use serde_json::value::RawValue;

pub use former::Former;

use super::timers::Key;
use crate::sys::pidfd::PidFd;
use crate::sys::tree::Member;
use crate::table::{Record, SLOTS, Table};
use crate::wire::request::Run as Request;
use crate::wire::rpc::RpcId;
use crate::wire::status::{RunError, State, Status, Timestamp, signal_name};

/// Ended runs that are kept at most.
pub const MAX_KEPT: usize = 100_000;
/// Their results and captured output, in bytes.
pub const MAX_KEPT_BYTES: usize = 256 << 20;

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

impl Live {
    /// A run of that id of which nothing has happened yet; its `seq` is given when it is put into its slot.
    pub fn new(id: &str, pool: Option<usize>) -> Live {
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
    fn bytes(&self) -> usize {
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
    pub id: Box<str>,
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

#[derive(Debug)]
struct Ended {
    id: Rc<str>,
    seq: u64,
    extra: Option<Box<Extra>>,
}

#[derive(Debug)]
enum Entry {
    Free,
    Live(Box<Live>),
    Ended(Box<Ended>),
}

/// All of them.
#[derive(Debug)]
pub struct Runs {
    entries: Vec<Entry>,
    free: Vec<u32>,
    ids: HashMap<Rc<str>, u32>,
    /// By age.
    order: BTreeMap<u64, u32>,
    next_seq: u64,
    /// Of those that a recovery is still to bring, by slot: who was queued before others keeps his place.
    reserved: HashMap<u32, u64>,
    /// Per pool, and one more for the runs of pools that are gone: (end, seq, slot), the oldest first.
    /// Freed ones stay until they come to the front or are too many.
    ended: Vec<VecDeque<(u64, u64, u32)>>,
    ended_count: usize,
    kept_bytes: usize,
}

impl Runs {
    /// None yet.
    pub fn new(pools: usize) -> Runs {
        Runs {
            entries: Vec::new(),
            free: Vec::new(),
            ids: HashMap::new(),
            order: BTreeMap::new(),
            next_seq: 0,
            reserved: HashMap::new(),
            ended: (0..=pools).map(|_| VecDeque::new()).collect(),
            ended_count: 0,
            kept_bytes: 0,
        }
    }

    /// The slot of that id.
    pub fn find(&self, id: &str) -> Option<u32> {
        self.ids.get(id).copied()
    }

    /// The living run in that slot.
    pub fn live(&mut self, slot: u32) -> Option<&mut Live> {
        match self.entries.get_mut(slot as usize) {
            Some(Entry::Live(live)) => Some(live),
            _ => None,
        }
    }

    /// Whether the run in that slot still is the one numbered `seq`, and alive.
    pub fn live_seq(&mut self, slot: u32, seq: u64) -> Option<&mut Live> {
        self.live(slot).filter(|live| live.seq == seq)
    }

    /// A slot for a new run. None: all are taken by runs that have not ended.
    pub fn take_slot(&mut self) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        if self.entries.len() < SLOTS as usize {
            self.entries.push(Entry::Free);
            return Some(self.entries.len() as u32 - 1);
        }
        None
    }

    /// Puts a run into its slot. Its `seq` is given here.
    pub fn insert(&mut self, slot: u32, mut live: Live) {
        live.seq = self.take_seq(slot, &live.id);
        self.put(slot, Entry::Live(Box::new(live)));
    }

    /// Puts a worker's process into its slot, where no client finds it.
    pub fn insert_worker(&mut self, slot: u32, mut live: Live) {
        self.next_seq += 1;
        live.seq = self.next_seq;
        self.put(slot, Entry::Live(Box::new(live)));
    }

    fn take_seq(&mut self, slot: u32, id: &str) -> u64 {
        let seq = self.reserved.remove(&slot).unwrap_or_else(|| {
            self.next_seq += 1;
            self.next_seq
        });
        self.ids.insert(id.into(), slot);
        self.order.insert(seq, slot);
        seq
    }

    fn put(&mut self, slot: u32, entry: Entry) {
        self.entries[slot as usize] = entry;
    }

    /// A slot that was taken or reserved is not needed after all.
    pub fn unreserve(&mut self, slot: u32) {
        self.free.push(slot);
    }

    /// The run in `slot` has ended: what it leaves is kept.
    pub fn end(&mut self, slot: u32, now: u64) -> Option<Box<Live>> {
        let mut live = self.take_live(slot)?;
        let extra = live.extra.take().filter(|extra| !extra.is_empty());
        self.keep(slot, live.seq, &live.id, live.pool, extra, now);
        Some(live)
    }

    fn keep(&mut self, slot: u32, seq: u64, id: &str, pool: Option<usize>, extra: Option<Box<Extra>>, now: u64) {
        let id = self.ids.get_key_value(id).map_or_else(|| id.into(), |(id, _)| Rc::clone(id));
        self.kept_bytes += extra.as_ref().map_or(0, |e| e.bytes());
        self.put(slot, Entry::Ended(Box::new(Ended { id, seq, extra })));
        let last = self.ended.len() - 1;
        self.ended[pool.unwrap_or(last).min(last)].push_back((now, seq, slot));
        self.ended_count += 1;
    }

    /// Forgets a living run, as if it had never been there. Its slot is free, and has to be cleared in the table.
    pub fn vanish(&mut self, slot: u32) -> Option<Box<Live>> {
        let live = self.vanish_reserved(slot)?;
        self.free.push(slot);
        Some(live)
    }

    /// The same, but its slot is not free before it is given back by [`Runs::unreserve`].
    pub fn vanish_reserved(&mut self, slot: u32) -> Option<Box<Live>> {
        let live = self.take_live(slot)?;
        self.ids.remove(&*live.id);
        self.order.remove(&live.seq);
        Some(live)
    }

    fn take_live(&mut self, slot: u32) -> Option<Box<Live>> {
        let entry = self.entries.get_mut(slot as usize)?;
        match std::mem::replace(entry, Entry::Free) {
            Entry::Live(live) => Some(live),
            other => {
                *entry = other;
                None
            }
        }
    }

    /// Forgets an ended run. False: there is none in that slot. The slot has to be cleared in the table.
    pub fn free(&mut self, slot: u32) -> bool {
        match self.entries.get_mut(slot as usize) {
            Some(entry @ Entry::Ended(_)) => {
                let Entry::Ended(ended) = std::mem::replace(entry, Entry::Free) else { return false };
                self.kept_bytes -= ended.extra.as_ref().map_or(0, |e| e.bytes());
                self.ended_count -= 1;
                self.forget(slot, ended.seq, &ended.id);
                self.sweep_freed();
                true
            }
            _ => false,
        }
    }

    fn forget(&mut self, slot: u32, seq: u64, id: &str) {
        self.ids.remove(id);
        self.order.remove(&seq);
        self.free.push(slot);
    }

    /// Where clients free what they have seen, the queues would fill with what is gone.
    fn sweep_freed(&mut self) {
        let listed: usize = self.ended.iter().map(VecDeque::len).sum();
        if listed > 2 * self.ended_count + 1024 {
            let entries = &self.entries;
            for queue in &mut self.ended {
                queue.retain(|(_, seq, slot)| is_ended(entries, *slot, *seq));
            }
        }
    }

    /// An ended run that is to be forgotten now: older than its pool's `keep` (ns), or the oldest of too many. Else the time at
    /// which the next one will be (None: there is none).
    pub fn overdue(&mut self, keep: impl Fn(usize) -> u64, now: u64) -> Result<u32, Option<u64>> {
        let too_many = self.ended_count > MAX_KEPT || self.kept_bytes > MAX_KEPT_BYTES;
        let (mut oldest, mut next): (Option<(u64, u32)>, Option<u64>) = (None, None);
        for (pool, queue) in self.ended.iter_mut().enumerate() {
            while queue.front().is_some_and(|(_, seq, slot)| !is_ended(&self.entries, *slot, *seq)) {
                queue.pop_front();
            }
            let Some(&(at, _, slot)) = queue.front() else { continue };
            let due = at.saturating_add(keep(pool));
            if due <= now {
                return Ok(slot);
            }
            next = Some(next.map_or(due, |n| n.min(due)));
            if oldest.is_none_or(|(o, _)| at < o) {
                oldest = Some((at, slot));
            }
        }
        match oldest {
            Some((_, slot)) if too_many => Ok(slot),
            _ => Err(next),
        }
    }

    /// The oldest ended run, if there is one.
    pub fn oldest_ended(&mut self) -> Option<u32> {
        let entries = &self.entries;
        let fronts = self.ended.iter_mut().filter_map(|queue| {
            while queue.front().is_some_and(|(_, seq, slot)| !is_ended(entries, *slot, *seq)) {
                queue.pop_front();
            }
            queue.front().copied()
        });
        fronts.min().map(|(_, _, slot)| slot)
    }

    /// One more pool, the last.
    pub fn add_pool(&mut self) {
        self.ended.insert(self.ended.len() - 1, VecDeque::new());
    }

    /// Slots by age, the oldest first, from after `after` on.
    pub fn by_age(&self, after: Option<u32>) -> impl DoubleEndedIterator<Item = u32> + '_ {
        let seq = after.and_then(|slot| self.seq(slot)).unwrap_or(0);
        self.order.range(seq + 1..).map(|(_, slot)| *slot)
    }

    /// The living ones.
    pub fn alive(&self) -> impl Iterator<Item = (u32, &Live)> + '_ {
        self.entries.iter().enumerate().filter_map(|(slot, entry)| match entry {
            Entry::Live(live) => Some((slot as u32, &**live)),
            _ => None,
        })
    }

    /// The slots of living runs, workers' processes left out.
    pub fn alive_slots(&self) -> HashSet<u32> {
        self.alive().filter(|(_, live)| live.worker.is_none()).map(|(slot, _)| slot).collect()
    }

    fn seq(&self, slot: u32) -> Option<u64> {
        match self.entries.get(slot as usize)? {
            Entry::Free => None,
            Entry::Live(live) => Some(live.seq),
            Entry::Ended(ended) => Some(ended.seq),
        }
    }

    /// How many ended runs are kept, and the bytes of what they left.
    pub fn kept(&self) -> (usize, usize) {
        (self.ended_count, self.kept_bytes)
    }

    /// What the journal has to keep: every ended run with something beside its row.
    pub fn extras(&self) -> impl Iterator<Item = (u32, &str, &Extra)> + '_ {
        self.entries.iter().enumerate().filter_map(|(slot, entry)| match entry {
            Entry::Ended(ended) => ended.extra.as_deref().map(|extra| (slot as u32, &*ended.id, extra)),
            _ => None,
        })
    }

    /// The id of the ended run in `slot` and what it left, if it left something.
    pub fn extra(&self, slot: u32) -> Option<(&str, &Extra)> {
        match self.entries.get(slot as usize)? {
            Entry::Ended(ended) => Some((&ended.id, ended.extra.as_deref()?)),
            _ => None,
        }
    }

    /// Something else is left by the ended run in `slot`.
    pub fn set_extra(&mut self, slot: u32, extra: Box<Extra>) {
        if let Some(Entry::Ended(ended)) = self.entries.get_mut(slot as usize) {
            self.kept_bytes += extra.bytes();
            self.kept_bytes -= ended.extra.replace(extra).map_or(0, |old| old.bytes());
        }
    }

    /// The status of the run in `slot`, from the table and what is here.
    pub fn status(&self, table: &Table, slot: u32) -> Option<Status<'_>> {
        let record = table.record(slot)?;
        let extra = match self.entries.get(slot as usize)? {
            Entry::Live(live) => live.extra.as_deref(),
            Entry::Ended(ended) => ended.extra.as_deref(),
            Entry::Free => None,
        };
        Some(status(record, extra))
    }
}

fn is_ended(entries: &[Entry], slot: u32, seq: u64) -> bool {
    matches!(entries.get(slot as usize), Some(Entry::Ended(e)) if e.seq == seq)
}

fn status(record: Record, extra: Option<&Extra>) -> Status<'_> {
    let time = |ns: u64| (ns != 0).then_some(Timestamp(ns));
    let (exit_code, signal, core_dumped) = (record.exit_code(), record.signal(), record.core_dumped());
    Status {
        state: record.state,
        pid: (record.pid != 0).then_some(record.pid),
        generation: (record.generation != 0).then_some(record.generation),
        exit_code,
        signal,
        signal_name: signal.and_then(signal_name).map(Cow::Borrowed),
        core_dumped,
        timed_out: record.timed_out,
        result: extra.and_then(|e| e.result.as_deref()).map(Cow::Borrowed),
        error: extra.and_then(|e| e.error.clone()),
        stdout: extra.and_then(|e| e.stdout.as_deref()).map(Cow::Borrowed),
        stderr: extra.and_then(|e| e.stderr.as_deref()).map(Cow::Borrowed),
        queued_at: time(record.queued_at),
        started_at: time(record.started_at),
        ended_at: time(record.ended_at),
        usage: record.usage,
        duplicate: None,
        id: record.id.into(),
        pool: record.pool.into(),
        entry: record.entry.into(),
    }
}
