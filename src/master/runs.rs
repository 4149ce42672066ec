//! All runs: which slot has which id, what is alive, what is kept and for how long.
//!
//! What has a fixed size lies in the shared table and is read from there; here is what has not, and what only
//! a living master needs. No operation that a run takes is linear in the number of runs.

mod former;
mod live;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

pub use former::Former;
pub use live::{Asker, Extra, Form, Live, Waiter};

use crate::table::{Record, SLOTS, Table};
use crate::wire::status::{Status, Timestamp, signal_name};

/// Ended runs that are kept at most.
pub const MAX_KEPT: usize = 100_000;
/// Their results and captured output, in bytes.
pub const MAX_KEPT_BYTES: usize = 256 << 20;

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
        live.seq = self.take_seq(slot, Rc::clone(&live.id));
        self.put(slot, Entry::Live(Box::new(live)));
    }

    /// Puts a worker's process into its slot, where no client finds it.
    pub fn insert_worker(&mut self, slot: u32, mut live: Live) {
        self.next_seq += 1;
        live.seq = self.next_seq;
        self.put(slot, Entry::Live(Box::new(live)));
    }

    fn take_seq(&mut self, slot: u32, id: Rc<str>) -> u64 {
        let seq = self.reserved.remove(&slot).unwrap_or_else(|| {
            self.next_seq += 1;
            self.next_seq
        });
        self.ids.insert(id, slot);
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
        self.keep(slot, live.seq, Rc::clone(&live.id), live.pool, extra, now);
        Some(live)
    }

    fn keep(&mut self, slot: u32, seq: u64, id: Rc<str>, pool: Option<usize>, extra: Option<Box<Extra>>, now: u64) {
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
        // Rows that are read while somebody else changes them may have an id twice: the younger run's it is.
        if self.find(id) == Some(slot) {
            self.ids.remove(id);
        }
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

    /// The living run in that slot.
    pub fn alive_in(&self, slot: u32) -> Option<&Live> {
        match self.entries.get(slot as usize)? {
            Entry::Live(live) => Some(live),
            _ => None,
        }
    }

    /// How many slots have been used at once.
    pub fn slots(&self) -> u32 {
        self.entries.len() as u32
    }

    /// Whether a run lives in that slot.
    pub fn is_alive(&self, slot: u32) -> bool {
        matches!(self.entries.get(slot as usize), Some(Entry::Live(_)))
    }

    /// The slots of the youngest living runs, workers' processes left out; the youngest first.
    pub fn latest_alive(&self, most: usize) -> Vec<u32> {
        let mut alive: Vec<(u64, u32)> =
            self.alive().filter(|(_, live)| live.worker.is_none()).map(|(slot, live)| (live.seq, slot)).collect();
        alive.sort_unstable_by(|a, b| b.cmp(a));
        alive.into_iter().map(|(_, slot)| slot).take(most).collect()
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

    /// The id of the ended run in `slot`.
    pub fn ended_id(&self, slot: u32) -> Option<&str> {
        match self.entries.get(slot as usize)? {
            Entry::Ended(ended) => Some(&ended.id),
            _ => None,
        }
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
