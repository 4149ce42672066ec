//! The native kit: a Rust program that preloads what it wants and then forks on order (`proto/ZYGOTE.md`).
//!
//! ```no_run
//! let mut zygote = preforkd::zygote::Zygote::from_env()?;
//! let prices = std::fs::read("prices.bin")?; // loaded once, shared by all runs
//! zygote.entry("quote", move |run| {
//!     let i = run.params()["row"].as_u64().unwrap_or(0) as usize;
//!     Ok(prices.get(i).copied().into())
//! });
//! zygote.serve()
//! # ; Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A child has everything that the program had when it called [`Zygote::serve`], copy-on-write, and one thread.
//! A program with a second thread at that time is refused each fork, because a lock that another thread
//! holds would stay locked in the child for ever.

mod child;

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

use crate::sys::clone::{Fork, Forker, close_now, exit_now};
use crate::sys::process::{self, Mark, Title};
use crate::sys::{huge, memfd, seqpacket};
use crate::wire::channel::{
    self, Flags, ForkFailed, Forked, Header, INLINE_MAX, Kind, MESSAGE_MAX, Order, ReadyInfo, Reply, ZygoteConfig,
};

/// The order channel's number, and the reply channel's.
const ORDERS_FD: i32 = 3;
const REPLIES_FD: i32 = 4;
/// How many forks are remembered for `WHOIS`.
const REMEMBERED: usize = 256;

/// What an entry returns: its result, or an error, which becomes the status's `error` and exit code 255.
pub type Outcome = Result<Value, Box<dyn std::error::Error>>;
type Handler = Box<dyn Fn(&Run<'_>) -> Outcome>;

/// What a run was asked with.
#[derive(Debug)]
pub struct Run<'a> {
    id: Cow<'a, str>,
    entry: Cow<'a, str>,
    params: Value,
    args: Vec<String>,
    replies: BorrowedFd<'a>,
    header: (u32, u64),
}

impl Run<'_> {
    /// The run's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The entry's name.
    pub fn entry(&self) -> &str {
        &self.entry
    }

    /// The one argument, null where there was none.
    pub fn params(&self) -> &Value {
        &self.params
    }

    /// Arguments as a script gets them.
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// Tells the master how far it has come; it keeps the latest.
    pub fn progress(&self, value: &Value) -> io::Result<()> {
        reply(self.replies, Reply::Progress, self.header, Some(value))
    }
}

/// A warm process.
pub struct Zygote {
    config: ZygoteConfig,
    orders: Option<OwnedFd>,
    replies: Arc<OwnedFd>,
    entries: HashMap<String, Handler>,
    title: Option<Title>,
    mark: Option<Mark>,
    /// What the fork before took, in microseconds; the next child tells it.
    forking: Cell<Option<u32>>,
}

impl Zygote {
    /// Takes over the channels that the master has left under fd 3 and 4, and its configuration from the
    /// environment. Call it once, first thing in `main`. Fails in a program that preforkd has not started.
    pub fn from_env() -> io::Result<Zygote> {
        let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
        let text = std::env::var(channel::ENV).map_err(|_| {
            wrong(format!(
                "{} is not set: this program is started by preforkd, as the `command` of a native pool",
                channel::ENV
            ))
        })?;
        process::remove_env(channel::ENV);
        let config: ZygoteConfig = serde_json::from_str(&text).map_err(|e| wrong(format!("{}: {e}", channel::ENV)))?;
        if config.protocol != channel::VERSION {
            return Err(wrong(format!(
                "preforkd speaks version {} of the zygote channel, this program {}",
                config.protocol,
                channel::VERSION
            )));
        }
        let mark = Mark::find(channel::TREE_ENV, channel::NO_TREE);
        let title = Title::find();
        Ok(Zygote {
            config,
            orders: Some(process::inherited(ORDERS_FD)?),
            replies: Arc::new(process::inherited(REPLIES_FD)?),
            entries: HashMap::new(),
            title,
            mark,
            forking: Cell::new(None),
        })
    }

    /// The pool this process belongs to.
    pub fn pool(&self) -> &str {
        &self.config.pool
    }

    /// Registers what runs under `name`.
    pub fn entry(&mut self, name: &str, handler: impl Fn(&Run<'_>) -> Outcome + 'static) {
        self.entries.insert(name.to_owned(), Box::new(handler));
    }

    /// Says that the preload is done, and obeys orders until the master lets go. Never returns: neither in the
    /// zygote nor in a child.
    pub fn serve(mut self) -> ! {
        let orders = self.orders.take();
        let code = match orders.map_or(Ok(()), |orders| self.obey(orders)) {
            Ok(()) => 0,
            Err(e) => {
                eprintln!("preforkd: zygote {}: {e}", self.config.pool);
                1
            }
        };
        exit_now(code)
    }

    fn obey(&self, orders: OwnedFd) -> io::Result<()> {
        self.show(["zygote #", &self.config.generation.to_string()]);
        if self.config.huge_pages {
            huge::collapse();
        }
        let info = ReadyInfo { runtime: "native".into(), via: Some("clone".into()), warnings: Vec::new() };
        reply(self.replies.as_fd(), Reply::Ready, (0, 0), Some(&info))?;
        let forker = Forker::new();
        // What a child would have to make first, made once: the buffer of stdout, and what is done with a panic.
        io::stdout().flush()?;
        if cfg!(panic = "abort") {
            child::leave_by_panic_hook(Arc::clone(&self.replies));
        }
        // Not on the stack, where it would part what a child writes to by a page.
        let mut forks = vec![(0u32, 0u64, 0u32); REMEMBERED].into_boxed_slice();
        let mut next = 0;
        let mut buffer = vec![0; MESSAGE_MAX].into_boxed_slice();
        loop {
            let (len, extra) = seqpacket::receive(orders.as_fd(), &mut buffer)?;
            if len == 0 {
                return Ok(());
            }
            let Ok((header, _)) = Header::<Order>::decode(&buffer[..len]) else { continue };
            let slot = (header.slot, header.nonce);
            if extra.truncated || extra.fds.len() != header.flags.fd_count() {
                // Descriptors that did not come: this process has no room for more.
                if header.kind == Order::Fork {
                    let message = "the zygote has no file descriptors left for the run's".to_owned();
                    reply(
                        self.replies.as_fd(),
                        Reply::ForkFailed,
                        slot,
                        Some(&ForkFailed { message, errno: Some(24) }),
                    )?;
                }
                continue;
            }
            match header.kind {
                Order::Fork => {
                    if let Err((message, errno)) = self.may_fork() {
                        reply(self.replies.as_fd(), Reply::ForkFailed, slot, Some(&ForkFailed { message, errno }))?;
                        continue;
                    }
                    let before = Instant::now();
                    match forker.fork_sibling() {
                        Ok(Fork::Child) => {
                            close_now(orders);
                            child::run(self, buffer, len, extra.fds)
                        }
                        Ok(Fork::Parent(pid)) => {
                            self.forking.set(Some(u32::try_from(before.elapsed().as_micros()).unwrap_or(u32::MAX)));
                            forks[next % REMEMBERED] = (slot.0, slot.1, pid);
                            next += 1;
                        }
                        Err(e) => {
                            let failed = ForkFailed { message: format!("fork: {e}"), errno: e.raw_os_error() };
                            reply(self.replies.as_fd(), Reply::ForkFailed, slot, Some(&failed))?;
                        }
                    }
                }
                Order::Whois => {
                    let pid = forks.iter().find(|f| (f.0, f.1) == slot).map_or(0, |f| f.2);
                    reply(self.replies.as_fd(), Reply::Forked, slot, Some(&Forked { pid }))?;
                }
                Order::Retire => return Ok(()),
                Order::Request => {}
            }
        }
    }

    fn may_fork(&self) -> Result<(), (String, Option<i32>)> {
        match process::thread_count() {
            Ok(1) => Ok(()),
            Ok(n) => Err((
                format!(
                    "the warm process of pool \"{}\" has {n} threads, and a fork copies only one; start threads in the run, not in the preload",
                    self.config.pool
                ),
                None,
            )),
            Err(e) => Err((format!("counting the threads of the zygote: {e}"), e.raw_os_error())),
        }
    }

    /// In `ps`. Takes no memory: a child's first allocation costs it three pages.
    fn show(&self, what: [&str; 2]) {
        if let Some(title) = &self.title {
            title.set(&["preforkd: ", &self.config.pool, " ", what[0], what[1]]);
        }
    }
}

/// Sends one reply; a payload beyond what a message holds goes by memfd.
fn reply<T: Serialize + ?Sized>(
    replies: BorrowedFd<'_>,
    kind: Reply,
    (slot, nonce): (u32, u64),
    payload: Option<&T>,
) -> io::Result<()> {
    let payload = payload.map(serde_json::to_vec).transpose()?.unwrap_or_default();
    send(replies, Header { kind, flags: Flags::NONE, slot, nonce }, &payload)
}

fn send<K: Kind>(to: BorrowedFd<'_>, mut header: Header<K>, payload: &[u8]) -> io::Result<()> {
    if payload.len() <= INLINE_MAX {
        return seqpacket::send(to, &[IoSlice::new(&header.encode()), IoSlice::new(payload)], &[], true);
    }
    let fd = memfd::sealed("preforkd-payload", payload)?;
    header.flags = header.flags | Flags::MEMFD;
    seqpacket::send(to, &[IoSlice::new(&header.encode())], &[fd.as_fd()], true)
}
