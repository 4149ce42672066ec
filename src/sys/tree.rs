//! A process and all below it, each held by a descriptor before anything is sent to it.
//!
//! A number read from `/proc` may be another process's a moment later. So each is opened first, looked at then, and asked at
//! last whether the handle's process still is there: if so, what was seen was its own.

use std::collections::HashSet;
use std::fs;
use std::io::Read;

use super::pidfd::PidFd;

/// A process that is held.
#[derive(Debug)]
pub struct Member {
    /// Its number.
    pub pid: u32,
    /// Its group, as it was when it was looked at.
    pub group: u32,
    /// Whoever it is.
    pub handle: PidFd,
}

/// All below a process, itself not. The nearest come first.
pub fn descendants(pid: u32, handle: &PidFd) -> Vec<Member> {
    let mut seen = HashSet::from([pid]);
    let mut found = hold_children(pid, handle, &mut seen);
    let mut at = 0;
    while let Some(member) = found.get(at) {
        let below = hold_children(member.pid, &member.handle, &mut seen);
        found.extend(below);
        at += 1;
    }
    found
}

fn hold_children(parent: u32, handle: &PidFd, seen: &mut HashSet<u32>) -> Vec<Member> {
    let children = children_of(parent);
    if handle.send(0).is_err() {
        // The number may have been another's already.
        return Vec::new();
    }
    children.into_iter().filter(|pid| seen.insert(*pid)).filter_map(|pid| hold(pid, parent)).collect()
}

/// Holds a child of `parent`; None when there is none of that number.
pub fn hold(pid: u32, parent: u32) -> Option<Member> {
    let handle = PidFd::open(pid).ok()?;
    let (its_parent, group) = parent_and_group(pid)?;
    (its_parent == parent && handle.send(0).is_ok()).then_some(Member { pid, group, handle })
}

/// Holds whoever has that number now.
pub fn hold_any(pid: u32) -> Option<Member> {
    let handle = PidFd::open(pid).ok()?;
    let (_, group) = parent_and_group(pid)?;
    handle.send(0).is_ok().then_some(Member { pid, group, handle })
}

/// The value of a variable in the environment that a process, or whoever it was forked from, was started with.
pub fn variable(member: &Member, name: &str) -> Option<String> {
    /// No system passes more to a program (MAX_ARG_STRLEN × a generous count).
    const MOST: u64 = 4 << 20;
    let mut bytes = Vec::new();
    fs::File::open(format!("/proc/{}/environ", member.pid)).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
    member.handle.send(0).ok()?;
    let pairs = bytes.split(|b| *b == 0);
    let value = pairs.filter_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")).next()?;
    String::from_utf8(value.to_vec()).ok()
}

/// The children of a process, of all of its threads.
pub fn children_of(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for thread in threads {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(text) => found.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok())),
            // A kernel without those lists (CONFIG_PROC_CHILDREN), or a thread that has gone.
            Err(_) if thread.path().exists() => return children_by_parent(pid),
            Err(_) => {}
        }
    }
    found
}

fn children_by_parent(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| parent_and_group(*pid).is_some_and(|(its, _)| its == parent))
        .collect()
}

fn parent_and_group(pid: u32) -> Option<(u32, u32)> {
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&bytes);
    // The command in parentheses may hold anything.
    let mut fields = stat.get(stat.rfind(')')? + 2..)?.split(' ').skip(1);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    #[test]
    fn all_below_a_process_are_held_in_whatever_session() {
        let script = "setsid sh -c 'sleep 100 & echo $!; wait' & echo $!; wait";
        let mut child =
            Command::new("sh").args(["-c", script]).env("MARK", "a=b").stdout(Stdio::piped()).spawn().unwrap();
        let lines: Vec<u32> = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .take(2)
            .map(|line| line.unwrap().parse().unwrap())
            .collect();
        let handle = PidFd::open(child.id()).unwrap();
        let found = descendants(child.id(), &handle);
        let pids: HashSet<u32> = found.iter().map(|m| m.pid).collect();
        assert!(lines.iter().all(|pid| pids.contains(pid)), "{lines:?} {pids:?}");
        assert!(!pids.contains(&child.id()));
        let own = hold_any(child.id()).unwrap().group;
        assert!(found.iter().any(|m| m.group != own), "one has a session of its own");
        assert!(found.iter().all(|m| variable(m, "MARK").as_deref() == Some("a=b") && variable(m, "MAR").is_none()));
        assert!(hold(found[0].pid, std::process::id()).is_none(), "it is no child of ours");
        children_by_parent(child.id()).iter().for_each(|pid| assert!(pids.contains(pid)));
        for member in &found {
            member.handle.send(9).unwrap();
        }
        handle.send(9).unwrap();
        child.wait().unwrap();
        assert!(descendants(child.id(), &handle).is_empty());
    }
}
