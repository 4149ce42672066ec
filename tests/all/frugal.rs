//! What commands and an idle daemon cost, by counts that are the same on a slow machine and a fast one. A bound is a quarter above what
//! was needed when it was set; `scripts/bench startup` prints more, in figures of a release build. Whatever goes beyond it has to be
//! worth it at each command, or in each daemon, for ever: then the bound is raised with it.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::house::{Daemon, PATIENCE, Setup, machine, preforkd};

const RAISE: &str = "what has come to it goes again, or is worth a higher bound in tests/all/frugal.rs";

/// {system call: how often} of `preforkd WORDS`, all threads, the dynamic linker's among them.
fn calls(daemon: &Daemon, words: &[&str]) -> HashMap<String, u32> {
    let counted = daemon.path().join("calls");
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-o"]).arg(&counted).arg(preforkd()).args(words);
    // cargo's, whose folders the linker would search.
    command.env("PREFORKD_DIR", daemon.dir()).env_remove("LD_LIBRARY_PATH");
    let done = machine::run(&mut command);
    assert!(done.status.success(), "strace of {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    // % time, seconds, usecs/call, calls, errors if any, name: strace(1).
    let table = fs::read_to_string(counted).unwrap();
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter(|fields| matches!(fields.len(), 5 | 6) && fields.last() != Some(&"total"))
        .filter_map(|fields| Some((fields.last()?.to_string(), fields[3].parse().ok()?)))
        .collect()
}

#[test]
fn a_command_makes_few_system_calls_and_most_no_thread() {
    let daemon = Setup::native(json!({"idle": 1})).start();
    let mut client = daemon.client();
    client.ok("run", json!({"entry": "noop", "id": "ended", "wait": true}));
    let commands: [(&[&str], u32, u32); 5] = [
        (&["--version"], 82, 0),
        (&["status", "ended"], 90, 0),
        (&["list"], 90, 0),
        (&["pools"], 90, 0),
        // Ctrl-C is waited for on a thread.
        (&["run", "fixture", "noop", "--wait"], 120, 1),
    ];
    for (words, most, threads) in commands {
        let calls = calls(&daemon, words);
        let made = |name| calls.get(name).copied().unwrap_or(0);
        let sum: u32 = calls.values().sum();
        assert!((20..=most).contains(&sum), "{words:?}: {sum} system calls, {most} are allowed ({RAISE}): {calls:?}");
        assert_eq!(made("clone") + made("clone3"), threads, "threads of {words:?}: {calls:?}");
    }
}

/// Instructions of the processor for `preforkd WORDS`, the dynamic linker's among them.
fn instructions(daemon: &Daemon, words: &[&str]) -> u64 {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(preforkd()).args(words);
    command.env("PREFORKD_DIR", daemon.dir()).env_remove("LD_LIBRARY_PATH");
    let done = machine::run(&mut command);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{words:?}: {said}");
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")).expect("callgrind's sum");
    collected.1.trim().parse().unwrap()
}

/// Of a build without optimization, which takes three to ten times those of docs/PERFORMANCE.md.
#[test]
fn a_command_takes_few_instructions() {
    let daemon = Setup::native(json!({"idle": 1})).start();
    daemon.client().ok("run", json!({"entry": "noop", "id": "ended", "wait": true}));
    let commands: [(&[&str], u64); 4] = [
        (&["--version"], 3_200_000),
        (&["ping"], 3_500_000),
        (&["status", "ended"], 4_000_000),
        (&["list"], 4_400_000),
    ];
    for (words, most) in commands {
        let taken = instructions(&daemon, words);
        assert!((100_000..=most).contains(&taken), "{words:?}: {taken} instructions, {most} are allowed ({RAISE})");
    }
}

/// What a process has written to, in kB, by mapping, without what the dynamic linker has relocated in the program, which depends on
/// how it was built (proc_pid_smaps(5)).
fn written(pid: u32) -> HashMap<String, u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let (mut found, mut mapping) = (HashMap::new(), "");
    for line in maps.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields[..] {
            ["Anonymous:", kb, "kB"] if mapping != preforkd() => {
                *found.entry(mapping.to_owned()).or_default() += kb.parse::<u64>().unwrap();
            }
            [range, _, _, _, _, ref name @ ..] if range.contains('-') => mapping = name.first().unwrap_or(&"no name"),
            _ => {}
        }
    }
    found.retain(|_, kb| *kb > 0);
    found
}

#[test]
fn an_idle_daemon_keeps_little_memory_for_itself() {
    let daemon = Setup::empty().start();
    for (what, pid, most) in [("keeper", daemon.pid(), 270), ("master", daemon.master(), 440)] {
        // What the start alone needed is given back some time after it.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let written = written(pid);
            let sum: u64 = written.values().sum();
            assert!(sum > 40, "{what}: {written:?}");
            if sum <= most {
                break;
            }
            assert!(Instant::now() < deadline, "the {what} keeps {sum} kB, {most} are allowed ({RAISE}): {written:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
