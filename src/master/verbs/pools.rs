//! `pools`: what each of them is doing.

use std::time::Duration;

use super::super::Master;
use super::super::runs::Asker;
use crate::sys::clock::monotonic_ns;
use crate::sys::huge;
use crate::wire::info::{PoolInfo, Pools};

/// How old what is told of a zygote's memory may be: reading it takes the master milliseconds, and somebody may ask all the time.
const MEMORY_AGE: Duration = Duration::from_secs(5);

pub(super) fn obey(master: &mut Master, asker: Asker) {
    let pools = (0..master.pools.len())
        .map(|i| {
            master.look_at_memory(i);
            let memory = master.pools[i].current().and_then(|g| g.memory).map(|(_, memory)| memory);
            PoolInfo { memory_bytes: memory.map(|m| m.all), huge_bytes: memory.map(|m| m.huge), ..master.pool_info(i) }
        })
        .collect();
    master.answer(asker, &Pools { pools });
}

impl Master {
    /// Reads what the zygote that obeys has of memory, unless it was read a moment ago.
    fn look_at_memory(&mut self, index: usize) {
        let now = monotonic_ns();
        let pool = &mut self.pools[index];
        let Some(number) = pool.current else { return };
        let Some(g) = pool.generation(number) else { return };
        let Some((pid, _)) = g.zygote else { return };
        if g.memory.is_none_or(|(read, _)| now.saturating_sub(read) > MEMORY_AGE.as_nanos() as u64) {
            // It may be another user's, or be gone this moment: then it is not known.
            g.memory = huge::anonymous_of(pid).ok().map(|memory| (now, memory));
        }
    }

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
            idle_wanted: pool.demand.wanted(monotonic_ns(), pool.definition.idle),
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
            memory_bytes: None,
            huge_bytes: None,
            fork_us: current.and_then(|g| g.fork_us).map(u64::from),
        }
    }
}
