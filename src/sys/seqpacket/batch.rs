//! Many messages with one system call, and what of them a killed receiver leaves.

use std::fs::File;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use super::super::memfd;
use super::{Ancillary, CONTROL_WORDS, take_ancillary};

/// Buffers for receiving several messages with one system call (`recvmmsg(2)`), reused for ever.
///
/// They can lie in a file in memory that somebody else keeps, too: what has been received and not been dealt with is then
/// still there when its receiver has been killed, in whatever instruction. The kernel finishes a `recvmmsg` before it acts
/// on a signal, and writes each message's length last.
pub struct Batch {
    memory: Memory,
    messages: usize,
    size: usize,
    received: Vec<(usize, Ancillary)>,
}

/// One piece: [`Note`], headers, control data, buffers. So large it takes no memory but for what has been written to.
enum Memory {
    /// A boxed slice, as it was leaked.
    Own(*mut [u64]),
    Mapped(MmapRaw),
    Kept(MmapRaw, File),
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Memory::Own(words) = *self {
            // SAFETY: `Batch::new` has leaked it, and nobody has freed it since.
            drop(unsafe { Box::from_raw(words) });
        }
    }
}

/// Whose messages these are, until they have been dealt with.
#[repr(C)]
struct Note {
    magic: AtomicU64,
    /// Of the name, in bytes; 0: nothing is under way.
    len: AtomicU64,
    number: AtomicU64,
    name: [u8; NAME_MAX],
}

/// Names the layout.
const MAGIC: u64 = u64::from_le_bytes(*b"inbox  2");
/// The flags of a header that the kernel has not filled in. It sets no such flags, and looks at none (recvmsg(2)).
const UNFILLED: libc::c_int = -1;
/// The longest name of a note; nothing is noted of one with a longer name.
const NAME_MAX: usize = 256;
/// The most messages of a batch.
const MESSAGES_MAX: usize = 64;

impl Batch {
    /// Room for `messages` (at most 64) of at most `size` bytes each.
    pub fn new(messages: usize, size: usize) -> Self {
        let messages = messages.min(MESSAGES_MAX);
        let memory = Memory::Own(Box::into_raw(vec![0; total(messages, size).div_ceil(8)].into_boxed_slice()));
        Batch { memory, messages, size, received: Vec::with_capacity(messages) }
    }

    /// The same for whoever keeps it: of its memory there is what messages have filled, and nothing is cleared for the next ones.
    pub fn lasting(messages: usize, size: usize) -> io::Result<Self> {
        let messages = messages.min(MESSAGES_MAX);
        let memory = Memory::Mapped(MmapOptions::new().len(total(messages, size)).map_anon()?.into());
        Ok(Batch { memory, messages, size, received: Vec::with_capacity(messages) })
    }

    /// The same in `file`, which is a new one in memory, or that of a batch of the same size: see [`Batch::left`]. Of
    /// another size it is an error; nobody else may have it mapped who receives.
    pub fn kept(file: File, messages: usize, size: usize) -> io::Result<Self> {
        let (messages, len) = (messages.min(MESSAGES_MAX), total(messages, size));
        memfd::of_length(&file, len)?;
        let memory = Memory::Kept(MmapOptions::new().len(len).map_raw(&file)?, file);
        Ok(Batch { memory, messages, size, received: Vec::with_capacity(messages) })
    }

    /// The file that it lies in, if it is in one.
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        match &self.memory {
            Memory::Own(_) | Memory::Mapped(_) => None,
            Memory::Kept(_, file) => Some(file.as_fd()),
        }
    }

    /// What is received from here on comes from there.
    pub fn note(&mut self, name: &str, number: u32) {
        let note = self.start().cast::<Note>();
        if name.len() > NAME_MAX {
            return self.settle();
        }
        // SAFETY: the memory begins with a Note, aligned (a page, or a u64's), and only this process writes to it. Everything in it
        // is valid whatever its bits are. The length comes last, for whoever looks after we have been killed.
        unsafe {
            (*note).len.store(0, Ordering::Release);
            // What was received before has nothing to do with it.
            for i in 0..self.messages {
                self.headers().add(i).write(unfilled());
            }
            std::ptr::copy_nonoverlapping(name.as_ptr(), (&raw mut (*note).name).cast(), name.len());
            (*note).number.store(number.into(), Ordering::Release);
            (*note).magic.store(MAGIC, Ordering::Release);
            (*note).len.store(name.len() as u64, Ordering::Release);
        }
    }

    /// What was received is dealt with.
    pub fn settle(&mut self) {
        // SAFETY: as in `note`.
        unsafe { (*self.start().cast::<Note>()).len.store(0, Ordering::Release) }
    }

    /// What a former process had received and not settled: where from, and how many messages; these are then as after
    /// [`Batch::receive`], but for descriptors, which have gone with their owner. None: there is nothing.
    pub fn left(&mut self) -> Option<(String, u32, usize)> {
        self.received.clear();
        let note = self.start().cast::<Note>();
        // SAFETY: as in `note`; the length is checked before it is used.
        let (name, number) = unsafe {
            let len = (*note).len.load(Ordering::Acquire) as usize;
            if (*note).magic.load(Ordering::Acquire) != MAGIC || len == 0 || len > NAME_MAX {
                return None;
            }
            let mut name = vec![0; len];
            std::ptr::copy_nonoverlapping((&raw const (*note).name).cast(), name.as_mut_ptr(), len);
            (String::from_utf8(name).ok()?, u32::try_from((*note).number.load(Ordering::Acquire)).ok()?)
        };
        for i in 0..self.messages {
            // SAFETY: `headers` are this many, and all bits are valid in one.
            let header = unsafe { self.headers().add(i).read() };
            let len = header.msg_len as usize;
            if header.msg_hdr.msg_flags == UNFILLED || len > self.size {
                break;
            }
            // SAFETY: all-zero is a valid msghdr.
            let mut with: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
            // The addresses in it were another process's.
            with.msg_control = self.control(i).cast();
            with.msg_controllen = header.msg_hdr.msg_controllen.min(size_of::<[u64; CONTROL_WORDS]>() as _);
            with.msg_flags = header.msg_hdr.msg_flags;
            let ancillary = take_ancillary(&with, false);
            // As in `receive`: the end, or an empty message, behind which there may be others.
            if len == 0 && ancillary.pid.is_none() {
                break;
            }
            self.received.push((len, ancillary));
        }
        (!self.received.is_empty()).then_some((name, number, self.received.len()))
    }

    fn start(&self) -> *mut u8 {
        match &self.memory {
            Memory::Own(words) => words.cast(),
            Memory::Mapped(map) | Memory::Kept(map, _) => map.as_mut_ptr(),
        }
    }

    fn headers(&self) -> *mut libc::mmsghdr {
        // SAFETY: within the memory, see `total`.
        unsafe { self.start().add(size_of::<Note>()).cast() }
    }

    fn control(&self, i: usize) -> *mut [u64; CONTROL_WORDS] {
        // SAFETY: the same, for i less than messages.
        unsafe { self.headers().add(self.messages).cast::<[u64; CONTROL_WORDS]>().add(i) }
    }

    fn buffer(&self, i: usize) -> *mut u8 {
        // SAFETY: the same.
        unsafe { self.control(self.messages).cast::<u8>().add(i * self.size) }
    }

    /// Receives what is there without waiting. Fewer messages than there is room for means that the queue
    /// was empty afterwards. `Ok(0)` with `closed` true: the other side has gone and nothing is left.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<Received> {
        self.received.clear();
        let mut iovs: [MaybeUninit<libc::iovec>; MESSAGES_MAX] = [MaybeUninit::uninit(); MESSAGES_MAX];
        for (i, iov) in iovs.iter_mut().enumerate().take(self.messages) {
            let mut header = unfilled();
            // SAFETY: there are this many.
            unsafe {
                header.msg_hdr.msg_iov =
                    iov.write(libc::iovec { iov_base: self.buffer(i).cast(), iov_len: self.size as _ });
                header.msg_hdr.msg_iovlen = 1;
                header.msg_hdr.msg_control = self.control(i).cast();
                header.msg_hdr.msg_controllen = size_of::<[u64; CONTROL_WORDS]>() as _;
                self.headers().add(i).write(header);
            }
        }
        let (n, flags) = (self.messages, libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC);
        // SAFETY: the first n headers point at live, disjoint buffers of the stated lengths.
        let got =
            unsafe { libc::recvmmsg(socket.as_raw_fd(), self.headers(), n as u32, flags as _, std::ptr::null_mut()) };
        if got < 0 {
            let e = io::Error::last_os_error();
            return match e.kind() {
                io::ErrorKind::WouldBlock => Ok(Received { messages: 0, more: false, closed: false }),
                io::ErrorKind::Interrupted => Ok(Received { messages: 0, more: true, closed: false }),
                io::ErrorKind::ConnectionReset => Ok(Received { messages: 0, more: true, closed: false }),
                _ => Err(e),
            };
        }
        let mut closed = false;
        for i in 0..got as usize {
            // SAFETY: the kernel has filled in the first `got` of them.
            let header = unsafe { self.headers().add(i).read() };
            let ancillary = take_ancillary(&header.msg_hdr, true);
            // End of file reads as an empty message. One that somebody sent has a sender, if the socket vouches for it.
            if header.msg_len == 0 && ancillary.pid.is_none() {
                closed = true;
                break;
            }
            self.received.push((header.msg_len as usize, ancillary));
        }
        Ok(Received { messages: self.received.len(), more: got as usize == n && !closed, closed })
    }

    /// Message `i` of the last [`Batch::receive`], and what came with it, which may be taken out.
    pub fn message(&mut self, i: usize) -> (&[u8], &mut Ancillary) {
        let buffer = self.buffer(i);
        let (len, ancillary) = &mut self.received[i];
        // SAFETY: within the memory, which lives as long as self; nobody writes to it before the next `receive`, which takes `&mut`.
        (unsafe { std::slice::from_raw_parts(buffer, (*len).min(self.size)) }, ancillary)
    }
}

/// A header for the kernel to fill in.
fn unfilled() -> libc::mmsghdr {
    // SAFETY: all-zero is a valid mmsghdr.
    let mut header: libc::mmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_hdr.msg_flags = UNFILLED;
    header
}

/// The bytes of a batch.
fn total(messages: usize, size: usize) -> usize {
    size_of::<Note>() + messages * (size_of::<libc::mmsghdr>() + size_of::<[u64; CONTROL_WORDS]>() + size)
}

/// The outcome of [`Batch::receive`].
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// How many messages there are.
    pub messages: usize,
    /// There may be more at once.
    pub more: bool,
    /// The other side is gone; what it had sent has been received.
    pub closed: bool,
}

#[cfg(test)]
mod tests {
    use super::super::{pair, send, vouch};
    use super::*;
    use std::io::IoSlice;

    #[test]
    fn a_lasting_batch_receives_again_and_again() {
        let (a, b) = pair().unwrap();
        let mut batch = Batch::lasting(2, 64).unwrap();
        for text in ["the first one", "another"] {
            send(a.as_fd(), &[IoSlice::new(text.as_bytes())], &[], true).unwrap();
            assert_eq!(batch.receive(b.as_fd()).unwrap().messages, 1);
            assert_eq!(batch.message(0).0, text.as_bytes());
        }
    }

    #[test]
    fn an_empty_message_hides_none_behind_it() {
        let (a, b) = pair().unwrap();
        vouch(b.as_fd()).unwrap();
        let file = memfd::growing("t").unwrap();
        let open = || Batch::kept(file.try_clone().unwrap(), 4, 64).unwrap();
        let say = |text: &[u8]| send(a.as_fd(), &[IoSlice::new(text)], &[], false).unwrap();
        let mut first = open();
        // Three before: their control data is still there when only two come.
        for texts in [&[&b"x"[..], b"y", b"z"][..], &[b"", b"second"], &[b""]] {
            texts.iter().for_each(|text| say(text));
            first.note("pool", 7);
            assert_eq!(first.receive(b.as_fd()).unwrap().messages, texts.len());
            let mut next = open();
            assert_eq!(next.left(), Some(("pool".to_owned(), 7, texts.len())));
            for (i, text) in texts.iter().enumerate() {
                let (bytes, extra) = next.message(i);
                assert_eq!((bytes, extra.pid), (*text, Some(std::process::id())));
            }
        }
        first.note("pool", 8);
        assert_eq!(first.receive(b.as_fd()).unwrap().messages, 0);
        assert_eq!(open().left(), None, "nothing has come");
        say(b"");
        say(b"last");
        drop(a);
        let received = first.receive(b.as_fd()).unwrap();
        assert!(received.messages == 2 && received.closed);
        assert_eq!(open().left(), Some(("pool".to_owned(), 8, 2)), "the end is no message");
    }

    #[test]
    fn what_a_killed_receiver_had_not_settled_is_there_for_the_next() {
        let (a, b) = pair().unwrap();
        vouch(b.as_fd()).unwrap();
        let file = memfd::growing("t").unwrap();
        let open = |file: &File| Batch::kept(file.try_clone().unwrap(), 4, 64);
        let mut first = open(&file).unwrap();
        assert_eq!(open(&file).unwrap().left(), None, "nothing has come yet");
        let attached = memfd::sealed("t", b"x").unwrap();
        send(a.as_fd(), &[IoSlice::new(b"one")], &[], false).unwrap();
        send(a.as_fd(), &[IoSlice::new(b"second")], &[attached.as_fd()], false).unwrap();
        first.note("pool", 7);
        assert_eq!(open(&file).unwrap().left(), None, "nothing has been received yet");
        assert_eq!(first.receive(b.as_fd()).unwrap().messages, 2);
        let mut next = open(&file).unwrap();
        assert_eq!(next.left(), Some(("pool".to_owned(), 7, 2)));
        let (bytes, extra) = next.message(0);
        assert_eq!((bytes, extra.pid), (&b"one"[..], Some(std::process::id())));
        let (bytes, extra) = next.message(1);
        // The descriptors are the killed one's: here they would be anybody's.
        assert!(bytes == b"second" && extra.fds.is_empty() && extra.pidfd.is_none());
        first.note("other", 1);
        assert_eq!(open(&file).unwrap().left(), None, "that was of another one");
        send(a.as_fd(), &[IoSlice::new(b"third")], &[], false).unwrap();
        assert_eq!(first.receive(b.as_fd()).unwrap().messages, 1);
        assert_eq!(first.message(0).0, b"third");
        first.settle();
        assert_eq!(open(&file).unwrap().left(), None, "it has been dealt with");
        assert!(Batch::kept(file.try_clone().unwrap(), 4, 128).is_err(), "another layout");
        // One with nothing that makes sense in it.
        file.set_len(0).unwrap();
        let mut torn = open(&file).unwrap();
        torn.note("pool", 7);
        std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 1024], 8).unwrap();
        assert_eq!(torn.left(), None);
    }
}
