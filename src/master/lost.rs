//! Orders that went astray: a zygote that hangs, or that died with an order in its hands.
//!
//! The order channel is the record of who has taken what: a zygote that dies leaves what it has not read to the next
//! one. An order that it had read, and of which nobody has said that the run started, is sent again only when
//! nobody is left who could have got it: when its reply channel is silent, or when none of the keeper's children that hold
//! that channel is unaccounted for. No run is ever started twice, and none waits for longer than it takes to be sure.

use slog::{debug, error, info};

use super::runs::Live;
use super::timers::Timer;
use super::trees::mark;
use super::{HUNG, Master, START_CHECK};
use crate::pool::send_order;
use crate::sys::clock::monotonic_ns;
use crate::sys::pidfd::PidFd;
use crate::sys::reap::How;
use crate::sys::{process, tree};
use crate::wire::channel::{Order, TREE_ENV};
use crate::wire::rpc::RpcError;
use crate::wire::signal::signal_name;
use crate::wire::status::State;
use std::os::fd::AsFd;

const SIGKILL: i32 = 9;
/// The number that the reply channel has in a zygote and its children.
pub(super) const REPLIES_FD: i32 = 4;

impl Master {
    /// Those who were asked for a while ago and have not said that they started: is the zygote hung, or have they died?
    pub(super) fn check_starts(&mut self, index: usize) {
        self.watching_starts[index] = false;
        let now = monotonic_ns();
        let late: Vec<(u32, (u32, u64))> = self
            .runs
            .alive()
            .filter(|(_, l)| l.pool == Some(index) && l.state == State::Starting)
            .filter(|(_, l)| now - l.asked_at >= START_CHECK.as_nanos() as u64 / 2)
            .map(|(slot, l)| (slot, l.order))
            .collect();
        if self.pools[index].starting > 0 {
            self.watching_starts[index] = true;
            self.timers.after(START_CHECK, Timer::Starts { pool: index });
        }
        if late.is_empty() {
            return;
        }
        if self.hung(index, now) {
            return;
        }
        self.find_unheard(index, late.iter().map(|(slot, _)| *slot));
        for (slot, order) in late {
            if self.runs.live(slot).is_none_or(|live| live.state != State::Starting) {
                continue;
            }
            if self.runs.live(slot).is_some_and(|live| live.recovered && live.worker.is_some()) {
                // Who has it cannot be told any more. If its child comes nevertheless it ends at once.
                self.lose(slot, "the daemon's master was killed while it was asked for, and it did not come");
                continue;
            }
            if self.never_forked(index, slot) {
                self.send_again(index, slot);
                continue;
            }
            let pool = &self.pools[index];
            if pool.current().is_some()
                && let Err(e) = send_order(pool.orders.ours.as_fd(), Order::Whois, order.0, order.1)
            {
                debug!(self.log, "asking a zygote for a pid"; "error" => %e);
            }
        }
    }

    /// A zygote that leaves its orders unread is stopped or stuck: it is killed, and the next one reads them.
    pub(super) fn hung(&mut self, index: usize, now: u64) -> bool {
        let pool = &mut self.pools[index];
        let waits = pool.unread_since(now).is_some_and(|since| now - since >= HUNG.as_nanos() as u64);
        let Some((pid, handle)) = pool.current().and_then(|g| g.zygote.as_ref()).filter(|_| waits) else {
            return false;
        };
        error!(self.log, "the zygote does not read its orders: killing it"; "pool" => &pool.definition.name, "pid" => pid);
        let _ = handle.send(SIGKILL); // dead already is as good
        true
    }

    /// The zygote's answer: that child was forked for a run that has not said that it started.
    pub(super) fn whois(&mut self, index: usize, order_slot: u32, nonce: u64, pid: u32) {
        let order = (order_slot, nonce);
        let found = self
            .runs
            .alive()
            .find(|(_, l)| l.order == order && l.state == State::Starting)
            .map(|(s, l)| (s, l.fork_seq, l.asked_at));
        let Some((slot, fork_seq, asked_at)) = found else { return };
        let exit = self.unclaimed.get(&pid).filter(|e| e.seq >= fork_seq).copied();
        let name = self.pools[index].definition.name.clone();
        if let Some(exit) = exit.filter(|_| pid != 0) {
            let how = match exit.how {
                How::Exited(code) => format!("with exit code {code}"),
                How::Killed(n) | How::Dumped(n) => format!("by {}", signal_name(n).unwrap_or("a signal")),
            };
            let text = format!("the process (pid {pid}) in pool \"{name}\" ended {how} before it had started the run");
            return self.fail_start(slot, &RpcError::start_failed(text));
        }
        let preload_timeout = self.pools[index].definition.preload_timeout;
        if monotonic_ns() - asked_at > preload_timeout.as_nanos() as u64 {
            // Forked, alive, and silent for longer than a whole preload may take.
            self.kill_silent(index, pid);
            if pid == 0 {
                let text = format!("pool \"{name}\" has forked no process for the run within {preload_timeout:?}");
                if self.runs.live(slot).is_some_and(|live| live.recovered) {
                    return self.lose(
                        slot,
                        "the daemon's master was killed while it started, and it was never heard of again",
                    );
                }
                self.fail_start(slot, &RpcError::start_failed(text));
            }
        }
    }

    /// Whether the zygote that had read this run's order died before it forked: none of the keeper's children that hold the
    /// zygote's channel could be its process. Those that run something are known; those with the title of an idle child are, if there
    /// are no more of them than idle children that have no request yet. Whatever cannot be looked at could be it.
    pub(super) fn never_forked(&mut self, index: usize, slot: u32) -> bool {
        let Some(live) = self.runs.live(slot).filter(|live| !live.carried && live.request.is_some()) else {
            return false;
        };
        let (number, on_demand) = (live.generation, live.order == (slot, live.nonce));
        let Some(g) = self.pools[index].generation(number) else { return false };
        let their_end = g.their_end;
        if g.zygote.is_some() || their_end == 0 {
            return false;
        }
        let Ok(children) = process::children_of(process::parent()) else { return false };
        // Whoever was forked is in that list, or has said so: what was said is read now.
        self.replies(index, number);
        if self.runs.live(slot).is_none_or(|live| live.state != State::Starting)
            || self.dismiss_dead_idle(index).is_err()
        {
            return false;
        }
        let (mut idle, mut others) = (0, 0);
        for pid in children {
            if pid == std::process::id() || self.pids.contains_key(&pid) {
                continue;
            }
            match process::inode_of(pid, REPLIES_FD) {
                Ok(inode) if inode != their_end => {}
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Ok(_) if process::title_of(pid).is_ok_and(|title| title.ends_with(" idle")) => idle += 1,
                _ => others += 1,
            }
        }
        let waiting = self.pools[index].idle.iter().filter(|c| c.generation == number && !c.carried).count();
        others == 0 && (on_demand || idle <= waiting)
    }

    /// Kills a child that a zygote has named. The number is only its word: it must be a child of the keeper's, of the
    /// zygote's user, and nobody that we know otherwise.
    pub(super) fn kill_silent(&self, index: usize, pid: u32) {
        let zygotes = || self.pools.iter().flat_map(|p| &p.generations).filter_map(|g| g.zygote.as_ref()).map(|z| z.0);
        let Some(zygote) = self.pools[index].current().and_then(|g| g.zygote.as_ref()).map(|z| z.0) else { return };
        if pid == 0 || self.pids.contains_key(&pid) || zygotes().any(|known| known == pid) || pid == std::process::id()
        {
            return;
        }
        let Ok(handle) = PidFd::open(pid) else { return };
        let owner = process::parent_and_owner(zygote).map(|(_, owner)| owner);
        let known = process::parent_and_owner(pid);
        // Alive after the look at it: so that was what the handle is on. Its exit then is what the next check finds.
        if known.is_some() && known == owner.map(|owner| (process::parent(), owner)) && handle.send(0).is_ok() {
            let _ = handle.send(SIGKILL);
        }
    }

    /// All who could have started this run are gone, and none has said that it did: it waits again.
    pub(super) fn send_again(&mut self, index: usize, slot: u32) {
        let Some(live) = self.runs.live(slot) else { return };
        if live.worker.is_some() {
            let why = "its zygote died before it had forked it";
            return self.fail_start(slot, &RpcError::start_failed(why));
        }
        info!(self.log, "a run is started again: its zygote died before it had forked it"; "id" => %live.id);
        live.state = State::Queued;
        let captures = std::mem::take(&mut live.captures);
        self.drop_captures(slot, captures);
        let Some(live) = self.runs.live(slot) else { return };
        let number = live.generation;
        self.table.set_queued(slot);
        self.starting -= 1;
        let pool = &mut self.pools[index];
        pool.starting -= 1;
        pool.admission.wait_again(slot);
        pool.untold = usize::MAX;
        self.generation_lost_one(index, number);
        self.busy(index);
    }

    /// Whether somebody waits for that child.
    pub(super) fn is_asked_for(&mut self, pool: usize, slot: u32, nonce: u64) -> bool {
        self.runs.live(slot).is_some_and(|l| l.state == State::Starting && l.nonce == nonce && l.pool == Some(pool))
    }

    /// A child has started what is nobody's any more: a former master had asked for it, and did not live to put it on
    /// record, or it has been given up meanwhile.
    pub(super) fn kill_unasked(&self, index: usize, pid: u32, nonce: u64, handle: Option<PidFd>) {
        match handle {
            _ if self.pids.contains_key(&pid) => {}
            // One that says anything may be somebody's whom we wait for; one with that mark is nobody else's.
            _ if self.pools[index].starting > 0 && !has_mark(pid, nonce) => {}
            // The kernel's word for whoever said so.
            Some(handle) => {
                info!(self.log, "a process that nobody asked for is killed"; "pool" => &self.pools[index].definition.name, "pid" => pid);
                let _ = handle.send(SIGKILL); // dead already is as good
            }
            None => self.kill_silent(index, pid),
        }
    }

    /// That generation's channel is silent: its runs that have not started never will.
    pub(super) fn send_lost_again(&mut self, index: usize, number: u32) {
        let lost =
            |l: &Live| l.pool == Some(index) && l.state == State::Starting && l.generation == number && !l.carried;
        let mut slots: Vec<(u64, u32)> =
            self.runs.alive().filter(|(_, l)| lost(l)).map(|(slot, l)| (l.ordered.0, slot)).collect();
        // The first that was sent is the first to be sent again.
        slots.sort_unstable();
        for (_, slot) in slots.into_iter().rev() {
            if self.runs.live(slot).is_some_and(|l| l.recovered) {
                self.lose(
                    slot,
                    "the daemon's master was killed while it started, and nobody is left who could tell more",
                );
            } else if self.runs.live(slot).is_some_and(|l| l.request.is_some()) {
                self.send_again(index, slot);
            }
        }
    }

    /// A zygote has died: which of the orders that were sent had it read? Those before the first unread one; the others are the next
    /// zygote's.
    pub(super) fn divide_orders(&mut self, index: usize, number: u32) {
        let pool = &self.pools[index];
        let first_unread = match pool.unread_order() {
            None => u64::MAX,
            Some(unread) => {
                let child = pool.idle.iter().find(|c| (c.number, c.nonce) == unread).map(|c| c.order.0);
                let run = || self.runs.alive().find(|(_, l)| l.order == unread).map(|(_, l)| l.ordered.0);
                // One that nobody knows any more: nothing is certain about those before it.
                child.or_else(run).unwrap_or(0)
            }
        };
        let mut former_zygotes = Vec::new();
        for child in &mut self.pools[index].idle {
            let carried = child.order.0 >= first_unread;
            if child.carried && !carried {
                // Forked by this one, if at all, and left to it by another.
                former_zygotes.push(std::mem::replace(&mut child.generation, number));
            }
            child.carried = carried;
        }
        former_zygotes.into_iter().for_each(|former| self.drop_if_done(index, former));
        let concerned =
            |l: &Live| l.pool == Some(index) && l.state == State::Starting && (l.generation == number || l.carried);
        let slots: Vec<u32> = self.runs.alive().filter(|(_, l)| concerned(l)).map(|(slot, _)| slot).collect();
        for slot in slots {
            let Some(live) = self.runs.live(slot) else { continue };
            let former = live.generation;
            live.carried = live.ordered.0 >= first_unread;
            if !live.carried && former != number {
                live.generation = number;
                if let Some(g) = self.pools[index].generation(number) {
                    g.live += 1;
                }
                self.generation_lost_one(index, former);
            }
        }
    }

    /// Looks after a while whether those that were asked for have started.
    pub(super) fn watch_starts(&mut self, index: usize) {
        if !self.watching_starts[index] {
            self.watching_starts[index] = true;
            self.timers.after(START_CHECK, Timer::Starts { pool: index });
        }
    }
}

/// Whether that child of the keeper's has the mark of this order.
pub(super) fn has_mark(pid: u32, nonce: u64) -> bool {
    // Until it has one it is all zeroes.
    let member = tree::hold(pid, process::parent()).filter(|_| nonce != 0);
    member.and_then(|member| tree::variable(&member, TREE_ENV)).is_some_and(|its| its == mark(nonce))
}
