//! Sockets that are kept for apps: opened once, with the keeper from then on, and handed to each of the app's processes.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use slog::debug;

use super::super::Master;
use super::{Apps, identity};
use crate::processfile::{Address, App};
use crate::sys::listen;
use crate::wire::control::ToKeeper;

/// A socket, and what it was opened as.
#[derive(Debug)]
pub(in super::super) struct Socket {
    pub address: Address,
    pub fd: OwnedFd,
}

/// Its name in the keeper's store. An address has no slash too few to be told apart from an app's name.
fn store_name(app: &str, address: &Address) -> String {
    match address {
        Address::Tcp(address) => format!("listen/{app}/tcp://{address}"),
        Address::Unix(path) => format!("listen/{app}/unix://{}", path.display()),
    }
}

impl Apps {
    /// Their names in the keeper's store, and what is kept.
    pub(in super::super) fn kept_sockets(&self) -> impl Iterator<Item = (String, BorrowedFd<'_>)> {
        self.entries
            .iter()
            .flat_map(|(name, entry)| entry.sockets.iter().map(move |s| (store_name(name, &s.address), s.fd.as_fd())))
    }
}

impl Master {
    /// The app's sockets, opened where they are not yet, in the order in which they are handed over.
    pub(super) fn open_sockets(&mut self, app: &App) -> io::Result<Vec<OwnedFd>> {
        for listen in &app.listen {
            let entry = self.apps.entries.get(&app.name);
            if entry.is_some_and(|entry| entry.sockets.iter().any(|s| s.address == listen.address)) {
                continue;
            }
            let fd = match &listen.address {
                Address::Tcp(address) => listen::tcp(address)?,
                Address::Unix(path) => listen::unix(path, identity(app)?.as_ref())?,
            };
            self.tell_keeper(&ToKeeper::Store(store_name(&app.name, &listen.address)), Some(fd.as_fd()));
            if let Some(entry) = self.apps.entries.get_mut(&app.name) {
                entry.sockets.push(Socket { address: listen.address.clone(), fd });
            }
        }
        let Some(entry) = self.apps.entries.get(&app.name) else { return Ok(Vec::new()) };
        let find = |address: &Address| entry.sockets.iter().find(|s| s.address == *address);
        app.listen.iter().filter_map(|l| find(&l.address)).map(|s| s.fd.as_fd().try_clone_to_owned()).collect()
    }

    /// Closes those that the app does not have any more. `former`: as it was defined when they were opened.
    pub(super) fn close_sockets(&mut self, name: &str, former: &App) {
        let Some(entry) = self.apps.entries.get_mut(name) else { return };
        let app = Rc::clone(&entry.app);
        let sockets = std::mem::take(&mut entry.sockets);
        let (kept, gone): (Vec<Socket>, Vec<Socket>) =
            sockets.into_iter().partition(|s| app.listen.iter().any(|l| l.address == s.address));
        entry.sockets = kept;
        self.drop_sockets(former, gone);
    }

    /// Closes these for ever.
    pub(super) fn drop_sockets(&mut self, app: &App, sockets: Vec<Socket>) {
        for socket in sockets {
            self.tell_keeper(&ToKeeper::Drop(store_name(&app.name, &socket.address)), None);
            if let Address::Unix(path) = &socket.address
                && let Err(e) = identity(app).and_then(|owner| listen::remove_unix(path, owner.as_ref()))
            {
                // Nobody answers there any more; whoever listens there next replaces it.
                debug!(self.log, "a socket's path stays"; "path" => %path.display(), "error" => %e);
            }
        }
    }

    /// Sockets that a former master opened go on; what no app has any more is closed.
    pub(in super::super) fn adopt_sockets(&mut self, mut stored: HashMap<String, OwnedFd>) {
        for (name, entry) in &mut self.apps.entries {
            for listen in &entry.app.listen {
                if let Some(fd) = stored.remove(&store_name(name, &listen.address)) {
                    entry.sockets.push(Socket { address: listen.address.clone(), fd });
                }
            }
        }
        for name in stored.into_keys() {
            self.tell_keeper(&ToKeeper::Drop(name), None);
        }
    }
}
