//! Pipes looked into: nothing is taken out of them (`FIONREAD`, tee(2)).

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, fcntl};

/// As much as an unprivileged process may have in one (/proc/sys/fs/pipe-max-size), in bytes.
const LARGEST: i32 = 1 << 20;

/// How much lies in it, in bytes.
pub fn unread(pipe: BorrowedFd<'_>) -> io::Result<usize> {
    let mut there: libc::c_int = 0;
    // SAFETY: FIONREAD stores one int.
    if unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut there) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(there).unwrap_or(0))
}

/// How much it holds at most, in bytes (`F_GETPIPE_SZ`): 64 KiB, but two pages for a user who has many pipes already
/// (/proc/sys/fs/pipe-user-pages-soft, pipe(7)).
pub fn capacity(pipe: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(usize::try_from(fcntl(pipe, FcntlArg::F_GETPIPE_SZ)?).unwrap_or(0))
}

/// A pipe that what lies in others is copied through.
#[derive(Debug)]
pub struct Scratch {
    reading: PipeReader,
    writing: PipeWriter,
}

impl Scratch {
    /// An empty one, as large as it gets.
    pub fn new() -> io::Result<Scratch> {
        Scratch::sized(LARGEST)
    }

    /// One that holds `size` bytes, if it may be as large.
    pub fn sized(size: i32) -> io::Result<Scratch> {
        let (reading, writing) = io::pipe()?;
        // Refused to a user who has many pipes already. A smaller one does it, too: then less can be copied.
        let _ = fcntl(&writing, FcntlArg::F_SETPIPE_SZ(size));
        Ok(Scratch { reading, writing })
    }

    /// Appends to `to` what lies in `pipe`, from its beginning on, as far as it is not more than there is room for. It stays there.
    /// Returns how much that was.
    pub fn copy(&mut self, pipe: BorrowedFd<'_>, to: &mut Vec<u8>) -> io::Result<usize> {
        let (from, into) = (pipe.as_raw_fd(), self.writing.as_raw_fd());
        // SAFETY: no memory of ours is involved.
        let copied = unsafe { libc::tee(from, into, LARGEST as usize, libc::SPLICE_F_NONBLOCK) };
        let copied = match usize::try_from(copied) {
            Ok(copied) => copied,
            Err(_) => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::WouldBlock => 0,
                e => return Err(e),
            },
        };
        let from = to.len();
        to.resize(from + copied, 0);
        self.reading.read_exact(&mut to[from..])?;
        Ok(copied)
    }
}

/// The last bytes of what came through a pipe, in a file in memory that somebody else can keep: a ring behind two words, how much
/// has come in all and with which step (see [`super::stage`]) the latest of it.
#[derive(Debug)]
pub struct Tail {
    file: File,
    size: u64,
    total: u64,
    step: u64,
}

/// The two words.
const HEAD: u64 = 16;

impl Tail {
    /// A new one, for the last `size` bytes.
    pub fn new(size: usize) -> io::Result<Tail> {
        Ok(Tail { file: super::memfd::growing("tail")?, size: size as u64, total: 0, step: 0 })
    }

    /// One that a former process had, of the same size.
    pub fn adopt(fd: OwnedFd, size: usize) -> io::Result<Tail> {
        use std::os::unix::fs::FileExt;
        let file = File::from(fd);
        let mut head = [0; HEAD as usize];
        let (mut total, mut step) = (0, 0);
        // A new one in which nothing is yet has not even that.
        if file.metadata()?.len() >= HEAD {
            file.read_exact_at(&mut head, 0)?;
            let (first, second) = head.split_at(8);
            let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
            (total, step) = (word(first), word(second));
        }
        Ok(Tail { file, size: size as u64, total, step })
    }

    /// The step that the latest came with.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Takes what came with a step. Should this process be killed in the middle, it is as if nothing had been taken.
    pub fn push(&mut self, bytes: &[u8], step: u64) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        let total = self.total + bytes.len() as u64;
        let mut rest = &bytes[bytes.len().saturating_sub(self.size as usize)..];
        let mut at = total - rest.len() as u64;
        while !rest.is_empty() {
            let place = at % self.size;
            let (part, after) = rest.split_at(rest.len().min((self.size - place) as usize));
            self.file.write_all_at(part, HEAD + place)?;
            at += part.len() as u64;
            rest = after;
        }
        let mut head = [0; HEAD as usize];
        head[..8].copy_from_slice(&total.to_le_bytes());
        head[8..].copy_from_slice(&step.to_le_bytes());
        self.file.write_all_at(&head, 0)?;
        (self.total, self.step) = (total, step);
        Ok(())
    }

    /// What it has, the oldest first.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        use std::os::unix::fs::FileExt;
        let there = self.total.min(self.size);
        let mut ring = vec![0; there as usize];
        self.file.read_exact_at(&mut ring, HEAD)?;
        if there > 0 {
            ring.rotate_left((self.total % there) as usize * usize::from(self.total > self.size));
        }
        Ok(ring)
    }
}

impl AsFd for Tail {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_lies_in_a_pipe_can_be_seen_again_and_again() {
        let mut scratch = Scratch::new().unwrap();
        let (mut reading, mut writing) = io::pipe().unwrap();
        let mut seen = Vec::new();
        assert_eq!((scratch.copy(reading.as_fd(), &mut seen).unwrap(), unread(reading.as_fd()).unwrap()), (0, 0));
        let text: Vec<u8> = (0..60_000_u32).map(|n| (n % 251) as u8).collect();
        writing.write_all(&text).unwrap();
        for _ in 0..3 {
            seen.clear();
            assert_eq!(scratch.copy(reading.as_fd(), &mut seen).unwrap(), text.len());
            assert_eq!((unread(reading.as_fd()).unwrap(), &seen), (text.len(), &text));
        }
        drop(writing);
        let mut read = Vec::new();
        reading.read_to_end(&mut read).unwrap();
        assert_eq!(read, text);
        assert_eq!(scratch.copy(reading.as_fd(), &mut seen).unwrap(), 0);
    }

    #[test]
    fn a_small_one_takes_the_first_part_and_leaves_all() {
        let mut scratch = Scratch::sized(8192).unwrap();
        let (reading, mut writing) = io::pipe().unwrap();
        assert_eq!(capacity(scratch.reading.as_fd()).unwrap(), 8192);
        writing.write_all(&[b'x'; 60_000]).unwrap();
        for _ in 0..2 {
            let mut seen = Vec::new();
            assert_eq!(scratch.copy(reading.as_fd(), &mut seen).unwrap(), 8192);
            assert_eq!((seen.len(), unread(reading.as_fd()).unwrap()), (8192, 60_000));
        }
    }

    #[test]
    fn the_last_bytes_stay_however_they_came_and_the_next_process_has_them() {
        let text: Vec<u8> = (0..2000_u32).map(|n| (n % 241) as u8).collect();
        for size in [1, 7, 64, 300] {
            let mut tail = Tail::new(100).unwrap();
            let mut seen = 0;
            for (step, chunk) in text.chunks(size).enumerate() {
                tail.push(chunk, step as u64 + 1).unwrap();
                seen += chunk.len();
                let last = &text[seen.saturating_sub(100)..seen];
                assert_eq!(tail.bytes().unwrap(), last, "{size} {seen}");
                let next = Tail::adopt(tail.as_fd().try_clone_to_owned().unwrap(), 100).unwrap();
                assert_eq!((next.bytes().unwrap(), next.step()), (last.to_vec(), step as u64 + 1));
            }
        }
        let empty = Tail::new(100).unwrap();
        assert_eq!(empty.bytes().unwrap(), b"");
        assert_eq!(Tail::adopt(empty.as_fd().try_clone_to_owned().unwrap(), 100).unwrap().bytes().unwrap(), b"");
    }
}
