//! Runs that have started, as a former master was told that did not live to put it on record.
//!
//! What a child says is read once. A master that is killed between reading STARTED and writing it into the table leaves a run of
//! which nobody will say anything more. Its process has the run's mark, and holds the channel that it said it on.

use std::collections::HashMap;

use slog::info;

use super::Master;
use super::lost::REPLIES_FD;
use super::trees::mark;
use crate::sys::{process, tree};
use crate::wire::channel::TREE_ENV;
use crate::wire::status::State;

impl Master {
    /// Looks for the processes of those of these runs that a former master has asked for: who is found has started.
    pub(super) fn find_unheard(&mut self, index: usize, slots: impl Iterator<Item = u32>) {
        let unheard: Vec<u32> = slots.filter(|slot| self.is_unheard(*slot)).collect();
        if unheard.is_empty() {
            return;
        }
        let keeper = process::parent();
        let children = tree::children_of(keeper);
        // What can still be read goes before what is seen.
        let numbers: Vec<u32> = self.pools[index].generations.iter().map(|g| g.number).collect();
        numbers.into_iter().for_each(|number| self.replies(index, number));
        let mut wanted: HashMap<String, u32> = HashMap::new();
        for slot in unheard {
            if self.is_unheard(slot)
                && let Some(live) = self.runs.live(slot)
            {
                wanted.insert(mark(live.nonce), slot);
            }
        }
        for pid in children {
            // What a run has forked and left to the keeper has its mark, but not its channel.
            if self.pids.contains_key(&pid) || process::inode_of(pid, REPLIES_FD).is_err() {
                continue;
            }
            let Some(member) = tree::hold(pid, keeper) else { continue };
            let Some(slot) = tree::variable(&member, TREE_ENV).and_then(|mark| wanted.remove(&mark)) else { continue };
            let Some(generation) = self.runs.live(slot).map(|live| live.generation) else { continue };
            info!(self.log, "a former master was told that this process has started"; "pool" => &self.pools[index].definition.name, "pid" => pid);
            self.started(index, generation, slot, pid, Some(member.handle));
        }
    }

    fn is_unheard(&mut self, slot: u32) -> bool {
        self.runs.live(slot).is_some_and(|live| live.recovered && live.state == State::Starting)
    }
}
