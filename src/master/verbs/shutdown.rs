//! `shutdown`: drain, TERM, KILL.

use super::super::Master;
use super::super::runs::Asker;
use crate::wire::info::Stopping;

pub(super) fn obey(master: &mut Master, asker: Asker) {
    master.answer(asker, &Stopping { stopping: true });
    if !master.stopping() {
        master.stop();
    }
}
