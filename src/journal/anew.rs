//! A journal that is mostly about the past is written anew, beside it and in steps: its master serves meanwhile. What is appended
//! then is in both, so that the new file may take the old one's name whenever it has everything.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use super::Live;
use super::frame::{self, Chain};
use super::record::RecordRef;

/// So many bytes may wait for the disk.
const MOST_WAITING: usize = 4 << 20;

/// The new file.
#[derive(Debug)]
pub(super) struct Anew {
    path: PathBuf,
    pub(super) file: File,
    pub(super) size: u64,
    pub(super) chain: Chain,
    pub(super) live: Live,
    /// Records that are not in the file yet.
    buffer: Vec<u8>,
    /// Waits until it is on the disk, which may take seconds (fsync(2)).
    syncing: Option<JoinHandle<io::Result<()>>>,
}

impl Anew {
    /// An empty one; what a former one has left over goes.
    pub(super) fn begin(path: PathBuf) -> io::Result<Anew> {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let buffer = frame::head().to_vec();
        Ok(Anew { path, file, size: 0, chain: Chain::new(), live: Live::default(), buffer, syncing: None })
    }

    pub(super) fn append(&mut self, record: RecordRef) {
        let bytes = frame::encode(record, &mut self.buffer, &mut self.chain);
        self.live.count(record, bytes);
    }

    /// Bytes that are not in the file yet.
    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn write(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.size += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Whether it is on the disk but for what was appended since this was asked first, which waits: a write would wait for the disk.
    pub(super) fn is_synced(&mut self) -> io::Result<bool> {
        match self.syncing.take() {
            None => {
                self.write()?;
                let file = self.file.try_clone()?;
                match thread::Builder::new().name("journal".into()).spawn(move || file.sync_all()) {
                    Ok(thread) => self.syncing = Some(thread),
                    // No thread is to be had.
                    Err(_) => return self.file.sync_all().map(|()| true),
                }
                Ok(false)
            }
            Some(thread) if !thread.is_finished() => {
                self.syncing = Some(thread);
                if self.buffer.len() > MOST_WAITING {
                    self.write()?;
                }
                Ok(false)
            }
            Some(thread) => thread
                .join()
                .map_err(|_| io::Error::other("the thread that waits for the disk has panicked"))?
                .map(|()| true),
        }
    }

    /// It takes the name.
    pub(super) fn take_name(&self, name: &Path) -> io::Result<()> {
        fs::rename(&self.path, name)
    }

    /// It is not wanted any more.
    pub(super) fn remove(&self) {
        // What is left over is removed by the next one, or by the next master, at the latest.
        let _ = fs::remove_file(&self.path);
    }
}
