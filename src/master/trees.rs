//! Whole trees: what a run or a worker has forked goes with it, in whatever session it is by then.
//!
//! ```text
//!              what is below it    what has left it (a double fork)      at its end
//! cgroup       its members         its members                           cgroup.kill
//! without one  /proc, by parent    /proc, the keeper's children: by mark the same
//! ```
//!
//! A worker has a cgroup where one can be had; a run has none, since making one would cost each run what only those that are
//! told to end need. The mark is a variable in the environment that a process was started with: a number that no
//! other process's tree has. Whoever is forked from it keeps it. Nobody looks for marks but after the end of a worker, or of a run
//! that was told to end, and then once a turn of the loop for all of them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::Master;
use super::cgroups::{WorkerCgroups, name_of};
use super::timers::Timer;
use crate::sys::pidfd::PidFd;
use crate::sys::process;
use crate::sys::tree::{self, Member};
use crate::wire::channel::TREE_ENV;

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGCONT: i32 = 18;
/// How often a tree that goes on forking is walked before what is left is left to the look for marks.
const ROUNDS: usize = 8;

/// What is known of trees.
#[derive(Debug)]
pub(super) struct Trees {
    pub groups: WorkerCgroups,
    /// Trees whose first process has ended in this turn.
    ended: Vec<Rest>,
    /// Those that have some time left.
    leftovers: HashMap<u64, Rest>,
    next: u64,
}

/// What may be left of a tree.
#[derive(Debug)]
pub(super) struct Rest {
    /// Its mark.
    pub nonce: u64,
    /// The handle of its first process, which has ended; its group may live.
    pub leader: Option<PidFd>,
    pub members: Vec<Member>,
    pub cgroup: Option<String>,
    /// How long it has from now on.
    pub grace: Duration,
}

/// The mark of a process's tree, as its environment has it.
pub(super) fn mark(nonce: u64) -> String {
    format!("{nonce:016x}")
}

impl Trees {
    /// See [`WorkerCgroups::open`].
    pub fn open(name: &str, fresh: bool, log: &slog::Logger) -> Trees {
        let groups = WorkerCgroups::open(name, fresh, log);
        Trees { groups, ended: Vec::new(), leftovers: HashMap::new(), next: 0 }
    }

    /// All that have some time left.
    pub fn rests(&self) -> impl Iterator<Item = &Rest> {
        self.leftovers.values().chain(&self.ended)
    }

    /// Whether nobody is being waited for.
    pub fn is_quiet(&self) -> bool {
        self.leftovers.is_empty() && self.ended.is_empty()
    }
}

impl Rest {
    fn lives(&self) -> bool {
        self.cgroup.is_some()
            || self.leader.as_ref().is_some_and(|leader| leader.send_to_group(0).is_ok())
            || self.members.iter().any(|member| member.handle.send(0).is_ok())
    }
}

impl Master {
    /// A worker's process that was forked from a pool gets a cgroup now that its number is known.
    pub(super) fn bring_into_cgroup(&mut self, slot: u32) {
        let Some(live) = self.runs.live(slot) else { return };
        let Some((pid, Some(handle))) = &live.process else { return };
        self.trees.groups.bring(live, *pid, handle, &self.log);
    }

    /// There is no process for the cgroup that was made for one.
    pub(super) fn forget_tree(&mut self, slot: u32) {
        if let Some(live) = self.runs.live(slot) {
            // A child whose exec failed is in it until it has been reaped.
            self.trees.groups.remove_when_empty(name_of(live));
        }
    }

    /// Sends a signal to all below a process that are not in its group, and remembers them.
    pub(super) fn signal_tree(&mut self, slot: u32, signal: i32) {
        let Some(live) = self.runs.live(slot) else { return };
        let Some((pid, Some(handle))) = &live.process else { return };
        let cgroup = self.trees.groups.of(live);
        for _ in 0..ROUNDS {
            let members = match &cgroup {
                Some(name) => self.trees.groups.inside(name),
                None => tree::descendants(*pid, handle),
            };
            let known = |m: &Member| live.tree.iter().any(|k| k.pid == m.pid && k.handle.send(0).is_ok());
            let new: Vec<Member> = members.into_iter().filter(|m| m.pid != *pid && !known(m)).collect();
            if new.is_empty() {
                break;
            }
            live.tree.extend(new);
            if signal != SIGKILL {
                break;
            }
            send_all(live.tree.iter(), SIGKILL);
        }
        // The group has got it as such.
        send_all(live.tree.iter().filter(|member| member.group != *pid), signal);
        if signal != SIGKILL {
            send_all(live.tree.iter().filter(|member| member.group != *pid), SIGCONT);
        } else if let Some(name) = &cgroup {
            self.trees.groups.kill(name);
        }
    }

    /// The first process of a tree has ended. `grace`: what the others have left; None: they go on, being nobody's business.
    pub(super) fn tree_ended(&mut self, live_slot: u32, leader: Option<PidFd>, grace: Option<Duration>) {
        let Some(live) = self.runs.live(live_slot) else { return };
        let members = std::mem::take(&mut live.tree);
        let had_cgroup = live.pool.is_none() && self.trees.groups.of(live).is_some();
        let cgroup = if live.worker.is_some() { Some(name_of(live)) } else { None };
        // Empty is the usual case, and then this is all.
        let cgroup = cgroup.filter(|name| self.trees.groups.is_lived_in(name));
        let Some(grace) = grace.filter(|_| cgroup.is_some() || !had_cgroup) else { return };
        let nonce = live.nonce;
        self.trees.ended.push(Rest { nonce, leader, members, cgroup, grace });
    }

    /// Looks once for all that the trees that ended in this turn have left behind.
    pub(super) fn end_trees(&mut self) {
        self.trees.groups.sweep();
        if self.trees.ended.is_empty() {
            return;
        }
        let mut ended = std::mem::take(&mut self.trees.ended);
        let mut orphans = self.orphans(&ended.iter().map(|rest| mark(rest.nonce)).collect());
        for mut rest in ended.drain(..) {
            let strays = orphans.remove(&mark(rest.nonce)).unwrap_or_default();
            if !rest.grace.is_zero() {
                send_all(strays.iter(), SIGTERM);
                send_all(strays.iter(), SIGCONT);
            }
            rest.members.extend(strays);
            if rest.grace.is_zero() {
                self.end_rest(rest);
            } else if rest.lives() {
                self.keep_rest(rest);
            }
        }
    }

    /// It has its grace.
    pub(super) fn keep_rest(&mut self, rest: Rest) {
        self.trees.next += 1;
        let number = self.trees.next;
        self.timers.after(rest.grace, Timer::Leftovers(number));
        self.trees.leftovers.insert(number, rest);
    }

    /// The keeper's children that nobody knows and that have one of these marks, with all below them, by mark.
    fn orphans(&self, marks: &HashSet<String>) -> HashMap<String, Vec<Member>> {
        let keeper = process::parent();
        let zygotes = self.pools.iter().flat_map(|pool| &pool.generations).filter_map(|g| Some(g.zygote.as_ref()?.0));
        let known: HashSet<u32> = zygotes.chain([std::process::id()]).collect();
        let mut found: HashMap<String, Vec<Member>> = HashMap::new();
        for pid in tree::children_of(keeper) {
            if known.contains(&pid) || self.pids.contains_key(&pid) {
                continue;
            }
            let Some(member) = tree::hold(pid, keeper) else { continue };
            let Some(mark) = tree::variable(&member, TREE_ENV).filter(|mark| marks.contains(mark)) else { continue };
            let below = tree::descendants(member.pid, &member.handle);
            found.entry(mark).or_default().extend([member].into_iter().chain(below));
        }
        found
    }

    /// Kills what is left of a tree.
    fn end_rest(&mut self, rest: Rest) {
        if let Some(leader) = &rest.leader {
            // ESRCH: they have left by themselves. EINVAL: before Linux 6.9 a dead leader's group is found by its marks.
            let _ = leader.send_to_group(SIGKILL);
        }
        for member in &rest.members {
            send_all(tree::descendants(member.pid, &member.handle).iter(), SIGKILL);
        }
        send_all(rest.members.iter(), SIGKILL);
        if let Some(name) = rest.cgroup {
            self.trees.groups.end(name);
        }
    }

    /// What is left of an ended tree has had its time.
    pub(super) fn leftovers_over(&mut self, number: u64) {
        if let Some(mut rest) = self.trees.leftovers.remove(&number) {
            let mark = mark(rest.nonce);
            rest.members.extend(self.orphans(&HashSet::from([mark.clone()])).remove(&mark).unwrap_or_default());
            self.end_rest(rest);
        }
    }

    /// At the end of the daemon nobody has any grace left.
    pub(super) fn kill_all_leftovers(&mut self) {
        let rest: Vec<Rest> = self.trees.leftovers.drain().map(|(_, rest)| rest).collect();
        rest.into_iter()
            .chain(std::mem::take(&mut self.trees.ended))
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|rest| self.end_rest(rest));
    }

    /// After a recovery: cgroups without a worker go.
    pub(super) fn recover_trees(&mut self) {
        let names =
            self.runs.alive().filter(|(_, live)| live.worker.is_some()).map(|(_, live)| name_of(live)).collect();
        self.trees.groups.keep_only(&names);
    }
}

fn send_all<'a>(members: impl Iterator<Item = &'a Member>, signal: i32) {
    for member in members {
        // Gone already is as good.
        let _ = member.handle.send(signal);
    }
}
