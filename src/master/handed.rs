//! What a predecessor has handed over, until it is where it belongs; see [`super::taking`].

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;

use mio::Token;
use serde_json::value::RawValue;

use super::runs::{Asker, Form};
use crate::handover::{self, FdIndex, State};
use crate::pool::{Generation, Orders};
use crate::sys::pidfd::PidFd;
use crate::sys::tree::Member;

/// What has been handed over and is not in its place yet.
#[derive(Debug, Default)]
pub(super) struct Handed {
    pub(super) state: State,
    fds: Vec<Option<OwnedFd>>,
    /// Clients' tokens, by their place.
    pub(super) tokens: Vec<Option<Token>>,
    pub(super) runs: HashMap<u32, handover::Run>,
    generations: HashMap<(String, u32), handover::Generation>,
    pools: HashSet<String>,
}

impl Handed {
    pub fn new(mut state: State, fds: Vec<OwnedFd>) -> Handed {
        let runs = std::mem::take(&mut state.runs).into_iter().map(|run| (run.slot, run)).collect();
        let (mut generations, mut pools) = (HashMap::new(), HashSet::new());
        for pool in &mut state.pools {
            pools.insert(pool.name.clone());
            for g in std::mem::take(&mut pool.generations) {
                generations.insert((pool.name.clone(), g.number), g);
            }
        }
        let fds = fds.into_iter().map(Some).collect();
        Handed { state, fds, tokens: Vec::new(), runs, generations, pools }
    }

    /// Whether anything has been handed over.
    pub fn is_there(&self) -> bool {
        !self.state.daemon.version.is_empty()
    }

    /// Whether that pool's zygotes and orders are ours now.
    pub fn has_pool(&self, name: &str) -> bool {
        self.pools.contains(name)
    }

    /// How many descriptors came along.
    pub fn files(&self) -> u64 {
        self.fds.len() as u64
    }

    pub fn unpack(&mut self, at: FdIndex) -> Option<OwnedFd> {
        self.fds.get_mut(at as usize)?.take()
    }

    /// Somebody whose connection has gone gets no answer.
    pub fn asker(&self, asker: &handover::Asker) -> Asker {
        let nobody = Token(usize::MAX);
        let connection = self.tokens.get(asker.client as usize).copied().flatten().unwrap_or(nobody);
        let form = match &asker.form {
            handover::Form::Rpc(id, batch) => match RawValue::from_string(id.clone()) {
                Ok(id) => Form::Rpc { id, batch: batch.map(|(batch, at)| (batch, at as usize)) },
                Err(_) => Form::Silent,
            },
            handover::Form::Silent => Form::Silent,
            handover::Form::Ticket(ticket) => Form::Ticket(*ticket),
        };
        Asker { connection, form }
    }

    pub fn members(&mut self, members: Vec<handover::Member>) -> Vec<Member> {
        let held = |m: handover::Member| {
            Some(Member { pid: m.pid, group: m.group, handle: PidFd::from(self.unpack(m.handle)?) })
        };
        members.into_iter().filter_map(held).collect()
    }

    /// What was asked for, of a run that has not started.
    pub fn request(&self, slot: u32) -> Option<Box<RawValue>> {
        RawValue::from_string(self.runs.get(&slot)?.request.clone()?).ok()
    }

    /// A generation goes on as it was; None: it was not handed over.
    pub fn generation(
        &mut self,
        pool: &str,
        number: u32,
        replies: OwnedFd,
        pidfds: bool,
    ) -> Result<Generation, OwnedFd> {
        let Some(g) = self.generations.remove(&(pool.to_owned(), number)) else { return Err(replies) };
        let zygote = g.zygote.and_then(|(pid, fd)| Some((pid, PidFd::from(self.unpack(fd)?))));
        let orders =
            g.orders.and_then(|(ours, theirs)| Some(Orders { ours: self.unpack(ours)?, theirs: self.unpack(theirs)? }));
        Ok(Generation {
            number,
            replies,
            pidfds,
            their_end: g.their_end,
            retired: g.retired,
            zygote,
            ready: g.ready.and_then(|ready| serde_json::from_str(&ready).ok()),
            started_at: g.started_at,
            // The master's timer is made anew from this.
            preload_timer: g.preload_by.map(|at| (at, 0)),
            preload_ms: g.preload_ms,
            // They are read, and measured, anew.
            memory: None,
            fork_us: None,
            orders,
            live: 0,
            silent: g.silent,
        })
    }
}
