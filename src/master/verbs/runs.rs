//! `runs`: a page of runs, the oldest first.

use super::super::Master;
use super::super::runs::Asker;
use crate::wire::info::RunsPage;
use crate::wire::request::{DEFAULT_RUNS, RunsFilter};
use crate::wire::status::Status;

pub(super) fn obey(master: &mut Master, asker: Asker, filter: &RunsFilter) {
    let after = match filter.after.as_deref().map(|id| super::find(master, id)).transpose() {
        Ok(after) => after,
        Err(e) => return master.refuse(asker, &e),
    };
    if let Some(name) = &filter.pool
        && let Err(e) = super::run::find_pool(master, name)
    {
        return master.refuse(asker, &e);
    }
    let limit = filter.limit.unwrap_or(DEFAULT_RUNS) as usize;
    let fits = |status: &Status<'_>| {
        filter.state.is_none_or(|state| status.state == state)
            && filter.pool.as_deref().is_none_or(|pool| status.pool == pool)
    };
    // Most are passed over by their state, without being read whole.
    let in_state = |slot: &u32| filter.state.is_none() || filter.state == master.table.state(*slot);
    let all = master.runs.by_age(after).filter(in_state).filter_map(|slot| master.runs.status(&master.table, slot));
    // One more than asked for tells whether there is a next page.
    let mut runs: Vec<Status<'_>> = all.filter(fits).take(limit + 1).collect();
    let next = if runs.len() > limit {
        runs.truncate(limit);
        runs.last().map(|last| last.id.to_string())
    } else {
        None
    };
    let page = RunsPage { runs, next };
    super::super::answering::respond(&mut master.sources, &mut master.dirty, asker, |out, id| {
        crate::wire::rpc::write_result(out, id, &page);
    });
}
