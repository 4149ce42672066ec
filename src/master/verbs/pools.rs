//! `pools`: what each of them is doing.

use super::super::Master;
use super::super::runs::Asker;
use crate::wire::info::{PoolInfo, Pools};

pub(super) fn obey(master: &mut Master, asker: Asker) {
    let pools = (0..master.pools.len()).map(|i| master.pool_info(i)).collect();
    master.answer(asker, &Pools { pools });
}

impl Master {
    /// A pool as it is now.
    pub(in super::super) fn pool_info(&self, index: usize) -> PoolInfo {
        let pool = &self.pools[index];
        let current = pool.current();
        let ready = current.and_then(|g| g.ready.as_ref());
        PoolInfo {
            name: pool.definition.name.clone(),
            runtime: pool.definition.runtime.as_str().into(),
            state: pool.state(),
            generation: pool.current.unwrap_or(0),
            zygote_pid: current.and_then(|g| g.zygote.as_ref()).map(|z| z.0),
            idle: pool.idle.len() as u32,
            running: pool.admission.running() as u32,
            queued: pool.admission.queued() as u32,
            max_running: pool.definition.max_running,
            max_queued: pool.definition.max_queued,
            runs_total: pool.totals.0,
            failed_total: pool.totals.1,
            error: pool.error.clone(),
            default: self.default_pool == Some(index),
            runtime_version: ready.map(|r| r.runtime.clone()),
            warnings: ready.map(|r| r.warnings.clone()).unwrap_or_default(),
            preload_ms: current.and_then(|g| g.preload_ms),
        }
    }
}
