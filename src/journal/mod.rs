//! The journal: what the master was told and must not forget when it is killed.
//!
//! Queued requests and finished results are appended as checksummed records, and written with one
//! system call a turn of the loop, before anything is answered. The page cache is enough against
//! the end of a process, so that nothing is synced but by [`Journal::sync`] and at a compaction.
//! A journal has one writer, the holder of the directory's lock. What the records mean is the
//! master's business; where its bytes are explained is `frame` and `record`.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

mod ahead;
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

use frame::Chain;
use replay::beside;

/// Memory for records that is kept from one flush to the next, in bytes. A turn of the loop rarely has more.
const KEPT: usize = 16 << 10;
/// How much is written at a time when the journal is written anew, in bytes.
const BUFFER: usize = 256 << 10;

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
        let journal = Journal { path: path.to_owned(), file, size, chain, buffer: Vec::new(), live, torn };
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

    /// Waits until everything flushed is on the disk (fdatasync(2)): where durability was promised.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes appended and not flushed.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// About how many bytes a compaction would leave: the records of runs that are not freed.
    pub fn live_estimate(&self) -> u64 {
        frame::HEAD as u64 + self.live.total
    }

    /// Whether more than half of the file, and more than 4 MiB, is about runs that are freed.
    pub fn wants_compaction(&self) -> bool {
        self.size.saturating_sub(self.live_estimate()) > self.live_estimate().max(SLACK)
    }

    /// Replaces the journal by these records, which must be everything that is alive, with what was
    /// appended and not flushed: that is dropped. The new file is on the disk before it takes the
    /// old one's name, so that at any moment one of the two is there whole.
    ///
    /// After an error the journal goes on with the file that has the name; records that were not
    /// flushed are then still in memory, unless the new file had taken the name already.
    pub fn compact(&mut self, records: impl Iterator<Item = Record>) -> io::Result<()> {
        self.cut_off()?;
        let new = beside(&self.path, ".new");
        let folder = File::open(self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        let written = write_new(&new, records).and_then(|written| fs::rename(&new, &self.path).map(|()| written));
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                // What is left over is removed by the next compaction at the latest.
                let _ = fs::remove_file(&new);
                return Err(error);
            }
        };
        let Written { file, size, chain, live } = written;
        self.file = file;
        self.size = size;
        self.chain = chain;
        self.live = live;
        self.buffer = Vec::new();
        folder.sync_all()
    }
}

/// A new file with its records.
struct Written {
    file: File,
    size: u64,
    chain: Chain,
    live: Live,
}

/// Makes a file with these records, and waits until it is on the disk.
fn write_new(path: &Path, records: impl Iterator<Item = Record>) -> io::Result<Written> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    let (mut chain, mut live) = (Chain::new(), Live::default());
    let mut size = 0;
    let mut buffer = frame::head().to_vec();
    for record in records {
        let record = RecordRef::from(&record);
        let bytes = frame::encode(record, &mut buffer, &mut chain);
        live.count(record, bytes);
        if buffer.len() >= BUFFER {
            file.write_all(&buffer)?;
            size += buffer.len() as u64;
            buffer.clear();
        }
    }
    file.write_all(&buffer)?;
    size += buffer.len() as u64;
    file.sync_all()?;
    Ok(Written { file, size, chain, live })
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
