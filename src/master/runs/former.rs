//! Ended runs that a former master has kept, taken over from their rows in the table.
//!
//! There may be a hundred thousand of them, and clients wait. So a successor reads them while its predecessor still serves, and
//! looks again only at those rows that have changed since; and whoever follows a master that was killed reads no more of a row than is
//! needed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;

use super::{Ended, Entry, Extra, Runs};
use crate::table::{EndedRow, Row, Table};

/// No version of a row.
const NOT_TAKEN: u64 = u64::MAX;

/// What has been read so far.
#[derive(Debug)]
pub struct Former {
    runs: Runs,
    /// The pools of the runs, in the order of `runs.ended`.
    pools: Vec<Box<str>>,
    /// By slot: the version of a row that has been taken over.
    versions: Vec<u64>,
    /// When those were queued that have not been, by slot, ns since the epoch.
    queued: HashMap<u32, u64>,
}

/// A run that has ended: when (ns monotonic), of which of the pools, and what is kept of it.
type Found = (u64, usize, Box<Ended>);

impl Former {
    /// Reads all that have ended. `since`: when it did, ns monotonic. `lost`: what is told of one of which nothing is on record.
    pub fn read(
        table: &Table,
        since: impl Fn(&EndedRow) -> u64,
        lost: impl Fn(&EndedRow) -> Option<Box<Extra>>,
    ) -> Former {
        let len = table.slots_used();
        let mut former = Former {
            runs: Runs::new(0),
            pools: Vec::new(),
            versions: vec![NOT_TAKEN; len as usize],
            queued: HashMap::new(),
        };
        former.runs.ended.clear();
        let mut rows = Vec::with_capacity(len as usize);
        for slot in 0..len {
            let Some((queued_at, row)) = table.row(slot) else { continue };
            let Row::Ended(row) = row else {
                rows.push((queued_at, slot, None));
                continue;
            };
            former.versions[slot as usize] = row.version;
            let pool = former.pool(&row.pool.text());
            let ended = Box::new(Ended { id: row.id.text().into(), seq: 0, extra: lost(&row) });
            rows.push((queued_at, slot, Some((since(&row), pool, ended))));
        }
        rows.sort_unstable_by_key(|(queued_at, slot, _)| (*queued_at, *slot));
        former.put(len, rows);
        former
    }

    /// Puts them into their places, who was queued first before all others.
    fn put(&mut self, len: u32, rows: Vec<(u64, u32, Option<Found>)>) {
        let runs = &mut self.runs;
        runs.entries = (0..len).map(|_| Entry::Free).collect();
        runs.ids.reserve(rows.len());
        let mut order = Vec::with_capacity(rows.len());
        for (queued_at, slot, ended) in rows {
            runs.next_seq += 1;
            let Some((since, pool, mut ended)) = ended else {
                runs.reserved.insert(slot, runs.next_seq);
                self.queued.insert(slot, queued_at);
                continue;
            };
            ended.seq = runs.next_seq;
            runs.ids.insert(Rc::clone(&ended.id), slot);
            order.push((ended.seq, slot));
            runs.ended[pool].push_back((since, ended.seq, slot));
            runs.ended_count += 1;
            runs.kept_bytes += ended.extra.as_ref().map_or(0, |extra| extra.bytes());
            runs.entries[slot as usize] = Entry::Ended(ended);
        }
        runs.order = order.into_iter().collect();
        runs.sort_ended();
    }

    fn pool(&mut self, name: &str) -> usize {
        self.pools.iter().position(|pool| **pool == *name).unwrap_or_else(|| {
            self.pools.push(name.into());
            self.runs.ended.push(VecDeque::new());
            self.pools.len() - 1
        })
    }

    /// What an ended run has left. Given back if none of that id has been read, or if its row has changed since: then it may be of
    /// another run, to which the id was given when the one that has been read was freed.
    pub fn leave(&mut self, table: &Table, id: &str, extra: Box<Extra>) -> Option<Box<Extra>> {
        let versions = &self.versions;
        let slot = self.runs.find(id).filter(|slot| versions.get(*slot as usize) == Some(&table.version(*slot)));
        let Some(Entry::Ended(ended)) = slot.and_then(|slot| self.runs.entries.get_mut(slot as usize)) else {
            return Some(extra);
        };
        self.runs.kept_bytes += extra.bytes();
        self.runs.kept_bytes -= ended.extra.replace(extra).map_or(0, |former| former.bytes());
        None
    }

    /// All that have ended and have not changed since, in this many pools; and the slots of the other rows. `pool`: a pool's index.
    pub fn catch_up(self, table: &Table, pools: usize, pool: impl Fn(&str) -> Option<usize>) -> (Runs, HashSet<u32>) {
        let Former { mut runs, pools: names, mut versions, queued } = self;
        let len = table.slots_used();
        versions.resize(len as usize, NOT_TAKEN);
        runs.entries.resize_with(len as usize, || Entry::Free);
        let mut others = HashSet::new();
        for (slot, version) in (0..len).zip(versions) {
            if version != NOT_TAKEN && table.version(slot) == version {
                continue;
            }
            runs.free(slot);
            let there = table.row(slot);
            if queued.get(&slot).is_some_and(|at| there.is_none_or(|(queued_at, _)| queued_at != *at)) {
                // Another one's by now.
                runs.reserved.remove(&slot);
            }
            others.extend(there.map(|_| slot));
        }
        let found = std::mem::replace(&mut runs.ended, (0..=pools).map(|_| VecDeque::new()).collect());
        for (name, mut queue) in names.iter().zip(found) {
            runs.ended[pool(name).unwrap_or(pools).min(pools)].append(&mut queue);
        }
        runs.sort_ended();
        let entries = &runs.entries;
        let free = |slot: &u32| matches!(entries[*slot as usize], Entry::Free) && !others.contains(slot);
        runs.free = (0..len).rev().filter(free).collect();
        (runs, others)
    }
}

impl Runs {
    /// One that has ended, and was not among them.
    pub fn insert_ended(&mut self, slot: u32, id: &str, pool: Option<usize>, extra: Option<Box<Extra>>, since: u64) {
        let id: Rc<str> = id.into();
        let seq = self.take_seq(slot, Rc::clone(&id));
        self.keep(slot, seq, id, pool, extra, since);
    }

    /// Everybody is in his place: those who ended first are forgotten first, and nobody else is to come.
    pub fn recovered(&mut self) {
        self.sort_ended();
        self.reserved = HashMap::new();
    }

    fn sort_ended(&mut self) {
        for queue in &mut self.ended {
            queue.make_contiguous().sort_unstable();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::table::Claim;
    use crate::wire::status::State;

    fn claim(table: &Table, slot: u32, id: &str, queued_at: u64) {
        let (entry, pool, state) = ("entry", "pool", State::Queued);
        let (timeout, kill_timeout, worker) = (None, Duration::ZERO, false);
        table.claim(slot, &Claim { id, pool, entry, state, worker, queued_at, timeout, kill_timeout });
    }

    fn ended(table: &Table, slot: u32, id: &str, queued_at: u64) {
        claim(table, slot, id, queued_at);
        table.set_without_exit(slot, State::Failed, queued_at + 1);
    }

    fn read(table: &Table) -> Former {
        Former::read(table, |row| row.ended_at, |_| Some(Box::default()))
    }

    fn by_age(runs: &Runs) -> Vec<u32> {
        runs.by_age(None).collect()
    }

    fn table() -> (tempfile::TempDir, Table) {
        let folder = tempfile::tempdir().unwrap();
        let table = Table::open(&folder.path().join("table"), true).unwrap();
        (folder, table)
    }

    #[test]
    fn only_what_has_changed_since_is_looked_at_again() {
        let (_folder, table) = table();
        for slot in 0..1000 {
            ended(&table, slot, &format!("run-{slot}"), 5000 - u64::from(slot));
        }
        let former = read(&table);
        // One is freed, one is freed and its place taken again, and one is new.
        table.clear(3);
        claim(&table, 4, "again", 9000);
        ended(&table, 1000, "new", 9001);
        let (mut runs, others) = former.catch_up(&table, 1, |_| Some(0));
        assert_eq!(others, HashSet::from([4, 1000]));
        assert_eq!((runs.kept().0, runs.find("run-3"), runs.find("run-5")), (998, None, Some(5)));
        assert_eq!(runs.find("run-4"), None);
        assert_eq!(by_age(&runs), (0..1000).rev().filter(|slot| ![3, 4].contains(slot)).collect::<Vec<_>>());
        assert_eq!(runs.oldest_ended(), Some(999));
        assert_eq!((runs.take_slot(), runs.take_slot()), (Some(3), Some(1001)));
    }

    #[test]
    fn who_had_not_ended_keeps_his_place_among_those_who_had() {
        let (_folder, table) = table();
        ended(&table, 0, "first", 10);
        claim(&table, 1, "second", 20);
        ended(&table, 2, "third", 30);
        claim(&table, 3, "freed", 5);
        let former = read(&table);
        table.set_without_exit(1, State::Failed, 50);
        ended(&table, 3, "fourth", 60);
        let (mut runs, others) = former.catch_up(&table, 1, |_| None);
        assert_eq!(others, HashSet::from([1, 3]));
        runs.insert_ended(3, "fourth", Some(0), None, 61);
        runs.insert_ended(1, "second", Some(0), None, 50);
        runs.recovered();
        assert_eq!(by_age(&runs), [0, 1, 2, 3]);
        // The two that had ended before are of a pool that is gone.
        assert_eq!(runs.overdue(|pool| if pool == 0 { 0 } else { 1000 }, 100), Ok(1));
    }

    #[test]
    fn what_they_left_is_theirs_and_nobody_elses() {
        let (_folder, table) = table();
        ended(&table, 0, "ended", 10);
        claim(&table, 1, "alive", 20);
        let mut former = read(&table);
        let extra = || Box::new(Extra { stdout: Some("out".into()), ..Extra::default() });
        assert!(former.leave(&table, "ended", extra()).is_none());
        assert!(former.leave(&table, "ended", extra()).is_none(), "once more, as a journal may have it");
        assert!(former.leave(&table, "alive", extra()).is_some() && former.leave(&table, "nobody", extra()).is_some());
        let (mut runs, _) = former.catch_up(&table, 1, |_| Some(0));
        assert_eq!((runs.kept(), runs.extra(0).map(|(id, _)| id)), ((1, 3), Some("ended")));
        assert!(runs.free(0));
        assert_eq!(runs.kept(), (0, 0));
    }

    #[test]
    fn an_id_that_is_used_again_is_that_of_the_younger_run() {
        let (_folder, table) = table();
        ended(&table, 0, "again", 10);
        ended(&table, 1, "and again", 20);
        // Freed, and its id used again, while the rows are read.
        ended(&table, 2, "and again", 30);
        let mut former = read(&table);
        table.clear(1);
        // The same when they have been read.
        table.clear(0);
        ended(&table, 0, "again", 40);
        let extra = || Box::new(Extra { stdout: Some("out".into()), ..Extra::default() });
        assert!(former.leave(&table, "again", extra()).is_some(), "it is none of those that have been read");
        assert!(former.leave(&table, "and again", extra()).is_none());
        let (runs, others) = former.catch_up(&table, 1, |_| Some(0));
        assert_eq!((others, runs.find("again"), runs.find("and again")), (HashSet::from([0]), None, Some(2)));
        assert_eq!((runs.kept(), runs.extra(2).map(|(id, _)| id)), ((1, 3), Some("and again")));
    }
}
