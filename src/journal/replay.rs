//! Opening a journal: its head checked, its records read, a tail that is no record kept aside.

use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::Live;
use super::ahead::Ahead;
use super::frame::{self, Chain, HEAD, Head, Next};
use super::record::Record;
use super::torn::Torn;
use crate::sys::files::private_file;

/// Why a journal cannot be opened. Nothing in the file has been changed then.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// An operation on a file failed.
    #[error("cannot {doing} {path}: {source}", path = path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// It does not begin as a journal does.
    #[error("{path} is not a journal of preforkd, or its head is damaged; move it away to begin a new one", path = .0.display())]
    NotAJournal(PathBuf),
    /// It is of another version of preforkd.
    #[error(
        "{path} is a journal of format {found}, this preforkd reads {known}; \
         start the version that wrote it, or move it away to begin a new one",
        path = path.display(), known = frame::VERSION
    )]
    Version {
        /// The journal.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

/// What a file had.
pub(super) struct Replayed {
    pub file: File,
    /// Where the last good record ends.
    pub size: u64,
    /// What the next record goes on from.
    pub chain: Chain,
    /// With the bytes that each takes up.
    pub records: Vec<(Record, u64)>,
    /// What had been read ahead, if these are only those that follow.
    pub before: Option<Live>,
    pub torn: Option<Torn>,
}

/// Opens or makes a journal and reads it to its end; what has been read ahead is not read again.
pub(super) fn open(path: &Path, ahead: Option<Ahead>) -> Result<Replayed, JournalError> {
    let cannot =
        |doing: &'static str| move |source: io::Error| JournalError::Io { doing, path: path.to_owned(), source };
    let file = private_file(path).map_err(cannot("open the journal"))?;
    let data = file.metadata().map_err(cannot("look at"))?;
    if !data.is_file() {
        return Err(JournalError::NotAJournal(path.to_owned()));
    }
    let length = data.len();
    let mut first = [0; HEAD];
    let first = &mut first[..usize::try_from(length).unwrap_or(HEAD).min(HEAD)];
    file.read_exact_at(first, 0).map_err(cannot("read"))?;
    match frame::look_at_head(first) {
        Head::Good => {}
        Head::Unfinished => file.write_all_at(&frame::head(), 0).map_err(cannot("write to"))?,
        Head::Version(found) => return Err(JournalError::Version { path: path.to_owned(), found }),
        Head::Foreign => return Err(JournalError::NotAJournal(path.to_owned())),
    }
    // Requests and results may be secrets, whoever made the file.
    if data.permissions().mode() & 0o077 != 0 {
        file.set_permissions(PermissionsExt::from_mode(0o600)).map_err(cannot("change the mode of"))?;
    }
    let length = length.max(HEAD as u64);
    let (Found { records, size, chain, why }, before) = rest(&file, length, ahead).map_err(cannot("read"))?;
    let torn = why.map(|why| {
        let mut torn = Torn { path: path.to_owned(), at: size, bytes: length - size, kept: Err(String::new()), why };
        // A disk without room is no reason not to serve: it is told why, and tried again before anything is written.
        let _ = torn.cut_off(&file);
        torn
    });
    Ok(Replayed { file, size, chain, records, before, torn })
}

/// The records from the first on up to what is not one.
pub(super) struct Found {
    pub records: Vec<(Record, u64)>,
    pub size: u64,
    pub chain: Chain,
    /// What is wrong behind the last record, None at the end of the file.
    pub why: Option<&'static str>,
}

impl Default for Found {
    /// Nothing but the head.
    fn default() -> Found {
        Found { records: Vec::new(), size: HEAD as u64, chain: Chain::new(), why: None }
    }
}

fn rest(file: &File, length: u64, ahead: Option<Ahead>) -> io::Result<(Found, Option<Live>)> {
    if let Some(ahead) = ahead
        && ahead.begins(file)?
    {
        let Ahead { size, chain, live, .. } = ahead;
        let found = records(file, length, Found { records: Vec::new(), size, chain, why: None })?;
        if found.why.is_none() {
            return Ok((found, Some(live)));
        }
        // What is to be cut off is decided over the whole.
    }
    Ok((records(file, length, Found::default())?, None))
}

/// What follows on `found`.
pub(super) fn records(file: &File, length: u64, mut found: Found) -> io::Result<Found> {
    let mut from = BufReader::with_capacity(1 << 18, file);
    from.seek(SeekFrom::Start(found.size))?;
    loop {
        match frame::next(&mut from, length - found.size, &mut found.chain)? {
            Next::Record(record, bytes) => {
                found.size += bytes;
                found.records.push((record, bytes));
            }
            Next::End => return Ok(found),
            Next::Torn(why) => {
                found.why = Some(why);
                return Ok(found);
            }
        }
    }
}

/// `path` with something behind its name.
pub(super) fn beside(path: &Path, behind: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(behind);
    name.into()
}
