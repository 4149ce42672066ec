//! Listening sockets that are kept for others: made as a service manager makes them, blocking, with the largest backlog.

use std::fs;
use std::io;
use std::net::{TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::socket::{Backlog, listen};

use super::users::Identity;

/// Listens on the first address that `HOST:PORT` stands for.
pub fn tcp(address: &str) -> io::Result<OwnedFd> {
    let with = |e: io::Error, what: &str| io::Error::new(e.kind(), format!("{what} {address}: {e}"));
    let resolved = address.to_socket_addrs().map_err(|e| with(e, "cannot resolve"))?.next();
    let resolved = resolved.ok_or_else(|| with(io::ErrorKind::NotFound.into(), "nothing is known of"))?;
    // std sets SO_REUSEADDR.
    let listener = TcpListener::bind(resolved).map_err(|e| with(e, "cannot listen on"))?;
    listen(&listener, Backlog::MAXCONN).map_err(|e| with(e.into(), "cannot listen on"))?;
    Ok(listener.into())
}

/// Listens on a path, which belongs to `owner` then. A socket that nobody answers on is one that was left behind.
pub fn unix(path: &Path, owner: Option<&Identity>) -> io::Result<OwnedFd> {
    let with = |e: io::Error, what: &str| io::Error::new(e.kind(), format!("{what} {}: {e}", path.display()));
    match fs::symlink_metadata(path) {
        Ok(data) if !data.file_type().is_socket() => {
            return Err(with(io::ErrorKind::AlreadyExists.into(), "there is something else than a socket at"));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(with(io::ErrorKind::AddrInUse.into(), "somebody else listens on"));
        }
        Ok(_) => fs::remove_file(path).map_err(|e| with(e, "cannot remove the old socket"))?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(|e| with(e, "cannot listen on"))?;
    listen(&listener, Backlog::MAXCONN).map_err(|e| with(e.into(), "cannot listen on"))?;
    if let Some(owner) = owner {
        // The path itself, wherever somebody may have put a link to meanwhile.
        std::os::unix::fs::lchown(path, Some(owner.uid), Some(owner.gid)).map_err(|e| with(e, "cannot give away"))?;
    }
    listener.as_fd().try_clone_to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(tmp.path().join("f").exists());
    }

    #[test]
    fn an_address_that_is_taken_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        assert!(tcp(&address).unwrap_err().to_string().contains(&address));
        tcp("127.0.0.1:0").unwrap();
    }
}
