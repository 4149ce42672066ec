//! Everything that this master alone knows, for the one that succeeds it. Nothing is changed by it.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};

use mio::Token;

use super::Master;
use super::apps::Until;
use super::connection::Connection;
use super::recovery::request_json;
use super::runs::{self, Live};
use super::sources::Source;
use super::upgrade::Upgrade;
use crate::handover::{self, FdIndex, NOBODY, Output, State, flags};
use crate::logs::Kind;
use crate::pool;
use crate::sys::clock::monotonic_ns;
use crate::sys::reap::How;
use crate::sys::tree::Member;
use crate::table::ExitEntry;
use crate::wire::info::Role;

/// Descriptors that go along, and the clients' places.
#[derive(Default)]
struct Luggage<'a> {
    fds: Vec<BorrowedFd<'a>>,
    clients: HashMap<Token, u32>,
}

impl<'a> Luggage<'a> {
    fn pack(&mut self, fd: BorrowedFd<'a>) -> FdIndex {
        self.fds.push(fd);
        self.fds.len() as FdIndex - 1
    }

    fn asker(&self, asker: &runs::Asker) -> handover::Asker {
        let form = match &asker.form {
            runs::Form::Rpc { id, batch } => {
                handover::Form::Rpc(id.get().to_owned(), batch.map(|(batch, at)| (batch, at as u64)))
            }
            runs::Form::Silent => handover::Form::Silent,
            runs::Form::Ticket(ticket) => handover::Form::Ticket(*ticket),
        };
        handover::Asker { client: self.clients.get(&asker.connection).copied().unwrap_or(NOBODY), form }
    }

    fn members(&mut self, members: &'a [Member]) -> Vec<handover::Member> {
        members
            .iter()
            .map(|m| handover::Member { pid: m.pid, group: m.group, handle: self.pack(m.handle.as_fd()) })
            .collect()
    }
}

impl Master {
    /// Everything, and the descriptors that it is about.
    pub(super) fn everything(&self, upgrade: &Upgrade) -> (State, Vec<BorrowedFd<'_>>) {
        let mut luggage = Luggage::default();
        // First, so that everybody who waits has a place.
        let mut clients = Vec::new();
        for (token, source) in self.sources.all() {
            let Source::Connection(connection) = source else { continue };
            luggage.clients.insert(token, clients.len() as u32);
            clients.push((token, &**connection));
        }
        let clients = clients.into_iter().map(|(token, c)| self.client(token, c, &mut luggage)).collect();
        // Zygotes whose children would not be the keeper's are loaded anew.
        let pools = self.pools.iter().filter(|_| !self.fostered).map(|pool| hand_pool(pool, &mut luggage)).collect();
        let runs = self.runs.alive().map(|(slot, live)| hand_run(slot, live, &mut luggage)).collect();
        let state = State {
            daemon: self.hand_daemon(upgrade, &luggage),
            clients,
            pools,
            runs,
            waiting: self.hand_waiting(&luggage),
            output: self.hand_output(),
            trees: self.hand_trees(&mut luggage),
        };
        (state, luggage.fds)
    }

    fn hand_daemon(&self, upgrade: &Upgrade, luggage: &Luggage<'_>) -> handover::Daemon {
        handover::Daemon {
            version: env!("CARGO_PKG_VERSION").into(),
            began_at: self.began_at,
            frozen_at: monotonic_ns(),
            asked_at: upgrade.asked_at,
            askers: self.askers,
            counts: (self.counts.refused_connections, self.counts.dropped_messages),
            asker: upgrade.asker.as_ref().map(|asker| luggage.asker(asker)),
            unclaimed: self.unclaimed.values().map(hand_exit).collect(),
            claimed: self.claimed.clone(),
        }
    }

    fn client<'a>(&'a self, token: Token, c: &'a Connection, luggage: &mut Luggage<'a>) -> handover::Client {
        let flag = |is: bool, flag: u32| if is { flag } else { 0 };
        let (tickets, batches) = c.in_between();
        handover::Client {
            fd: luggage.pack(c.as_fd()),
            tcp: c.is_tcp(),
            role: match c.role {
                Role::None => 0,
                Role::Run => 1,
                Role::Admin => 2,
            },
            flags: flag(c.first, flags::FIRST)
                | flag(c.eof, flags::EOF)
                | flag(c.gone, flags::GONE)
                | flag(c.closing, flags::CLOSING)
                | flag(c.last, flags::LAST)
                | flag(c.penalty, flags::PENALTY),
            unread: c.lines.held().to_vec(),
            unwritten: c.waiting().to_vec(),
            pending: c.pending as u64,
            request_by: c.request_timer.map(|key| key.0),
            answer_by: c.answer_timer.map(|key| key.0),
            wrong_tokens: c.wrong_tokens,
            tickets,
            next_batch: batches.0,
            batches: batches.1,
            subscription: self.subscriptions.carried(token),
        }
    }

    fn hand_waiting(&self, luggage: &Luggage<'_>) -> handover::Waiting {
        let name = |index: &usize| self.pools[*index].definition.name.clone();
        handover::Waiting {
            reloads: self.reloads.iter().map(|(index, n, asker)| (name(index), *n, luggage.asker(asker))).collect(),
            workers: self
                .apps
                .pending
                .iter()
                .map(|p| handover::WorkersAsked {
                    asker: luggage.asker(&p.asker),
                    ids: p.ids.clone(),
                    missing: p.missing.iter().copied().collect(),
                    until: match p.until {
                        Until::Now => 0,
                        Until::Up => 1,
                        Until::Down => 2,
                        Until::Gone => 3,
                        Until::Saved => 4,
                    },
                    gone: p.gone.iter().map(ToString::to_string).collect(),
                    answer: p.answer.as_ref().map(ToString::to_string),
                })
                .collect(),
            wrong_tokens: self.wrong_tokens.iter().map(|asker| luggage.asker(asker)).collect(),
        }
    }

    fn hand_output(&self) -> Vec<Output> {
        self.sources
            .all()
            .filter_map(|(_, source)| {
                let Source::Log(pipe) = source else { return None };
                let (key, stream) = pipe.key_and_stream()?;
                let carried = stream.carried();
                (carried != Default::default()).then(|| Output {
                    name: key.store_name(),
                    held: carried.held,
                    mid_line: carried.mid_line,
                    lost: carried.lost,
                    recent: carried.recent,
                    watched: carried.watched,
                })
            })
            .collect()
    }

    fn hand_trees<'a>(&'a self, luggage: &mut Luggage<'a>) -> Vec<handover::Tree> {
        self.trees
            .rests()
            .map(|rest| handover::Tree {
                nonce: rest.nonce,
                leader: rest.leader.as_ref().map(|leader| luggage.pack(leader.as_fd())),
                members: luggage.members(&rest.members),
                cgroup: rest.cgroup.clone(),
                grace: rest.grace.as_nanos() as u64,
            })
            .collect()
    }
}

fn hand_pool<'a>(pool: &'a pool::Pool, luggage: &mut Luggage<'a>) -> handover::Pool {
    handover::Pool {
        name: pool.definition.name.clone(),
        current: pool.current,
        last_number: pool.last_number,
        error: pool.error.clone(),
        down: pool.down,
        failures: pool.reload_backoff.failures(),
        totals: pool.totals,
        untold: pool.untold > 0,
        counters: pool.counters(),
        idle: pool
            .idle
            .iter()
            .map(|child| handover::Idle {
                generation: child.generation,
                number: child.number,
                nonce: child.nonce,
                order: child.order,
                carried: child.carried,
                channel: luggage.pack(child.channel.as_fd()),
            })
            .collect(),
        generations: pool
            .generations
            .iter()
            .map(|g| handover::Generation {
                number: g.number,
                their_end: g.their_end,
                zygote: g.zygote.as_ref().map(|(pid, handle)| (*pid, luggage.pack(handle.as_fd()))),
                ready: g.ready.as_ref().and_then(|ready| serde_json::to_string(ready).ok()),
                started_at: g.started_at,
                preload_by: g.preload_timer.map(|key| key.0),
                preload_ms: g.preload_ms,
                orders: g.orders.as_ref().map(|o| (luggage.pack(o.ours.as_fd()), luggage.pack(o.theirs.as_fd()))),
                retired: g.retired,
                silent: g.silent,
            })
            .collect(),
    }
}

fn hand_run<'a>(slot: u32, live: &'a Live, luggage: &mut Luggage<'a>) -> handover::Run {
    let request = live.request.as_deref().and_then(|request| request_json(request).ok());
    handover::Run {
        slot,
        request: request.map(|request| request.get().to_owned()),
        told: live.told,
        recovered: live.recovered,
        asked_at: live.asked_at,
        order: live.order,
        ordered: live.ordered,
        carried: live.carried,
        early_signal: live.early_signal.map(|(signal, grace)| (signal, grace.map(|g| g.as_nanos() as u64))),
        ending: live.ending,
        tree: luggage.members(&live.tree),
        error: live
            .extra
            .as_ref()
            .and_then(|extra| extra.error.as_ref())
            .and_then(|error| serde_json::to_string(error).ok()),
        waiters: live
            .waiters
            .iter()
            .map(|w| handover::Waiter {
                asker: luggage.asker(&w.asker),
                number: w.number,
                for_end: w.for_end,
                duplicate: w.duplicate,
                asked_to_run: w.asked_to_run,
                by: w.timer.map(|key| key.0),
            })
            .collect(),
    }
}

fn hand_exit(exit: &ExitEntry) -> handover::Exit {
    let u = &exit.usage;
    handover::Exit {
        seq: exit.seq,
        pid: exit.pid,
        inode: exit.inode,
        how: match exit.how {
            How::Exited(code) => (0, code),
            How::Killed(signal) => (1, signal),
            How::Dumped(signal) => (2, signal),
        },
        usage: [
            u.user_us,
            u.system_us,
            u.max_rss_bytes,
            u.minor_faults,
            u.major_faults,
            u.voluntary_switches,
            u.involuntary_switches,
        ],
        at: exit.at,
    }
}

/// Which of the two, as the state has it.
pub(super) fn kind_number(kind: Option<Kind>) -> u8 {
    match kind {
        None => 0,
        Some(Kind::Out) => 1,
        Some(Kind::Err) => 2,
    }
}
