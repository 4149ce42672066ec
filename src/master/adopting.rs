//! Channels of a former master, as the keeper has kept them: those of its zygotes, its idle children, output and workers.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use mio::Interest;
use mio::unix::SourceFd;
use slog::warn;

use super::Master;
use super::sources::Source;
use crate::pool::{Generation, Orders, send_order};
use crate::sys::notify::NotifySocket;
use crate::sys::seqpacket;
use crate::wire::channel::Order;
use crate::wire::control::{IDLE, ToKeeper};

impl Master {
    /// Reply channels go on being read; the zygotes behind the orders are let go.
    pub(super) fn adopt_channels(&mut self, stored: Vec<(String, OwnedFd)>) {
        let mut orders: HashMap<(String, String), OwnedFd> = HashMap::new();
        let (mut sockets, mut idle) = (HashMap::new(), Vec::new());
        for (name, fd) in stored {
            if name.starts_with("listen/") {
                sockets.insert(name, fd);
                continue;
            }
            if name.starts_with(IDLE) {
                idle.push((name, fd));
                continue;
            }
            let parts: Vec<&str> = name.split('/').collect();
            match parts[..] {
                ["replies", pool, number] => {
                    let (Some(index), Ok(number)) = (self.pool_index(pool), number.parse::<u32>()) else {
                        self.tell_keeper(&ToKeeper::Drop(name), None);
                        continue;
                    };
                    let raw = fd.as_fd().as_raw_fd();
                    // It is set already; setting it again tells whether it can be.
                    let pidfds = seqpacket::vouch(fd.as_fd()).unwrap_or(false);
                    let name = self.pools[index].definition.name.clone();
                    let handed = self.handed.generation(&name, number, fd, pidfds);
                    let pool = &mut self.pools[index];
                    pool.last_number = pool.last_number.max(number);
                    pool.generations.push(handed.unwrap_or_else(|replies| former(number, replies, pidfds)));
                    let token = self.sources.add(Source::Replies { pool: index, generation: number });
                    if let Err(e) = self.poll.registry().register(&mut SourceFd(&raw), token, Interest::READABLE) {
                        warn!(self.log, "watching a former zygote's channel"; "error" => %e);
                    }
                }
                ["capture", slot, stream] => match slot.parse() {
                    Ok(slot) => drop(self.former_captures.insert((slot, stream == "error"), fd)),
                    Err(_) => self.tell_keeper(&ToKeeper::Drop(name), None),
                },
                ["tail", slot, stream] => match slot.parse() {
                    Ok(slot) => drop(self.former_tails.insert((slot, stream == "error"), fd)),
                    Err(_) => self.tell_keeper(&ToKeeper::Drop(name), None),
                },
                ["notify"] => {
                    if let Err(e) = NotifySocket::adopt(fd).and_then(|socket| self.watch_notify(socket)) {
                        warn!(self.log, "listening to workers that say they are ready"; "error" => %e);
                    }
                }
                ["node", slot] => match slot.parse() {
                    Ok(slot) => self.apps.former_channels.push((slot, fd)),
                    Err(_) => self.tell_keeper(&ToKeeper::Drop(name), None),
                },
                ["log", ..] => self.adopt_log(&name, fd),
                ["orders", pool, end] => drop(orders.insert((pool.to_owned(), end.to_owned()), fd)),
                _ => {}
            }
        }
        self.adopt_sockets(sockets);
        self.adopt_idle(idle);
        let pools: Vec<String> = orders.keys().map(|(pool, _)| pool.clone()).collect();
        for pool in pools {
            let mut end = |end: &str| orders.remove(&(pool.clone(), end.to_owned()));
            if let (Some(ours), Some(theirs)) = (end("ours"), end("theirs")) {
                let old = Orders { ours, theirs };
                if let Some(index) = self.pool_index(&pool).filter(|_| self.handed.has_pool(&pool)) {
                    self.pools[index].orders = old;
                    continue;
                }
                if let Err(e) = send_order(old.ours.as_fd(), Order::Retire, 0, 0) {
                    warn!(self.log, "telling a former zygote to leave"; "error" => %e);
                }
            }
        }
    }
}

/// The generation of a zygote that is not ours, and leaves.
fn former(number: u32, replies: OwnedFd, pidfds: bool) -> Generation {
    Generation {
        number,
        pidfds,
        their_end: 0,
        replies,
        zygote: None,
        ready: None,
        started_at: 0,
        preload_timer: None,
        preload_ms: None,
        memory: None,
        fork_us: None,
        orders: None,
        live: 0,
        retired: true,
        silent: false,
    }
}
