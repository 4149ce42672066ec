//! Compression of rotated files, on one thread that is there while there is something to do.
//!
//! A log may be rotated again while one of its files is being compressed, which gives that file another number. So
//! each log counts its rotations under a lock, and what was compressed under an old number is thrown away: the
//! rotation has put the file in the queue again.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::chain;
use crate::sys::users::{Identity, acting_as};
use crate::sys::{logfile, process};

/// How much is read between two looks whether it still is wanted.
const BLOCK: usize = 128 * 1024;

/// Counts the rotations of one log. Whoever renames its files holds it.
#[derive(Debug, Clone, Default)]
pub struct Rotations(Arc<Mutex<u64>>);

impl Rotations {
    /// Nobody else renames while this is held.
    pub fn lock(&self) -> MutexGuard<'_, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Job {
    plain: PathBuf,
    rotations: Rotations,
    /// The count it was asked for under.
    count: u64,
    identity: Option<Identity>,
}

impl Job {
    fn is_wanted(&self) -> bool {
        *self.rotations.lock() == self.count
    }
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    running: bool,
}

/// The queue.
#[derive(Debug, Clone, Default)]
pub struct Compressor(Arc<Mutex<Queue>>);

impl Compressor {
    /// Compresses `plain`, some time, if that log has not been rotated again by then.
    pub fn ask(&self, plain: PathBuf, rotations: &Rotations, identity: Option<&Identity>) -> io::Result<()> {
        let job = Job { plain, rotations: rotations.clone(), count: *rotations.lock(), identity: identity.cloned() };
        let mut queue = self.queue();
        queue.jobs.push_back(job);
        if !queue.running {
            let all = self.clone();
            // The next one who asks tries again; a file stays as it is meanwhile, which is no loss.
            std::thread::Builder::new().name("preforkd-gzip".into()).stack_size(2 << 20).spawn(move || all.work())?;
            queue.running = true;
        }
        Ok(())
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        // Without it the compression competes with the workers, and is right nevertheless.
        let _ = process::yield_to_others();
        loop {
            let job = {
                let mut queue = self.queue();
                let job = queue.jobs.pop_front();
                queue.running = job.is_some();
                job
            };
            let Some(job) = job else { return };
            // What cannot be compressed stays as it is, and is tried again at the next rotation: there is nobody to tell
            // who could do more than make room, and of a full disk the log itself tells.
            let _ = match &job.identity {
                None => compress(&job),
                Some(identity) => acting_as(identity, || compress(&job)),
            };
        }
    }

    /// Whether there is nothing to do.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        !self.queue().running
    }
}

fn compress(job: &Job) -> io::Result<()> {
    let unfinished = chain::unfinished(&job.plain);
    let written = write(job, &unfinished);
    let count = job.rotations.lock();
    if matches!(written, Ok(true)) && *count == job.count {
        let done = chain::with(&job.plain, ".gz");
        fs::rename(&unfinished, done).and_then(|()| fs::remove_file(&job.plain))
    } else {
        drop(count);
        match fs::remove_file(&unfinished) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => written.map(drop),
            removed => removed.and(written.map(drop)),
        }
    }
}

/// False: it is not wanted any more.
fn write(job: &Job, to: &Path) -> io::Result<bool> {
    let mut plain = logfile::open_for_reading(&job.plain)?;
    let mut buffer = vec![0; BLOCK];
    let mut encoder = GzEncoder::new(logfile::create_new(to)?, Compression::default());
    loop {
        match plain.read(&mut buffer)? {
            0 => break,
            n => encoder.write_all(&buffer[..n])?,
        }
        if !job.is_wanted() {
            return Ok(false);
        }
    }
    // The plain one goes once this one is on the disk.
    encoder.finish()?.sync_data()?;
    Ok(true)
}
