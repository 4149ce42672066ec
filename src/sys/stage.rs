//! Output on its way from a pipe to its files, in memory that outlives whoever carries it (a file in memory that somebody
//! else keeps): how far each step had come can be told after its process was killed in whatever instruction.
//!
//! ```text
//! nothing ── read ──→ reading ──→ taken ── write, write ... ──→ written ── done ──→ nothing
//! ```
//!
//! `read(2)` says how much it has read in a register, which is gone with the process. So that much is read as is known to be
//! there (`FIONREAD`), and what the end of that looks like before is a mark that no text has: once it is gone, all is there.
//! A write that a SIGKILL cuts short (the kernel looks for one between pages) is told by the file's size.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::rc::Rc;
use std::sync::atomic::Ordering::{Acquire, Release};

use memmap2::{MmapOptions, MmapRaw};

use super::memfd;
use super::shm::Words;

/// What one read takes at most, in bytes: as much as a pipe holds unless somebody has made it larger.
pub const READ: usize = 64 * 1024;

/// Names the layout.
const MAGIC: u64 = u64::from_le_bytes(*b"output 1");
/// Of the words and what they stand for, in bytes: a page.
const HEAD: usize = 4096;
/// No byte of it occurs in UTF-8.
const MARK: [u8; 8] = [0xff, 0xfe, 0xc0, 0xc1, 0xf5, 0xf8, 0xfd, 0xff];
/// The longest name of where it comes from, in bytes.
const NAME_MAX: usize = 2048;

// The words.
const LAYOUT: usize = 0;
const NUMBER: usize = 1;
const STATE: usize = 2;
const KIND: usize = 3;
const WALL: usize = 4;
const LENGTH: usize = 5;
const NAME_LENGTH: usize = 6;
/// Which of the two writes counts. Changed in one word, when the other one is whole.
const CURRENT: usize = 7;
const WRITES: [usize; 2] = [8, 16];
const NAME: usize = 24;

const NOTHING: u64 = 0;
const READING: u64 = 1;
const TAKEN: u64 = 2;
const WRITTEN: u64 = 3;

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something has been read.
    Push = 1,
    /// Nothing has: what was held back is written as it is.
    Flush = 2,
    /// The same, and whoever wrote has ended.
    End = 3,
}

/// Where steps are taken, one at a time.
#[derive(Debug)]
pub struct Stage {
    marks: Rc<Marks>,
    data: MmapRaw,
    length: usize,
    file: File,
}

/// How far the step has come with its files.
#[derive(Debug)]
pub struct Marks(Words);

/// A step that was not finished.
#[derive(Debug, PartialEq, Eq)]
pub struct Left {
    /// Counts steps.
    pub number: u64,
    /// Where it comes from.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// When it was taken, ns since 1970.
    pub wall: u64,
    /// What had been read.
    pub bytes: Vec<u8>,
    /// All of it is in the files.
    pub written: bool,
    /// The latest write.
    pub write: Write,
}

/// One write: what comes before it is in the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Write {
    /// Which of the step's files.
    pub file: u64,
    /// That file; 0: it is none whose size tells anything.
    pub inode: u64,
    /// Its size before, in bytes.
    pub size: u64,
    /// How much of the step's bytes had been written there before, in bytes.
    pub offset: u64,
    /// How much was to be written, in bytes.
    pub length: u64,
}

impl Stage {
    /// In a new file in memory, or one that a former process had. Nobody else may take steps in it.
    pub fn open(file: File) -> io::Result<Stage> {
        let len = HEAD + READ;
        memfd::of_length(&file, len)?;
        let words = Words::map(&file, HEAD / 8)?;
        if words.all()[LAYOUT].swap(MAGIC, Release) != MAGIC {
            words.all()[STATE].store(NOTHING, Release);
        }
        let data = MmapOptions::new().offset(HEAD as u64).len(READ).map_raw(&file)?;
        Ok(Stage { marks: Rc::new(Marks(words)), data, length: 0, file })
    }

    /// For whoever writes.
    pub fn marks(&self) -> &Rc<Marks> {
        &self.marks
    }

    /// The number of the step that is being taken, or of the latest.
    pub fn number(&self) -> u64 {
        self.marks.get(NUMBER)
    }

    /// Reads what there is in a pipe whose only reader this is, at most [`READ`], as a step. 0: it is at its end. An empty one is
    /// `WouldBlock` if it does not wait.
    pub fn read(&mut self, pipe: BorrowedFd<'_>, name: &str, wall: u64) -> io::Result<usize> {
        // Of an empty one: whether it is at its end.
        let count = super::pipe::unread(pipe)?.clamp(1, READ);
        let mark = &MARK[..count.min(MARK.len())];
        self.length = 0;
        self.begin(Kind::Push, name, wall, count);
        // SAFETY: the mapping is READ long, count at most that and at least mark's length; only this process uses it.
        let n = unsafe {
            let data = self.data.as_mut_ptr();
            std::ptr::copy_nonoverlapping(mark.as_ptr(), data.add(count - mark.len()), mark.len());
            self.marks.set(STATE, READING);
            libc::read(pipe.as_raw_fd(), data.cast(), count)
        };
        if n <= 0 {
            let error = io::Error::last_os_error();
            self.done();
            return if n == 0 { Ok(0) } else { Err(error) };
        }
        self.length = n as usize;
        self.marks.set(LENGTH, n as u64);
        self.marks.set(STATE, TAKEN);
        Ok(self.length)
    }

    /// What was read.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `read` has filled so much of the mapping, and writes to it only with `&mut self`.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.length) }
    }

    /// A step with nothing to read.
    pub fn begin_without(&mut self, kind: Kind, name: &str, wall: u64) {
        self.begin(kind, name, wall, 0);
        self.marks.set(STATE, TAKEN);
    }

    fn begin(&mut self, kind: Kind, name: &str, wall: u64, length: usize) {
        let marks = &self.marks;
        marks.set(STATE, NOTHING);
        // A name that is too long is nobody's afterwards.
        let name = if name.len() > NAME_MAX { "" } else { name };
        for (i, chunk) in name.as_bytes().chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            marks.set(NAME + i, u64::from_le_bytes(word));
        }
        let head = [marks.get(NUMBER) + 1, kind as u64, wall, length as u64, name.len() as u64];
        for (at, value) in [NUMBER, KIND, WALL, LENGTH, NAME_LENGTH].into_iter().zip(head) {
            marks.set(at, value);
        }
        marks.writing(Write::default());
    }

    /// It has been taken, and nothing of it is needed any more.
    pub fn done(&mut self) {
        self.marks.set(STATE, NOTHING);
    }

    /// The step that a former process was taking.
    pub fn left(&self) -> Option<Left> {
        let marks = &self.marks;
        let state = marks.get(STATE);
        let kind = [Kind::Push, Kind::Flush, Kind::End].into_iter().find(|kind| *kind as u64 == marks.get(KIND))?;
        let length = usize::try_from(marks.get(LENGTH)).ok().filter(|length| *length <= READ)?;
        // SAFETY: length is at most the mapping's, and nobody writes to it.
        let bytes = unsafe { std::slice::from_raw_parts(self.data.as_ptr(), length) }.to_vec();
        match state {
            READING if bytes.ends_with(&MARK[..length.min(MARK.len())]) => return None,
            READING | TAKEN | WRITTEN => {}
            _ => return None,
        }
        let name_length = usize::try_from(marks.get(NAME_LENGTH)).ok().filter(|length| *length <= NAME_MAX)?;
        let mut name: Vec<u8> = (0..name_length.div_ceil(8)).flat_map(|i| marks.get(NAME + i).to_le_bytes()).collect();
        name.truncate(name_length);
        let at = WRITES[usize::from(marks.get(CURRENT) == 1)];
        let [file, inode, size, offset, length] = [0, 1, 2, 3, 4].map(|i| marks.get(at + i));
        Some(Left {
            number: marks.get(NUMBER),
            name: String::from_utf8(name).ok()?,
            kind,
            wall: marks.get(WALL),
            bytes,
            written: state == WRITTEN,
            write: Write { file, inode, size, offset, length },
        })
    }
}

impl AsFd for Stage {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Marks {
    fn get(&self, at: usize) -> u64 {
        self.0.all()[at].load(Acquire)
    }

    fn set(&self, at: usize, value: u64) {
        self.0.all()[at].store(value, Release);
    }

    /// This is about to be written, and what was before it has been.
    pub fn writing(&self, write: Write) {
        let other = 1 - u64::from(self.get(CURRENT) == 1);
        let Write { file, inode, size, offset, length } = write;
        for (i, value) in [file, inode, size, offset, length].into_iter().enumerate() {
            self.set(WRITES[other as usize] + i, value);
        }
        self.set(CURRENT, other);
    }

    /// All of the step is in the files.
    pub fn written(&self) {
        self.set(STATE, WRITTEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn stage(file: &File) -> Stage {
        Stage::open(file.try_clone().unwrap()).unwrap()
    }

    #[test]
    fn what_had_been_read_and_how_much_of_it_written_is_there_for_the_next() {
        let file = memfd::growing("t").unwrap();
        let mut first = stage(&file);
        let (reading, mut writing) = io::pipe().unwrap();
        crate::sys::seqpacket::set_nonblocking(reading.as_fd()).unwrap();
        assert_eq!(stage(&file).left(), None);
        assert_eq!(first.read(reading.as_fd(), "a", 1).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(stage(&file).left(), None);
        for text in ["x", "a line\n", "lines\nthat\nare more"] {
            writing.write_all(text.as_bytes()).unwrap();
            assert_eq!(first.read(reading.as_fd(), "log/name/0/out", 7).unwrap(), text.len());
            assert_eq!(first.bytes(), text.as_bytes());
            let left = stage(&file).left().unwrap();
            assert_eq!(
                (left.number, &*left.name, left.kind, left.wall),
                (first.number(), "log/name/0/out", Kind::Push, 7)
            );
            assert_eq!((&*left.bytes, left.written, left.write), (text.as_bytes(), false, Write::default()));
            let write = Write { file: 1, inode: 2, size: 3, offset: 4, length: 5 };
            first.marks().writing(write);
            assert_eq!(stage(&file).left().unwrap().write, write);
            first.marks().written();
            assert!(stage(&file).left().unwrap().written);
            first.done();
            assert_eq!(stage(&file).left(), None);
        }
        first.begin_without(Kind::Flush, "b", 9);
        let left = stage(&file).left().unwrap();
        assert_eq!((left.kind, &*left.name, left.bytes.len(), left.write.length), (Kind::Flush, "b", 0, 0));
        // What is in a pipe and more than one read takes comes with the next; an end is told once nothing is left.
        let count = nix::fcntl::fcntl(&writing, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4 * READ as i32)).unwrap();
        writing.write_all(&vec![b'y'; READ + 9]).unwrap();
        drop(writing);
        assert!(count >= 2 * READ as i32);
        // What other tests fork has the writing end, too, for a moment.
        let mut read = || loop {
            match first.read(reading.as_fd(), "c", 0) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                read => break read.unwrap(),
            }
        };
        let sizes = [(); 3].map(|()| read());
        assert_eq!(sizes, [READ, 9, 0]);
        assert_eq!(stage(&file).left(), None);
    }

    #[test]
    fn a_read_that_did_not_come_to_pass_leaves_nothing() {
        let file = memfd::growing("t").unwrap();
        let mut first = stage(&file);
        for count in [1, 5, 8, 100] {
            first.begin(Kind::Push, "a", 0, count);
            let mark = &MARK[..count.min(MARK.len())];
            // SAFETY: within the mapping.
            unsafe {
                let data = first.data.as_mut_ptr();
                std::ptr::copy_nonoverlapping(mark.as_ptr(), data.add(count - mark.len()), mark.len());
            }
            first.marks.set(STATE, READING);
            assert_eq!(stage(&file).left(), None, "{count}");
            // As it is when the system call is over.
            // SAFETY: within the mapping.
            unsafe { std::ptr::write_bytes(first.data.as_mut_ptr(), b'z', count) };
            assert_eq!(stage(&file).left().unwrap().bytes, vec![b'z'; count]);
        }
    }

    #[test]
    fn whatever_is_in_the_file_is_read_within_bounds() {
        let file = memfd::growing("t").unwrap();
        drop(stage(&file));
        for byte in [0, 1, 2, 0xff] {
            std::os::unix::fs::FileExt::write_all_at(&file, &[byte; HEAD - 8], 8).unwrap();
            assert_eq!(stage(&file).left(), None, "{byte}");
        }
        file.set_len(10).unwrap();
        assert!(Stage::open(file).is_err());
    }
}
