//! What a former master has left in its files: read once, and by a successor before anybody waits.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::ending::lost_reason;
use super::logs::{LineNote, is_line};
use super::runs::{Extra, Former};
use crate::journal::{Record as Journaled, without_freed};
use crate::sys::clock::monotonic_ns;
use crate::table::{EndedRow, Table};

/// Ended runs, and what is on record of those that are not in their place yet.
#[derive(Debug)]
pub(super) struct Left {
    pub former: Former,
    pub on_record: OnRecord,
}

/// What the journal tells of runs that have not ended yet, and of workers.
#[derive(Debug, Default)]
pub(super) struct OnRecord {
    pub requests: HashMap<String, Box<RawValue>>,
    pub extras: HashMap<String, Box<Extra>>,
    pub notes: HashMap<String, Box<RawValue>>,
    /// Lines that have begun.
    pub lines: HashMap<String, LineNote>,
}

impl Left {
    /// The ended runs that are in the table. `restart`: the keeper is the same as before.
    pub fn read(table: &Table, restart: bool) -> Left {
        let now = monotonic_ns();
        let since = |row: &EndedRow| match restart {
            true => ended_mono(row.started_at, row.ended_at, row.started_mono, now),
            false => now,
        };
        let former = Former::read(table, since, |row| lost_reason(row.state));
        Left { former, on_record: OnRecord::default() }
    }

    /// Whatever the journal told before is void.
    pub fn begin_anew(&mut self) {
        self.on_record = OnRecord::default();
    }

    /// What the journal tells. `table`: the one that was read.
    pub fn take(&mut self, table: &Table, records: Vec<Journaled>) {
        for record in &records {
            if let Journaled::Freed { id } = record {
                self.on_record.requests.remove(id);
                self.on_record.extras.remove(id);
                self.on_record.notes.remove(id);
                self.on_record.lines.remove(id);
            }
        }
        // An id that was freed is as good as new: what its former run left is not the next one's.
        for record in without_freed(records, |record| record) {
            match record {
                Journaled::Queued { id, request, .. } => drop(self.on_record.requests.insert(id, request)),
                Journaled::Ended { id, result, error, stdout, stderr, .. } => {
                    let extra = Box::new(Extra { result, error, stdout, stderr });
                    if let Some(extra) = self.former.leave(table, &id, extra) {
                        self.on_record.extras.insert(id, extra);
                    }
                }
                Journaled::Freed { .. } => {}
                // What cannot be read of one is of another version.
                Journaled::Note { id, state } if is_line(&id) => {
                    let note = serde_json::from_str(state.get()).ok();
                    self.on_record.lines.extend(note.map(|note| (id, note)));
                }
                Journaled::Note { id, state } => drop(self.on_record.notes.insert(id, state)),
            }
        }
    }
}

/// When it ended, ns monotonic, as far as that can be told: a wall clock that was set while it ran counts for that time only. The
/// first three: as in its row.
pub(super) fn ended_mono(started_at: u64, ended_at: u64, started_mono: u64, now: u64) -> u64 {
    let lived = ended_at.saturating_sub(started_at);
    // What never started has only the one time.
    let started = if started_at == 0 { now } else { started_mono };
    started.saturating_add(lived).min(now)
}
