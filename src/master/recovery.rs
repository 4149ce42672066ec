//! What a former master left: runs in the table, results in the journal, channels in the keeper's store.
//!
//! Runs that live go on: their exits come through the ring and what they say through the reply channels, both of which
//! were never in the former master's hands alone. Its zygotes are let go and new ones loaded; orders that they have
//! not read yet they obey before they leave. Its idle children, as far as the keeper has them, wait for us.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::time::Duration;

use serde_json::value::RawValue;
use slog::{info, warn};

use super::Master;
use super::capture::Capture;
use super::ending::lost_reason;
use super::left::{Left, OnRecord, ended_mono};
use super::runs::{Extra, Live};
use super::timers::Timer;
use crate::sys::clock::{monotonic_ns, wall_ns};
use crate::sys::pidfd::PidFd;
use crate::table::Record;
use crate::wire::request::{Method, Run as Request};
use crate::wire::rpc::{self, Incoming, RpcError};
use crate::wire::status::{RunError, State};

/// A request as the journal keeps it: the params of `run`.
pub(super) fn request_json(request: &Request) -> serde_json::Result<Box<RawValue>> {
    let ms = |d: Option<Duration>| d.map(|d| d.as_millis() as u64);
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

pub(super) fn request_from(text: &RawValue) -> Option<Box<Request>> {
    let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"run\",\"params\":{}}}", text.get());
    match rpc::parse(line.as_bytes()) {
        Incoming::Call(rpc::Call { method: Ok(Method::Run(request)), .. }) => Some(request),
        _ => None,
    }
}

impl Master {
    /// Takes over. `restart`: the keeper is the same as before, so its children still are the table's.
    pub(super) fn recover(&mut self, restart: bool, left: Left, stored: Vec<(String, OwnedFd)>) {
        let Left { former, on_record: mut left } = left;
        let (notes, lines) = (std::mem::take(&mut left.notes), std::mem::take(&mut left.lines));
        self.unfinished_output(lines, self.handed.is_there());
        self.recover_list(restart, notes);
        self.take_clients();
        self.take_pools();
        self.adopt_channels(stored);
        self.take_preloads();
        let (runs, slots) = former.catch_up(&self.table, self.pools.len(), |name| self.pool_index(name));
        self.runs = runs;
        let mut rows: Vec<Record> = slots.into_iter().filter_map(|slot| self.table.record(slot)).collect();
        rows.sort_by_key(|r| (r.queued_at, r.slot));
        let (mut living, mut survivors) = (0, Vec::new());
        let last = self.table.slots_used();
        if let Some(Err(e)) = last.checked_sub(1).map(|slot| self.table.reserve(slot)) {
            warn!(self.log, "no room for the shared table"; "error" => %e);
        }
        for row in rows {
            if row.worker && row.state.is_final() {
                self.take_worker_end(&row, restart);
            } else if row.state.is_final() {
                let pool = self.pool_index(&row.pool);
                let extra = left.extras.remove(&row.id).or_else(|| lost_reason(row.state));
                let now = monotonic_ns();
                let since = match restart {
                    true => ended_mono(row.started_at, row.ended_at, row.started_mono, now),
                    false => now,
                };
                self.runs.insert_ended(row.slot, &row.id, pool, extra, since);
            } else {
                living += 1;
                // Without their keeper and their master they may still be alive.
                let survivor = if restart { None } else { Master::survivor(&row) };
                survivors.extend(survivor.is_some().then_some(row.slot));
                self.recover_row(&row, restart || survivor.is_some(), &mut left);
            }
        }
        self.runs.recovered();
        self.adopt_survivors(&survivors);
        self.keep_over();
        let (ended, _) = self.runs.kept();
        if living + ended > 0 {
            info!(self.log, "took over"; "living" => living, "ended" => ended);
        }
        if let Some(left) = self.left_of_run() {
            self.finish_capture(&left);
        }
        // What is still there is of runs that have ended.
        let slots: HashSet<u32> = self.former_captures.keys().map(|(slot, _)| *slot).collect();
        slots.into_iter().for_each(|slot| self.record_captured(slot));
        for (slot, is_error) in std::mem::take(&mut self.former_captures).into_keys() {
            self.forget_capture(slot, stream_of(is_error), false);
        }
        for (slot, is_error) in std::mem::take(&mut self.former_tails).into_keys() {
            self.forget_capture(slot, stream_of(is_error), true);
        }
        self.repeat_replies();
        // What was said before an exit is read before the exit is told.
        let head = self.table.ring_head();
        for index in 0..self.pools.len() {
            let numbers: Vec<u32> = self.pools[index].generations.iter().map(|g| g.number).collect();
            numbers.into_iter().for_each(|number| self.replies(index, number));
        }
        self.flush_journal();
        self.exits(head);
        for index in 0..self.pools.len() {
            let numbers: Vec<u32> = self.pools[index].generations.iter().map(|g| g.number).collect();
            numbers.into_iter().for_each(|number| self.drop_if_done(index, number));
        }
        self.revive();
    }

    /// A run whose end is in the table, and not on record with what it printed: the master was killed in between.
    fn record_captured(&mut self, slot: u32) {
        // One that did not start has printed nothing: that is null.
        let started = |row: &Record| row.pid != 0 || row.started_at != 0;
        let ended = |row: &Record| row.state.is_final() && !row.worker && started(row);
        let Some(row) = self.table.record(slot).filter(ended) else { return };
        let mut extra = self.runs.extra(slot).map_or_else(Extra::default, |(_, extra)| extra.clone());
        let [out, error] = [false, true].map(|is_error| self.adopt_capture(slot, is_error));
        let (Some(out), Some(error), None) = (out, error, &extra.stdout) else { return };
        extra.stdout = Some(self.captured_text(out));
        extra.stderr = Some(self.captured_text(error));
        self.journal.append(extra.record(slot, &row.id, row.timed_out));
        self.runs.set_extra(slot, Box::new(extra));
    }

    fn adopt_capture(&mut self, slot: u32, is_error: bool) -> Option<Capture> {
        let pipe = self.former_captures.get(&(slot, is_error))?.try_clone();
        let tail = self.former_tails.get(&(slot, is_error)).map(OwnedFd::try_clone).transpose();
        let adopted = pipe.and_then(|pipe| Capture::adopt(slot, stream_of(is_error), pipe, tail?));
        adopted.inspect_err(|e| warn!(self.log, "taking over captured output"; "slot" => slot, "error" => %e)).ok()
    }

    /// Its row, and who waits for it.
    fn recover_row(&mut self, row: &Record, restart: bool, left: &mut OnRecord) {
        self.recover_live(row, restart, left);
        self.take_waiters(row.slot);
    }

    fn recover_live(&mut self, row: &Record, restart: bool, left: &mut OnRecord) {
        let worker = if row.worker { self.worker_of_row(row, restart) } else { None };
        if row.worker && worker.is_none() {
            // A worker that had no process, or whose keeper has ended it with everybody else.
            self.runs.unreserve(row.slot);
            return self.table.clear(row.slot);
        }
        let pool = match worker {
            Some(id) => self.pool_of_worker(id),
            None => self.pool_index(&row.pool),
        };
        let mut live = Live {
            worker,
            state: if row.pid != 0 { State::Running } else { row.state },
            recovered: true,
            told: true,
            nonce: row.nonce,
            fork_seq: row.fork_seq,
            asked_at: monotonic_ns(),
            order: (row.slot, row.nonce),
            generation: row.generation,
            timeout: row.timeout,
            kill_timeout: row.kill_timeout,
            ..Live::new(&*row.id, pool)
        };
        let queued =
            (row.state == State::Queued).then(|| left.requests.remove(&row.id).or(self.handed.request(row.slot)));
        match (pool, queued.flatten().and_then(|r| request_from(&r))) {
            (Some(index), Some(request)) => {
                live.request = Some(request);
                self.take_run(row.slot, &mut live);
                self.runs.insert(row.slot, live);
                self.pools[index].admission.wait(row.slot);
                return;
            }
            (None, Some(_)) => {
                // Somebody has been told that it waits.
                self.runs.insert(row.slot, live);
                let why = format!(
                    "pool \"{}\", in which it waited, was not there any more when the daemon was started again",
                    row.pool
                );
                return self.fail_start(row.slot, &RpcError::pool_not_found(why));
            }
            _ => {}
        }
        if row.state == State::Queued {
            // Not on record: nobody has been told that it is taken, and whoever asked asks again.
            self.runs.unreserve(row.slot);
            return self.table.clear(row.slot);
        }
        if !restart || (row.pid == 0 && pool.is_none()) {
            self.runs.insert(row.slot, live);
            if let Some(live) = self.runs.live(row.slot) {
                let why = "the daemon ended while it ran, and nobody saw how it ended";
                let told = RunError { class: "unknown".into(), message: why.into(), trace: None };
                live.extra.get_or_insert_default().error = Some(told);
            }
            let state = State::Unknown;
            self.table.set_without_exit(row.slot, state, wall_ns());
            return self.ended(row.slot);
        }
        if row.pid != 0 {
            // Opened first, then the ring is looked through (by whoever called): an exit that is not in it by then
            // is still to come, so that the number is its own.
            if row.state == State::Starting {
                self.table.set_running(row.slot, row.pid, wall_ns(), monotonic_ns());
            }
            live.process = Some((row.pid, PidFd::open(row.pid).ok()));
            self.pids.insert(row.pid, row.slot);
        }
        if let Some(index) = pool {
            if row.pid == 0 {
                self.starting += 1;
                self.pools[index].starting += 1;
                self.watch_starts(index);
            }
            if worker.is_none() {
                self.pools[index].admission.start();
            }
            if let Some(g) = self.pools[index].generation(row.generation) {
                g.live += 1;
            }
        }
        if let Some(extra) = left.extras.remove(&row.id) {
            live.extra = Some(extra);
            live.said = true;
        }
        live.ending = row.kill_at != 0;
        self.take_run(row.slot, &mut live);
        for is_error in [false, true] {
            let capture = self.adopt_capture(row.slot, is_error);
            self.former_captures.remove(&(row.slot, is_error));
            self.former_tails.remove(&(row.slot, is_error));
            live.captures.extend(capture.and_then(|capture| self.watch_capture(capture).ok()));
        }
        // What it prints is on record only at its end.
        live.said &= live.captures.is_empty();
        if worker.is_some() {
            self.runs.insert_worker(row.slot, live);
        } else {
            self.runs.insert(row.slot, live);
        }
        let Some(live) = self.runs.live(row.slot).filter(|live| live.process.is_some()) else { return };
        // The clocks go on from where they were.
        let (slot, seq, now) = (row.slot, live.seq, monotonic_ns());
        let due = match (row.kill_at, row.timeout) {
            (0, None) => return,
            (0, Some(timeout)) => (row.started_mono + timeout.as_nanos() as u64, Timer::RunTimeout { slot, seq }),
            (at, _) => (at, Timer::Grace { slot, seq }),
        };
        live.timer = Some(self.timers.after(Duration::from_nanos(due.0.saturating_sub(now)), due.1));
    }
}

/// As captured output is called in the keeper's store.
fn stream_of(is_error: bool) -> &'static str {
    if is_error { "error" } else { "out" }
}
