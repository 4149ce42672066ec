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
use slog::{debug, warn};

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
use crate::wire::phprocksyd;
use crate::wire::request::{Output, Run as Request};
use crate::wire::rpc::{self, RpcError};
use crate::wire::status::{RunError, State};

impl Master {
    /// Takes a request that has been checked, for the pool at `index`.
    pub(super) fn submit(&mut self, asker: Asker, index: usize, id: String, request: Box<Request>) {
        let now = monotonic_ns();
        let pool = &self.pools[index];
        let name = &pool.definition.name;
        if pool.current().is_none() && pool.reload_backoff.failures() > 0 {
            let why = pool.error.as_deref().unwrap_or("its warm process cannot be started");
            return self
                .refuse(asker, &RpcError::pool_unavailable(format!("pool \"{name}\" cannot run anything now: {why}")));
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
        let pool = &self.pools[index];
        let name = &pool.definition.name;
        let queued_at = wall_ns();
        let claim = Claim { id: &id, pool: name, entry: &request.entry, state: State::Queued, queued_at };
        self.table.claim(slot, &claim);
        let wait = request.wait;
        let live = Live {
            id: id.into(),
            pool: Some(index),
            seq: 0,
            state: State::Queued,
            told: false,
            nonce: 0,
            fork_seq: 0,
            asked_at: 0,
            order: (0, 0),
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
            timeout: request.timeout.or(pool.definition.timeout),
            kill_timeout: request.kill_timeout.unwrap_or(pool.definition.kill_timeout),
            timer: None,
            ending: false,
            early_signal: None,
            captures: Vec::new(),
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
                self.tell_queued(index, slot, queued_at);
            }
        }
    }

    /// Those that wait for a place are told so at once; those that wait for a zygote hear when they start.
    fn tell_queued(&mut self, index: usize, slot: u32, queued_at: u64) {
        let admission = &self.pools[index].admission;
        if admission.running() < admission.max_running() {
            return;
        }
        let Some(live) = self.runs.live(slot) else { return };
        live.told = true;
        if let Some(request) = &live.request
            && let Ok(text) = super::recovery::request_json(request)
        {
            let pool = &self.pools[index].definition.name;
            self.journal.append(RecordRef::Queued {
                slot,
                id: &live.id,
                pool,
                request: &text,
                queued_at_ns: queued_at,
            });
        }
        self.tell_started(slot);
    }

    /// Starts who waits, as long as there are places.
    pub(super) fn dispatch(&mut self, index: usize) {
        let now = monotonic_ns();
        while !self.stopping() && self.pools[index].open(now) {
            let Some(slot) = self.pools[index].admission.start_next() else { return };
            self.start_run(index, slot);
        }
    }

    /// Hands a run that has a place to a process.
    fn start_run(&mut self, index: usize, slot: u32) {
        let nonce = self.nonce();
        let head = self.table.ring_head();
        let Some(live) = self.runs.live(slot) else { return };
        let Some(request) = live.request.take() else { return };
        let generation = self.pools[index].current.unwrap_or(0);
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
        live.generation = generation;
        self.table.set_starting(slot, generation, nonce, head);
        live.state = State::Starting;
        let sent = self.stdio(index, slot, &request).and_then(|stdio| self.send(index, slot, nonce, stdio));
        match sent {
            Ok(order) => {
                if let Some(live) = self.runs.live(slot) {
                    live.order = order;
                    // Kept for the case that a zygote dies with it unread; a large one is not worth the memory.
                    live.request = None;
                }
                self.watch_starts(index);
                if let Some(generation) = self.pools[index].generation(generation) {
                    generation.live += 1;
                }
                self.starting += 1;
                self.pools[index].starting += 1;
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock) || is_passing(&e) => {
                // The channel is full, or too many descriptors are under way: a moment later it will go.
                if let Some(live) = self.runs.live(slot) {
                    live.request = Some(request);
                    live.state = State::Queued;
                    self.pools[index].admission.wait_again(slot);
                }
                self.pause_forks(index);
            }
            Err(e) => {
                let error = RpcError::start_failed(format!(
                    "handing the run to a process of pool \"{}\": {e}",
                    self.pools[index].definition.name
                ));
                self.fail_start(slot, &error);
            }
        }
    }

    /// Sends what is in `scratch` to an idle child, or to the zygote. Returns the order by which the process is known.
    fn send(&mut self, index: usize, slot: u32, nonce: u64, stdio: Option<[OwnedFd; 3]>) -> io::Result<(u32, u64)> {
        let pool = &mut self.pools[index];
        let stdio = stdio.as_ref().map(|s| [s[0].as_fd(), s[1].as_fd(), s[2].as_fd()]);
        while let Some(child) = pool.idle.pop_front() {
            match send_request(child.channel.as_fd(), Order::Request, slot, nonce, &self.scratch, stdio) {
                // Our end can go: what lies in the child's stays there.
                Ok(()) => return Ok((child.number, child.nonce)),
                Err(e) if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {}
                Err(e) => {
                    pool.idle.push_front(child);
                    return Err(e);
                }
            }
        }
        if pool.current().is_none() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        send_request(pool.orders.ours.as_fd(), Order::Fork, slot, nonce, &self.scratch, stdio)?;
        Ok((slot, nonce))
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

    fn watch_capture(&mut self, capture: Capture) -> io::Result<Token> {
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

    /// The same, with a class of its own in the status.
    pub(super) fn fail_start_as(&mut self, slot: u32, error: &RpcError, class: &'static str) {
        let Some(live) = self.runs.live(slot) else { return };
        let (pool, was_starting, generation) = (live.pool, live.state == State::Starting, live.generation);
        debug!(self.log, "a run did not start"; "id" => %live.id, "why" => %error);
        self.timers.cancel(live.timer.take());
        for token in std::mem::take(&mut live.captures) {
            self.drop_capture(token);
        }
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
        if let Some((id, extra)) = self.runs.extra(slot) {
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

/// ETOOMANYREFS (descriptors under way, unix(7)), ENOBUFS, ENOMEM: the system is short of something for the moment.
fn is_passing(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(109 | 105 | 12))
}
