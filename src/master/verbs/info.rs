//! `info`: about the daemon.

use super::super::Master;
use super::super::answering::ANSWER_TIME;
use super::super::clients::REQUEST_TIME;
use super::super::runs::{Asker, MAX_KEPT, MAX_KEPT_BYTES};
use crate::sys::clock::monotonic_ns;
use crate::sys::process;
use crate::wire::channel::RESULT_MAX;
use crate::wire::info::{Counts, Info, Limits};
use crate::wire::json::MAX_DEPTH;
use crate::wire::rpc::MAX_BATCH;
use crate::wire::status::State;

pub(super) fn obey(master: &mut Master, asker: Asker) {
    let (ended, kept_bytes) = master.runs.kept();
    let sum = |of: fn(&crate::pool::Pool) -> usize| master.pools.iter().map(of).sum::<usize>() as u64;
    // Workers' processes are no runs, whether they are on their way, run, or replace one another.
    let runs = |state| master.runs.alive().filter(|(_, l)| l.worker.is_none() && l.state == state).count() as u64;
    let counts = Counts {
        queued: sum(|p| p.admission.queued()),
        starting: runs(State::Starting),
        running: runs(State::Running),
        ended: ended as u64,
        idle: sum(|p| p.idle.len()),
        connections: master.connections as u64,
        runs_total: master.pools.iter().map(|p| p.totals.0).sum(),
        kept_bytes: kept_bytes as u64,
        ..master.counts
    };
    let info = Info {
        version: env!("CARGO_PKG_VERSION").into(),
        keeper_pid: if master.fostered { 0 } else { process::parent() },
        warning: master.fostered.then(|| super::super::orphaned::NO_KEEPER.to_owned()),
        master_pid: std::process::id(),
        uptime_ms: (monotonic_ns() - master.began_at) / 1_000_000,
        dir: master.options.dirs.runtime.display().to_string(),
        listen: master.listeners.iter().map(|l| l.address()).collect(),
        counts,
        limits: Limits {
            max_line: master.options.max_line as u64,
            max_depth: MAX_DEPTH as u64,
            max_batch: MAX_BATCH as u64,
            max_connections: master.options.max_connections as u64,
            request_timeout_ms: REQUEST_TIME.as_millis() as u64,
            answer_timeout_ms: ANSWER_TIME.as_millis() as u64,
            max_result: RESULT_MAX as u64,
            max_kept_runs: MAX_KEPT as u64,
            max_kept_bytes: MAX_KEPT_BYTES as u64,
        },
    };
    master.answer(asker, &info);
}
