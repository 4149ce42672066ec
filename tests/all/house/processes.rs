//! Processes as /proc shows them, and signals to them by pid.

use std::collections::HashSet;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process that cannot be taken for a later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    pub pid: u32,
    started: u64,
}

/// What is told about a process in /proc/PID/stat, beside its name.
struct Stat {
    state: char,
    parent: u32,
    cpu_ticks: u64,
    threads: u64,
    started: u64,
}

impl Stat {
    /// A zombie may be but the first thread: until the last has gone its files are open, and locks held.
    fn alive(&self) -> bool {
        self.state != 'Z' || self.threads > 1
    }
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything.
    let fields: Vec<&str> = text.get(text.rfind(')')? + 2..)?.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: u32::try_from(number(1)?).ok()?,
        cpu_ticks: number(11)? + number(12)?,
        threads: number(17)?,
        started: number(19)?,
    })
}

impl Process {
    /// Neither gone nor a zombie.
    pub fn alive(self) -> bool {
        stat(self.pid).is_some_and(|s| s.started == self.started && s.alive())
    }

    pub fn signal(self, signal: Signal) {
        if self.alive() {
            send(self.pid, signal);
        }
    }

    /// What a person would want to see of one that should not be there.
    pub fn describe(self) -> String {
        format!("{} {:?} {}", self.pid, stat(self.pid).map(|s| s.state), title(self.pid))
    }
}

/// Gone already is as good.
pub fn send(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid as i32), signal);
}

pub fn alive(pid: u32) -> bool {
    stat(pid).is_some_and(|s| s.alive())
}

/// The state letter of proc(5).
pub fn state(pid: u32) -> Option<char> {
    stat(pid).map(|s| s.state)
}

pub fn parent(pid: u32) -> Option<u32> {
    stat(pid).map(|s| s.parent)
}

/// Time on a processor, in milliseconds (a tick is 10 ms on Linux).
pub fn cpu_ms(pid: u32) -> u64 {
    stat(pid).map_or(0, |s| s.cpu_ticks * 10)
}

/// The command line with blanks between the arguments.
pub fn title(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned()
}

/// The numbers of the open descriptors.
pub fn fds(pid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let mut fds: Vec<u32> = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    fds.sort_unstable();
    fds
}

/// A number of /proc/PID/status; sizes are in kB there.
pub fn status_number(pid: u32, key: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// All below it, itself not. Zombies do not count: their parent is about to reap them.
pub fn descendants(of: u32) -> HashSet<Process> {
    let all: Vec<(u32, Stat)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect();
    let mut found = HashSet::new();
    let mut parents = vec![of];
    while let Some(parent) = parents.pop() {
        for (pid, stat) in all.iter().filter(|(_, s)| s.parent == parent) {
            parents.push(*pid);
            if stat.alive() {
                found.insert(Process { pid: *pid, started: stat.started });
            }
        }
    }
    found
}
