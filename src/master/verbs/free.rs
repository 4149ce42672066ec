//! `free`: forget an ended run.

use super::super::Master;
use super::super::runs::Asker;
use crate::wire::info::Freed;
use crate::wire::rpc::RpcError;

pub(super) fn obey(master: &mut Master, asker: Asker, id: &str) {
    match free(master, id) {
        Ok(()) => master.answer(asker, &Freed { id: id.into(), freed: true }),
        Err(e) => master.refuse(asker, &e),
    }
}

/// Forgets it, if it has ended.
pub(super) fn free(master: &mut Master, id: &str) -> Result<(), RpcError> {
    let slot = super::find(master, id)?;
    if master.runs.live(slot).is_some() {
        return Err(RpcError::still_running(format!("run {id} has not ended; kill it first")));
    }
    master.forget(slot);
    Ok(())
}
