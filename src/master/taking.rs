//! What a predecessor has handed over is put where it belongs, step by step of a recovery; see [`super::recovery`].

use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Token};
use serde_json::value::RawValue;
use slog::{info, warn};

use super::Master;
use super::apps::{Pending, Until};
use super::connection::{Connection, Stream};
use super::logs::StreamKey;
use super::recovery::request_from;
use super::runs::{Asker, Form, Live, Waiter};
use super::sources::Source;
use super::timers::{Key, Timer};
use super::trees::Rest;
use crate::handover::{self, Output, flags};
use crate::logs::Carried;
use crate::pool::IdleChild;
use crate::sys::clock::monotonic_ns;
use crate::sys::pidfd::PidFd;
use crate::sys::reap::{How, Rusage};
use crate::table::ExitEntry;
use crate::wire::info::{Role, Upgraded};

/// What a wrong token costs once more: how much of that was left is not told.
const GUESS_PAUSE: Duration = Duration::from_secs(1);

impl Master {
    /// Clients first, since everything else may be somebody's question.
    pub(super) fn take_clients(&mut self) {
        for client in std::mem::take(&mut self.handed.state.clients) {
            let token = self.take_client(client);
            self.handed.tokens.push(token);
        }
        let daemon = &self.handed.state.daemon;
        self.began_at = if daemon.began_at == 0 { self.began_at } else { daemon.began_at };
        self.askers = daemon.askers;
        (self.counts.refused_connections, self.counts.dropped_messages) = daemon.counts;
        self.unclaimed = daemon.unclaimed.iter().map(take_exit).map(|exit| (exit.pid, exit)).collect();
        self.claimed = daemon.claimed.clone();
    }

    fn take_client(&mut self, client: handover::Client) -> Option<Token> {
        let fd = self.handed.unpack(client.fd)?;
        let stream = if client.tcp { Stream::Tcp(fd.into()) } else { Stream::Unix(fd.into()) };
        let role = match client.role {
            2 => Role::Admin,
            1 => Role::Run,
            _ => Role::None,
        };
        let has = |flag: u32| client.flags & flag != 0;
        let max_line = self.max_line(role);
        let mut c = Connection::new(stream, role, max_line);
        c.first = has(flags::FIRST);
        c.eof = has(flags::EOF);
        c.gone = has(flags::GONE);
        c.closing = has(flags::CLOSING);
        c.last = has(flags::LAST);
        c.penalty = has(flags::PENALTY);
        c.pending = client.pending as usize;
        c.wrong_tokens = client.wrong_tokens;
        c.lines.refill(&client.unread);
        c.resume(client.unwritten, client.tickets, client.batches, client.next_batch);
        c.subscribed = client.subscription.is_some();
        let fd = c.raw_fd();
        let token = self.sources.add(Source::Connection(Box::new(c)));
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(e) = self.poll.registry().register(&mut SourceFd(&fd), token, interest) {
            warn!(self.log, "a connection cannot be watched"; "error" => %e);
            self.sources.remove(token);
            return None;
        }
        self.connections += 1;
        let request_timer = client.request_by.map(|at| self.timers.at(at, Timer::Request(token)));
        let answer_timer = client.answer_by.map(|at| self.timers.at(at, Timer::Answer(token)));
        if let Some(c) = self.sources.connection(token) {
            (c.request_timer, c.answer_timer) = (request_timer, answer_timer);
        }
        if let Some(subscription) = client.subscription {
            self.subscriptions.resume(token, subscription);
        }
        // What it has sent already may be whole lines, and what waits for it may have room.
        self.again_clients.push(token);
        self.mark(token);
        Some(token)
    }

    /// Pools, before anything is put into them.
    pub(super) fn take_pools(&mut self) {
        for from in std::mem::take(&mut self.handed.state.pools) {
            let Some(index) = self.pool_index(&from.name) else { continue };
            let mut idle = Vec::new();
            for child in from.idle {
                let Some(channel) = self.handed.unpack(child.channel) else { continue };
                idle.push(IdleChild {
                    generation: child.generation,
                    number: child.number,
                    nonce: child.nonce,
                    order: child.order,
                    carried: child.carried,
                    // Perhaps: it is told nothing new then.
                    kept: true,
                    channel,
                });
            }
            let pool = &mut self.pools[index];
            pool.idle = idle.into();
            pool.resume_demand(monotonic_ns());
            (pool.current, pool.last_number) = (from.current, from.last_number);
            (pool.error, pool.down, pool.untold) = (from.error, from.down, if from.untold { usize::MAX } else { 0 });
            pool.totals = from.totals;
            pool.resume_counters(from.counters);
            pool.reload_backoff.resume(from.failures);
        }
    }

    /// A preload that was under way has the rest of its time, and whoever waits for it its answer: it may have ended already.
    pub(super) fn take_preloads(&mut self) {
        for (name, generation, asker) in std::mem::take(&mut self.handed.state.waiting.reloads) {
            let asker = self.handed.asker(&asker);
            if let Some(index) = self.pool_index(&name) {
                self.reloads.push((index, generation, asker));
            }
        }
        for index in 0..self.pools.len() {
            for at in 0..self.pools[index].generations.len() {
                let g = &self.pools[index].generations[at];
                let (number, Some((by, 0))) = (g.number, g.preload_timer) else { continue };
                let key: Key = self.timers.at(by, Timer::Preload { pool: index, generation: number });
                self.pools[index].generations[at].preload_timer = Some(key);
            }
        }
    }

    /// What is known of a run beside its row.
    pub(super) fn take_run(&mut self, slot: u32, live: &mut Live) {
        let Some(run) = self.handed.runs.get_mut(&slot) else { return };
        live.told = run.told;
        live.recovered = run.recovered;
        live.asked_at = run.asked_at;
        live.order = run.order;
        live.ordered = run.ordered;
        live.carried = run.carried;
        live.early_signal = run.early_signal.map(|(signal, grace)| (signal, grace.map(Duration::from_nanos)));
        live.ending |= run.ending;
        if live.request.is_none() {
            let request = run.request.take().and_then(|text| RawValue::from_string(text).ok());
            live.request = request.and_then(|text| request_from(&text));
        }
        if let Some(error) = run.error.as_deref().and_then(|error| serde_json::from_str(error).ok()) {
            live.extra.get_or_insert_default().error.get_or_insert(error);
        }
        let tree = std::mem::take(&mut run.tree);
        live.tree = self.handed.members(tree);
    }

    /// Who waits for a run that is in its place now.
    pub(super) fn take_waiters(&mut self, slot: u32) {
        let Some(run) = self.handed.runs.get_mut(&slot) else { return };
        for w in std::mem::take(&mut run.waiters) {
            let Some(seq) = self.runs.live(slot).map(|live| live.seq) else { return };
            let asker = self.handed.asker(&w.asker);
            let timer = w.by.map(|at| self.timers.at(at, Timer::Wait { slot, seq, asker: w.number }));
            let (number, for_end, duplicate, asked_to_run) = (w.number, w.for_end, w.duplicate, w.asked_to_run);
            self.add_waiter(slot, Waiter { asker, number, for_end, duplicate, asked_to_run, timer });
        }
    }

    /// Who waits for something else; what was left of trees. Everything has its place by then.
    pub(super) fn take_the_rest(&mut self) {
        let waiting = std::mem::take(&mut self.handed.state.waiting);
        for p in waiting.workers {
            self.apps.pending.push(Pending {
                asker: self.handed.asker(&p.asker),
                ids: p.ids,
                missing: p.missing.into_iter().collect(),
                until: match p.until {
                    1 => Until::Up,
                    2 => Until::Down,
                    3 => Until::Gone,
                    4 => Until::Saved,
                    _ => Until::Now,
                },
                // Nothing is handed over before the list is on the disk.
                version: 0,
                gone: p.gone.iter().filter_map(|text| serde_json::from_str(text).ok()).collect(),
                answer: p.answer.and_then(|text| serde_json::from_str(&text).ok()),
            });
        }
        // What they wait for may have come before them.
        self.settle(None);
        for asker in waiting.wrong_tokens {
            let asker = self.handed.asker(&asker);
            self.timers.after(GUESS_PAUSE, Timer::WrongToken(asker.connection));
            self.wrong_tokens.push_back(asker);
        }
        for tree in std::mem::take(&mut self.handed.state.trees) {
            let leader = tree.leader.and_then(|at| self.handed.unpack(at)).map(PidFd::from);
            let members = self.handed.members(tree.members);
            let grace = Duration::from_nanos(tree.grace);
            self.keep_rest(Rest { nonce: tree.nonce, leader, members, cgroup: tree.cgroup, grace });
        }
    }

    /// The beginnings of lines, once the streams are there.
    pub(super) fn take_begun_lines(&mut self) {
        for output in std::mem::take(&mut self.handed.state.output) {
            let Output { name, held, mid_line, lost, recent, watched } = output;
            if let Some(key) = StreamKey::stored(&name) {
                self.resume_stream(&key, Carried { held, mid_line, lost, recent, watched });
            }
        }
    }

    /// The answer to whoever asked for the upgrade, on his own connection. What was handed over and is nobody's is closed.
    pub(super) fn upgraded(&mut self) {
        let handed = std::mem::take(&mut self.handed);
        let daemon = &handed.state.daemon;
        let now = monotonic_ns();
        let (pause_us, total_ms) = ((now - daemon.frozen_at) / 1000, (now - daemon.asked_at) / 1_000_000);
        info!(self.log, "upgraded"; "from" => &daemon.version, "to" => env!("CARGO_PKG_VERSION"), "pause_us" => pause_us);
        let Some(asker) = daemon.asker.as_ref().map(|asker| handed.asker(asker)) else { return };
        let answer = Upgraded {
            checked: false,
            version: Some(env!("CARGO_PKG_VERSION").into()),
            former_version: daemon.version.clone(),
            master_pid: std::process::id(),
            pause_us: Some(pause_us),
            total_ms,
        };
        self.answer_upgraded(asker, &answer);
    }

    fn answer_upgraded(&mut self, asker: Asker, answer: &Upgraded) {
        match asker.form {
            Form::Ticket(ticket) => {
                let mut line = Vec::new();
                crate::wire::phprocksyd::error_text(&mut line, "OK");
                self.answer_ticket(asker.connection, ticket, line);
            }
            _ => self.answer(asker, answer),
        }
    }
}

fn take_exit(exit: &handover::Exit) -> ExitEntry {
    let [user_us, system_us, max_rss_bytes, minor_faults, major_faults, voluntary_switches, involuntary_switches] =
        exit.usage;
    ExitEntry {
        seq: exit.seq,
        pid: exit.pid,
        inode: exit.inode,
        how: match exit.how {
            (0, code) => How::Exited(code),
            (1, signal) => How::Killed(signal),
            (_, signal) => How::Dumped(signal),
        },
        usage: Rusage {
            user_us,
            system_us,
            max_rss_bytes,
            minor_faults,
            major_faults,
            voluntary_switches,
            involuntary_switches,
        },
        at: exit.at,
    }
}
