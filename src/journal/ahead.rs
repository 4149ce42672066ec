//! A journal that somebody else still writes, read as far as it is there. Once he writes no more, there is little left to read.
//!
//! What has been written stays as it is: more is appended, or it is written anew to another file, which is seen by its inode.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::Live;
use super::frame::{self, Chain, HEAD, Head};
use super::record::{Record, RecordRef};
use super::replay::{self, Found};

/// The beginning of a journal.
#[derive(Debug)]
pub struct Ahead {
    /// Open for as long as this is there, so that no other file gets its inode.
    file: File,
    pub(super) size: u64,
    pub(super) chain: Chain,
    pub(super) live: Live,
}

impl Ahead {
    /// Reads what is there, and gives what is not freed of it; nothing is changed.
    pub fn read(path: &Path) -> io::Result<(Ahead, Vec<Record>)> {
        let file = File::open(path)?;
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0)?;
        if frame::look_at_head(&head) != Head::Good {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let length = file.metadata()?.len();
        // A record that is half written is read later.
        let Found { records, size, chain, .. } = replay::records(&file, length, Found::default())?;
        let records = without_freed(records, |(record, _)| record);
        let live = Live::of(&records);
        Ok((Ahead { file, size, chain, live }, records.into_iter().map(|(record, _)| record).collect()))
    }

    /// Whether it is the beginning of this file.
    pub(super) fn begins(&self, file: &File) -> io::Result<bool> {
        let (ours, theirs) = (self.file.metadata()?, file.metadata()?);
        Ok((ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()) && theirs.len() >= self.size)
    }
}

/// Nobody needs to hear of what a later record takes back. `record`: where it is in one of them.
pub fn without_freed<T>(records: Vec<T>, record: impl Fn(&T) -> &Record) -> Vec<T> {
    let mut freed = HashSet::new();
    let mut kept = Vec::new();
    for with in records.into_iter().rev() {
        match record(&with) {
            Record::Freed { id } => drop(freed.insert(id.clone())),
            record if freed.contains(RecordRef::from(record).id()) => {}
            _ => kept.push(with),
        }
    }
    kept.reverse();
    kept
}
