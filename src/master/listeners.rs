//! The sockets that clients connect to. The keeper keeps them, so that connections wait while there is no master.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::connection::Stream;
use super::gate::{self, Gate};
use crate::wire::info::Role;

/// One of them.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// The Unix socket.
    Unix(UnixListener),
}

impl Listener {
    /// Binds TCP addresses of `HOST:PORT` (all that the name has).
    pub fn bind_tcp(address: &str, strangers: bool) -> io::Result<Vec<Listener>> {
        let with = |e: io::Error, what: &str| io::Error::new(e.kind(), format!("{what} {address}: {e}"));
        let mut listeners = Vec::new();
        for resolved in address.to_socket_addrs().map_err(|e| with(e, "cannot resolve"))? {
            if !resolved.ip().to_canonical().is_loopback() && !strangers {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!(
                        "{resolved} can be reached from other machines: that needs --token-file, so that not everybody may run code here; or listen on 127.0.0.1"
                    ),
                ));
            }
            let listener = TcpListener::bind(resolved).map_err(|e| match e.kind() {
                io::ErrorKind::AddrInUse => with(
                    io::Error::new(e.kind(), format!("{e}; another program has it, maybe a daemon with another --dir: name another address with --listen, or none with --no-tcp")),
                    "cannot listen on",
                ),
                _ => with(e, "cannot listen on"),
            })?;
            listener.set_nonblocking(true)?;
            listeners.push(Listener::Tcp(listener));
        }
        Ok(listeners)
    }

    /// Binds the Unix socket, 0600; one that was left behind is removed (the directory's lock is ours).
    pub fn bind_unix(path: &Path) -> io::Result<Listener> {
        let with = |e: io::Error, what: &str| io::Error::new(e.kind(), format!("{what} {}: {e}", path.display()));
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(with(e, "cannot remove the old socket")),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(|e| with(e, "cannot listen on"))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Listener::Unix(listener))
    }

    /// From the keeper's store.
    pub fn stored(name: &str, fd: OwnedFd) -> Option<Listener> {
        if name.starts_with("tcp/") {
            Some(Listener::Tcp(fd.into()))
        } else if name == "unix" {
            Some(Listener::Unix(fd.into()))
        } else {
            None
        }
    }

    /// Its name in the keeper's store.
    pub fn store_name(&self) -> String {
        match self {
            Listener::Tcp(_) => format!("tcp/{}", self.address()),
            Listener::Unix(_) => "unix".into(),
        }
    }

    /// Where clients connect to.
    pub fn address(&self) -> String {
        match self {
            Listener::Tcp(l) => l.local_addr().map(|a: SocketAddr| a.to_string()).unwrap_or_default(),
            Listener::Unix(l) => {
                let path = l.local_addr().ok().and_then(|a| a.as_pathname().map(|p| p.display().to_string()));
                path.unwrap_or_default()
            }
        }
    }

    /// The next client, and what it may do.
    pub fn accept(&self, gate: &mut Gate) -> io::Result<(Stream, Role)> {
        match self {
            Listener::Tcp(l) => {
                let (stream, peer) = l.accept()?;
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                let role = stream.local_addr().map_or(Role::None, |ours| gate.tcp(peer, ours));
                Ok((Stream::Tcp(stream), role))
            }
            Listener::Unix(l) => {
                let (stream, _) = l.accept()?;
                stream.set_nonblocking(true)?;
                let role = gate.unix(gate::fd(&stream));
                Ok((Stream::Unix(stream), role))
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(l) => l.as_fd(),
            Listener::Unix(l) => l.as_fd(),
        }
    }
}
