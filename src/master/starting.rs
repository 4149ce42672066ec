//! From a request to a process: a slot, a place, an order, and the child's word that it started.
//!
//! ```text
//!            no place                place                       STARTED
//! request ──────────────→ queued ──────────────→ starting ──────────────────→ running
//!    └───────────────────────────────────────────↗   └── REFUSED, fork failed, died ──→ failed
//! ```
//!
//! A run for which no process was asked leaves no trace if it comes to nothing before anybody has been told of it, so that its
//! id can be used again. From then on it stays, as `failed`, and the client that asked for it gets the error, too.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use slog::warn;

use super::Master;
use super::capture;
use super::runs::{Asker, Live, Waiter};
use super::timers::Timer;
use crate::journal::RecordRef;
use crate::pool::{Outlets, Verdict, send_request};
use crate::processfile;
use crate::sys::clock::{monotonic_ns, wall_ns};
use crate::table::Claim;
use crate::wire::channel::{ChildRequest, Order};
use crate::wire::control::ToKeeper;
use crate::wire::request::{Output, Run as Request};
use crate::wire::rpc::RpcError;
use crate::wire::status::State;

/// What may wait for a journal that cannot be written, in bytes, before nothing new is taken.
pub(super) const JOURNAL_WAITING: usize = 16 << 20;

impl Master {
    /// Takes a request that has been checked, for the pool at `index`.
    pub(super) fn submit(&mut self, asker: Asker, index: usize, id: String, request: Box<Request>) {
        let now = monotonic_ns();
        let pool = &self.pools[index];
        let name = &pool.definition.name;
        if pool.current().is_none() && pool.down {
            let why = pool.error.as_deref().unwrap_or("its warm process cannot be started");
            return self
                .refuse(asker, &RpcError::pool_unavailable(format!("pool \"{name}\" cannot run anything now: {why}")));
        }
        if self.journal_failed && self.journal.buffered() > JOURNAL_WAITING {
            let text = "the journal cannot be written, and what waits to be written is as much as may be; see the daemon's log";
            return self.refuse(asker, &RpcError::queue_full(text));
        }
        let verdict = pool.admission.verdict(pool.open(now));
        if verdict == Verdict::Full {
            let d = &pool.definition;
            let text = format!(
                "pool \"{name}\" is full: {} of {} runs, {} of {} waiting; try again later, or raise max_running or max_queued",
                pool.admission.running(),
                d.max_running,
                pool.admission.queued(),
                d.max_queued
            );
            return self.refuse(asker, &RpcError::queue_full(text));
        }
        let Some(slot) = self.take_slot() else {
            return self.refuse(asker, &RpcError::queue_full("the table of runs is full of runs that have not ended"));
        };
        if let Err(e) = self.table.reserve(slot) {
            self.runs.unreserve(slot);
            warn!(self.log, "no room for the shared table"; "error" => %e);
            let text = format!("there is no room for another run in {}: {e}", self.options.dirs.table().display());
            return self.refuse(asker, &RpcError::queue_full(text));
        }
        let pool = &self.pools[index];
        let name = &pool.definition.name;
        let queued_at = wall_ns();
        let timeout = request.timeout.or(pool.definition.timeout);
        let kill_timeout = request.kill_timeout.unwrap_or(pool.definition.kill_timeout);
        let claim = Claim {
            id: &id,
            pool: name,
            entry: &request.entry,
            state: State::Queued,
            worker: false,
            queued_at,
            timeout,
            kill_timeout,
        };
        self.table.claim(slot, &claim);
        let wait = request.wait;
        let waiter = Waiter { asker, number: 0, for_end: wait, duplicate: false, asked_to_run: true, timer: None };
        let live =
            Live { waiters: vec![waiter], timeout, kill_timeout, request: Some(request), ..Live::new(id, Some(index)) };
        self.runs.insert(slot, live);
        self.pools[index].totals.0 += 1;
        match verdict {
            Verdict::Start => {
                self.pools[index].admission.start();
                self.start_run(index, slot);
            }
            _ => {
                self.pools[index].admission.wait(slot);
                let untold = &mut self.pools[index].untold;
                *untold = untold.saturating_add(1);
                self.tell_queued(index);
            }
        }
    }

    /// Those that wait for a place are told so at once; those that wait for a zygote hear when they start, or when all
    /// places are taken.
    fn tell_queued(&mut self, index: usize) {
        let pool = &mut self.pools[index];
        if pool.untold == 0 || pool.admission.running() < pool.admission.max_running() {
            return;
        }
        // The queue may be long, and one more comes with each request.
        let untold: Vec<u32> = pool.admission.waiting().rev().take(std::mem::take(&mut pool.untold)).collect();
        for slot in untold.into_iter().rev() {
            let Some(live) = self.runs.live(slot).filter(|live| !live.told) else { continue };
            let queued_at_ns = self.table.record(slot).map_or(0, |r| r.queued_at);
            if let Some(request) = &live.request
                && let Ok(request) = super::recovery::request_json(request)
            {
                let pool = &self.pools[index].definition.name;
                self.journal.append(RecordRef::Queued { slot, id: &live.id, pool, request: &request, queued_at_ns });
            }
            self.tell_started(slot);
        }
    }

    /// Starts who waits, as long as there are places.
    pub(super) fn dispatch(&mut self, index: usize) {
        let now = monotonic_ns();
        while !self.stopping() && self.pools[index].open(now) {
            match self.pools[index].admission.start_next() {
                Some(slot) if !self.start_run(index, slot) => break,
                Some(_) => {}
                None => break,
            }
        }
        self.tell_queued(index);
    }

    /// Hands a run that has a place to a process. False: it has to wait a moment, and whoever comes behind it.
    pub(super) fn start_run(&mut self, index: usize, slot: u32) -> bool {
        let nonce = self.nonce();
        let head = self.table.ring_head();
        let Some(live) = self.runs.live(slot) else { return true };
        let Some(request) = live.request.take() else { return true };
        let message = ChildRequest {
            id: (&*live.id).into(),
            entry: (&*request.entry).into(),
            params: request.params.as_deref().map(std::borrow::Cow::Borrowed),
            args: request.args.as_deref().map(Into::into),
            env: request.env.as_ref().map(std::borrow::Cow::Borrowed),
        };
        self.scratch.clear();
        // invariant: strings and JSON that has been read go into JSON, and a Vec takes all that is written.
        let written = serde_json::to_writer(&mut self.scratch, &message);
        debug_assert!(written.is_ok());
        live.nonce = nonce;
        live.fork_seq = head;
        live.asked_at = monotonic_ns();
        let sent = self.stdio(index, slot, &request).and_then(|stdio| self.send(index, slot, nonce, head, stdio));
        let error = match sent {
            Ok(sent) => {
                // Kept: a zygote may die before it has forked.
                if let Some(live) = self.runs.live(slot) {
                    live.request = Some(request);
                }
                self.asked(index, slot, sent);
                return true;
            }
            Err(e) => e,
        };
        if let Some(live) = self.runs.live(slot) {
            live.request = Some(request);
            let captures = std::mem::take(&mut live.captures);
            self.drop_captures(slot, captures);
        }
        if error.kind() == io::ErrorKind::WouldBlock || is_passing(&error) {
            // The channel is full, or too many descriptors are under way: a moment later it will go.
            self.pause_forks(index);
            if let Some(id) = self.runs.live(slot).and_then(|live| live.worker) {
                self.worker_not_spawned(slot, id, &format!("asking for its process: {error}"));
                return false;
            }
            self.pools[index].admission.wait_again(slot);
            self.pools[index].untold = usize::MAX;
            false
        } else {
            let name = &self.pools[index].definition.name;
            let text = format!("handing the run to a process of pool \"{name}\": {error}");
            self.fail_start(slot, &RpcError::start_failed(text));
            true
        }
    }

    /// A process has been asked for, or has been handed the run.
    fn asked(&mut self, index: usize, slot: u32, Sent { order, ordered, generation, carried }: Sent) {
        let Some(live) = self.runs.live(slot) else { return };
        live.state = State::Starting;
        live.order = order;
        live.ordered = ordered;
        live.carried = carried;
        live.generation = generation;
        self.starting += 1;
        let pool = &mut self.pools[index];
        pool.starting += 1;
        if let Some(g) = pool.generation(generation) {
            g.live += 1;
        }
        self.watch_starts(index);
    }

    /// Sends what is in `scratch` to an idle child, or to the zygote. The table knows first: whoever reads it after a crash must not take a run that was sent for one that was not.
    fn send(
        &mut self,
        index: usize,
        slot: u32,
        nonce: u64,
        head: u64,
        stdio: Option<[OwnedFd; 3]>,
    ) -> io::Result<Sent> {
        let pool = &mut self.pools[index];
        let fork_us = pool.current().and_then(|g| g.fork_us);
        let now = monotonic_ns();
        pool.demand.took(now, fork_us);
        let stdio = stdio.as_ref().map(|s| [s[0].as_fd(), s[1].as_fd(), s[2].as_fd()]);
        let mut sent = Err(io::ErrorKind::WouldBlock.into());
        let mut dead = Vec::new();
        while let Some(mut child) = pool.take_idle(now) {
            // The keeper first: whoever has a request must not be taken for one that waits.
            if std::mem::take(&mut child.kept) {
                let name = pool.idle_prefix(&child);
                super::keeping::keep(&self.keeper, &ToKeeper::Drop(name), None, &self.log);
            }
            self.table.set_starting(slot, child.generation, nonce, head);
            match send_request(child.channel.as_fd(), Order::Request, slot, nonce, &self.scratch, stdio) {
                // Our end can go: what lies in the child's stays there.
                Ok(()) => {
                    let order = (child.number, child.nonce);
                    let (generation, carried) = (child.generation, child.carried);
                    sent = Ok(Sent { order, ordered: child.order, generation, carried });
                }
                Err(e) if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                    dead.push(child.generation);
                    continue;
                }
                Err(e) => {
                    pool.put_back_idle(child);
                    sent = Err(e);
                }
            }
            break;
        }
        let is_left = matches!(&sent, Err(e) if e.kind() == io::ErrorKind::WouldBlock) && pool.idle.is_empty();
        if let (true, Some(number)) = (is_left, pool.current().map(|g| g.number)) {
            self.table.set_starting(slot, number, nonce, head);
            let to = pool.orders.ours.as_fd();
            sent = send_request(to, Order::Fork, slot, nonce, &self.scratch, stdio).map(|()| {
                let ordered = (pool.next_order(), now);
                Sent { order: (slot, nonce), ordered, generation: number, carried: false }
            });
        }
        if sent.is_err() {
            self.table.set_queued(slot);
        }
        dead.into_iter().for_each(|number| self.drop_if_done(index, number));
        sent
    }

    /// Descriptors for a run whose stdio is not what its pool's children have already.
    fn stdio(&mut self, index: usize, slot: u32, request: &Request) -> io::Result<Option<[OwnedFd; 3]>> {
        if let Some(id) = self.runs.live(slot).and_then(|live| live.worker) {
            return self.worker_stdio(id).map(Some);
        }
        let pool = &self.pools[index];
        let own = match pool.definition.output {
            processfile::Output::Log => Output::Log,
            processfile::Output::Capture => Output::Capture,
            processfile::Output::Inherit => Output::Inherit,
            processfile::Output::None => Output::None,
        };
        let output = request.output.unwrap_or(own);
        if request.stdin.is_none() && output == own && output != Output::Capture {
            return Ok(None);
        }
        let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned();
        let stdin = match &request.stdin {
            Some(text) => capture::stdin(text)?.into(),
            None => copy(pool.outlets.stdin.as_fd())?,
        };
        let open = |output| Outlets::open(output, || Err(io::ErrorKind::NotFound.into()));
        let (out, error) = match output {
            Output::Capture => {
                let [out, error] = self.open_captures(slot)?;
                (out.into(), error.into())
            }
            _ if output == own => (copy(pool.outlets.out.as_fd())?, copy(pool.outlets.error.as_fd())?),
            Output::Log => self.pool_logs(index)?,
            Output::Inherit => open(processfile::Output::Inherit).map(|o| (o.out, o.error))?,
            Output::None => open(processfile::Output::None).map(|o| (o.out, o.error))?,
        };
        Ok(Some([stdin, out, error]))
    }

    /// No orders for a while; whoever waits goes on waiting.
    pub(super) fn pause_forks(&mut self, index: usize) {
        let pool = &mut self.pools[index];
        if pool.no_forks_until.is_none() {
            let pause = pool.fork_backoff.failed();
            pool.no_forks_until = Some(monotonic_ns() + pause.as_nanos() as u64);
            self.timers.after(pause, Timer::Forks { pool: index });
        }
    }

    /// A free slot; if need be, that of the oldest run that has ended.
    pub(super) fn take_slot(&mut self) -> Option<u32> {
        if let Some(slot) = self.runs.take_slot() {
            return Some(slot);
        }
        let oldest = self.runs.oldest_ended()?;
        self.forget(oldest);
        self.runs.take_slot()
    }
}

/// How a run has been sent to a process.
struct Sent {
    order: (u32, u64),
    ordered: (u64, u64),
    generation: u32,
    carried: bool,
}

/// ETOOMANYREFS (descriptors under way, unix(7)), ENOBUFS, ENOMEM: the system is short of something for the moment.
fn is_passing(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(109 | 105 | 12))
}
