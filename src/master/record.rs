//! The journal: written once a turn, before anything is answered, and anew when it is mostly about the past.

use std::time::Duration;

use slog::{error, warn};

use super::Master;
use super::recovery::request_json;
use crate::journal::Record as Journaled;
use crate::sys::clock::monotonic_ns;
use crate::wire::control::ToKeeper;

/// Between two tries to write the journal anew.
const COMPACTION_PAUSE: Duration = Duration::from_secs(10);

impl Master {
    /// One write for everything that this turn has to remember. What cannot be written stays in memory and is tried again.
    pub(super) fn flush_journal(&mut self) {
        let was = self.torn_stays();
        match self.journal.flush() {
            Ok(()) => self.journal_failed = false,
            Err(e) if !self.journal_failed => {
                self.journal_failed = true;
                error!(self.log, "the journal cannot be written; results live in memory only until it can"; "error" => %e);
            }
            Err(_) => {}
        }
        self.tell_torn(was);
        // With a full disk it is in memory only, as results are.
        for name in std::mem::take(&mut self.kept_until_flushed) {
            self.tell_keeper(&ToKeeper::Drop(name), None);
        }
        self.ends_are_noted();
    }

    /// A journal that is mostly about the past is written anew: between turns, when everything that it has to tell is in its place.
    pub(super) fn tidy_journal(&mut self) {
        if !self.journal_failed && self.journal.wants_compaction() && self.no_compaction_until <= monotonic_ns() {
            self.no_compaction_until = monotonic_ns() + COMPACTION_PAUSE.as_nanos() as u64;
            let was = self.torn_stays();
            self.compact_journal();
            self.tell_torn(was);
        }
    }

    /// Whether the journal's damaged end could not be kept elsewhere yet.
    fn torn_stays(&self) -> bool {
        self.journal.torn().is_some_and(|torn| torn.kept.is_err())
    }

    /// `was`: the same, before.
    fn tell_torn(&self, was: bool) {
        if let Some(torn) = self.journal.torn().filter(|torn| was && torn.kept.is_ok()) {
            warn!(self.log, "the journal's damaged end could be kept elsewhere, and the journal can be written"; "what" => %torn);
        }
    }

    fn compact_journal(&mut self) {
        let mut records = Vec::new();
        for (slot, live) in self.runs.alive() {
            if let (Some(request), Some(index), true) = (&live.request, live.pool, live.told)
                && let Ok(request) = request_json(request)
            {
                let pool = self.pools[index].definition.name.clone();
                let queued_at_ns = self.table.record(slot).map_or(0, |r| r.queued_at);
                records.push(Journaled::Queued { slot, id: live.id.to_string(), pool, request, queued_at_ns });
            }
        }
        // Of living ones, too: what they have said is not told again at their end.
        let said = self.runs.alive().filter_map(|(slot, live)| {
            let extra = live.extra.as_deref().filter(|extra| !extra.is_empty())?;
            Some((slot, &*live.id, extra))
        });
        for (slot, id, extra) in said.chain(self.runs.extras()) {
            records.push(Journaled::Ended {
                slot,
                id: id.to_owned(),
                result: extra.result.clone(),
                error: extra.error.clone(),
                stdout: extra.stdout.clone(),
                stderr: extra.stderr.clone(),
                timed_out: self.table.record(slot).is_some_and(|r| r.timed_out),
            });
        }
        records.extend(self.worker_notes());
        records.extend(self.line_notes());
        if let Err(e) = self.journal.compact(records.into_iter()) {
            warn!(self.log, "writing the journal anew"; "error" => %e);
        }
    }
}
