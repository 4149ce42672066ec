//! The moment of an upgrade in which nobody is served: everything is handed over, and the keeper makes the successor the master, or
//! we carry on. What is said and when: see [`crate::handover`].

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use slog::{info, warn};

use super::Master;
use super::upgrade::{Stage, TAKE};
use crate::handover::{self, Said};
use crate::sys::pidfd::PidFd;
use crate::sys::{fault, poll, process, seqpacket};
use crate::wire::control::{self, ToKeeper, ToMaster};

const SIGHUP: i32 = 1;
const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;

impl Master {
    /// Whether the successor waits for us, and we may go: nothing is in between two states that the next master could not tell.
    pub(super) fn may_hand_over(&self) -> bool {
        self.upgrade.as_ref().is_some_and(|upgrade| matches!(upgrade.stage, Stage::Prepared))
            && !self.stopping()
            && self.apps_are_calm()
            && self.pools.iter().all(|pool| !pool.outdated)
            && !self.journal_failed
    }

    /// Hands everything over. True: the successor serves, and we are to leave. False: nothing has changed.
    pub(super) fn hand_over(&mut self) -> bool {
        let mut later = Vec::new();
        let outcome = self.give_everything(&mut later);
        let taken = match outcome {
            Ok(taken) => taken,
            Err(why) => {
                self.end_upgrade(Err(why));
                false
            }
        };
        if taken {
            self.pass_on(&later);
            return true;
        }
        later.into_iter().for_each(|message| self.obey_keeper(message));
        false
    }

    /// What the keeper has said while nobody served is the successor's to hear, and only the keeper can tell it.
    fn pass_on(&self, later: &[ToMaster]) {
        let signal = |message: &ToMaster| match message {
            ToMaster::Reload => Some(SIGHUP),
            ToMaster::Reopen => Some(SIGUSR1),
            ToMaster::Upgrade => Some(SIGUSR2),
            _ => None,
        };
        for signal in later.iter().filter_map(signal) {
            // While it lives the number is its own, and it does not die before us.
            let parent = process::parent();
            let told = match parent == self.table.keeper() {
                true => PidFd::open(parent).and_then(|keeper| keeper.send(signal)),
                false => Err(io::Error::other("our parent is another process")),
            };
            if let Err(e) = told {
                warn!(self.log, "the keeper cannot be told of a signal again"; "signal" => signal, "error" => %e);
            }
        }
    }

    /// `later`: what the keeper has said about other things meanwhile.
    fn give_everything(&mut self, later: &mut Vec<ToMaster>) -> Result<bool, String> {
        let frozen = Instant::now();
        self.tell_keeper(&ToKeeper::Frozen, None);
        fault::point("old-frozen");
        {
            let Some(upgrade) = &self.upgrade else { return Ok(false) };
            let (state, fds) = self.everything(upgrade);
            let state = handover::encode(&state)?;
            upgrade.channel.give(&state, &fds).map_err(|e| format!("handing over the state: {e}"))?;
        }
        fault::point("old-given");
        let by = frozen + TAKE;
        loop {
            let Some(upgrade) = &self.upgrade else { return Ok(false) };
            match upgrade.channel.heard().map_err(|e| format!("hearing from the new program: {e}"))? {
                Said::Taken => break,
                Said::Refused(why) => return Err(format!("it cannot take over: {why}")),
                Said::Gone => return Err("it ended while it took over".to_owned()),
                Said::Nothing | Said::Prepared => {}
            }
            self.hear_keeper(later)?;
            let left = by.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("it did not take over within {TAKE:?}"));
            }
            let fds = [upgrade.channel.as_fd(), self.keeper.as_fd()];
            poll::readable(fds, Some(left)).map_err(|e| format!("waiting for the new program: {e}"))?;
        }
        if self.upgrade.as_ref().is_some_and(|upgrade| upgrade.check) {
            self.end_upgrade(Ok(()));
            return Ok(false);
        }
        fault::point("old-taken");
        self.tell_keeper(&ToKeeper::Commit, None);
        fault::point("old-committed");
        loop {
            // From here on the keeper decides, and it always answers: it may have made the other one the master already.
            if self.hear_keeper(later)? {
                fault::point("old-leaving");
                info!(self.log, "a successor serves; leaving"; "ms" => frozen.elapsed().as_millis() as u64);
                return Ok(true);
            }
            let fds = [self.keeper.as_fd(), self.keeper.as_fd()];
            poll::readable(fds, None).map_err(|e| format!("waiting for the keeper: {e}"))?;
        }
    }

    /// True: we are to leave. What is not about the upgrade is for later.
    fn hear_keeper(&self, later: &mut Vec<ToMaster>) -> Result<bool, String> {
        let mut batch = seqpacket::Batch::new(1, control::MAX);
        loop {
            let received = batch.receive(self.keeper.as_fd()).map_err(|e| format!("hearing from the keeper: {e}"))?;
            if received.messages == 0 && !received.more {
                return if received.closed { Err("the keeper has died".to_owned()) } else { Ok(false) };
            }
            for i in 0..received.messages {
                match ToMaster::decode(batch.message(i).0) {
                    Some(ToMaster::Leave) => return Ok(true),
                    Some(message) => {
                        let why = match &message {
                            ToMaster::NoSuccessor(why) => Some(why.clone()),
                            ToMaster::Terminate | ToMaster::Kill => Some("the daemon is to shut down".to_owned()),
                            _ => None,
                        };
                        later.push(message);
                        if let Some(why) = why {
                            return Err(why);
                        }
                    }
                    None => warn!(self.log, "the keeper said something that is not known"),
                }
            }
        }
    }
}
