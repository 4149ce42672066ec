//! The master's beat: two words by which the keeper can see that a turn of the master's loop does not end.
//!
//! The first is written by the master when a turn begins (odd: it is busy) and when it goes back to wait (even), with its pid in
//! the upper half, so that what a dead one has left is nobody else's. The second says that the keeper looks at it now and then. A
//! keeper that finds the master waiting clears it and looks no more; the master's next turn finds it clear, sets it and rings. So
//! nobody wakes up while nothing happens, and a turn costs no system call while the keeper looks.
//!
//! Each writes his own word before he reads the other's, all sequentially consistent: one of the two sees what the other has done.

use std::sync::atomic::Ordering::SeqCst;

use super::{Table, at};

/// The master's side. Words of a master that has none stay what they were: such a one is not watched.
#[derive(Debug)]
pub struct Beat {
    pid: u32,
    count: u32,
}

/// What the keeper sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen(u64);

impl Beat {
    /// For a master of this pid that has not begun.
    pub fn new(pid: u32) -> Beat {
        Beat { pid, count: 0 }
    }

    /// A turn begins, or the next part of a long one. True: the keeper does not look, and has to be rung.
    #[must_use]
    pub fn begin(&mut self, table: &Table) -> bool {
        self.write(table, self.count.wrapping_add(1) | 1);
        let watched = table.word(at::WATCHED);
        watched.load(SeqCst) == 0 && watched.swap(1, SeqCst) == 0
    }

    /// The turn has ended.
    pub fn rest(&mut self, table: &Table) {
        self.write(table, (self.count | 1).wrapping_add(1));
    }

    fn write(&mut self, table: &Table, count: u32) {
        self.count = count;
        table.word(at::BEAT).store(u64::from(self.pid) << 32 | u64::from(count), SeqCst);
    }
}

impl Seen {
    /// Whether the master of this pid is in a turn of its loop.
    pub fn busy(self, pid: u32) -> bool {
        self.0 >> 32 == u64::from(pid) && self.0 & 1 == 1
    }
}

impl Table {
    /// The beat as it is now.
    pub fn beat(&self) -> Seen {
        Seen(self.word(at::BEAT).load(SeqCst))
    }

    /// The keeper looks from now on; no master has to ring.
    pub fn watch_beat(&self) {
        self.word(at::WATCHED).store(1, SeqCst);
    }

    /// The keeper looks no more, if the beat still is the one that it has seen. False: it is not, and the keeper still looks.
    #[must_use]
    pub fn unwatch_beat(&self, seen: Seen) -> bool {
        self.word(at::WATCHED).store(0, SeqCst);
        let unchanged = self.beat() == seen;
        if !unchanged {
            self.watch_beat();
        }
        unchanged
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32};

    use super::*;

    fn table() -> (tempfile::TempDir, Table) {
        let dir = tempfile::tempdir().unwrap();
        let table = Table::open(&dir.path().join("table"), true).unwrap();
        (dir, table)
    }

    #[test]
    fn the_keeper_is_rung_once_until_it_looks_no_more() {
        let (_dir, table) = table();
        let mut beat = Beat::new(7);
        assert!(beat.begin(&table));
        assert!(table.beat().busy(7) && !table.beat().busy(8));
        beat.rest(&table);
        assert!(!table.beat().busy(7));
        assert!(!beat.begin(&table), "it looks");
        beat.rest(&table);
        assert!(table.unwatch_beat(table.beat()));
        assert!(beat.begin(&table));
    }

    #[test]
    fn parts_of_a_long_turn_are_seen_to_differ() {
        let (_dir, table) = table();
        let mut beat = Beat { pid: 7, count: u32::MAX - 2 };
        for _ in 0..3 {
            let before = table.beat();
            let _ = beat.begin(&table);
            assert!(table.beat().busy(7) && table.beat() != before);
        }
        beat.rest(&table);
        assert!(!table.beat().busy(7));
    }

    #[test]
    fn a_turn_that_begins_while_the_keeper_turns_away_is_not_overlooked() {
        let (_dir, table) = table();
        let mut beat = Beat::new(7);
        assert!(beat.begin(&table));
        beat.rest(&table);
        let seen = table.beat();
        // Before the word is clear nobody rings, so the keeper has to see it.
        assert!(!beat.begin(&table));
        assert!(!table.unwatch_beat(seen));
        assert!(!beat.begin(&table), "it looks again");
    }

    #[test]
    fn of_a_keeper_and_a_master_on_two_processors_one_always_knows() {
        let (dir, table) = table();
        let rung = AtomicU32::new(0);
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let table = Table::open(&dir.path().join("table"), false).unwrap();
                let mut beat = Beat::new(7);
                for _ in 0..200_000 {
                    if beat.begin(&table) {
                        rung.fetch_add(1, SeqCst);
                    }
                    beat.rest(&table);
                }
                // This one does not end.
                if beat.begin(&table) {
                    rung.fetch_add(1, SeqCst);
                }
                ended.store(true, SeqCst);
            });
            // It looks from when it is rung until it finds nobody busy.
            let (mut heard, mut looks, mut over) = (0, false, false);
            while !over {
                over = ended.load(SeqCst);
                let now = rung.load(SeqCst);
                looks |= now != heard;
                heard = now;
                let seen = table.beat();
                if looks && !seen.busy(7) && table.unwatch_beat(seen) {
                    looks = false;
                }
            }
            assert!(looks, "nobody looks at a turn that does not end");
        });
    }
}
