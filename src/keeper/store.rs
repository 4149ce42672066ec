//! The fd store: named descriptors that outlive a master, as systemd's.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::ops::Bound::{Included, Unbounded};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::seqpacket;
use crate::wire::control::{IDLE, ToMaster};

/// By name.
#[derive(Debug, Default)]
pub struct Store(BTreeMap<Box<str>, OwnedFd>);

impl Store {
    /// Keeps `fd` under `name`; one that was there is closed.
    pub fn put(&mut self, name: String, fd: OwnedFd) {
        self.0.insert(name.into(), fd);
    }

    /// Closes what is kept under `name`, or, if that ends with a slash, under all names that begin so; nothing to do when there is
    /// none.
    pub fn remove(&mut self, name: &str) {
        if name.ends_with('/') {
            loop {
                let next = self.0.range::<str, _>((Included(name), Unbounded)).next();
                let Some(kept) = next.map(|(kept, _)| kept).filter(|kept| kept.starts_with(name)).cloned() else {
                    return;
                };
                self.0.remove(&kept);
            }
        } else {
            self.0.remove(name);
        }
    }

    /// What is kept under `name`.
    pub fn get(&self, name: &str) -> Option<BorrowedFd<'_>> {
        self.0.get(name).map(AsFd::as_fd)
    }

    /// Everything, by name.
    pub fn all(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        self.0.iter().map(|(name, fd)| (&**name, fd.as_fd()))
    }

    /// Sends everything to a new master; idle children only where they are not `handed` over by its predecessor.
    pub fn send(&self, control: BorrowedFd<'_>, handed: bool) -> io::Result<()> {
        for (name, fd) in self.0.iter().filter(|(name, _)| !handed || !name.starts_with(IDLE)) {
            let message = ToMaster::Stored(name.to_string()).encode();
            seqpacket::send(control, &[IoSlice::new(&message)], &[fd.as_fd()], true)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_slash_at_its_end_is_all_that_begin_so() {
        let mut store = Store::default();
        for name in ["idle/a/1", "idle/a/2", "idle/ab/1", "idle/a"] {
            store.put(name.into(), std::fs::File::open("/dev/null").unwrap().into());
        }
        store.remove("idle/a/");
        assert_eq!(store.all().map(|(name, _)| name).collect::<Vec<_>>(), ["idle/a", "idle/ab/1"]);
        store.put("idle/ab/10".into(), std::fs::File::open("/dev/null").unwrap().into());
        store.remove("idle/ab/1/");
        store.remove("zz/");
        assert_eq!(store.all().count(), 3);
        store.remove("idle/ab/10");
        store.remove("idle/ab/1");
        store.remove("nothing");
        assert_eq!(store.all().count(), 1);
    }
}
