//! One log file: appended to, rotated, opened again, emptied; and what happens when it cannot be written.
//!
//! ```text
//!            a write fails              a write works again
//! writing ───────────────→ losing ───────────────────────────→ writing
//!    told once, in the      │  ↺  each write is tried,         told again, in the daemon's log
//!    daemon's log           └──── what fails is counted        and in the file itself
//! ```

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use memchr::{memchr, memrchr};

use super::chain;
use super::compress::{Compressor, Rotations};
use super::json::Object;
use super::opening::{open, own, with_rights};
use crate::sys::clock::{monotonic_ns, wall_ns};
use crate::sys::fault;
use crate::sys::stage::{Marks, Write};
use crate::sys::users::Identity;
use crate::wire::status::Timestamp;

/// How much longer than its limit a file may get while it waits for the end of a line, in bytes.
const OVERLONG: u64 = 1 << 20;
/// Between two tries to rotate, in ns.
const RETRY: u64 = 60_000_000_000;

/// How a file is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileConfig {
    /// Absolute. `/dev/stdout` and `/dev/stderr` are the daemon's own.
    pub path: Rc<Path>,
    /// With whose rights it is opened, renamed and compressed; None: ours.
    pub identity: Option<Box<Identity>>,
    /// Rotated before it gets larger than this, in bytes.
    pub max_size: Option<u64>,
    /// Rotated by the first write after it is older than this.
    pub max_age: Option<Duration>,
    /// Rotated files that are kept.
    pub max_files: u32,
    /// They are compressed, but for the latest.
    pub compress: bool,
    /// Its lines are JSON objects; so is what we add.
    pub json: bool,
}

/// Something that the daemon's log should tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Output is being lost from now on, for this reason.
    Losing(PathBuf, String),
    /// That is over; so many bytes have been lost.
    Recovered(PathBuf, u64),
    /// It could not be rotated; it grows.
    NotRotated(PathBuf, String),
}

/// Where notices wait until somebody tells them.
pub type Notices = Rc<RefCell<Vec<Notice>>>;

/// An open log file.
#[derive(Debug)]
pub struct LogFile {
    config: FileConfig,
    file: File,
    /// Only a regular file can be rotated and emptied.
    regular: bool,
    size: u64,
    /// Old enough to be rotated at this time, ns monotonic.
    old_at: Option<u64>,
    /// No rotation before this time, ns monotonic.
    retry_at: u64,
    at_line_start: bool,
    /// Why writes fail, and how much has been lost since they do.
    losing: Option<(io::ErrorKind, u64)>,
    rotations: Option<Rotations>,
    compressor: Compressor,
    notices: Notices,
    marks: Option<Rc<Marks>>,
    /// Its number on its file system; 0: it is no regular file.
    inode: u64,
    /// Others write to it all the time: the daemon's own log goes to a standard stream, too.
    shared: bool,
}

/// Which part of a step's bytes a write is: see [`crate::sys::stage`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Part {
    /// Which of the stream's files.
    pub file: usize,
    /// How many of the bytes come before it.
    pub offset: usize,
}

impl LogFile {
    pub(super) fn open(
        config: FileConfig,
        compressor: Compressor,
        notices: Notices,
        marks: Option<Rc<Marks>>,
    ) -> io::Result<LogFile> {
        let file = open(&config)?;
        let mut log = LogFile {
            config,
            file,
            regular: false,
            size: 0,
            old_at: None,
            retry_at: 0,
            at_line_start: true,
            losing: None,
            rotations: None,
            compressor,
            notices,
            marks,
            inode: 0,
            shared: false,
        };
        log.look()?;
        if log.regular {
            // Whatever is left over there can wait; that it could not be looked at says the next rotation.
            let _ = log.compress_the_rest();
        }
        Ok(log)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.config.path
    }

    /// How it is kept.
    pub fn config(&self) -> &FileConfig {
        &self.config
    }

    pub(super) fn configure(&mut self, config: FileConfig) -> io::Result<()> {
        let reopen = config.identity != self.config.identity;
        self.config = config;
        if reopen { self.reopen() } else { self.look() }
    }

    /// How much of that write is in the file: all of it if the file has been put aside since. What others have written since
    /// counts, too; nothing but the size tells.
    pub fn has_of(&self, write: &Write) -> u64 {
        if write.inode != self.inode || self.inode == 0 {
            return write.length;
        }
        self.size.saturating_sub(write.size).min(write.length)
    }

    /// Appends `bytes`. With `continues` they go on with a line that the same writer has begun. Returns how many were lost.
    pub fn write(&mut self, mut bytes: &[u8], continues: bool, mut at: Part) -> u64 {
        let whole = bytes.len() as u64;
        if self.losing.is_some() && !self.try_again() {
            self.lose(whole, None);
            return whole;
        }
        if !self.at_line_start && !continues && !bytes.is_empty() {
            self.put(b"\n", None);
        }
        let limit = self.config.max_size.filter(|_| self.regular).unwrap_or(u64::MAX);
        let (mut written, mut tried) = (0, false);
        while !bytes.is_empty() {
            let mut part = bytes.len();
            let room = limit.saturating_sub(self.size);
            let old = self.old_at.is_some_and(|at| at <= monotonic_ns());
            if !tried && (part as u64 > room || old) {
                // Lines stay whole, but for one without end.
                let first = memchr(b'\n', bytes).map_or(part, |at| at + 1);
                let between_lines = self.at_line_start && (old || first as u64 > room);
                if self.size > 0 && (between_lines || self.size > limit.saturating_add(OVERLONG)) {
                    tried = !self.rotate();
                    continue;
                }
                let whole_lines = memrchr(b'\n', &bytes[..part.min(usize::try_from(room).unwrap_or(part))]);
                part = whole_lines.filter(|_| !old).map_or(first, |at| at + 1);
            }
            let failed = self.put(&bytes[..part], Some(at));
            at.offset += part;
            written += part as u64 - failed;
            bytes = &bytes[part..];
            if failed > 0 {
                self.lose(bytes.len() as u64, None);
                break;
            }
        }
        whole - written
    }

    /// Opens it anew by its name: somebody has renamed it.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.file = open(&self.config)?;
        self.look()
    }

    /// Empties it.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.regular {
            self.file.set_len(0)?;
            self.size = 0;
            self.at_line_start = true;
        }
        Ok(())
    }

    /// Puts down what the file is like.
    fn look(&mut self) -> io::Result<()> {
        let meta = self.file.metadata()?;
        self.regular = meta.is_file();
        self.size = if self.regular { meta.len() } else { 0 };
        self.inode = if self.regular { meta.ino() } else { 0 };
        self.shared = self.regular && own(&self.config.path).is_some();
        self.old_at = self.config.max_age.filter(|_| self.regular).map(|most| {
            // Where the file system does not know when a file was made, its age counts from now.
            let age =
                meta.created().ok().and_then(|made| SystemTime::now().duration_since(made).ok()).unwrap_or_default();
            monotonic_ns().saturating_add(nanoseconds(most.saturating_sub(age)))
        });
        Ok(())
    }

    /// Writes all of it if that can be done without waiting. Returns how much was lost.
    fn put(&mut self, mut bytes: &[u8], at: Option<Part>) -> u64 {
        if let (Some(marks), Some(at)) = (&self.marks, at) {
            // Our own count does where nobody else writes.
            let there = if self.shared { self.file.metadata().map(|meta| meta.len()).ok() } else { None };
            marks.writing(Write {
                file: at.file as u64,
                inode: self.inode,
                size: there.unwrap_or(self.size),
                offset: at.offset as u64,
                length: bytes.len() as u64,
            });
            fault::point("output-writing");
        }
        while !bytes.is_empty() {
            let error = match self.file.write(bytes) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(n) => {
                    self.at_line_start = bytes[n - 1] == b'\n';
                    self.size += n as u64;
                    bytes = &bytes[n..];
                    continue;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => e,
            };
            self.lose(bytes.len() as u64, Some(&error));
            return bytes.len() as u64;
        }
        0
    }

    fn lose(&mut self, bytes: u64, why: Option<&io::Error>) {
        match (&mut self.losing, why) {
            (Some((_, lost)), _) => *lost += bytes,
            (None, Some(why)) => {
                self.losing = Some((why.kind(), bytes));
                self.notices.borrow_mut().push(Notice::Losing(self.config.path.to_path_buf(), why.to_string()));
            }
            (None, None) => {}
        }
    }

    /// Says in the file what is missing there. False: nothing can be written yet.
    fn try_again(&mut self) -> bool {
        let Some((why, lost)) = self.losing else { return true };
        let start = if self.at_line_start { "" } else { "\n" };
        let message = format!("preforkd: {lost} bytes of output lost: {why}");
        let mut line = start.as_bytes().to_vec();
        if self.config.json {
            let timestamp = Timestamp(wall_ns()).to_string().into();
            let (message, partial) = (message.into(), false);
            Object { timestamp, kind: "err", app_name: "preforkd", process_id: None, message, partial }
                .write(&mut line);
        } else {
            line.extend_from_slice(message.as_bytes());
            line.push(b'\n');
        }
        match self.file.write(&line) {
            Ok(n) if n > 0 => {
                self.at_line_start = n == line.len();
                self.size += n as u64;
                self.losing = None;
                self.notices.borrow_mut().push(Notice::Recovered(self.config.path.to_path_buf(), lost));
                true
            }
            _ => false,
        }
    }

    /// False: it stays as it is.
    fn rotate(&mut self) -> bool {
        if self.retry_at > monotonic_ns() {
            return false;
        }
        // Somebody else may have emptied it meanwhile (logrotate's `copytruncate`).
        let before = self.size;
        if self.look().is_ok() && self.size < before {
            return true;
        }
        let (path, keep) = (self.config.path.clone(), self.config.max_files);
        let rotations = self.rotations.get_or_insert_default().clone();
        let mut count = rotations.lock();
        *count += 1;
        let done = with_rights(&self.config, || chain::rotate(&path, keep));
        drop(count);
        let done = done.and_then(|()| self.reopen());
        self.at_line_start = true;
        // Left as they are: larger than they could be, and tried again by the next rotation.
        let _ = self.compress_the_rest();
        if let Err(e) = &done {
            self.retry_at = monotonic_ns().saturating_add(RETRY);
            self.notices.borrow_mut().push(Notice::NotRotated(path.to_path_buf(), e.to_string()));
        }
        done.is_ok()
    }

    fn compress_the_rest(&mut self) -> io::Result<()> {
        if !self.config.compress {
            return Ok(());
        }
        for plain in with_rights(&self.config, || chain::uncompressed(&self.config.path))? {
            let rotations = self.rotations.get_or_insert_default();
            self.compressor.ask(plain, rotations, self.config.identity.as_deref())?;
        }
        Ok(())
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
