//! What is no record at the end of a journal: copied to a file of its own, then cut off.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::replay::beside;
use crate::sys::files::reserve;

/// What is not a record at the end of a journal.
///
/// It is cut off once there is a copy. Until then nothing is written to the journal: whether a record that was acknowledged is in these
/// bytes cannot be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The journal.
    pub path: PathBuf,
    /// Where its last good record ends, in bytes.
    pub at: u64,
    /// How many bytes there are behind it.
    pub bytes: u64,
    /// The file that has them now; Err: they are still in the journal, as no copy could be made for this reason.
    pub kept: Result<PathBuf, String>,
    /// What is wrong with the first of them.
    pub why: &'static str,
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Torn { path, at, bytes, kept, why } = self;
        write!(f, "{}: {why} at byte {at}; ", path.display())?;
        match kept {
            Ok(kept) => write!(f, "the last {bytes} bytes were cut off and are kept in {}", kept.display()),
            Err(e) => write!(f, "the last {bytes} bytes cannot be kept elsewhere and stay there until they can: {e}"),
        }
    }
}

impl Torn {
    /// Cuts it off with a copy beside the journal, whose `file` this is. After an error the journal is as it was.
    pub(super) fn cut_off(&mut self, file: &File) -> io::Result<()> {
        if self.kept.is_ok() {
            return Ok(());
        }
        let outcome = keep_aside(&self.path, file, self.at, self.bytes).and_then(|kept| {
            // Otherwise each further try would make another copy; one that stays is a copy too many, and no harm.
            file.set_len(self.at).inspect_err(|_| drop(fs::remove_file(&kept)))?;
            Ok(kept)
        });
        self.kept = match &outcome {
            Ok(kept) => Ok(kept.clone()),
            Err(error) => Err(error.to_string()),
        };
        outcome.map(drop)
    }
}

/// Copies so many bytes of a journal from `start` on to a new file `journal.torn-N`, and on to the disk.
fn keep_aside(path: &Path, file: &File, start: u64, bytes: u64) -> io::Result<PathBuf> {
    for number in 1u64.. {
        let kept = beside(path, &format!(".torn-{number}"));
        let mut copy = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&kept) {
            Ok(copy) => copy,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        };
        // Without room it fails here and at once, however often it is tried.
        let copied = reserve(&copy, 0, bytes).and_then(|()| {
            let mut from = file;
            from.seek(SeekFrom::Start(start))?;
            io::copy(&mut from.take(bytes), &mut copy)?;
            copy.sync_all()
        });
        return match copied {
            Ok(()) => Ok(kept),
            Err(error) => {
                // Half a copy would be taken for a whole one.
                let _ = fs::remove_file(&kept);
                Err(error)
            }
        };
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
