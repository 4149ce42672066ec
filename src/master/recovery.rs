//! What a former master left: runs in the table, results in the journal, channels in the keeper's store.
//!
//! Runs that live go on: their exits come through the ring and what they say through the reply channels, both of which
//! were never in the former master's hands alone. Its zygotes are let go and new ones loaded; orders that they have
//! not read yet they obey before they leave.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use mio::Interest;
use mio::unix::SourceFd;
use serde_json::value::RawValue;
use slog::{info, warn};

use super::Master;
use super::runs::{Extra, Live};
use super::sources::Source;
use crate::journal::Record as Journaled;
use crate::pool::{Generation, Orders, send_order};
use crate::sys::clock::{monotonic_ns, wall_ns};
use crate::sys::pidfd::PidFd;
use crate::table::Record;
use crate::wire::channel::Order;
use crate::wire::control::ToKeeper;
use crate::wire::duration::OptDuration;
use crate::wire::request::{Method, Run as Request};
use crate::wire::rpc::{self, Incoming};
use crate::wire::status::{RunError, State};

/// A request as the journal keeps it: the params of `run`.
pub(super) fn request_json(request: &Request) -> serde_json::Result<Box<RawValue>> {
    let ms = |d: Option<std::time::Duration>| d.map(|d| d.as_millis() as u64);
    let mut map = serde_json::Map::new();
    let mut put = |key: &str, value: serde_json::Result<serde_json::Value>| -> serde_json::Result<()> {
        let value = value?;
        if !value.is_null() {
            map.insert(key.into(), value);
        }
        Ok(())
    };
    put("entry", serde_json::to_value(&request.entry))?;
    put("args", serde_json::to_value(&request.args))?;
    put("env", serde_json::to_value(&request.env))?;
    put("timeout", serde_json::to_value(ms(request.timeout)))?;
    put("kill_timeout", serde_json::to_value(ms(request.kill_timeout)))?;
    put("output", serde_json::to_value(request.output))?;
    put("stdin", serde_json::to_value(&request.stdin))?;
    let mut text = serde_json::to_string(&map)?;
    if let Some(params) = &request.params {
        // Spliced in, so that numbers and the order of keys stay as they came.
        text.pop();
        text.push_str(",\"params\":");
        text.push_str(params.get());
        text.push('}');
    }
    RawValue::from_string(text)
}

fn request_from(text: &RawValue) -> Option<Box<Request>> {
    let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"run\",\"params\":{}}}", text.get());
    match rpc::parse(line.as_bytes()) {
        Incoming::Call(rpc::Call { method: Ok(Method::Run(request)), .. }) => Some(request),
        _ => None,
    }
}

struct Left {
    requests: HashMap<String, Box<RawValue>>,
    extras: HashMap<String, Box<Extra>>,
}

impl Master {
    /// Takes over. `restart`: the keeper is the same as before, so its children still are the table's.
    pub(super) fn recover(&mut self, restart: bool, records: Vec<Journaled>, stored: Vec<(String, OwnedFd)>) {
        let mut left = Left { requests: HashMap::new(), extras: HashMap::new() };
        for record in records {
            match record {
                Journaled::Queued { id, request, .. } => drop(left.requests.insert(id, request)),
                Journaled::Ended { id, result, error, stdout, stderr, .. } => {
                    drop(left.extras.insert(id, Box::new(Extra { result, error, stdout, stderr })));
                }
                Journaled::Freed { id } => drop(left.extras.remove(&id)),
            }
        }
        self.adopt_channels(stored);
        let mut rows: Vec<Record> = (0..self.table.slots_used()).filter_map(|slot| self.table.record(slot)).collect();
        rows.sort_by_key(|r| (r.queued_at, r.slot));
        let (mut living, mut ended) = (0, 0);
        let used: std::collections::HashSet<u32> = rows.iter().map(|r| r.slot).collect();
        self.runs.reserve(&used);
        for row in rows {
            if row.state.is_final() {
                ended += 1;
                let pool = self.pool_index(&row.pool);
                self.runs.insert_ended(row.slot, &row.id, pool, left.extras.remove(&row.id), monotonic_ns());
            } else {
                living += 1;
                self.recover_live(&row, restart, &mut left);
            }
        }
        self.keep_over();
        if living + ended > 0 {
            info!(self.log, "took over"; "living" => living, "ended" => ended);
        }
        self.exits(self.table.ring_head());
    }

    fn recover_live(&mut self, row: &Record, restart: bool, left: &mut Left) {
        let pool = self.pool_index(&row.pool);
        let mut live = Live {
            id: row.id.as_str().into(),
            pool,
            seq: 0,
            state: row.state,
            request: None,
            told: true,
            nonce: row.nonce,
            fork_seq: row.fork_seq,
            asked_at: monotonic_ns(),
            order: (row.slot, row.nonce),
            generation: row.generation,
            process: None,
            waiters: Vec::new(),
            timeout: None,
            kill_timeout: pool.map_or(super::KILL_TIMEOUT, |i| self.pools[i].definition.kill_timeout),
            timer: None,
            ending: false,
            early_signal: None,
            captures: Vec::new(),
            extra: Extra::default(),
        };
        if row.state == State::Queued
            && let (Some(index), Some(request)) = (pool, left.requests.remove(&row.id).and_then(|r| request_from(&r)))
        {
            live.timeout = OptDuration(request.timeout).0.or(self.pools[index].definition.timeout);
            live.request = Some(request);
            self.runs.insert(row.slot, live);
            self.pools[index].admission.wait(row.slot);
            return;
        }
        if !restart || row.state == State::Queued {
            let (state, why) = match row.state {
                State::Queued => (State::Failed, "the daemon ended before it was started"),
                _ => (State::Unknown, "the daemon ended while it ran, and nobody saw how it ended"),
            };
            self.runs.insert(row.slot, live);
            if let Some(live) = self.runs.live(row.slot) {
                let class = if state == State::Failed { "start_failed" } else { "unknown" };
                live.extra.error = Some(RunError { class: class.into(), message: why.into(), trace: None });
            }
            self.table.set_without_exit(row.slot, state, wall_ns());
            return self.ended(row.slot);
        }
        if row.pid != 0 {
            // Opened first, then the ring is looked through (by whoever called): an exit that is not in it by then
            // is still to come, so that the number is its own.
            live.process = Some((row.pid, PidFd::open(row.pid).ok()));
            self.pids.insert(row.pid, row.slot);
        }
        if let Some(index) = pool {
            if row.pid == 0 {
                self.starting += 1;
                self.pools[index].starting += 1;
                self.watch_starts(index);
            }
            self.pools[index].admission.start();
            if let Some(g) = self.pools[index].generation(row.generation) {
                g.live += 1;
            }
            // The clock goes on from its start, as the former master's did.
            if let Some(timeout) = self.pools[index].definition.timeout {
                live.timeout = Some(timeout);
            }
        }
        let (slot, running, timeout) = (row.slot, row.pid != 0, live.timeout);
        self.runs.insert(slot, live);
        if running && let Some(timeout) = timeout {
            let gone = std::time::Duration::from_nanos(wall_ns().saturating_sub(row.started_at));
            if let Some(seq) = self.runs.live(slot).map(|l| l.seq) {
                let timer = super::timers::Timer::RunTimeout { slot, seq };
                let key = self.timers.after(timeout.saturating_sub(gone), timer);
                if let Some(live) = self.runs.live(slot) {
                    live.timer = Some(key);
                }
            }
        }
    }

    /// Reply channels go on being read; the zygotes behind the orders are let go.
    fn adopt_channels(&mut self, stored: Vec<(String, OwnedFd)>) {
        let mut orders: HashMap<(String, String), OwnedFd> = HashMap::new();
        for (name, fd) in stored {
            let parts: Vec<&str> = name.split('/').collect();
            match parts[..] {
                ["replies", pool, number] => {
                    let (Some(index), Ok(number)) = (self.pool_index(pool), number.parse::<u32>()) else {
                        self.tell_keeper(&ToKeeper::Drop(name), None);
                        continue;
                    };
                    let raw = fd.as_fd().as_raw_fd();
                    let pool = &mut self.pools[index];
                    pool.last_number = pool.last_number.max(number);
                    pool.generations.push(Generation {
                        number,
                        replies: fd,
                        zygote: None,
                        ready: None,
                        started_at: 0,
                        preload_timer: None,
                        preload_ms: None,
                        orders: None,
                        live: 0,
                        retired: true,
                    });
                    let token = self.sources.add(Source::Replies { pool: index, generation: number });
                    if let Err(e) = self.poll.registry().register(&mut SourceFd(&raw), token, Interest::READABLE) {
                        warn!(self.log, "watching a former zygote's channel"; "error" => %e);
                    }
                }
                ["orders", pool, end] => drop(orders.insert((pool.to_owned(), end.to_owned()), fd)),
                _ => {}
            }
        }
        let pools: Vec<String> = orders.keys().map(|(pool, _)| pool.clone()).collect();
        for pool in pools {
            let mut end = |end: &str| orders.remove(&(pool.clone(), end.to_owned()));
            if let (Some(ours), Some(theirs)) = (end("ours"), end("theirs")) {
                let old = Orders { ours, theirs };
                if let Err(e) = send_order(old.ours.as_fd(), Order::Retire, 0, 0) {
                    warn!(self.log, "telling a former zygote to leave"; "error" => %e);
                }
            }
        }
    }
}

impl Master {
    /// A journal that is mostly about the past is written anew.
    pub(super) fn compact_journal(&mut self) {
        let mut records = Vec::new();
        for (slot, live) in self.runs.alive() {
            if let (Some(request), Some(index), true) = (&live.request, live.pool, live.told)
                && let Ok(request) = request_json(request)
            {
                let pool = self.pools[index].definition.name.clone();
                let queued_at_ns = self.table.record(slot).map_or(0, |r| r.queued_at);
                records.push(Journaled::Queued { slot, id: live.id.to_string(), pool, request, queued_at_ns });
            }
        }
        for (slot, id, extra) in self.runs.extras() {
            records.push(Journaled::Ended {
                slot,
                id: id.to_owned(),
                result: extra.result.clone(),
                error: extra.error.clone(),
                stdout: extra.stdout.clone(),
                stderr: extra.stderr.clone(),
                timed_out: self.table.record(slot).is_some_and(|r| r.timed_out),
            });
        }
        if let Err(e) = self.journal.compact(records.into_iter()) {
            warn!(self.log, "writing the journal anew"; "error" => %e);
        }
    }
}
