//! One turn of the loop after the other.

use std::io;
use std::time::Duration;

use mio::Events;
use rand::RngExt;
use slog::{crit, warn};

use super::sources::Source;
use super::timers::Timer;
use super::{Master, clients};
use crate::sys::clock::monotonic_ns;
use crate::sys::{fault, memory};
use crate::wire::rpc::RpcError;
use crate::workers::Event;

/// Events that one turn takes.
const EVENTS: usize = 1024;
/// After a start or new definitions, until memory is given back.
const CALM: Duration = Duration::from_secs(2);

impl Master {
    pub(super) fn serve(&mut self) -> u8 {
        let mut events = Events::with_capacity(EVENTS);
        for index in 0..self.pools.len() {
            self.busy(index);
        }
        // Before anything is started: it may be that we are to shut down.
        if !self.keeper_says() {
            return 1;
        }
        (0..self.pools.len()).for_each(|index| self.load(index));
        loop {
            self.end_of_turn();
            if self.stopped() {
                self.farewell();
                return 0;
            }
            if self.may_hand_over() && self.hand_over() {
                return 0;
            }
            let before = self.ring.arm(&self.table);
            let pending = before != self.table.ring_tail() || self.has_more();
            let timeout = if pending { Some(Duration::ZERO) } else { self.timers.next() };
            self.beat.rest(&self.table);
            let waited = self.poll.poll(&mut events, timeout);
            self.turn_begins();
            fault::point("turn-begun");
            if let Err(e) = waited
                && e.kind() != io::ErrorKind::Interrupted
            {
                crit!(self.log, "waiting for events"; "error" => %e);
                return 1;
            }
            // A wake-up vouches for the exits it announced; the poll itself for those before it, unless it was cut short.
            let (mut announced, mut count) = (self.table.ring_tail(), 0);
            let clients = std::mem::take(&mut self.again_clients);
            let captures = std::mem::take(&mut self.again_captures);
            let nodes = std::mem::take(&mut self.again_nodes);
            let logs = self.logs.take_again();
            for (pool, generation) in std::mem::take(&mut self.again_replies) {
                self.replies(pool, generation);
            }
            for event in &events {
                let token = event.token();
                count += 1;
                match self.sources.get(token) {
                    Some(Source::Wake) => {
                        let wake = &self.wake;
                        announced = self.ring.woken(&self.table, || wake.take()).unwrap_or(0).max(announced);
                    }
                    Some(Source::Keeper) => {
                        let alive = self.keeper_says();
                        if !alive {
                            return 1;
                        }
                    }
                    Some(Source::Replies { pool, generation }) => {
                        let (pool, generation) = (*pool, *generation);
                        self.replies(pool, generation);
                    }
                    Some(Source::Connection(connection)) => {
                        connection.gone |= event.is_write_closed() || event.is_error();
                        let (readable, ended) = (event.is_readable(), event.is_read_closed());
                        self.client_event(token, readable || ended, event.is_writable(), ended);
                    }
                    Some(Source::Listener(index)) => {
                        let index = *index;
                        self.accept(index);
                    }
                    Some(Source::Capture(_)) => self.capture_event(token),
                    Some(Source::List) => self.list_saved(),
                    Some(Source::ProcessFile) => self.process_file_read(),
                    Some(Source::Notify) => self.apps.notify_due = true,
                    Some(Source::Node(_)) => self.node_says(token),
                    Some(Source::Probe(_)) => self.probe_event(token),
                    Some(Source::Log(_)) => self.read_log(token, event.is_read_closed()),
                    Some(Source::Watch) => self.files_changed(),
                    Some(Source::Successor) => self.successor_says(),
                    Some(Source::Adoption(_)) => self.adopted(token),
                    Some(Source::Process { .. }) => self.process_died(token),
                    None => {}
                }
            }
            for index in std::mem::take(&mut self.again) {
                self.accept(index);
            }
            for token in captures {
                self.read_capture(token);
            }
            for token in nodes {
                self.node_says(token);
            }
            for token in logs {
                self.read_log(token, true);
            }
            for token in clients {
                self.resume_client(token);
            }
            self.lines_matched();
            self.notified(count < EVENTS);
            // What was said is on record before the end of who said it.
            self.flush_journal();
            self.exits(if count < EVENTS { before.max(announced) } else { announced });
            while let Some(timer) = self.timers.due(monotonic_ns()) {
                self.due(timer);
            }
        }
    }

    /// Whether somebody has had his share of a turn and there is more of him.
    pub(super) fn has_more(&self) -> bool {
        if self.apps.starts.next_at(monotonic_ns()).is_some_and(|at| at <= monotonic_ns()) {
            return true;
        }
        let (listeners, replies) = (self.again.is_empty(), self.again_replies.is_empty());
        !(listeners
            && replies
            && self.again_captures.is_empty()
            && self.again_clients.is_empty()
            && self.again_nodes.is_empty()
            && self.apps.early_ready.is_empty()
            && !self.apps.notify_due
            && !self.apps.stops_due
            && self.apps.to_end.is_empty()
            && !self.renews_journal()
            && !self.logs.has_more())
    }

    pub(super) fn end_of_turn(&mut self) {
        // Without it no output would be read any more.
        debug_assert!(self.logs.stage().is_some() && self.batch.is_some(), "lent out and not given back");
        self.flush_journal();
        self.flush_all();
        while let Some(index) = self.busy.pop() {
            self.is_busy[index] = false;
            self.dispatch(index);
            self.refill(index);
        }
        self.watch_files();
        self.go_on_stopping_if_due();
        self.end_workers();
        self.start_workers();
        self.flush_list();
        // Starting those that waited may have gone wrong, which is an answer, too.
        self.flush_journal();
        self.flush_all();
        self.tidy_journal();
    }

    pub(super) fn due(&mut self, timer: Timer) {
        match timer {
            Timer::RunTimeout { slot, seq } => self.run_timeout(slot, seq),
            Timer::Grace { slot, seq } => self.grace_over(slot, seq),
            Timer::Leftovers(number) => self.leftovers_over(number),
            Timer::Wait { slot, seq, asker } => self.wait_over(slot, seq, asker),
            Timer::Request(token) => {
                if let Some(c) = self.sources.connection(token) {
                    c.request_timer = None;
                    let text = format!("no whole request within {} s", clients::REQUEST_TIME.as_secs());
                    self.give_up(token, &RpcError::limit(text));
                }
            }
            Timer::Answer(token) => {
                if self.sources.connection(token).is_some() {
                    warn!(self.log, "a client does not read its answers; closing it");
                    self.counts.refused_connections += 1;
                    self.close(token);
                }
            }
            Timer::WrongToken(token) => self.wrong_token(token),
            Timer::Accept => self.accept_all(),
            Timer::Preload { pool, generation } => self.preload_timeout(pool, generation),
            Timer::Load { pool } => self.load(pool),
            Timer::Forks { pool } => {
                self.pools[pool].no_forks_until = None;
                self.busy(pool);
            }
            Timer::Starts { pool } => self.check_starts(pool),
            Timer::Keep => self.keep_over(),
            Timer::OpenLines => self.open_lines(),
            Timer::Captures => self.read_late_captures(),
            Timer::Stop => self.stop_step(),
            Timer::Worker(id) => self.tell_worker(id, Event::Due),
            Timer::Ready { slot, seq } => self.ready_timer(slot, seq),
            Timer::Successor { slot, seq } => self.successor_timer(slot, seq),
            Timer::Memory => self.measure(),
            Timer::List => self.write_list_again(),
            Timer::Watch(number) => self.watch_over(number),
            Timer::Upgrade => self.upgrade_late(),
            Timer::Replace => self.keeper_stays("the keeper does not answer"),
            Timer::AskHow { slot, seq, since } => self.ask_how(slot, seq, since),
            // Only to wake us: starts, and a journal that is written anew, are looked at in each turn.
            Timer::Workers | Timer::Journal => {}
            Timer::Unwritten => self.write_journal_again(),
            Timer::Calm => self.calm(),
            Timer::Refill { pool } => {
                self.pools[pool].refill_timer = None;
                self.busy(pool);
            }
            Timer::Idle { pool } => self.keep_idle(pool),
        }
    }

    /// Looks after this pool at the end of the turn.
    pub(super) fn busy(&mut self, index: usize) {
        if !self.is_busy[index] {
            self.is_busy[index] = true;
            self.busy.push(index);
        }
    }

    /// Much has been read and made: some time from now on memory is given back.
    pub(super) fn calm_soon(&mut self) {
        if !self.calming {
            self.calming = true;
            self.timers.after(CALM, Timer::Calm);
        }
    }

    pub(super) fn calm(&mut self) {
        self.calming = false;
        if self.apps.starts.next_at(monotonic_ns()).is_some() {
            return self.calm_soon();
        }
        memory::give_back();
    }

    pub(super) fn nonce(&mut self) -> u64 {
        rand::rng().random()
    }

    pub(super) fn next_asker(&mut self) -> u64 {
        self.askers += 1;
        self.askers
    }

    pub(super) fn pool_index(&self, name: &str) -> Option<usize> {
        self.pool_names.get(name).copied()
    }
}
