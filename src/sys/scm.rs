//! Many descriptors in one message (`SCM_RIGHTS`), between two processes of ours that trust each other. Elsewhere a message has a few:
//! [`super::seqpacket`].

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// The most in one message. The kernel takes 253 (`SCM_MAX_FD`), but without privileges no more may be under way than may be open
/// (unix(7), ETOOMANYREFS), and ten messages are.
pub const MOST: usize = 64;

/// Sends them with `text`, and waits for room.
pub fn send(socket: BorrowedFd<'_>, text: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(text)], &rights, MsgFlags::MSG_NOSIGNAL, None) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Waits for such a message. The length of its text, 0 at the end, and its descriptors, close-on-exec. An error if they were more
/// than [`MOST`].
pub fn receive(socket: BorrowedFd<'_>, text: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; MOST]);
    let mut parts = [IoSliceMut::new(text)];
    let message = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(Errno::EINTR) => {}
            got => break got?,
        }
    };
    let mut fds = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = part {
            // SAFETY: the kernel has just installed them for us, and nobody else owns them.
            fds.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
        }
    }
    Ok((message.bytes, fds))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::super::{memfd, seqpacket};
    use super::*;

    #[test]
    fn all_of_them_arrive_and_a_message_with_too_many_is_an_error() {
        let (a, b) = seqpacket::pair().unwrap();
        let file = memfd::sealed("t", b"x").unwrap();
        let mut text = [0; 8];
        for count in [1, MOST] {
            send(a.as_fd(), b"some", &vec![file.as_fd(); count]).unwrap();
            let (len, fds) = receive(b.as_fd(), &mut text).unwrap();
            assert_eq!((&text[..len], fds.len()), (&b"some"[..], count));
            assert_eq!(memfd::read_whole(fds.into_iter().next_back().unwrap(), 10).unwrap(), b"x");
        }
        send(a.as_fd(), b"many", &vec![file.as_fd(); MOST + 60]).unwrap();
        receive(b.as_fd(), &mut text).unwrap_err();
        drop(a);
        let (len, fds) = receive(b.as_fd(), &mut text).unwrap();
        assert_eq!((len, fds.len()), (0, 0));
    }
}
