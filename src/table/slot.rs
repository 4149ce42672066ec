//! One run in the table: fixed size, so that anybody can read it in place.
//!
//! Word 0 is a sequence lock: odd while the master writes. The rest is plain; results, errors and
//! captured output, which have no fixed size, are the journal's.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use super::record::{Record, read};
use super::{ExitEntry, SLOTS_AT, Table, at};
use crate::sys::reap::How;
use crate::wire::status::State;

pub(super) const SLOT_WORDS: usize = 72;

pub(super) const SEQ: usize = 0;
/// State (bits 0–7, 0: free), kind of end (8–15), timed out (16), captures (17), worker (18), generation (32–63).
pub(super) const STATE: usize = 1;
pub(super) const WORKER: u64 = 1 << 18;
pub(super) const NONCE: usize = 2;
pub(super) const PID: usize = 3;
pub(super) const FORK_SEQ: usize = 4;
pub(super) const QUEUED_AT: usize = 5;
pub(super) const STARTED_AT: usize = 6;
pub(super) const ENDED_AT: usize = 7;
pub(super) const END: usize = 8;
pub(super) const USAGE: usize = 9;
/// Lengths of id (0–7), pool (8–15), entry (16–23).
pub(super) const LENGTHS: usize = 16;
pub(super) const ID: usize = 17;
pub(super) const POOL: usize = 25;
pub(super) const ENTRY: usize = 33;
pub(super) const ENTRY_WORDS: usize = 32;

/// Milliseconds + 1; 0: none.
pub(super) const TIMEOUT: usize = 65;
/// Milliseconds from TERM to KILL.
pub(super) const KILL_TIMEOUT: usize = 66;
/// ns monotonic; of one boot, as the pids are.
pub(super) const STARTED_MONO: usize = 67;
/// ns monotonic; 0: it has not been told to end.
pub(super) const KILL_AT: usize = 68;

const _: () = assert!(ENTRY + ENTRY_WORDS == TIMEOUT && KILL_AT < SLOT_WORDS);

/// The longest id and pool name, in bytes.
pub const NAME_MAX: usize = 64;
/// The longest entry, in bytes.
pub const ENTRY_MAX: usize = 255;

/// A new run.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Claim<'a> {
    pub id: &'a str,
    pub pool: &'a str,
    pub entry: &'a str,
    pub state: State,
    pub worker: bool,
    pub queued_at: u64,
    pub timeout: Option<Duration>,
    pub kill_timeout: Duration,
}

struct Writer<'a>(&'a [AtomicU64]);

impl Writer<'_> {
    fn set(&self, i: usize, value: u64) {
        self.0[i].store(value, Ordering::Relaxed);
    }

    fn get(&self, i: usize) -> u64 {
        self.0[i].load(Ordering::Relaxed)
    }

    fn text(&self, at: usize, words: usize, text: &str) {
        let bytes = text.as_bytes();
        for (i, chunk) in bytes.chunks(8).take(words).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.set(at + i, u64::from_le_bytes(word));
        }
    }

    fn state(&self, state: State) {
        self.set(STATE, (self.get(STATE) & !0xff) | encode(state));
    }
}

impl Table {
    fn write(&self, slot: u32, change: impl FnOnce(&Writer<'_>)) {
        let at = SLOTS_AT + slot as usize * SLOT_WORDS;
        let w = Writer(&self.words.all()[at..at + SLOT_WORDS]);
        let seq = w.get(SEQ);
        w.set(SEQ, seq | 1);
        fence(Ordering::Release);
        change(&w);
        w.0[SEQ].store((seq | 1).wrapping_add(1), Ordering::Release);
    }

    /// Fills a free slot.
    pub fn claim(&self, slot: u32, claim: &Claim<'_>) {
        if slot >= self.slots_used() {
            self.word(at::SLOTS_USED).store(u64::from(slot) + 1, Ordering::Release);
        }
        self.write(slot, |w| {
            for i in STATE..ID {
                w.set(i, 0);
            }
            w.set(QUEUED_AT, claim.queued_at);
            w.set(TIMEOUT, claim.timeout.map_or(0, |t| t.as_millis() as u64 + 1));
            w.set(KILL_TIMEOUT, claim.kill_timeout.as_millis() as u64);
            w.set(STARTED_MONO, 0);
            w.set(KILL_AT, 0);
            let lengths = claim.id.len().min(NAME_MAX)
                | claim.pool.len().min(NAME_MAX) << 8
                | claim.entry.len().min(ENTRY_MAX) << 16;
            w.set(LENGTHS, lengths as u64);
            w.text(ID, 8, claim.id);
            w.text(POOL, 8, claim.pool);
            w.text(ENTRY, ENTRY_WORDS, claim.entry);
            w.set(STATE, if claim.worker { WORKER } else { 0 });
            w.state(claim.state);
        });
    }

    /// Its fork is about to be asked for.
    pub fn set_starting(&self, slot: u32, generation: u32, nonce: u64, fork_seq: u64) {
        self.write(slot, |w| {
            w.set(NONCE, nonce);
            w.set(FORK_SEQ, fork_seq);
            w.set(STATE, w.get(STATE) & WORKER | u64::from(generation) << 32 | encode(State::Starting));
        });
    }

    /// It could not be handed to a process, and waits again.
    pub fn set_queued(&self, slot: u32) {
        self.write(slot, |w| w.state(State::Queued));
    }

    /// It has been told to end, and is killed at this time, ns monotonic.
    pub fn set_kill_at(&self, slot: u32, at: u64) {
        self.write(slot, |w| w.set(KILL_AT, at));
    }

    /// It has said that it started.
    pub fn set_running(&self, slot: u32, pid: u32, started_at: u64, started_mono: u64) {
        self.write(slot, |w| {
            w.set(STARTED_MONO, started_mono);
            w.set(PID, pid.into());
            w.set(STARTED_AT, started_at);
            w.state(State::Running);
        });
    }

    /// Another generation's zygote has forked it than the one that was asked.
    pub fn set_generation(&self, slot: u32, generation: u32) {
        self.write(slot, |w| w.set(STATE, (w.get(STATE) & 0xffff_ffff) | u64::from(generation) << 32));
    }

    /// Its time was up.
    pub fn set_timed_out(&self, slot: u32) {
        self.write(slot, |w| w.set(STATE, w.get(STATE) | 1 << 16));
    }

    /// It has ended, in this way.
    pub fn set_exited(&self, slot: u32, exit: &ExitEntry) {
        self.write(slot, |w| {
            let (kind, status) = match exit.how {
                How::Exited(n) => (1, n),
                How::Killed(n) => (2, n),
                How::Dumped(n) => (3, n),
            };
            w.set(END, status as u32 as u64);
            w.set(ENDED_AT, exit.at);
            // The start is when the master heard of it, the end when the keeper saw it, which may have been before.
            w.set(STARTED_AT, w.get(STARTED_AT).min(exit.at));
            let u = &exit.usage;
            let usage = [
                u.user_us,
                u.system_us,
                u.max_rss_bytes,
                u.minor_faults,
                u.major_faults,
                u.voluntary_switches,
                u.involuntary_switches,
            ];
            for (i, word) in usage.into_iter().enumerate() {
                w.set(USAGE + i, word);
            }
            w.set(STATE, (w.get(STATE) & !0xffff) | kind << 8 | encode(State::Exited));
        });
    }

    /// It never ran (`failed`), or nobody can know how it ended (`unknown`).
    pub fn set_without_exit(&self, slot: u32, state: State, ended_at: u64) {
        self.write(slot, |w| {
            w.set(ENDED_AT, ended_at);
            w.state(state);
        });
    }

    /// Forgets it.
    pub fn clear(&self, slot: u32) {
        self.write(slot, |w| w.set(STATE, 0));
    }

    /// Where its pid is, for a process that is to write it there itself, before anything else can happen to it.
    pub fn pid_word(&self, slot: u32) -> &AtomicU64 {
        self.word(SLOTS_AT + slot as usize * SLOT_WORDS + PID)
    }

    /// Only the state of slot `slot`; None when it is free.
    pub fn state(&self, slot: u32) -> Option<State> {
        decode(self.word(SLOTS_AT + slot as usize * SLOT_WORDS + STATE).load(Ordering::Acquire))
    }

    /// Reads slot `slot`; None when it is free.
    pub fn record(&self, slot: u32) -> Option<Record> {
        read(slot, |i| self.word(SLOTS_AT + i).load(Ordering::Acquire))
    }
}

fn encode(state: State) -> u64 {
    match state {
        State::Queued => 1,
        State::Starting => 2,
        State::Running => 3,
        State::Exited => 4,
        State::Failed => 5,
        State::Unknown => 6,
    }
}

pub(super) fn decode(word: u64) -> Option<State> {
    Some(match word & 0xff {
        1 => State::Queued,
        2 => State::Starting,
        3 => State::Running,
        4 => State::Exited,
        5 => State::Failed,
        6 => State::Unknown,
        _ => return None,
    })
}
