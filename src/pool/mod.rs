//! Pools: zygotes in generations, their idle children, and who may run.
//!
//! A pool has one *current* generation, from which new runs are forked, and perhaps older ones, which only live on in
//! their runs. What a generation goes through:
//!
//! ```text
//! loading ──READY──→ current ──reload: a newer one is READY──→ retired ──last run ended──→ gone
//!    │                  │
//!    └── fails, hangs ──┴── dies ──→ the next generation is loaded, at once or after a pause
//! ```
//!
//! In here is what a pool knows; the master's loop decides when something happens to it.

mod admission;
mod backoff;
mod demand;
mod idle;
mod zygote;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

pub use admission::{Admission, Verdict};
pub use backoff::Backoff;
pub use demand::Demand;
pub use idle::IdleChild;
pub use zygote::{Orders, Outlets, StartError, start};

use crate::processfile;
use crate::sys::clock::monotonic_ns;
use crate::sys::huge::Anonymous;
use crate::sys::pidfd::PidFd;
use crate::sys::{memfd, seqpacket};
use crate::wire::channel::{Flags, HEADER_LEN, Header, INLINE_MAX, Order, ReadyInfo};
use crate::wire::info::PoolState;

/// The pauses between failed preloads.
const RELOAD_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));
/// The pauses after forks that the system refused.
const FORK_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// A pool and all of its processes.
#[derive(Debug)]
pub struct Pool {
    /// As the process file has it.
    pub definition: processfile::Pool,
    /// Who may run.
    pub admission: Admission,
    /// Where output goes.
    pub outlets: Outlets,
    /// The current generation's orders, and those of the one that follows a zygote that died.
    pub orders: Orders,
    /// Living ones, oldest first.
    pub generations: Vec<Generation>,
    /// The number of the current one, once there is one.
    pub current: Option<u32>,
    /// The latest number given.
    pub last_number: u32,
    /// Runs that have been asked for and have not answered.
    pub starting: u32,
    /// Nobody waits who has not been told so but among so many that came last.
    pub untold: usize,
    /// Children that wait for a request, the longest waiting first; those that the keeper has, too, before all others.
    pub idle: VecDeque<IdleChild>,
    /// How many of them are to wait.
    pub demand: Demand,
    /// Names the timer by which they become more or fewer.
    pub refill_timer: Option<(u64, u64)>,
    /// Somebody looks after a while whether there are some for the keeper.
    pub watching_idle: bool,
    /// The oldest order that was unread at the latest look, and the time of the first look that saw it there, ns monotonic.
    pub unread: Option<((u32, u64), u64)>,
    /// Why there is no zygote, or why the latest reload failed.
    pub error: Option<String>,
    /// The latest preload failed: `run` is told so, until one works.
    pub down: bool,
    /// What is loading now is of a definition that has been replaced meanwhile.
    pub outdated: bool,
    /// Pauses between preloads.
    pub reload_backoff: Backoff,
    /// Pauses between forks; until this time (ns monotonic) none is asked for.
    pub fork_backoff: Backoff,
    /// See `fork_backoff`.
    pub no_forks_until: Option<u64>,
    /// Runs taken, and how many of them did not end with 0.
    pub totals: (u64, u64),
    next_idle: u32,
    orders_sent: u64,
}

/// A zygote and those forked from it.
#[derive(Debug)]
pub struct Generation {
    /// 1, 2, …
    pub number: u32,
    /// Where it and its children answer.
    pub replies: OwnedFd,
    /// Whether the kernel gives a handle on whoever says something there.
    pub pidfds: bool,
    /// The inode of the end of `replies` that the zygote and its children have; 0: not known.
    pub their_end: u64,
    /// None once it is dead or was never ours (a former master's).
    pub zygote: Option<(u32, PidFd)>,
    /// What it said when it was ready.
    pub ready: Option<ReadyInfo>,
    /// When it was started, ns monotonic.
    pub started_at: u64,
    /// Names the master's timer for its preload.
    pub preload_timer: Option<(u64, u64)>,
    /// From its start to READY, in milliseconds.
    pub preload_ms: Option<u64>,
    /// What its zygote had of memory, and when that was read (ns monotonic).
    pub memory: Option<(u64, Anonymous)>,
    /// What its forks take it, in microseconds.
    pub fork_us: Option<u32>,
    /// Orders of its own, when it does not obey the pool's: one that a reload brings up, until it takes over.
    pub orders: Option<Orders>,
    /// Runs that it was asked for, or that answer here, and live.
    pub live: u32,
    /// It takes nothing new.
    pub retired: bool,
    /// Nobody is left who could say anything there, and what was said has been read.
    pub silent: bool,
}

impl Generation {
    /// One more of its forks has taken so many microseconds; it counts for an eighth.
    pub fn fork_took(&mut self, us: u32) {
        let mean = u64::from(self.fork_us.unwrap_or(us));
        // Of at most 32 bits, as both are.
        self.fork_us = Some(((mean * 7 + u64::from(us) + 4) / 8) as u32);
    }
}

impl Pool {
    /// A pool without processes, whose output goes nowhere yet.
    pub fn new(definition: processfile::Pool) -> io::Result<Pool> {
        Ok(Pool {
            admission: Admission::new(definition.max_running, definition.max_queued),
            outlets: Outlets::none()?,
            orders: Orders::new()?,
            generations: Vec::new(),
            current: None,
            last_number: 0,
            starting: 0,
            untold: 0,
            idle: VecDeque::new(),
            demand: Demand::new(monotonic_ns()),
            refill_timer: None,
            watching_idle: false,
            unread: None,
            error: None,
            down: false,
            outdated: false,
            reload_backoff: Backoff::new(RELOAD_PAUSE.0, RELOAD_PAUSE.1),
            fork_backoff: Backoff::new(FORK_PAUSE.0, FORK_PAUSE.1),
            no_forks_until: None,
            totals: (0, 0),
            next_idle: 0,
            orders_sent: 0,
            definition,
        })
    }

    /// Generation `number`, if it still is there.
    pub fn generation(&mut self, number: u32) -> Option<&mut Generation> {
        self.generations.iter_mut().find(|g| g.number == number)
    }

    /// The generation that new runs are forked from, if its zygote is alive.
    pub fn current(&self) -> Option<&Generation> {
        let number = self.current?;
        self.generations.iter().find(|g| g.number == number && g.zygote.is_some())
    }

    /// One that is being brought up, if any.
    pub fn loading(&self) -> Option<&Generation> {
        self.generations.iter().find(|g| g.zygote.is_some() && g.ready.is_none() && !g.retired)
    }

    /// Whether a run could be started now.
    pub fn open(&self, now: u64) -> bool {
        self.no_forks_until.is_none_or(|until| until <= now) && (self.current().is_some() || !self.idle.is_empty())
    }

    /// How it is, in one word.
    pub fn state(&self) -> PoolState {
        if self.current().is_some() {
            PoolState::Ready
        } else if self.down {
            PoolState::Backoff
        } else {
            PoolState::Loading
        }
    }

    /// How many idle children have been named, and how many orders have been sent.
    pub fn counters(&self) -> (u32, u64) {
        (self.next_idle, self.orders_sent)
    }

    /// Goes on counting from there.
    pub fn resume_counters(&mut self, counters: (u32, u64)) {
        (self.next_idle, self.orders_sent) = counters;
    }

    /// The place of the next order.
    pub fn next_order(&mut self) -> u64 {
        self.orders_sent += 1;
        self.orders_sent
    }

    /// The (slot, nonce) of the oldest order that no zygote has read.
    pub fn unread_order(&self) -> Option<(u32, u64)> {
        let mut head = [0; HEADER_LEN];
        match seqpacket::peek(self.orders.theirs.as_fd(), &mut head) {
            Ok(Some(n)) if n >= HEADER_LEN => Header::<Order>::decode(&head).ok().map(|(h, _)| (h.slot, h.nonce)),
            _ => None,
        }
    }

    /// Since when looks like this one, at the time `now`, have seen the same order unread: however many there are to read, a zygote
    /// that does read goes on from one to the next.
    pub fn unread_since(&mut self, now: u64) -> Option<u64> {
        let unread = self.unread_order();
        if self.unread.map(|(order, _)| order) != unread {
            self.unread = unread.map(|order| (order, now));
        }
        self.unread.map(|(_, since)| since)
    }

    /// Whether nothing of that generation can say anything any more.
    pub fn is_done(&self, number: u32) -> bool {
        let generation = self.generations.iter().find(|g| g.number == number);
        generation.is_some_and(|g| g.zygote.is_none() && g.live == 0)
            && self.idle.iter().all(|c| c.generation != number)
    }
}

/// Sends a request: to an idle child as REQUEST, to a zygote as FORK. `stdio` is stdin, stdout, stderr. Never waits.
pub fn send_request(
    to: BorrowedFd<'_>,
    kind: Order,
    slot: u32,
    nonce: u64,
    request: &[u8],
    stdio: Option<[BorrowedFd<'_>; 3]>,
) -> io::Result<()> {
    let mut fds: Vec<BorrowedFd<'_>> = Vec::new();
    let mut flags = Flags::NONE;
    if let Some(stdio) = stdio {
        flags = flags | Flags::STDIO;
        fds.extend(stdio);
    }
    let large = if request.len() > INLINE_MAX { Some(memfd::sealed("preforkd-request", request)?) } else { None };
    if let Some(large) = &large {
        flags = flags | Flags::MEMFD;
        fds.push(large.as_fd());
    }
    let header = Header { kind, flags, slot, nonce }.encode();
    let payload = if large.is_some() { &[][..] } else { request };
    seqpacket::send(to, &[IoSlice::new(&header), IoSlice::new(payload)], &fds, false)
}

/// Sends an order without payload.
pub fn send_order(to: BorrowedFd<'_>, kind: Order, slot: u32, nonce: u64) -> io::Result<()> {
    let header = Header { kind, flags: Flags::NONE, slot, nonce }.encode();
    seqpacket::send(to, &[IoSlice::new(&header)], &[], false)
}
