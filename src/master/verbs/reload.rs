//! `reload`: a new generation takes over; the old one's runs finish.

use super::super::Master;
use super::super::runs::Asker;
use crate::wire::rpc::RpcError;

pub(super) fn obey(master: &mut Master, asker: Asker, name: &str) {
    if master.stopping() {
        return master.refuse(asker, &RpcError::shutting_down("the daemon is shutting down"));
    }
    match super::run::find_pool(master, name) {
        Ok(index) => master.reload(asker, index),
        Err(e) => master.refuse(asker, &e),
    }
}
