//! Who gets in, and as what.
//!
//! Whoever may send `run` executes code as the pool's user. So only the daemon's own user and root come in without a
//! token: over the Unix socket by their credentials, over TCP from loopback if the kernel knows their socket.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use subtle::{Choice, ConstantTimeEq};

use crate::sys::peer::{SockDiag, unix_uid};
use crate::sys::process::effective_uid;
use crate::wire::info::Role;

/// The doorkeeper.
#[derive(Debug)]
pub struct Gate {
    uid: u32,
    tokens: Vec<(Vec<u8>, Role)>,
    diag: Option<SockDiag>,
}

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It could not be read.
    #[error("token file {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The system's word.
        source: io::Error,
    },
    /// Others can read it.
    #[error("token file {path}: its mode is {mode:04o}, so that others can read the tokens; `chmod 600` it")]
    Mode {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A line is wrong.
    #[error("token file {path}:{line}: expected `run TOKEN` or `admin TOKEN`")]
    Line {
        /// The file.
        path: String,
        /// From 1.
        line: usize,
    },
    /// There is nothing in it.
    #[error("token file {path}: there is no token in it; write a line `run TOKEN` or `admin TOKEN`")]
    Empty {
        /// The file.
        path: String,
    },
}

impl Gate {
    /// Reads the tokens: a line each, a role and the token; `#` begins a comment line.
    pub fn new(token_file: Option<&Path>) -> Result<Gate, TokenFileError> {
        let tokens = token_file.map(read_tokens).transpose()?.unwrap_or_default();
        Ok(Gate { uid: effective_uid(), tokens, diag: None })
    }

    /// Whether there is any token that lets a stranger in.
    pub fn has_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// What the peer of a Unix socket may do.
    pub fn unix(&self, socket: BorrowedFd<'_>) -> Role {
        match unix_uid(socket) {
            Ok(uid) if uid == self.uid || uid == 0 => Role::Admin,
            _ => Role::None,
        }
    }

    /// What the peer of a TCP connection may do. Anything that is not sure is no admission.
    pub fn tcp(&mut self, peer: SocketAddr, ours: SocketAddr) -> Role {
        let plain = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
        let (peer, ours) = (plain(peer), plain(ours));
        if !peer.ip().is_loopback() || !ours.ip().is_loopback() {
            return Role::None;
        }
        if self.diag.is_none() {
            self.diag = SockDiag::open().ok();
        }
        let Some(diag) = &self.diag else { return Role::None };
        match diag.owner(peer, ours) {
            Ok(Some(uid)) if uid == self.uid || uid == 0 => Role::Run,
            Ok(_) => Role::None,
            Err(_) => {
                // An answer that came too late would be read as the next one's.
                self.diag = None;
                Role::None
            }
        }
    }

    /// The role of a token. Takes as long for each: all are compared, each in constant time.
    pub fn token(&self, token: &str) -> Option<Role> {
        let mut role = None;
        for (known, its) in &self.tokens {
            let same: Choice = known.as_slice().ct_eq(token.as_bytes());
            if bool::from(same) {
                role = Some(*its);
            }
        }
        role
    }
}

fn read_tokens(path: &Path) -> Result<Vec<(Vec<u8>, Role)>, TokenFileError> {
    let name = || path.display().to_string();
    let read = |source| TokenFileError::Read { path: name(), source };
    let mode = fs::metadata(path).map_err(read)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(TokenFileError::Mode { path: name(), mode });
    }
    let mut tokens = Vec::new();
    for (i, line) in fs::read_to_string(path).map_err(read)?.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let (role, token) = match words[..] {
            ["run", token] => (Role::Run, token),
            ["admin", token] => (Role::Admin, token),
            _ => return Err(TokenFileError::Line { path: name(), line: i + 1 }),
        };
        tokens.push((token.as_bytes().to_vec(), role));
    }
    if tokens.is_empty() { Err(TokenFileError::Empty { path: name() }) } else { Ok(tokens) }
}

/// The descriptor of anything that has one; for [`Gate::unix`].
pub fn fd<T: AsFd>(socket: &T) -> BorrowedFd<'_> {
    socket.as_fd()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("tokens");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (tmp, path)
    }

    #[test]
    fn tokens_have_roles() {
        let (_tmp, path) = file("# ours\nrun abc\n\n admin  xyz \n", 0o600);
        let gate = Gate::new(Some(&path)).unwrap();
        assert_eq!(gate.token("abc"), Some(Role::Run));
        assert_eq!(gate.token("xyz"), Some(Role::Admin));
        assert_eq!((gate.token("ab"), gate.token("abcd"), gate.token("")), (None, None, None));
        assert_eq!(Gate::new(None).unwrap().token(""), None);
    }

    #[test]
    fn a_token_file_that_cannot_be_trusted_or_read_is_refused() {
        for (text, mode, expected) in [
            ("run abc\n", 0o644, "chmod 600"),
            ("run abc\nroot x\n", 0o600, ":2: expected `run TOKEN`"),
            ("admin\n", 0o600, ":1: expected"),
            ("# nothing\n", 0o600, "no token"),
        ] {
            let (_tmp, path) = file(text, mode);
            let error = Gate::new(Some(&path)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(Gate::new(Some(Path::new("/no/such/file"))).is_err());
    }
}
