//! A file mapped by several processes, seen as 64-bit atomic words.
//!
//! Words, because every access by one process races with the others': plain memory would be
//! undefined behaviour, and words leave no layout for the compiler to choose.

use std::fs::File;
use std::io;
use std::sync::atomic::AtomicU64;

use memmap2::{Advice, MmapOptions, MmapRaw};

/// A shared mapping of whole words.
#[derive(Debug)]
pub struct Words(MmapRaw);

impl Words {
    /// Maps the first `words * 8` bytes of `file`, which must be that long: nobody may
    /// shorten it afterwards, or an access past its end is a SIGBUS.
    pub fn map(file: &File, words: usize) -> io::Result<Self> {
        if file.metadata()?.len() < words as u64 * 8 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is shorter than its own layout says"));
        }
        let map = MmapOptions::new().len(words * 8).map_raw(file)?;
        // Whoever touches a page needs that one. Reading ahead would fill the page cache with as many empty ones as the disk's setting
        // says, which may be megabytes and take milliseconds: in a new file at its first touch, and again at the end of those.
        map.advise(Advice::Random)?;
        Ok(Words(map))
    }

    /// The same, for a reader that may not write.
    pub fn map_read_only(file: &File, words: usize) -> io::Result<ReadOnly> {
        if file.metadata()?.len() < words as u64 * 8 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is shorter than its own layout says"));
        }
        Ok(ReadOnly(MmapOptions::new().len(words * 8).map_raw_read_only(file)?))
    }

    /// All of them.
    pub fn all(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, lives as long as self, spans len() bytes of a file that
        // was that long, and is only ever accessed as atomics by everybody who maps it.
        unsafe { std::slice::from_raw_parts(self.0.as_mut_ptr().cast::<AtomicU64>(), self.0.len() / 8) }
    }
}

/// A mapping that can only be loaded from; storing to it would be a SIGSEGV, so it hands out values.
#[derive(Debug)]
pub struct ReadOnly(MmapRaw);

impl ReadOnly {
    /// How many words there are.
    pub fn len(&self) -> usize {
        self.0.len() / 8
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Loads word `at` (acquire), None past the end.
    pub fn load(&self, at: usize) -> Option<u64> {
        if at >= self.len() {
            return None;
        }
        // SAFETY: in bounds and aligned, the mapping lives as long as self, and an aligned atomic load
        // of eight bytes does not write on any 64-bit target.
        let word = unsafe { &*self.0.as_ptr().cast::<AtomicU64>().add(at) };
        Some(word.load(std::sync::atomic::Ordering::Acquire))
    }
}
