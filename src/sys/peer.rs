//! Who is at the other end of a connection.

use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The uid that connected to a Unix socket (`SO_PEERCRED`, unix(7)).
pub fn unix_uid(socket: BorrowedFd<'_>) -> io::Result<u32> {
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
    Ok(getsockopt(&socket, PeerCredentials)?.uid())
}

/// The pid that listens or connected at the other end of a Unix socket (`SO_PEERCRED`, unix(7)).
pub fn unix_pid(socket: BorrowedFd<'_>) -> io::Result<u32> {
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
    Ok(getsockopt(&socket, PeerCredentials)?.pid() as u32)
}

/// Asks the kernel whose socket a loopback peer is (`sock_diag(7)`, `inet_diag`).
#[derive(Debug)]
pub struct SockDiag(OwnedFd);

/// `struct inet_diag_req_v2` behind its `nlmsghdr`, as bytes in the order of linux/inet_diag.h.
const REQUEST: usize = 16 + 56;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const TCP_ESTABLISHED: u8 = 1;

impl SockDiag {
    /// A netlink socket; needs no privilege.
    pub fn open() -> io::Result<Self> {
        use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
        let fd =
            socket(AddressFamily::Netlink, SockType::Datagram, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)?;
        // The kernel answers within the send; a bound for the case that it does not.
        let timeout = nix::sys::time::TimeVal::new(0, 200_000);
        nix::sys::socket::setsockopt(&fd, nix::sys::socket::sockopt::ReceiveTimeout, &timeout)?;
        Ok(SockDiag(fd))
    }

    /// The uid that owns the peer's socket of the connection (peer → ours): exactly this 4-tuple, ESTABLISHED, and
    /// with an inode, because a socket that has been closed reports uid 0. None: there is no such socket here.
    pub fn owner(&self, peer: SocketAddr, ours: SocketAddr) -> io::Result<Option<u32>> {
        let mut request = [0u8; REQUEST];
        request[0..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
        request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        request[6..8].copy_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
        let body = &mut request[16..];
        body[0] = match peer {
            SocketAddr::V4(_) => libc::AF_INET as u8,
            SocketAddr::V6(_) => libc::AF_INET6 as u8,
        };
        body[1] = libc::IPPROTO_TCP as u8;
        body[4..8].copy_from_slice(&u32::MAX.to_ne_bytes()); // states: all, an exact look-up ignores them
        put_address(peer, &mut body[8..10], None);
        put_address(ours, &mut body[10..12], None);
        let (left, right) = body[12..44].split_at_mut(16);
        put_address(peer, &mut [0; 2], Some(left));
        put_address(ours, &mut [0; 2], Some(right));
        body[48..56].copy_from_slice(&[0xff; 8]); // cookie: INET_DIAG_NOCOOKIE

        nix::sys::socket::send(self.0.as_raw_fd(), &request, nix::sys::socket::MsgFlags::empty())?;
        let mut answer = [0u8; 1024];
        let n = nix::sys::socket::recv(self.0.as_fd().as_raw_fd(), &mut answer, nix::sys::socket::MsgFlags::empty())?;
        // nlmsghdr 16, then inet_diag_msg: family, state, timer, retrans, id (48), expires, rqueue, wqueue, uid, inode
        let message = &answer[..n];
        let word = |at: usize| message.get(at..at + 4).map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        if n < 16 + 72 || message[4..6] != SOCK_DIAG_BY_FAMILY.to_ne_bytes() {
            return Ok(None);
        }
        let same_tuple = message[16 + 4..16 + 8] == request[24..28] && message[16 + 8..16 + 40] == request[28..60];
        let (uid, inode) = (word(16 + 64), word(16 + 68));
        let live = message[17] == TCP_ESTABLISHED && inode.is_some_and(|i| i != 0);
        Ok(uid.filter(|_| live && same_tuple))
    }
}

fn put_address(address: SocketAddr, port: &mut [u8], ip: Option<&mut [u8]>) {
    port.copy_from_slice(&address.port().to_be_bytes());
    if let Some(ip) = ip {
        match address {
            SocketAddr::V4(a) => ip[..4].copy_from_slice(&a.ip().octets()),
            SocketAddr::V6(a) => ip[..16].copy_from_slice(&a.ip().octets()),
        }
    }
}

const _: () = assert!(size_of::<libc::nlmsghdr>() == 16);

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn check(host: &str) {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let diag = SockDiag::open().unwrap();
        let ours = server.local_addr().unwrap();
        assert_eq!(diag.owner(peer, ours).unwrap(), Some(super::super::process::effective_uid()));
        let mut wrong = peer;
        wrong.set_port(peer.port() ^ 1);
        assert_eq!(diag.owner(wrong, ours).unwrap(), None);
        drop(client);
        assert_eq!(diag.owner(peer, ours).unwrap(), None, "a closed socket must not count as root's");
    }

    #[test]
    fn the_owner_of_a_loopback_peer() {
        check("127.0.0.1");
        if TcpListener::bind("[::1]:0").is_ok() {
            check("::1");
        }
    }
}
