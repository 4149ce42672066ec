//! `status`: a run as it is now.

use super::super::Master;
use super::super::runs::{Asker, Waiter};

pub(super) fn obey(master: &mut Master, asker: Asker, id: &str) {
    match super::find(master, id) {
        Ok(slot) => answer(master, asker, slot),
        Err(e) => master.refuse(asker, &e),
    }
}

/// Answers with a run's status.
pub(super) fn answer(master: &mut Master, asker: Asker, slot: u32) {
    let waiter = Waiter { asker, number: 0, for_end: false, duplicate: false, asked_to_run: false, timer: None };
    master.tell(slot, waiter);
}
