//! The journal: what the master was told and must not forget when it is killed.
//!
//! Queued requests and finished results are appended as checksummed records, and written with one
//! system call a turn of the loop, before anything is answered. The page cache is enough against
//! the end of a process, so that nothing is synced but a journal that is written anew.
//! A journal has one writer, the holder of the directory's lock. What the records mean is the
//! master's business; where its bytes are explained is `frame` and `record`.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

mod ahead;
mod anew;
mod frame;
mod record;
mod replay;
#[cfg(test)]
mod tests;
mod torn;

pub use ahead::{Ahead, without_freed};
pub use record::{Record, RecordRef};
pub use replay::JournalError;
pub use torn::Torn;

use anew::Anew;
use frame::Chain;
use replay::beside;

/// Memory for records that is kept from one flush to the next, in bytes. A turn of the loop rarely has more.
const KEPT: usize = 16 << 10;

/// Dead bytes for which a compaction is not worth its while.
const SLACK: u64 = 4 << 20;

/// The records of a journal that has been opened.
#[derive(Debug, PartialEq)]
pub enum Read {
    /// All, whatever was read ahead.
    All(Vec<Record>),
    /// Those that follow on what was read ahead.
    More(Vec<Record>),
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Where the last good record in the file ends.
    size: u64,
    /// What the next record goes on from.
    chain: Chain,
    /// Records that are not in the file yet.
    buffer: Vec<u8>,
    live: Live,
    torn: Option<Torn>,
    anew: Option<Anew>,
}

impl Journal {
    /// Opens the journal at `path`, or makes it (0600, never through a link), and reads its records
    /// in order. What is not a record is cut off at the end, kept beside the journal as
    /// `journal.torn-N`, and told by [`Journal::torn`]. Where it cannot be kept, as on a full disk, that is tried
    /// again by each [`Journal::flush`], which fails until then.
    pub fn open(path: &Path) -> Result<(Journal, Vec<Record>), JournalError> {
        let (journal, Read::All(records) | Read::More(records)) = Journal::open_from(path, None)?;
        Ok((journal, records))
    }

    /// The same, with what has been read of it already, while somebody else wrote it.
    pub fn open_from(path: &Path, ahead: Option<Ahead>) -> Result<(Journal, Read), JournalError> {
        let replay::Replayed { file, size, chain, records, before, torn } = replay::open(path, ahead)?;
        let follow = before.is_some();
        let mut live = before.unwrap_or_default();
        for (record, bytes) in &records {
            live.count(record.into(), *bytes);
        }
        // A master that was killed while it wrote the journal anew has left it, and it may be long until the next one does.
        let _ = std::fs::remove_file(beside(path, ".new"));
        let journal = Journal { path: path.to_owned(), file, size, chain, buffer: Vec::new(), live, torn, anew: None };
        let records = records.into_iter().map(|(record, _)| record).collect();
        Ok((journal, if follow { Read::More(records) } else { Read::All(records) }))
    }

    /// What was found damaged when the journal was opened.
    pub fn torn(&self) -> Option<&Torn> {
        self.torn.as_ref()
    }

    /// Takes a record (`&Record`, or a [`RecordRef`] of borrowed parts) into memory.
    pub fn append<'a>(&mut self, record: impl Into<RecordRef<'a>>) {
        let record = record.into();
        let bytes = frame::encode(record, &mut self.buffer, &mut self.chain);
        self.live.count(record, bytes);
        if let Some(anew) = &mut self.anew {
            anew.append(record);
        }
    }

    /// Writes everything appended since the last flush: one write(2), none if there is nothing.
    ///
    /// After an error the file ends with the last record that is whole, and the records are still
    /// in memory: the next flush tries them again.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.cut_off()?;
        if let Err(error) = self.file.write_all_at(&self.buffer, self.size) {
            // Should this fail too, what is left behind is the beginning of what the next flush
            // writes to the same place, or a tail that the next open cuts off.
            let _ = self.file.set_len(self.size);
            return Err(error);
        }
        self.size += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(KEPT);
        Ok(())
    }

    /// What is damaged and still there would be lost under the next record.
    fn cut_off(&mut self) -> io::Result<()> {
        self.torn.as_mut().map_or(Ok(()), |torn| torn.cut_off(&self.file))
    }

    /// Whether it tells of that id something that has not been taken back; of two ids in a great many that of the other, too.
    pub fn tells_of(&self, id: &str) -> bool {
        self.live.has(id) || self.anew.as_ref().is_some_and(|anew| anew.live.has(id))
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes appended and not flushed.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// About how many bytes there would be if it were written anew: the records of runs that are not freed.
    pub fn live_estimate(&self) -> u64 {
        frame::HEAD as u64 + self.live.total
    }

    /// Whether more than half of the file, and more than 4 MiB, is about runs that are freed.
    pub fn is_stale(&self) -> bool {
        self.size.saturating_sub(self.live_estimate()) > self.live_estimate().max(SLACK)
    }

    /// Begins to write it anew, beside what there is. [`Journal::keep`] takes everything that is alive, in any order and in as many
    /// steps as its owner likes; [`Journal::renew`] writes what it has taken, and at last [`Journal::replace`] ends it.
    ///
    /// Whatever is appended meanwhile goes to both files: what is kept must be as all records appended so far have left it.
    pub fn begin_anew(&mut self) -> io::Result<()> {
        self.cut_off()?;
        self.anew = Some(Anew::begin(beside(&self.path, ".new"))?);
        Ok(())
    }

    /// Takes a record for the new file alone. Gives the bytes that wait to be written to it; 0: none is being written.
    pub fn keep(&mut self, record: RecordRef) -> usize {
        self.anew.as_mut().map_or(0, |anew| {
            anew.append(record);
            anew.buffered()
        })
    }

    /// Writes to the new file what was kept and appended since the last time. After an error there is no new file any more, and the
    /// journal goes on as it is.
    pub fn renew(&mut self) -> io::Result<()> {
        let written = self.anew.as_mut().map_or(Ok(()), Anew::write);
        written.inspect_err(|_| self.stay())
    }

    /// Has the new file, in which everything is that was to be kept, take the journal's name. False: not yet, since it is not
    /// on the disk, so that at any moment one of the two is there whole. What was appended and not flushed is in it.
    ///
    /// Errors: as for [`Journal::renew`].
    pub fn replace(&mut self) -> io::Result<bool> {
        let Some(anew) = &mut self.anew else { return Ok(false) };
        match anew.is_synced() {
            Ok(false) => return Ok(false),
            synced => {
                let done = synced.and_then(|_| anew.write()).and_then(|()| anew.take_name(&self.path));
                done.inspect_err(|_| self.stay())?;
            }
        }
        let Some(Anew { file, size, chain, live, .. }) = self.anew.take() else { return Ok(false) };
        let former = std::mem::replace(&mut self.file, file);
        (self.size, self.chain, self.live, self.buffer) = (size, chain, live, Vec::new());
        // The last one that has it open gives its pages back, which takes a while. Here, where there is no thread to be had.
        let _ = std::thread::Builder::new().name("journal".into()).spawn(move || drop(former));
        Ok(true)
    }

    /// A new file that is being written is given up.
    pub fn stay(&mut self) {
        if let Some(anew) = self.anew.take() {
            anew.remove();
        }
    }
}

/// Bytes of the records of each run that is not freed, by a hash of its id: 100,000 runs take
/// about 3 MB, and two that share a hash make the estimate wrong by one run.
#[derive(Debug, Default)]
struct Live {
    hasher: RandomState,
    runs: HashMap<u64, u64>,
    total: u64,
}

impl Live {
    fn of(records: &[(Record, u64)]) -> Live {
        let mut live = Live::default();
        for (record, bytes) in records {
            live.count(record.into(), *bytes);
        }
        live
    }

    fn has(&self, id: &str) -> bool {
        self.runs.contains_key(&self.hasher.hash_one(id))
    }

    fn count(&mut self, record: RecordRef, bytes: u64) {
        let run = self.hasher.hash_one(record.id());
        if let RecordRef::Freed { .. } | RecordRef::Note { .. } = record {
            self.total -= self.runs.remove(&run).unwrap_or(0);
        }
        if !matches!(record, RecordRef::Freed { .. }) {
            *self.runs.entry(run).or_default() += bytes;
            self.total += bytes;
        }
    }
}
