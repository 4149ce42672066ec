//! `run`: start one, or find the one that has this id.

use super::super::Master;
use super::super::runs::{Asker, Waiter};
use crate::processfile::{entry_allowed, nearest};
use crate::wire::request::Run;
use crate::wire::rpc::RpcError;
use crate::wire::status::State;

pub(super) fn obey(master: &mut Master, asker: Asker, request: Box<Run>) {
    if let Some(slot) = request.id.as_deref().and_then(|id| master.runs.find(id)) {
        return duplicate(master, asker, slot, request.wait);
    }
    if master.stopping() {
        return master.refuse(asker, &RpcError::shutting_down("the daemon is shutting down; nothing new is started"));
    }
    let index = match pool(master, request.pool.as_deref()) {
        Ok(index) => index,
        Err(e) => return master.refuse(asker, &e),
    };
    let definition = &master.pools[index].definition;
    if let Some(patterns) = &definition.entries
        && !entry_allowed(patterns, &request.entry)
    {
        let text = format!(
            "\"{}\" may not be run in pool \"{}\": its `entries` allow {}",
            request.entry,
            definition.name,
            patterns.join(", ")
        );
        return master.refuse(asker, &RpcError::entry_refused(text));
    }
    let id = request.id.clone().unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    master.submit(asker, index, id, request);
}

/// It is there already: the same answer as the first one got, or will get.
fn duplicate(master: &mut Master, asker: Asker, slot: u32, for_end: bool) {
    let number = master.next_asker();
    let mut waiter = Waiter { asker, number, for_end, duplicate: true, asked_to_run: true, timer: None };
    if let Some(live) = master.runs.live(slot) {
        let started = live.told && live.state != State::Starting;
        if for_end || !started {
            return master.add_waiter(slot, waiter);
        }
    }
    waiter.for_end = false;
    master.tell(slot, waiter);
}

fn pool(master: &Master, name: Option<&str>) -> Result<usize, RpcError> {
    match name {
        Some(name) => find_pool(master, name),
        None => master.default_pool.ok_or_else(|| {
            RpcError::pool_not_found(if master.pools.is_empty() {
                "there are no pools: start the daemon with a process file, `preforkd serve FILE`"
            } else {
                "there are several pools and none is the default: name one, or set \"default\": true on it"
            })
        }),
    }
}

/// The pool of that name, or an error with the nearest there is.
pub(super) fn find_pool(master: &Master, name: &str) -> Result<usize, RpcError> {
    master.pool_index(name).ok_or_else(|| {
        let names: Vec<&str> = master.pools.iter().map(|p| p.definition.name.as_str()).collect();
        let hint = match nearest(name, names.iter().copied()) {
            Some(near) => format!("; did you mean \"{near}\"?"),
            None if names.is_empty() => "; the daemon was started without pools".into(),
            None => format!("; there are: {}", names.join(", ")),
        };
        RpcError::pool_not_found(format!("there is no pool \"{name}\"{hint}"))
    })
}
