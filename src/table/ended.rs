//! Rows of runs that have ended, of which there may be a hundred thousand: read without what only few need.

use std::sync::atomic::{Ordering, fence};

use super::slot::{self, SLOT_WORDS};
use super::{SLOTS_AT, Table};
use crate::wire::status::State;

/// A name of at most [`slot::NAME_MAX`] bytes, as the table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; slot::NAME_MAX],
    len: u8,
}

impl Name {
    /// Its text.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes[..self.len as usize])
    }
}

/// A run that has ended. Times are ns since the epoch, but for `started_mono`: see [`super::Record`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct EndedRow {
    /// See [`Table::version`].
    pub version: u64,
    pub state: State,
    pub started_at: u64,
    pub ended_at: u64,
    pub started_mono: u64,
    pub id: Name,
    pub pool: Name,
}

/// What a row is of.
#[derive(Clone, Copy, Debug)]
pub enum Row {
    /// A run that has ended.
    Ended(EndedRow),
    /// A run that has not, or a worker's process: read it with [`Table::record`].
    Other,
}

impl Table {
    /// Another one with each change of the row.
    pub fn version(&self, slot: u32) -> u64 {
        fence(Ordering::Acquire);
        self.load(slot, slot::SEQ)
    }

    /// The row of `slot`, and when the run was queued, ns since the epoch; None when it is free. The master may be writing it.
    pub fn row(&self, slot: u32) -> Option<(u64, Row)> {
        let version = self.load(slot, slot::SEQ);
        fence(Ordering::Acquire);
        let word = self.load(slot, slot::STATE);
        let queued_at = self.load(slot, slot::QUEUED_AT);
        let Some(state) = slot::decode(word) else {
            // Half written, or free.
            return (version & 1 != 0).then_some((queued_at, Row::Other));
        };
        if version & 1 != 0 || word & slot::WORKER != 0 || !state.is_final() {
            return Some((queued_at, Row::Other));
        }
        let lengths = self.load(slot, slot::LENGTHS);
        let row = EndedRow {
            version,
            state,
            started_at: self.load(slot, slot::STARTED_AT),
            ended_at: self.load(slot, slot::ENDED_AT),
            started_mono: self.load(slot, slot::STARTED_MONO),
            id: self.name(slot, slot::ID, lengths),
            pool: self.name(slot, slot::POOL, lengths >> 8),
        };
        let unchanged = self.version(slot) == version;
        Some((queued_at, if unchanged { Row::Ended(row) } else { Row::Other }))
    }

    fn name(&self, slot: u32, at: usize, len: u64) -> Name {
        let len = (len as usize & 0xff).min(slot::NAME_MAX);
        let mut bytes = [0; slot::NAME_MAX];
        for (i, chunk) in bytes[..len.next_multiple_of(8)].chunks_exact_mut(8).enumerate() {
            chunk.copy_from_slice(&self.load(slot, at + i).to_le_bytes());
        }
        Name { bytes, len: len as u8 }
    }

    fn load(&self, slot: u32, word: usize) -> u64 {
        self.word(SLOTS_AT + slot as usize * SLOT_WORDS + word).load(Ordering::Relaxed)
    }
}
