//! The journal: written once a turn, before anything is answered, and anew when it is mostly about the past.

use std::io;
use std::time::Duration;

use slog::{error, warn};

use super::Master;
use super::recovery::request_json;
use super::timers::Timer;
use crate::journal::RecordRef;
use crate::sys::clock::monotonic_ns;
use crate::sys::fault;
use crate::wire::control::ToKeeper;

/// Between two tries to write what could not be written, if nothing else happens.
const WRITE_PAUSE: Duration = Duration::from_secs(1);
/// Between two tries to write the journal anew.
const RENEWAL_PAUSE: Duration = Duration::from_secs(10);
/// A step of that has written so many bytes, or looked at so many slots or workers: a fraction of a millisecond.
const STEP_BYTES: usize = 64 << 10;
const STEP_SLOTS: u32 = 256;
const STEP_WORKERS: usize = 64;
/// How often is asked whether it is on the disk.
const DISK_PAUSE: Duration = Duration::from_millis(5);

/// What of the journal is to be written anew next.
#[derive(Debug)]
pub enum Renewal {
    /// What runs leave, from this slot on.
    Runs(u32),
    /// What is noted of workers, from this id on.
    Workers(u32),
    /// What is noted of lines.
    Lines,
    /// It is waited for the disk. When it is to be asked next, ns monotonic.
    Disk { at: u64 },
}

impl Master {
    /// One write for everything that this turn has to remember. What cannot be written stays in memory and is tried again.
    pub(super) fn flush_journal(&mut self) {
        let was = self.torn_stays();
        match self.journal.flush() {
            Ok(()) => self.journal_failed = false,
            Err(e) if !self.journal_failed => {
                self.journal_failed = true;
                self.timers.cancel(self.journal_timer);
                self.write_journal_again();
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

    /// In a while, if it cannot be written now: each turn begins and ends with that. There may be room by then without anybody saying so.
    pub(super) fn write_journal_again(&mut self) {
        self.journal_timer = self.journal_failed.then(|| self.timers.after(WRITE_PAUSE, Timer::Unwritten));
    }

    /// A journal that is mostly about the past is written anew: between turns, when everything that it has to tell is in its place,
    /// and so much of it at a time as nobody notices.
    pub(super) fn tidy_journal(&mut self) {
        let step = match self.renewal.take() {
            Some(step) => step,
            None if self.journal_failed || !self.journal.is_stale() || self.no_renewal_until > monotonic_ns() => return,
            None => {
                self.no_renewal_until = monotonic_ns() + RENEWAL_PAUSE.as_nanos() as u64;
                let was = self.torn_stays();
                let begun = self.journal.begin_anew();
                self.tell_torn(was);
                if let Err(e) = begun {
                    return self.not_renewed(&e);
                }
                Renewal::Runs(0)
            }
        };
        fault::point(match step {
            Renewal::Disk { .. } => "journal-waits",
            _ => "journal-renewed",
        });
        match self.renew_journal(step) {
            Ok(next) => self.renewal = next,
            Err(e) => self.not_renewed(&e),
        }
    }

    fn not_renewed(&self, error: &io::Error) {
        let (bytes, alive) = (self.journal.size(), self.journal.live_estimate());
        warn!(self.log, "the journal cannot be written anew beside itself; it stays as long as it is, nothing is lost, and it is tried again";
            "error" => %error, "bytes_needed" => alive, "bytes" => bytes, "file" => %self.options.dirs.journal().display());
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

    /// The next step; None: it has taken the journal's name.
    fn renew_journal(&mut self, step: Renewal) -> io::Result<Option<Renewal>> {
        Ok(match step {
            Renewal::Runs(from) => {
                let next = self.keep_runs(from);
                self.journal.renew()?;
                Some(next.map_or(Renewal::Workers(0), Renewal::Runs))
            }
            Renewal::Workers(from) => {
                let next = self.keep_workers(from);
                self.journal.renew()?;
                Some(next.map_or(Renewal::Lines, Renewal::Workers))
            }
            Renewal::Lines => {
                for note in self.line_notes() {
                    self.journal.keep((&note).into());
                }
                self.journal.renew()?;
                Some(Renewal::Disk { at: 0 })
            }
            Renewal::Disk { at } if at > monotonic_ns() => Some(Renewal::Disk { at }),
            Renewal::Disk { .. } if self.journal.replace()? => {
                fault::point("journal-replaced");
                None
            }
            Renewal::Disk { .. } => {
                let at = monotonic_ns() + DISK_PAUSE.as_nanos() as u64;
                self.timers.at(at, Timer::Journal);
                Some(Renewal::Disk { at })
            }
        })
    }

    /// Whether its next step may be taken now; else there is none, or a timer wakes us for it.
    pub(super) fn renews_journal(&self) -> bool {
        self.renewal.as_ref().is_some_and(|step| match step {
            Renewal::Disk { at } => *at <= monotonic_ns(),
            _ => true,
        })
    }

    /// What the runs from this slot on leave, as far as one step goes, and the slot that it has come to; None: these were the last.
    fn keep_runs(&mut self, from: u32) -> Option<u32> {
        let end = self.runs.slots();
        for slot in from..end {
            let mut waiting = 0;
            let timed_out = || self.table.record(slot).is_some_and(|r| r.timed_out);
            if let Some(live) = self.runs.alive_in(slot) {
                if let (Some(request), Some(index), true) = (&live.request, live.pool, live.told)
                    && let Ok(request) = request_json(request)
                {
                    let pool = &self.pools[index].definition.name;
                    let queued_at_ns = self.table.record(slot).map_or(0, |r| r.queued_at);
                    let queued = RecordRef::Queued { slot, id: &live.id, pool, request: &request, queued_at_ns };
                    waiting = self.journal.keep(queued);
                }
                // It is not told again at its end.
                if let Some(extra) = live.extra.as_deref().filter(|extra| !extra.is_empty()) {
                    waiting = self.journal.keep(extra.record(slot, &live.id, timed_out()));
                }
            } else if let Some((id, extra)) = self.runs.extra(slot) {
                waiting = self.journal.keep(extra.record(slot, id, timed_out()));
            }
            if waiting > STEP_BYTES || slot - from == STEP_SLOTS {
                return Some(slot + 1).filter(|next| *next < end);
            }
        }
        None
    }

    /// The same of workers, by their ids.
    fn keep_workers(&mut self, from: u32) -> Option<u32> {
        let notes: Vec<_> = self.worker_notes(from).take(STEP_WORKERS).collect();
        for (_, note) in &notes {
            self.journal.keep(note.into());
        }
        notes.last().filter(|_| notes.len() == STEP_WORKERS).map(|(id, _)| id + 1)
    }
}
