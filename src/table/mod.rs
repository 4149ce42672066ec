//! The shared table: what is known of each run, and the ring of exits that the keeper writes.
//!
//! One file, `table` in the runtime directory, mapped by keeper and master, and readable by whoever may
//! (`preforkd table` does, also when no master answers). It outlives the master; a new one goes on from it.
//!
//! ```text
//! words 0..512      header: magic, layout, pids, the ring's counters, and the master's beat (beat.rs)
//! then              the exit ring: RING entries of 16 words, written by the keeper alone  (ring.rs)
//! then              the slots: one run each, 72 words, written by the master alone        (slot.rs, record.rs)
//! ```
//!
//! Everything is a 64-bit word, little-endian as the machine is; nothing in here allocates but [`Reader`].

mod beat;
mod ended;
mod record;
mod ring;
mod slot;

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

pub use beat::{Beat, Seen};
pub use ended::{EndedRow, Row};
pub use record::Record;
pub use ring::{ExitEntry, RingReader, RingWriter};
pub use slot::Claim;

use crate::sys::files;
use crate::sys::shm::{ReadOnly, Words};

/// Slots in the table: 100,000 finished runs are kept, and the rest is for those that wait or run.
pub const SLOTS: u32 = 131_072;
/// Exits that may wait for the master before the keeper stops reaping.
pub const RING: u64 = 16_384;

/// For how many slots room is taken at a time: 576 KiB.
const RESERVE: u32 = 1024;

const MAGIC: u64 = u64::from_le_bytes(*b"PREFORKD");
/// Counts up whenever a word changes its meaning.
const LAYOUT: u64 = 1;

const HEADER_WORDS: usize = 512;
const SLOTS_AT: usize = HEADER_WORDS + RING as usize * ring::ENTRY_WORDS;
const WORDS: usize = SLOTS_AT + SLOTS as usize * slot::SLOT_WORDS;

/// Places in the header, in cache lines of their own where two write. What an older version does not know is 0 there.
mod at {
    pub const MAGIC: usize = 0;
    pub const LAYOUT: usize = 1;
    pub const KEEPER_PID: usize = 2;
    pub const MASTER_PID: usize = 3;
    pub const SLOTS_USED: usize = 4;
    pub const RING_HEAD: usize = 64;
    pub const RING_TAIL: usize = 72;
    pub const RING_ANNOUNCED: usize = 80;
    pub const RING_ARMED: usize = 88;
    pub const RING_STALLED: usize = 96;
    pub const RING_WAKES: usize = 104;
    pub const BEAT: usize = 112;
    pub const WATCHED: usize = 120;
}

/// The table, mapped for writing.
#[derive(Debug)]
pub struct Table {
    words: Words,
    file: File,
    /// Slots that have room on the disk.
    reserved: Cell<u32>,
}

impl Table {
    /// Makes the file where it is missing or of another layout (what it held is then forgotten), and maps it.
    /// With `fresh` true the ring starts empty: what a former keeper wrote is about children we do not have.
    pub fn open(path: &Path, fresh: bool) -> io::Result<Table> {
        let file = files::private_file(path)?;
        if !fits(&file)? {
            file.set_len(0)?;
            file.set_len(WORDS as u64 * 8)?;
        }
        // A page that the disk has no room for is a SIGBUS at the first write to it: so the room is taken before.
        files::reserve(&file, 0, SLOTS_AT as u64 * 8)?;
        let table = Table { words: Words::map(&file, WORDS)?, file, reserved: Cell::new(0) };
        let w = table.words.all();
        if w[at::MAGIC].load(Ordering::Acquire) != MAGIC {
            w[at::LAYOUT].store(LAYOUT, Ordering::Relaxed);
            w[at::MAGIC].store(MAGIC, Ordering::Release);
        }
        if fresh {
            for i in [
                at::RING_HEAD,
                at::RING_TAIL,
                at::RING_ANNOUNCED,
                at::RING_ARMED,
                at::RING_STALLED,
                at::RING_WAKES,
                at::BEAT,
                at::WATCHED,
                at::MASTER_PID,
            ] {
                w[i].store(0, Ordering::Relaxed);
            }
        }
        Ok(table)
    }

    /// Takes room on the disk for slot `slot`, some hundreds at a time. Fails when there is none; the slot must not be used then.
    pub fn reserve(&self, slot: u32) -> io::Result<()> {
        if slot < self.reserved.get() {
            return Ok(());
        }
        let to = (slot / RESERVE + 1) * RESERVE;
        let (from, bytes) = (self.reserved.get() as u64, slot::SLOT_WORDS as u64 * 8);
        files::reserve(&self.file, SLOTS_AT as u64 * 8 + from * bytes, (u64::from(to.min(SLOTS)) - from) * bytes)?;
        self.reserved.set(to);
        Ok(())
    }

    /// Notes whose table this is.
    pub fn set_keeper(&self, pid: u32) {
        self.words.all()[at::KEEPER_PID].store(pid.into(), Ordering::Release);
    }

    /// Whose table it is.
    pub fn keeper(&self) -> u32 {
        self.word(at::KEEPER_PID).load(Ordering::Acquire) as u32
    }

    /// Notes who serves it now.
    pub fn set_master(&self, pid: u32) {
        self.words.all()[at::MASTER_PID].store(pid.into(), Ordering::Release);
    }

    /// No slot from here on has ever been used.
    pub fn slots_used(&self) -> u32 {
        (self.word(at::SLOTS_USED).load(Ordering::Acquire) as u32).min(SLOTS)
    }

    fn word(&self, i: usize) -> &AtomicU64 {
        &self.words.all()[i]
    }
}

fn fits(file: &File) -> io::Result<bool> {
    if file.metadata()?.len() != WORDS as u64 * 8 {
        return Ok(false);
    }
    let words = Words::map(file, HEADER_WORDS)?;
    let w = words.all();
    let magic = w[at::MAGIC].load(Ordering::Acquire);
    Ok(magic == MAGIC && w[at::LAYOUT].load(Ordering::Acquire) == LAYOUT)
}

/// The table, for somebody who only looks.
#[derive(Debug)]
pub struct Reader {
    words: ReadOnly,
}

impl Reader {
    /// Maps the file for reading. Errors say when it is not a table of our layout.
    pub fn open(path: &Path) -> io::Result<Reader> {
        let file = File::open(path)?;
        if !fits_read(&file)? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} is not a shared table of this version of preforkd", path.display()),
            ));
        }
        Ok(Reader { words: Words::map_read_only(&file, WORDS)? })
    }

    /// (keeper, master) as last noted; 0 where there is none. They may be dead by now.
    pub fn pids(&self) -> (u32, u32) {
        let word = |i| self.words.load(i).unwrap_or(0) as u32;
        (word(at::KEEPER_PID), word(at::MASTER_PID))
    }

    fn slots_used(&self) -> u32 {
        (self.words.load(at::SLOTS_USED).unwrap_or(0) as u32).min(SLOTS)
    }

    /// Each run that is in the table now, in the order of slots. One that is being written at the
    /// moment is read again until it is whole.
    pub fn rows(&self) -> impl Iterator<Item = Record> + '_ {
        (0..self.slots_used()).filter_map(|n| record::read(n, |i| self.words.load(SLOTS_AT + i).unwrap_or(0)))
    }
}

fn fits_read(file: &File) -> io::Result<bool> {
    if file.metadata()?.len() != WORDS as u64 * 8 {
        return Ok(false);
    }
    let words = Words::map_read_only(file, HEADER_WORDS)?;
    Ok(words.load(at::MAGIC) == Some(MAGIC) && words.load(at::LAYOUT) == Some(LAYOUT))
}

#[cfg(test)]
mod tests;
