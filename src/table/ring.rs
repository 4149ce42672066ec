//! The exit ring: one writer (the keeper), one reader (the master), no lock, nothing ever dropped.
//!
//! The keeper writes an entry *before* it reaps, and stops reaping while the ring is full; the kernel then keeps
//! the zombies. The reader moves the tail only when an exit has been completed or is known to be nobody's,
//! so a master that dies in the middle leaves them for the next one.
//!
//! Waking the reader costs a system call, so it is done only when asked for: the reader *arms* the ring right
//! before it goes to sleep and then looks once more; the writer disarms it with its wake-up.
//!
//! Which exits may be completed? A result that a child sent before it exited must have been read first. Whoever
//! calls `epoll_wait` gets all messages of the children whose exits were in the ring *before* the call. And a wake-up
//! comes after those messages in epoll's own queue, so that the batch that brings a wake-up brings the messages of all exits that
//! it announced, too. That place is only known if the wake-up is the one of the latest arming: with an older one still
//! under way [`RingReader::woken`] says nothing, and the exits wait for the next turn of the loop.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::{HEADER_WORDS, RING, Table, at};
use crate::sys::reap::{Exit, How, Rusage};

pub(super) const ENTRY_WORDS: usize = 16;

/// An exit as the keeper saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitEntry {
    /// Its place in the ring, counted from the keeper's start.
    pub seq: u64,
    /// The number it had.
    pub pid: u32,
    /// Its pidfs inode; 0 where the kernel has none.
    pub inode: u64,
    /// Code or signal.
    pub how: How,
    /// What it used.
    pub usage: Rusage,
    /// When the keeper saw it, ns of the wall clock.
    pub at: u64,
}

/// The keeper's side.
#[derive(Debug)]
pub struct RingWriter<'a>(&'a Table);

/// The master's side.
#[derive(Debug)]
pub struct RingReader {
    /// Armed, and no wake-up has come since.
    armed: bool,
    /// The writer has used up an arming whose wake-up has not come yet, as far as we know.
    under_way: bool,
    /// Wake-ups that are known to have come.
    come: u64,
    /// Wake-ups that have been counted, by reading them.
    read: u64,
}

impl Table {
    /// For the keeper alone.
    pub fn ring_writer(&self) -> RingWriter<'_> {
        RingWriter(self)
    }

    fn entry(&self, seq: u64, word: usize) -> &AtomicU64 {
        self.word(HEADER_WORDS + (seq % RING) as usize * ENTRY_WORDS + word)
    }
}

impl RingWriter<'_> {
    /// Adds an exit. False: the ring is full; do not reap, wait to be told that there is room
    /// (the reader sees it in [`Table::ring_advance`]).
    #[must_use]
    pub fn push(&self, exit: &Exit, at: u64) -> bool {
        let t = self.0;
        let head = t.word(at::RING_HEAD).load(Ordering::Relaxed);
        if head - t.word(at::RING_TAIL).load(Ordering::Acquire) >= RING {
            t.word(at::RING_STALLED).store(1, Ordering::SeqCst);
            // The reader may have made room before it could see the flag.
            if head - t.word(at::RING_TAIL).load(Ordering::SeqCst) >= RING {
                return false;
            }
        }
        let (kind, status) = match exit.how {
            How::Exited(n) => (0, n),
            How::Killed(n) => (1, n),
            How::Dumped(n) => (2, n),
        };
        let u = &exit.usage;
        let words = [
            exit.pid.into(),
            exit.inode,
            kind,
            status as u64,
            at,
            u.user_us,
            u.system_us,
            u.max_rss_bytes,
            u.minor_faults,
            u.major_faults,
            u.voluntary_switches,
            u.involuntary_switches,
        ];
        for (i, word) in words.into_iter().enumerate() {
            t.entry(head, i).store(word, Ordering::Relaxed);
        }
        t.word(at::RING_HEAD).store(head + 1, Ordering::SeqCst);
        true
    }

    /// True: the reader sleeps, or is about to, and has to be woken. Call it once after a batch of pushes.
    #[must_use]
    pub fn wake_needed(&self) -> bool {
        let t = self.0;
        let armed = t.word(at::RING_ARMED);
        let head = t.word(at::RING_HEAD).load(Ordering::Relaxed);
        if head == t.word(at::RING_TAIL).load(Ordering::SeqCst) || armed.load(Ordering::SeqCst) == 0 {
            return false;
        }
        t.word(at::RING_ANNOUNCED).store(head, Ordering::SeqCst);
        let needed = armed.swap(0, Ordering::SeqCst) == 1;
        if needed {
            t.word(at::RING_WAKES).fetch_add(1, Ordering::SeqCst);
        }
        needed
    }
}

impl RingReader {
    /// For a master that begins; the wake-ups of its predecessor's time count as come (they have been read away, or will change nothing).
    pub fn new(t: &Table) -> RingReader {
        let wakes = t.word(at::RING_WAKES).load(Ordering::SeqCst);
        RingReader { armed: false, under_way: false, come: wakes, read: wakes }
    }

    /// Asks to be woken by the next exit. Returns the head as it is then: if it is not the tail, do not sleep; exits
    /// before it may be completed after the poll that follows.
    pub fn arm(&mut self, t: &Table) -> u64 {
        let unused = t.word(at::RING_ARMED).swap(1, Ordering::SeqCst) == 1;
        if self.armed && !unused {
            self.under_way = true;
        }
        self.armed = true;
        t.ring_head()
    }

    /// A wake-up has come with the last poll. Returns the place before which exits may be completed, if it is known.
    /// `count` tells how many wake-ups have come since it was called last: epoll may show two as one.
    pub fn woken(&mut self, t: &Table, count: impl FnOnce() -> u64) -> Option<u64> {
        if !self.under_way {
            self.armed = false;
            self.come = (self.come + 1).min(t.word(at::RING_WAKES).load(Ordering::SeqCst));
            return Some(t.word(at::RING_ANNOUNCED).load(Ordering::SeqCst));
        }
        let sent = t.word(at::RING_WAKES).load(Ordering::SeqCst);
        if sent == self.come + 1 {
            // Only one was on its way: this is it.
            self.come = sent;
        } else {
            self.read += count();
            self.come = self.read;
        }
        if self.come >= t.word(at::RING_WAKES).load(Ordering::SeqCst) {
            self.under_way = false;
            self.armed = t.word(at::RING_ARMED).load(Ordering::SeqCst) == 1;
        }
        None
    }
}

impl Table {
    /// Exits written so far.
    pub fn ring_head(&self) -> u64 {
        self.word(at::RING_HEAD).load(Ordering::SeqCst)
    }

    /// Exits done with so far.
    pub fn ring_tail(&self) -> u64 {
        self.word(at::RING_TAIL).load(Ordering::Relaxed)
    }

    /// Exit `seq`, which must lie between tail and head.
    pub fn exit(&self, seq: u64) -> ExitEntry {
        fence(Ordering::Acquire);
        let w = |i| self.entry(seq, i).load(Ordering::Relaxed);
        let status = w(3) as i32;
        ExitEntry {
            seq,
            pid: w(0) as u32,
            inode: w(1),
            how: match w(2) {
                0 => How::Exited(status),
                1 => How::Killed(status),
                _ => How::Dumped(status),
            },
            at: w(4),
            usage: Rusage {
                user_us: w(5),
                system_us: w(6),
                max_rss_bytes: w(7),
                minor_faults: w(8),
                major_faults: w(9),
                voluntary_switches: w(10),
                involuntary_switches: w(11),
            },
        }
    }

    /// Only whose exit `seq` is.
    pub fn exit_pid(&self, seq: u64) -> u32 {
        self.entry(seq, 0).load(Ordering::Relaxed) as u32
    }

    /// Everything before `seq` is done with. True: the keeper has stopped reaping for want of room; tell it.
    #[must_use]
    pub fn ring_advance(&self, seq: u64) -> bool {
        self.word(at::RING_TAIL).store(seq, Ordering::SeqCst);
        let stalled = self.word(at::RING_STALLED);
        stalled.load(Ordering::SeqCst) != 0 && stalled.swap(0, Ordering::SeqCst) != 0
    }
}
