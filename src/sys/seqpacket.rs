//! `AF_UNIX SOCK_SEQPACKET` sockets: whole messages, descriptors (`SCM_RIGHTS`), and the sender's
//! identity as the kernel vouches for it (`SCM_CREDENTIALS`, from Linux 6.5 `SCM_PIDFD`).

use std::io::{self, IoSlice};
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::pidfd::PidFd;

mod batch;

pub use batch::{Batch, Received};

/// `SO_PASSPIDFD` and `SCM_PIDFD` (include/uapi/asm-generic/socket.h and linux/socket.h, 6.5); not in libc yet.
const SO_PASSPIDFD: libc::c_int = 76;
const SCM_PIDFD: libc::c_int = 4;

/// The most descriptors that one message may carry; a message with more is refused, and all of them closed.
pub const MAX_FDS: usize = 5;

/// Room for credentials, one pidfd and the descriptors, in words so that it is aligned for `cmsghdr`.
const CONTROL_WORDS: usize = 16;

/// A new pair of connected sockets, both close-on-exec and blocking.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Listens at `path`, for our user alone, without waiting; what was there before is removed.
pub fn listen(path: &Path) -> io::Result<OwnedFd> {
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listen(&fd, Backlog::new(4)?)?;
    Ok(fd)
}

/// The next one who connects; his socket waits.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: accept4 takes null for an address that nobody wants, and returns a new descriptor or -1.
    let fd =
        unsafe { libc::accept4(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), libc::SOCK_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made this descriptor, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Connects to one who listens at `path`.
pub fn connect(path: &Path) -> io::Result<OwnedFd> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(fd)
}

/// From here on each message received on `socket` says who sent it. Returns whether pidfds come with it.
pub fn vouch(socket: BorrowedFd<'_>) -> io::Result<bool> {
    set(socket, libc::SO_PASSCRED, 1)?;
    Ok(set(socket, SO_PASSPIDFD, 1).is_ok())
}

/// How much may lie unread in what this socket sends, in bytes (the kernel doubles it for its own
/// bookkeeping). As root beyond `net.core.wmem_max`.
pub fn set_send_buffer(socket: BorrowedFd<'_>, bytes: i32) -> io::Result<()> {
    set(socket, libc::SO_SNDBUFFORCE, bytes).or_else(|_| set(socket, libc::SO_SNDBUF, bytes))
}

/// How long a `send` that waits may wait, before it is `WouldBlock` (`SO_SNDTIMEO`, socket(7)).
pub fn set_send_timeout(socket: BorrowedFd<'_>, patience: Duration) -> io::Result<()> {
    let time = nix::sys::time::TimeVal::new(patience.as_secs() as _, patience.subsec_micros().into());
    Ok(nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::SendTimeout, &time)?)
}

fn set(socket: BorrowedFd<'_>, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the pointer is to a live c_int and the length is its own.
    let r = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if r == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends `parts` as one message with `fds`. Never raises SIGPIPE. With `wait` false a full queue is `WouldBlock`.
pub fn send(socket: BorrowedFd<'_>, parts: &[IoSlice<'_>], fds: &[BorrowedFd<'_>], wait: bool) -> io::Result<()> {
    assert!(fds.len() <= MAX_FDS); // invariant: callers pass the few descriptors of one order
    let mut control = [0u64; CONTROL_WORDS];
    // SAFETY: all-zero is a valid msghdr.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = parts.as_ptr().cast_mut().cast();
    header.msg_iovlen = parts.len() as _;
    if !fds.is_empty() {
        let len = std::mem::size_of_val(fds) as u32;
        header.msg_control = control.as_mut_ptr().cast();
        // SAFETY: `control` is aligned and larger than CMSG_SPACE of five descriptors, so the first header
        // and its data lie inside it. BorrowedFd is a transparent c_int.
        unsafe {
            header.msg_controllen = libc::CMSG_SPACE(len) as _;
            let cmsg = libc::CMSG_FIRSTHDR(&header);
            (*cmsg).cmsg_level = libc::SOL_SOCKET;
            (*cmsg).cmsg_type = libc::SCM_RIGHTS;
            (*cmsg).cmsg_len = libc::CMSG_LEN(len) as _;
            std::ptr::copy_nonoverlapping(fds.as_ptr().cast::<u8>(), libc::CMSG_DATA(cmsg), len as usize);
        }
    }
    let flags = libc::MSG_NOSIGNAL | if wait { 0 } else { libc::MSG_DONTWAIT };
    loop {
        // SAFETY: header points at live slices (IoSlice has iovec's layout) and control data for the call's duration.
        let n = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, flags) };
        if n >= 0 {
            return Ok(());
        }
        let e = io::Error::last_os_error();
        if e.kind() != io::ErrorKind::Interrupted {
            return Err(e);
        }
    }
}

/// What came with a message.
#[derive(Debug, Default)]
pub struct Ancillary {
    /// The sender's pid in our pid namespace, when the socket vouches.
    pub pid: Option<u32>,
    /// A handle on the sender, where the kernel gave one.
    pub pidfd: Option<PidFd>,
    /// Descriptors, in the order sent.
    pub fds: Vec<OwnedFd>,
    /// The message was longer than the buffer, or its descriptors more than there was room for.
    /// Whatever descriptors did arrive have been closed; the message must not be used.
    pub truncated: bool,
}

/// `ours`: the descriptors in it have been installed for this process; else they are numbers of a former one's, and not taken.
fn take_ancillary(header: &libc::msghdr, ours: bool) -> Ancillary {
    let mut out = Ancillary::default();
    // SAFETY: the kernel has filled msg_control up to msg_controllen with well-formed headers; CMSG_NXTHDR
    // stays inside. Each descriptor in SCM_RIGHTS and SCM_PIDFD has been installed for us and is owned by nobody else.
    unsafe {
        let mut cmsg = libc::CMSG_FIRSTHDR(header);
        while !cmsg.is_null() {
            let data = libc::CMSG_DATA(cmsg);
            let len = (*cmsg).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
            match ((*cmsg).cmsg_level, (*cmsg).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) if ours => {
                    for i in 0..len / size_of::<libc::c_int>() {
                        let fd = data.cast::<libc::c_int>().add(i).read_unaligned();
                        out.fds.push(OwnedFd::from_raw_fd(fd));
                    }
                }
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if len >= size_of::<libc::ucred>() => {
                    let pid = data.cast::<libc::ucred>().read_unaligned().pid;
                    out.pid = (pid > 0).then_some(pid as u32);
                }
                (libc::SOL_SOCKET, SCM_PIDFD) if ours && len >= size_of::<libc::c_int>() => {
                    let fd = data.cast::<libc::c_int>().read_unaligned();
                    if fd >= 0 {
                        out.pidfd = Some(PidFd::from(OwnedFd::from_raw_fd(fd)));
                    }
                }
                _ => {}
            }
            cmsg = libc::CMSG_NXTHDR(header, cmsg);
        }
    }
    if header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 || out.fds.len() > MAX_FDS {
        out.truncated = true;
        out.fds.clear();
    }
    out
}

/// Receives one message, waiting for it. Returns its length, 0 at end of file.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Ancillary)> {
    receive_flags(socket, buffer, libc::MSG_CMSG_CLOEXEC)
}

/// The first `buffer.len()` bytes of the next message, which stays in the queue. None: the queue is empty.
pub fn peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    // SAFETY: the buffer is live and as long as stated. No control buffer is given, so no descriptor is installed.
    let n = unsafe {
        libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_PEEK | libc::MSG_DONTWAIT)
    };
    if n >= 0 {
        return Ok(Some(n as usize));
    }
    let e = io::Error::last_os_error();
    if e.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(e) }
}

fn receive_flags(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: libc::c_int) -> io::Result<(usize, Ancillary)> {
    let mut control = [0u64; CONTROL_WORDS];
    let mut iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all-zero is a valid msghdr.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = &mut iov;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of::<[u64; CONTROL_WORDS]>() as _;
    loop {
        // SAFETY: header points at a live buffer and control area of the stated lengths.
        let n = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut header, flags) };
        if n >= 0 {
            return Ok((n as usize, take_ancillary(&header, true)));
        }
        let e = io::Error::last_os_error();
        if e.kind() != io::ErrorKind::Interrupted {
            return Err(e);
        }
    }
}

/// Makes it so that a `receive` on it never waits.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::poll::hung_up;
    use super::*;
    use std::os::fd::AsFd;

    fn parts(bytes: &[u8]) -> [IoSlice<'_>; 1] {
        [IoSlice::new(bytes)]
    }

    #[test]
    fn a_batch_tells_who_sent_what_and_brings_descriptors() {
        let (a, b) = pair().unwrap();
        vouch(b.as_fd()).unwrap();
        let file = super::super::memfd::sealed("t", b"x").unwrap();
        send(a.as_fd(), &parts(b"one"), &[], false).unwrap();
        send(a.as_fd(), &parts(b"two"), &[file.as_fd(), file.as_fd()], false).unwrap();
        let mut batch = Batch::new(4, 64);
        let got = batch.receive(b.as_fd()).unwrap();
        assert_eq!((got.messages, got.more, got.closed), (2, false, false));
        let (bytes, extra) = batch.message(0);
        assert_eq!(bytes, b"one");
        assert_eq!(extra.pid, Some(std::process::id()));
        assert!(extra.fds.is_empty());
        let (bytes, extra) = batch.message(1);
        assert_eq!((bytes, extra.fds.len()), (&b"two"[..], 2));
        assert_eq!(batch.receive(b.as_fd()).unwrap().messages, 0);
        send(a.as_fd(), &parts(b"last"), &[], false).unwrap();
        drop(a);
        let got = batch.receive(b.as_fd()).unwrap();
        assert_eq!((got.messages, got.closed), (1, true));
    }

    #[test]
    fn fault_20_too_many_descriptors_are_all_closed() {
        let (a, b) = pair().unwrap();
        let file = super::super::memfd::sealed("t", b"x").unwrap();
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        // Six in one message need a hand-made sender: our own refuses to.
        let six: [libc::c_int; 6] = [file.as_raw_fd(); 6];
        let scm = [nix::sys::socket::ControlMessage::ScmRights(&six)];
        let before = open();
        for size in [64, 2] {
            nix::sys::socket::sendmsg::<()>(
                a.as_raw_fd(),
                &parts(b"many"),
                &scm,
                nix::sys::socket::MsgFlags::empty(),
                None,
            )
            .unwrap();
            let mut batch = Batch::new(2, size);
            assert_eq!(batch.receive(b.as_fd()).unwrap().messages, 1);
            let (_, extra) = batch.message(0);
            assert!(extra.truncated && extra.fds.is_empty());
        }
        // Other tests of this process open and close files at the same time: only a leak of all of them would show.
        assert!(open() < before + 12);
    }

    #[test]
    fn a_closed_sender_s_message_is_still_there_and_hang_up_is_seen() {
        let (a, b) = pair().unwrap();
        let (c, d) = pair().unwrap();
        send(a.as_fd(), &parts(b"request"), &[], false).unwrap();
        let mut head = [0; 3];
        assert_eq!(peek(b.as_fd(), &mut head).unwrap(), Some(3));
        drop(a);
        let mut buffer = [0; 16];
        assert_eq!(receive(b.as_fd(), &mut buffer).unwrap().0, 7);
        assert_eq!(hung_up([b.as_fd(), c.as_fd()].into_iter()).unwrap(), [0]);
        drop(d);
        assert_eq!(send(c.as_fd(), &parts(b"x"), &[], false).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
