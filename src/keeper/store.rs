//! The fd store: named descriptors that outlive a master, as systemd's.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::seqpacket;
use crate::wire::control::ToMaster;

/// Kept in the order in which they came.
#[derive(Debug, Default)]
pub struct Store(Vec<(String, OwnedFd)>);

impl Store {
    /// Keeps `fd` under `name`; one that was there is closed.
    pub fn put(&mut self, name: String, fd: OwnedFd) {
        match self.0.iter_mut().find(|(n, _)| *n == name) {
            Some(entry) => entry.1 = fd,
            None => self.0.push((name, fd)),
        }
    }

    /// Closes what is kept under `name`; nothing to do when there is none.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| n != name);
    }

    /// Sends everything to a new master.
    pub fn send(&self, control: BorrowedFd<'_>) -> io::Result<()> {
        for (name, fd) in &self.0 {
            let message = ToMaster::Stored(name.clone()).encode();
            seqpacket::send(control, &[IoSlice::new(&message)], &[fd.as_fd()], true)?;
        }
        Ok(())
    }
}
