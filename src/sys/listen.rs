//! Listening sockets that are kept for others: made as a service manager makes them, blocking, with the largest backlog.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, connect, listen, socket};

use super::users::{Identity, acting_as};

/// Listens on `IP:PORT` or `localhost:PORT`. Other names would have to be looked up, and whoever asks for it would wait for that.
pub fn tcp(address: &str) -> io::Result<OwnedFd> {
    let with = |e: io::Error| io::Error::new(e.kind(), format!("cannot listen on {address}: {e}"));
    let number: SocketAddr = match numeric(address) {
        Some(number) => number,
        None => {
            return Err(with(io::Error::new(io::ErrorKind::InvalidInput, "it is no IP:PORT and no localhost:PORT")));
        }
    };
    // std sets SO_REUSEADDR.
    let listener = TcpListener::bind(number).map_err(with)?;
    listen(&listener, Backlog::MAXCONN).map_err(|e| with(e.into()))?;
    Ok(listener.into())
}

/// The address that `IP:PORT` or `localhost:PORT` stands for, without asking a resolver.
pub fn numeric(address: &str) -> Option<SocketAddr> {
    if let Some(port) = address.strip_prefix("localhost:") {
        return Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse().ok()?));
    }
    address.parse().ok()
}

/// Listens on a path with the rights of `owner`, whose the socket is then; None: with ours. A socket that nobody listens on
/// any more is replaced.
pub fn unix(path: &Path, owner: Option<&Identity>) -> io::Result<OwnedFd> {
    as_owner(owner, || bind(path)).map_err(|e| {
        let whose = owner.map(|owner| format!(" as user {}", owner.uid)).unwrap_or_default();
        io::Error::new(e.kind(), format!("cannot listen on {}{whose}: {e}", path.display()))
    })
}

/// Removes a socket from the file system with the rights of `owner`; whatever else is there stays.
pub fn remove_unix(path: &Path, owner: Option<&Identity>) -> io::Result<()> {
    as_owner(owner, || match fs::symlink_metadata(path)?.file_type().is_socket() {
        true => fs::remove_file(path),
        false => Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is no socket")),
    })
}

/// Whoever may write to the folder may swap it for a link meanwhile: with the owner's rights that gains nothing.
fn as_owner<T>(owner: Option<&Identity>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    match owner {
        Some(owner) => acting_as(owner, act),
        None => act(),
    }
}

fn bind(path: &Path) -> io::Result<OwnedFd> {
    match fs::symlink_metadata(path) {
        Ok(data) if !data.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else than a socket is there"));
        }
        Ok(_) => {
            if !is_left_behind(path)? {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody else has that socket"));
            }
            fs::remove_file(path)?;
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    listen(&listener, Backlog::MAXCONN)?;
    Ok(listener.into())
}

/// Whether nobody holds the socket at a path: only then a connection is refused (unix(7)). Never waits: a listener whose
/// backlog is full would hold a blocking connect for as long as it likes.
fn is_left_behind(path: &Path) -> io::Result<bool> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(probe.as_raw_fd(), &UnixAddr::new(path)?) {
        Err(Errno::ECONNREFUSED) => Ok(true),
        // EAGAIN: its backlog is full. EPROTOTYPE: it is one for datagrams, and somebody has it.
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn sockets_left_behind_are_replaced_and_living_ones_are_not() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("s");
        let first = unix(&path, None).unwrap();
        assert!(unix(&path, None).unwrap_err().to_string().contains("somebody else"));
        drop(first);
        unix(&path, None).unwrap();
        fs::write(tmp.path().join("f"), "").unwrap();
        assert!(unix(&tmp.path().join("f"), None).is_err());
        assert!(remove_unix(&tmp.path().join("f"), None).is_err());
        assert!(tmp.path().join("f").exists());
        remove_unix(&path, None).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn one_that_does_not_accept_or_takes_datagrams_holds_nobody_up_and_stays() {
        let tmp = tempfile::tempdir().unwrap();
        let (full, datagrams) = (tmp.path().join("full"), tmp.path().join("datagrams"));
        let listener = UnixListener::bind(&full).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        // The first one stays in the backlog of 0, also when it has hung up. A connect that blocks would not come back then.
        for _ in 0..2 {
            assert!(unix(&full, None).unwrap_err().to_string().contains("somebody else"));
        }
        let _socket = UnixDatagram::bind(&datagrams).unwrap();
        assert!(unix(&datagrams, None).unwrap_err().to_string().contains("somebody else"));
        assert!(full.exists() && datagrams.exists());
    }

    #[test]
    fn a_socket_is_made_and_removed_with_its_owner_s_rights() {
        let name = "a_socket_is_made_and_removed_with_its_owner_s_rights";
        if !nix::unistd::geteuid().is_root() {
            return crate::sys::skipped(name, "needs root");
        }
        let nobody = super::super::users::resolve(Some("nobody"), None).unwrap().unwrap();
        let tmp = tempfile::tempdir().unwrap();
        fs::set_permissions(tmp.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (theirs, ours) = (tmp.path().join("theirs"), tmp.path().join("ours"));
        fs::create_dir(&theirs).unwrap();
        std::os::unix::fs::chown(&theirs, Some(nobody.uid), Some(nobody.gid)).unwrap();
        fs::create_dir(&ours).unwrap();
        let path = theirs.join("s");
        unix(&path, Some(&nobody)).unwrap();
        let data = fs::symlink_metadata(&path).unwrap();
        assert_eq!((data.uid(), data.gid()), (nobody.uid, nobody.gid));
        remove_unix(&path, Some(&nobody)).unwrap();
        // A link to where they may not write.
        std::os::unix::fs::symlink(&ours, theirs.join("link")).unwrap();
        drop(unix(&ours.join("s"), None).unwrap());
        let through = theirs.join("link/s");
        let error = unix(&through, Some(&nobody)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
        assert!(error.to_string().contains(&format!("as user {}", nobody.uid)), "{error}");
        assert!(remove_unix(&through, Some(&nobody)).is_err());
        assert_eq!(fs::symlink_metadata(ours.join("s")).unwrap().uid(), 0);
    }

    #[test]
    fn an_address_that_is_taken_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        assert!(tcp(&address).unwrap_err().to_string().contains(&address));
        tcp("127.0.0.1:0").unwrap();
        tcp("localhost:0").unwrap();
        assert!(tcp("web.internal:80").unwrap_err().to_string().contains("no IP:PORT"));
    }
}
