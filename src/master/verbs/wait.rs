//! `wait`: a run's status at its end, or, at the timeout, as it is.

use std::time::Duration;

use super::super::Master;
use super::super::runs::{Asker, Waiter};
use super::super::timers::Timer;

pub(super) fn obey(master: &mut Master, asker: Asker, id: &str, timeout: Option<Duration>) {
    let slot = match super::find(master, id) {
        Ok(slot) => slot,
        Err(e) => return master.refuse(asker, &e),
    };
    let number = master.next_asker();
    let Some(live) = master.runs.live(slot).filter(|_| timeout != Some(Duration::ZERO)) else {
        return super::status::answer(master, asker, slot);
    };
    let seq = live.seq;
    live.told = true;
    let timer = timeout.map(|t| master.timers.after(t, Timer::Wait { slot, seq, asker: number }));
    let waiter = Waiter { asker, number, for_end: true, duplicate: false, asked_to_run: false, timer };
    master.add_waiter(slot, waiter);
}
