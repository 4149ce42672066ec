//! The socket of sd_notify(3), from both ends: datagrams of `KEY=VALUE` lines, whose senders the kernel vouches for.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind, getsockname,
    recvmsg, setsockopt, socket,
};

/// The most of a message that is looked at, in bytes.
const MOST: usize = 4096;

/// The receiving end.
#[derive(Debug)]
pub struct NotifySocket(OwnedFd);

impl NotifySocket {
    /// Binds a name in the abstract name space (unix(7)) that the kernel chooses: whoever may not look into our folders finds
    /// it, too.
    pub fn bind_abstract() -> io::Result<NotifySocket> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        bind(socket.as_raw_fd(), &UnixAddr::new_unnamed())?;
        NotifySocket::adopt(socket)
    }

    /// Where to send to, as `NOTIFY_SOCKET` has it: a path, or `@NAME`.
    pub fn address(&self) -> io::Result<OsString> {
        let address: UnixAddr = getsockname(self.0.as_raw_fd())?;
        match (address.path(), address.as_abstract()) {
            (Some(path), _) => Ok(path.into()),
            (None, Some(name)) => Ok(OsString::from_vec([b"@", name].concat())),
            (None, None) => Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "the socket has no name")),
        }
    }

    /// Binds `path`, where anybody may send to: who they are is told with each message.
    pub fn bind(path: &Path) -> io::Result<NotifySocket> {
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let socket = UnixDatagram::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
        NotifySocket::adopt(socket.into())
    }

    /// One that a former process bound.
    pub fn adopt(fd: OwnedFd) -> io::Result<NotifySocket> {
        setsockopt(&fd, PassCred, &true)?;
        super::seqpacket::set_nonblocking(fd.as_fd())?;
        Ok(NotifySocket(fd))
    }

    /// The next message: its sender's pid (0: not known) and its text. It stays there until [`NotifySocket::skip`], for another
    /// reader should this one be killed. None: there is none.
    pub fn peek(&self) -> io::Result<Option<(u32, String)>> {
        self.take(MsgFlags::MSG_PEEK)
    }

    /// The next message has been dealt with.
    pub fn skip(&self) -> io::Result<()> {
        self.take(MsgFlags::empty()).map(drop)
    }

    fn take(&self, flags: MsgFlags) -> io::Result<Option<(u32, String)>> {
        let mut buffer = [0; MOST];
        // Descriptors that somebody sends along are not made room for, so that the kernel closes them.
        let mut control = nix::cmsg_space!(UnixCredentials);
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
        let message = match recvmsg::<()>(self.0.as_raw_fd(), &mut slices, Some(&mut control), flags) {
            Ok(message) => message,
            Err(Errno::EAGAIN) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let pid = message.cmsgs()?.find_map(|c| match c {
            ControlMessageOwned::ScmCredentials(credentials) => Some(credentials.pid() as u32),
            _ => None,
        });
        let length = message.bytes;
        Ok(Some((pid.unwrap_or(0), String::from_utf8_lossy(&buffer[..length]).into_owned())))
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The variable that names the socket.
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// Sends `state`, such as `READY=1`, to `socket`: a path, or `@NAME` in the abstract name space.
pub fn notify(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let from = UnixDatagram::unbound()?;
    // A manager that does not read must not hold us up.
    from.set_nonblocking(true)?;
    from.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_with_its_sender() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("notify");
        let socket = NotifySocket::bind(&path).unwrap();
        assert_eq!(socket.peek().unwrap(), None);
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(b"READY=1\nSTATUS=up", &path).unwrap();
        for _ in 0..2 {
            assert_eq!(socket.peek().unwrap(), Some((std::process::id(), "READY=1\nSTATUS=up".to_owned())));
        }
        socket.skip().unwrap();
        assert_eq!(socket.peek().unwrap(), None);
        assert_eq!(socket.address().unwrap(), path);
    }

    #[test]
    fn an_abstract_one_needs_no_folder_and_each_has_its_own() {
        let (one, other) = (NotifySocket::bind_abstract().unwrap(), NotifySocket::bind_abstract().unwrap());
        let address = one.address().unwrap();
        assert!(address.as_bytes().starts_with(b"@") && address != other.address().unwrap());
        notify(&address, "READY=1").unwrap();
        assert_eq!(one.peek().unwrap(), Some((std::process::id(), "READY=1".to_owned())));
        assert_eq!(other.peek().unwrap(), None);
        // A new master has nothing but the descriptor.
        assert_eq!(NotifySocket::adopt(one.0).unwrap().address().unwrap(), address);
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }

    #[test]
    fn a_socket_is_a_path_or_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        notify(path.as_os_str(), "READY=1").unwrap();
        assert_eq!(heard(&socket), "READY=1");
        let name = format!("preforkd-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        notify(OsStr::new(&format!("@{name}")), "STOPPING=1").unwrap();
        assert_eq!(heard(&socket), "STOPPING=1");
        assert!(notify(OsStr::new("/nowhere/notify"), "READY=1").is_err());
    }
}
