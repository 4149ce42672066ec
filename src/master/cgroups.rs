//! Cgroups of workers: made, looked into, killed, and removed once they are empty.

use std::collections::HashSet;

use slog::{debug, info, warn};

use super::runs::Live;
use super::trees::mark;
use crate::sys::cgroup::{Cgroup, Cgroups};
use crate::sys::pidfd::PidFd;
use crate::sys::tree::{self, Member};

/// A cgroup for each worker's process, where that can be had.
#[derive(Debug)]
pub(super) struct WorkerCgroups {
    cgroups: Option<Cgroups>,
    /// Those of which everybody has been killed, and that are removed when they are empty.
    emptying: Vec<String>,
}

/// The name of a process's cgroup: the worker's id, and what no other process of it has.
pub(super) fn name_of(live: &Live) -> String {
    format!("{}-{}", live.id, mark(live.nonce))
}

impl WorkerCgroups {
    /// In the folder `name`. `fresh`: whoever is in one has lost its daemon, and is killed.
    pub fn open(name: &str, fresh: bool, log: &slog::Logger) -> WorkerCgroups {
        let cgroups = Cgroups::open(name).inspect_err(|e| {
            info!(log, "no cgroups for workers; their processes are found through /proc"; "why" => %e);
        });
        let mut groups = WorkerCgroups { cgroups: cgroups.ok(), emptying: Vec::new() };
        if fresh {
            groups.keep_only(&HashSet::new());
        }
        groups
    }

    /// Ends everybody who is in a cgroup that is none of these.
    pub fn keep_only(&mut self, names: &HashSet<String>) {
        let Some(cgroups) = &self.cgroups else { return };
        let gone: Vec<String> = cgroups.names().into_iter().filter(|name| !names.contains(name)).collect();
        gone.into_iter().for_each(|name| self.end(name));
    }

    /// One for that worker's process.
    pub fn make(&self, live: &Live, log: &slog::Logger) -> Option<Cgroup> {
        let made = self.cgroups.as_ref()?.make(&name_of(live));
        made.inspect_err(|e| warn!(log, "a worker has no cgroup"; "error" => %e)).ok()
    }

    /// One for a worker's process that runs already.
    pub fn bring(&self, live: &Live, pid: u32, handle: &PidFd, log: &slog::Logger) {
        let Some(cgroup) = self.make(live, log) else { return };
        let brought = cgroup.bring(pid);
        // Alive by now, it had its number all the time.
        if (brought.is_err() || handle.send(0).is_err())
            && let Some(cgroups) = &self.cgroups
            && !cgroups.release(&name_of(live))
        {
            debug!(log, "a cgroup cannot be removed"; "pid" => pid);
        }
    }

    /// That of a process, if it has one.
    pub fn of(&self, live: &Live) -> Option<String> {
        live.worker?;
        let name = name_of(live);
        self.cgroups.as_ref()?.members(&name).map(|_| name)
    }

    /// Whoever is in it.
    pub fn inside(&self, name: &str) -> Vec<Member> {
        let Some(cgroups) = &self.cgroups else { return Vec::new() };
        let held: Vec<Member> =
            cgroups.members(name).unwrap_or_default().into_iter().filter_map(tree::hold_any).collect();
        // A number that still is there by now was its process's when that was held.
        let still: HashSet<u32> = cgroups.members(name).unwrap_or_default().into_iter().collect();
        held.into_iter().filter(|member| still.contains(&member.pid)).collect()
    }

    /// Kills all that are in it.
    pub fn kill(&self, name: &str) {
        if let Some(cgroups) = &self.cgroups {
            // One that is not there has nobody in it.
            let _ = cgroups.kill(name);
        }
    }

    /// Removes it if nobody is in it; whether somebody is.
    pub fn is_lived_in(&self, name: &str) -> bool {
        self.cgroups.as_ref().is_some_and(|cgroups| !cgroups.remove(name))
    }

    /// Kills all that are in it, and removes it now or as soon as it is empty.
    pub fn end(&mut self, name: String) {
        if self.is_lived_in(&name) {
            self.kill(&name);
            self.remove_when_empty(name);
        }
    }

    /// Removes it now or as soon as it is empty.
    pub fn remove_when_empty(&mut self, name: String) {
        if self.is_lived_in(&name) {
            self.emptying.push(name);
        }
    }

    /// Removes those that are empty by now.
    pub fn sweep(&mut self) {
        if let Some(cgroups) = &self.cgroups {
            self.emptying.retain(|name| !cgroups.remove(name));
        }
    }

    /// Removes the daemon's folder.
    pub fn leave(&mut self) {
        self.sweep();
        if let Some(cgroups) = &self.cgroups {
            cgroups.leave();
        }
    }
}
