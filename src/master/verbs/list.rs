//! `list`: all at a glance.

use super::super::Master;
use super::super::runs::Asker;
use crate::wire::apps::WorkerInfo;
use crate::wire::info::List;
use crate::wire::rpc::RpcError;
use crate::wire::status::Status;

/// The most runs that are shown.
const RUNS: usize = 20;

pub(super) fn obey(master: &mut Master, asker: Asker) {
    let pools = (0..master.pools.len()).map(|i| master.pool_info(i)).collect();
    // The living ones before the ended ones, the latest first; then as everywhere: the oldest first.
    let mut slots: Vec<u32> = master.runs.latest_alive(RUNS);
    let room = RUNS - slots.len();
    slots.extend(master.runs.by_age(None).rev().filter(|slot| !master.runs.is_alive(*slot)).take(room));
    let mut runs: Vec<Status<'_>> = slots.iter().filter_map(|slot| master.runs.status(&master.table, *slot)).collect();
    runs.sort_by_key(|r| r.queued_at.as_ref().map(|t| t.0));
    let workers: Vec<WorkerInfo<'_>> = master.apps.workers.keys().filter_map(|id| master.worker_info(*id)).collect();
    let list = List { pools, runs, workers };
    let list = serde_json::value::to_raw_value(&list);
    match list {
        Ok(list) => master.answer(asker, &list),
        Err(e) => master.refuse(asker, &RpcError::internal(format!("writing the answer: {e}"))),
    }
}
