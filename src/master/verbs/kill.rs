//! `kill`: signal a run, and answer with its status as it is then.

use std::time::Duration;

use super::super::Master;
use super::super::runs::Asker;

pub(super) fn obey(master: &mut Master, asker: Asker, id: &str, signal: Option<i32>, grace: Option<Duration>) {
    let killed = super::find(master, id).and_then(|slot| master.kill(slot, signal, grace).map(|()| slot));
    match killed {
        Ok(slot) => super::status::answer(master, asker, slot),
        Err(e) => master.refuse(asker, &e),
    }
}
