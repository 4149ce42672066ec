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

use mio::unix::SourceFd;
use mio::{Interest, Token};
use slog::{debug, info, warn};

use super::capture::{self, Capture};
use super::clients::respond;
use super::runs::{Asker, Extra, Form, Live, Waiter};
use super::sources::Source;
use super::timers::Timer;
use super::{Master, START_CHECK};
use crate::journal::RecordRef;
use crate::pool::{Outlets, Verdict, send_request};
use crate::processfile;
use crate::sys::clock::{monotonic_ns, wall_ns};
use crate::table::Claim;
use crate::wire::channel::{ChildRequest, Order};
use crate::wire::control::ToKeeper;
use crate::wire::phprocksyd;
use crate::wire::request::{Output, Run as Request};
use crate::wire::rpc::{self, RpcError};
use crate::wire::status::{RunError, State};

/// What may wait for a journal that cannot be written, in bytes, before nothing new is taken.
const JOURNAL_WAITING: usize = 16 << 20;

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
            queued_at,
            timeout,
            kill_timeout,
        };
        self.table.claim(slot, &claim);
        let wait = request.wait;
        let live = Live {
            id: id.into(),
            pool: Some(index),
            seq: 0,
            state: State::Queued,
            recovered: false,
            told: false,
            nonce: 0,
            fork_seq: 0,
            asked_at: 0,
            order: (0, 0),
            ordered: (0, 0),
            carried: false,
            generation: 0,
            process: None,
            waiters: vec![Waiter {
                asker,
                number: 0,
                for_end: wait,
                duplicate: false,
                asked_to_run: true,
                timer: None,
            }],
            timeout,
            kill_timeout,
            timer: None,
            ending: false,
            early_signal: None,
            captures: Vec::new(),
            said: false,
            extra: Extra::default(),
            request: Some(request),
        };
        self.runs.insert(slot, live);
        self.pools[index].totals.0 += 1;
        match verdict {
            Verdict::Start => {
                self.pools[index].admission.start();
                self.start_run(index, slot);
            }
            _ => {
                self.pools[index].admission.wait(slot);
                self.pools[index].untold = true;
                self.tell_queued(index);
            }
        }
    }

    /// Those that wait for a place are told so at once; those that wait for a zygote hear when they start, or when all
    /// places are taken.
    fn tell_queued(&mut self, index: usize) {
        let pool = &mut self.pools[index];
        if pool.admission.running() < pool.admission.max_running() || !std::mem::take(&mut pool.untold) {
            return;
        }
        let waiting: Vec<u32> = pool.admission.waiting().collect();
        for slot in waiting {
            let queued_at_ns = self.table.record(slot).map_or(0, |r| r.queued_at);
            let Some(live) = self.runs.live(slot).filter(|live| !live.told) else { continue };
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
    fn start_run(&mut self, index: usize, slot: u32) -> bool {
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
            self.pools[index].admission.wait_again(slot);
            self.pools[index].untold = true;
            self.pause_forks(index);
            false
        } else {
            let name = &self.pools[index].definition.name;
            let text = format!("handing the run to a process of pool \"{name}\": {error}");
            self.fail_start(slot, &RpcError::start_failed(text));
            true
        }
    }

    /// All who could have started this run are gone, and none has said that it did: it waits again.
    pub(super) fn send_again(&mut self, index: usize, slot: u32) {
        let Some(live) = self.runs.live(slot) else { return };
        info!(self.log, "a run is started again: its zygote died before it had forked it"; "id" => %live.id);
        live.state = State::Queued;
        let captures = std::mem::take(&mut live.captures);
        self.drop_captures(slot, captures);
        let Some(live) = self.runs.live(slot) else { return };
        let number = live.generation;
        self.table.set_queued(slot);
        self.starting -= 1;
        let pool = &mut self.pools[index];
        pool.starting -= 1;
        pool.admission.wait_again(slot);
        pool.untold = true;
        self.generation_lost_one(index, number);
        self.busy(index);
    }

    /// That generation's channel is silent: its runs that have not started never will.
    pub(super) fn send_lost_again(&mut self, index: usize, number: u32) {
        let lost =
            |l: &Live| l.pool == Some(index) && l.state == State::Starting && l.generation == number && !l.carried;
        let mut slots: Vec<(u64, u32)> =
            self.runs.alive().filter(|(_, l)| lost(l)).map(|(slot, l)| (l.ordered.0, slot)).collect();
        // The first that was sent is the first to be sent again.
        slots.sort_unstable();
        for (_, slot) in slots.into_iter().rev() {
            if self.runs.live(slot).is_some_and(|l| l.recovered) {
                self.lose(
                    slot,
                    "the daemon's master was killed while it started, and nobody is left who could tell more",
                );
            } else if self.runs.live(slot).is_some_and(|l| l.request.is_some()) {
                self.send_again(index, slot);
            }
        }
    }

    /// A zygote has died: which of the orders that were sent had it read? Those before the first unread one; the others are the next
    /// zygote's.
    pub(super) fn divide_orders(&mut self, index: usize, number: u32) {
        let pool = &self.pools[index];
        let first_unread = match pool.unread_order() {
            None => u64::MAX,
            Some(unread) => {
                let child = pool.idle.iter().find(|c| (c.number, c.nonce) == unread).map(|c| c.order.0);
                let run = || self.runs.alive().find(|(_, l)| l.order == unread).map(|(_, l)| l.ordered.0);
                // One that nobody knows any more: nothing is certain about those before it.
                child.or_else(run).unwrap_or(0)
            }
        };
        for child in &mut self.pools[index].idle {
            child.carried = child.order.0 >= first_unread;
        }
        let concerned =
            |l: &Live| l.pool == Some(index) && l.state == State::Starting && (l.generation == number || l.carried);
        let slots: Vec<u32> = self.runs.alive().filter(|(_, l)| concerned(l)).map(|(slot, _)| slot).collect();
        for slot in slots {
            let Some(live) = self.runs.live(slot) else { continue };
            let former = live.generation;
            live.carried = live.ordered.0 >= first_unread;
            if !live.carried && former != number {
                live.generation = number;
                if let Some(g) = self.pools[index].generation(number) {
                    g.live += 1;
                }
                self.generation_lost_one(index, former);
            }
        }
    }

    /// A process has been asked for, or has been handed the run.
    fn asked(&mut self, index: usize, slot: u32, Sent { order, ordered, generation }: Sent) {
        let Some(live) = self.runs.live(slot) else { return };
        live.state = State::Starting;
        live.order = order;
        live.ordered = ordered;
        live.carried = false;
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
        let stdio = stdio.as_ref().map(|s| [s[0].as_fd(), s[1].as_fd(), s[2].as_fd()]);
        let mut sent = Err(io::ErrorKind::WouldBlock.into());
        let mut dead = Vec::new();
        while let Some(child) = pool.idle.pop_front() {
            self.table.set_starting(slot, child.generation, nonce, head);
            match send_request(child.channel.as_fd(), Order::Request, slot, nonce, &self.scratch, stdio) {
                // Our end can go: what lies in the child's stays there.
                Ok(()) => {
                    let order = (child.number, child.nonce);
                    sent = Ok(Sent { order, ordered: child.order, generation: child.generation });
                }
                Err(e) if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                    dead.push(child.generation);
                    continue;
                }
                Err(e) => {
                    pool.idle.push_front(child);
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
                let ordered = (pool.next_order(), monotonic_ns());
                Sent { order: (slot, nonce), ordered, generation: number }
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
        let open = |output| Outlets::open(&pool.definition.name, output, &self.options.dirs.logs());
        let (out, error) = match output {
            Output::Capture => {
                let (out, out_writer) = Capture::new()?;
                let (error, error_writer) = Capture::new()?;
                // With the keeper first: if we die, the run must not get EPIPE.
                for (name, capture) in [("out", &out), ("error", &error)] {
                    let message = ToKeeper::Store(capture_name(slot, name));
                    super::keep(&self.keeper, &message, Some(capture.as_fd()), &self.log);
                }
                let tokens = vec![self.watch_capture(out)?, self.watch_capture(error)?];
                if let Some(live) = self.runs.live(slot) {
                    live.captures = tokens;
                }
                (out_writer.into(), error_writer.into())
            }
            _ if output == own => (copy(pool.outlets.out.as_fd())?, copy(pool.outlets.error.as_fd())?),
            Output::Log => open(processfile::Output::Log).map(|o| (o.out, o.error))?,
            Output::Inherit => open(processfile::Output::Inherit).map(|o| (o.out, o.error))?,
            Output::None => open(processfile::Output::None).map(|o| (o.out, o.error))?,
        };
        Ok(Some([stdin, out, error]))
    }

    pub(super) fn watch_capture(&mut self, capture: Capture) -> io::Result<Token> {
        use std::os::fd::AsRawFd;
        let fd = capture.as_fd().as_raw_fd();
        let token = self.sources.add(Source::Capture(Box::new(capture)));
        self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        Ok(token)
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

    /// Looks after a while whether those that were asked for have started.
    pub(super) fn watch_starts(&mut self, index: usize) {
        if !self.watching_starts[index] {
            self.watching_starts[index] = true;
            self.timers.after(START_CHECK, Timer::Starts { pool: index });
        }
    }

    /// Whoever waited for the start hears of it. (Also for `queued`, which is an answer, too.)
    pub(super) fn tell_started(&mut self, slot: u32) {
        let Some(live) = self.runs.live(slot) else { return };
        live.told = true;
        if live.waiters.iter().all(|w| w.for_end) {
            return;
        }
        let (stay, go): (Vec<Waiter>, Vec<Waiter>) =
            std::mem::take(&mut live.waiters).into_iter().partition(|w| w.for_end);
        live.waiters = stay;
        for waiter in go {
            self.tell(slot, waiter);
        }
    }

    /// One more waits for a run. Those whose connection has gone are forgotten now and then.
    pub(super) fn add_waiter(&mut self, slot: u32, waiter: Waiter) {
        let Some(live) = self.runs.live(slot) else { return };
        live.waiters.push(waiter);
        if live.waiters.len() >= 64 && live.waiters.len().is_power_of_two() {
            let (sources, timers) = (&mut self.sources, &mut self.timers);
            live.waiters.retain(|w| {
                let there = sources.connection(w.asker.connection).is_some();
                if !there {
                    timers.cancel(w.timer);
                }
                there
            });
        }
    }

    /// Answers one who waited, with the status as it is.
    pub(super) fn tell(&mut self, slot: u32, waiter: Waiter) {
        self.timers.cancel(waiter.timer);
        if let Form::Ticket(ticket) = waiter.asker.form {
            let mut line = Vec::new();
            phprocksyd::error_text(&mut line, "OK");
            return self.answer_ticket(waiter.asker.connection, ticket, line);
        }
        if let Some(mut status) = self.runs.status(&self.table, slot) {
            if waiter.asked_to_run && waiter.duplicate {
                status.duplicate = Some(true);
            }
            respond(&mut self.sources, &mut self.dirty, waiter.asker, |out, id| rpc::write_result(out, id, &status));
        }
    }

    /// A run could not be started.
    pub(super) fn fail_start(&mut self, slot: u32, error: &RpcError) {
        self.fail_start_as(slot, error, error.kind);
    }

    /// A run of which a former master may have heard that it started, and we hear nothing.
    pub(super) fn lose(&mut self, slot: u32, why: &str) {
        self.fail_start_as(slot, &RpcError::start_failed(why), "unknown");
        if self.runs.live(slot).is_none() {
            self.table.set_without_exit(slot, State::Unknown, wall_ns());
        }
    }

    /// The same, with a class of its own in the status.
    pub(super) fn fail_start_as(&mut self, slot: u32, error: &RpcError, class: &'static str) {
        let Some(live) = self.runs.live(slot) else { return };
        let (pool, was_starting, generation) = (live.pool, live.state == State::Starting, live.generation);
        debug!(self.log, "a run did not start"; "id" => %live.id, "why" => %error);
        self.timers.cancel(live.timer.take());
        let captures = std::mem::take(&mut live.captures);
        self.drop_captures(slot, captures);
        if let Some(index) = pool {
            let p = &mut self.pools[index];
            if !p.admission.withdraw(slot) {
                p.admission.end();
            }
            p.totals.1 += 1;
            if was_starting {
                self.starting -= 1;
                self.pools[index].starting -= 1;
                self.generation_lost_one(index, generation);
            }
            self.busy(index);
        }
        let Some(live) = self.runs.live(slot) else { return };
        let waiters = std::mem::take(&mut live.waiters);
        let kept = live.told || was_starting;
        if !kept {
            self.runs.vanish(slot);
            self.table.clear(slot);
        } else {
            live.extra.error =
                Some(RunError { class: class.into(), message: error.message.clone().into(), trace: None });
            self.table.set_without_exit(slot, State::Failed, wall_ns());
            self.ended(slot);
        }
        for waiter in waiters {
            if waiter.asked_to_run || !kept {
                self.timers.cancel(waiter.timer);
                self.refuse(waiter.asker, error);
            } else {
                self.tell(slot, waiter);
            }
        }
    }

    /// Everything that follows the end of a run, however it came; its table row is written.
    pub(super) fn ended(&mut self, slot: u32) {
        let Some(mut live) = self.runs.end(slot, monotonic_ns()) else { return };
        if let Some((id, extra)) = self.runs.extra(slot).filter(|_| !live.said) {
            let record = RecordRef::Ended {
                slot,
                id,
                result: extra.result.as_deref(),
                error: extra.error.as_ref(),
                stdout: extra.stdout.as_deref(),
                stderr: extra.stderr.as_deref(),
                timed_out: self.table.record(slot).is_some_and(|r| r.timed_out),
            };
            self.journal.append(record);
        }
        let keep = live.pool.map_or(super::KEEP_GONE, |i| self.pools[i].definition.keep);
        self.forget_after(keep);
        for waiter in std::mem::take(&mut live.waiters) {
            self.tell(slot, waiter);
        }
        self.forget_surplus();
    }

    /// A free slot; if need be, that of the oldest run that has ended.
    fn take_slot(&mut self) -> Option<u32> {
        if let Some(slot) = self.runs.take_slot() {
            return Some(slot);
        }
        let oldest = self.runs.oldest_ended()?;
        self.forget(oldest);
        self.runs.take_slot()
    }

    /// Forgets an ended run.
    pub(super) fn forget(&mut self, slot: u32) {
        if let Some((id, _)) = self.runs.extra(slot) {
            self.journal.append(RecordRef::Freed { id });
        }
        if self.runs.free(slot) {
            self.table.clear(slot);
        } else {
            warn!(self.log, "a run that is to be forgotten has not ended"; "slot" => slot);
        }
    }

    /// Forgets what is too old or too much. Returns when the next one will be too old, ns monotonic.
    pub(super) fn forget_surplus(&mut self) -> Option<u64> {
        loop {
            let (pools, gone) = (&self.pools, super::KEEP_GONE);
            let keep = |i: usize| pools.get(i).map_or(gone, |p| p.definition.keep).as_nanos() as u64;
            match self.runs.overdue(keep, monotonic_ns()) {
                Ok(slot) => self.forget(slot),
                Err(next) => return next,
            }
        }
    }

    /// Looks for what is too old after this time, or before, if that is planned already.
    pub(super) fn forget_after(&mut self, wait: std::time::Duration) {
        let at = monotonic_ns().saturating_add(wait.as_nanos() as u64);
        if self.keep_timer.is_none_or(|(planned, _)| at < planned) {
            self.timers.cancel(self.keep_timer);
            self.keep_timer = Some(self.timers.after(wait, Timer::Keep));
        }
    }
}

/// How a run has been sent to a process.
struct Sent {
    order: (u32, u64),
    ordered: (u64, u64),
    generation: u32,
}

/// The name of a run's captured output in the keeper's store.
pub(super) fn capture_name(slot: u32, stream: &str) -> String {
    format!("capture/{slot}/{stream}")
}

/// ETOOMANYREFS (descriptors under way, unix(7)), ENOBUFS, ENOMEM: the system is short of something for the moment.
fn is_passing(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(109 | 105 | 12))
}
