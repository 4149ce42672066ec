//! The fd store: named descriptors that outlive a master, as systemd's.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::seqpacket;
use crate::wire::control::ToMaster;

/// By name.
#[derive(Debug, Default)]
pub struct Store(BTreeMap<Box<str>, OwnedFd>);

impl Store {
    /// Keeps `fd` under `name`; one that was there is closed.
    pub fn put(&mut self, name: String, fd: OwnedFd) {
        self.0.insert(name.into(), fd);
    }

    /// Closes what is kept under `name`; nothing to do when there is none.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// What is kept under `name`.
    pub fn get(&self, name: &str) -> Option<BorrowedFd<'_>> {
        self.0.get(name).map(AsFd::as_fd)
    }

    /// Everything, by name.
    pub fn all(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        self.0.iter().map(|(name, fd)| (&**name, fd.as_fd()))
    }

    /// Sends everything to a new master.
    pub fn send(&self, control: BorrowedFd<'_>) -> io::Result<()> {
        for (name, fd) in &self.0 {
            let message = ToMaster::Stored(name.to_string()).encode();
            seqpacket::send(control, &[IoSlice::new(&message)], &[fd.as_fd()], true)?;
        }
        Ok(())
    }
}
