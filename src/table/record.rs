//! A run, read from its slot, by its master or by somebody else while that writes.

use std::sync::atomic::Ordering;
use std::sync::atomic::fence;
use std::time::Duration;

use super::slot::{
    END, ENDED_AT, ENTRY, ENTRY_WORDS, FORK_SEQ, ID, KILL_AT, KILL_TIMEOUT, LENGTHS, NONCE, PID, POOL, QUEUED_AT, SEQ,
    SLOT_WORDS, STARTED_AT, STARTED_MONO, STATE, TIMEOUT, USAGE, WORKER, decode,
};
use crate::sys::reap::How;
use crate::wire::status::{State, Usage};

/// A run as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Record {
    pub slot: u32,
    pub id: String,
    pub pool: String,
    pub entry: String,
    pub state: State,
    pub generation: u32,
    /// 0 while there is none.
    pub pid: u32,
    /// What the child has to repeat; random.
    pub nonce: u64,
    /// The ring's head when its fork was asked for: older exits cannot be its own.
    pub fork_seq: u64,
    /// ns since the epoch, 0 while it has not happened.
    pub queued_at: u64,
    pub started_at: u64,
    pub ended_at: u64,
    pub how: Option<How>,
    pub timed_out: bool,
    /// A worker's process; the id is the worker's, the pool the app.
    pub worker: bool,
    pub usage: Option<Usage>,
    pub timeout: Option<Duration>,
    pub kill_timeout: Duration,
    /// ns monotonic; 0 while it has not happened.
    pub started_mono: u64,
    pub kill_at: u64,
}

impl Record {
    /// The exit code, if it exited.
    pub fn exit_code(&self) -> Option<i32> {
        match self.how {
            Some(How::Exited(code)) => Some(code),
            _ => None,
        }
    }

    /// The signal that ended it.
    pub fn signal(&self) -> Option<i32> {
        match self.how {
            Some(How::Killed(n) | How::Dumped(n)) => Some(n),
            _ => None,
        }
    }

    /// Whether it left a core dump, if it has ended.
    pub fn core_dumped(&self) -> Option<bool> {
        self.how.map(|h| matches!(h, How::Dumped(_)))
    }
}

/// Reads one slot through `load`, which gives word `i` of all slots' words. A file that somebody damaged
/// gives wrong rows, never a panic.
pub(super) fn read(slot: u32, load: impl Fn(usize) -> u64) -> Option<Record> {
    let base = slot as usize * SLOT_WORDS;
    // The writer never sleeps inside its lock; a dead one's slot stays odd, and is shown as it is after some tries.
    for attempt in 0..1000 {
        let before = load(base + SEQ);
        let state = load(base + STATE);
        if before & 1 == 0 && decode(state).is_none() {
            return None;
        }
        let mut words = [0u64; SLOT_WORDS];
        for (i, word) in words.iter_mut().enumerate() {
            *word = load(base + i);
        }
        fence(Ordering::Acquire);
        if (before & 1 == 0 && load(base + SEQ) == before) || attempt == 999 {
            return build(slot, &words);
        }
        std::hint::spin_loop();
    }
    None
}

fn build(slot: u32, w: &[u64; SLOT_WORDS]) -> Option<Record> {
    let text = |at: usize, len: u64, words: usize| {
        let mut bytes = [0; 8 * ENTRY_WORDS];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(&w[at..at + words]) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        String::from_utf8_lossy(&bytes[..(len as usize & 0xff).min(8 * words)]).into_owned()
    };
    let status = w[END] as u32 as i32;
    let how = match w[STATE] >> 8 & 0xff {
        1 => Some(How::Exited(status)),
        2 => Some(How::Killed(status)),
        3 => Some(How::Dumped(status)),
        _ => None,
    };
    Some(Record {
        slot,
        id: text(ID, w[LENGTHS] & 0xff, 8),
        pool: text(POOL, w[LENGTHS] >> 8 & 0xff, 8),
        entry: text(ENTRY, w[LENGTHS] >> 16 & 0xff, ENTRY_WORDS),
        state: decode(w[STATE])?,
        generation: (w[STATE] >> 32) as u32,
        pid: w[PID] as u32,
        nonce: w[NONCE],
        fork_seq: w[FORK_SEQ],
        queued_at: w[QUEUED_AT],
        started_at: w[STARTED_AT],
        ended_at: w[ENDED_AT],
        how,
        timed_out: w[STATE] >> 16 & 1 == 1,
        worker: w[STATE] & WORKER != 0,
        timeout: w[TIMEOUT].checked_sub(1).map(Duration::from_millis),
        kill_timeout: Duration::from_millis(w[KILL_TIMEOUT]),
        started_mono: w[STARTED_MONO],
        kill_at: w[KILL_AT],
        usage: how.map(|_| Usage {
            user_us: w[USAGE],
            system_us: w[USAGE + 1],
            max_rss_bytes: w[USAGE + 2],
            minor_faults: w[USAGE + 3],
            major_faults: w[USAGE + 4],
            voluntary_switches: w[USAGE + 5],
            involuntary_switches: w[USAGE + 6],
        }),
    })
}
