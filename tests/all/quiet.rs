//! An idle daemon does nothing.

use std::time::Duration;

use serde_json::json;

use crate::house::{Setup, eventually, processes};

#[test]
fn an_idle_daemon_with_idle_children_does_not_wake_up() {
    let daemon = Setup::native(json!({"idle": 20})).start();
    let mut client = daemon.client();
    for _ in 0..30 {
        client.run("noop", json!(null));
    }
    eventually("it is filled up", || (client.pool("fixture")["idle"] == 20).then_some(()));
    drop(client);
    // Whatever the latest runs left to do: after a second the keeper gets the idle children, two later it gives memory back.
    std::thread::sleep(Duration::from_millis(4500));
    let all: Vec<u32> = processes::descendants(daemon.pid()).iter().map(|p| p.pid).chain([daemon.pid()]).collect();
    assert_eq!(all.len(), 23, "keeper, master, zygote and twenty");
    let wakes = |pid: u32| {
        let switches = processes::status_number(pid, "voluntary_ctxt_switches").unwrap();
        (pid, processes::title(pid), switches)
    };
    let before: Vec<_> = all.iter().map(|pid| wakes(*pid)).collect();
    std::thread::sleep(Duration::from_secs(4));
    let after: Vec<_> = all.iter().map(|pid| wakes(*pid)).collect();
    assert_eq!(before, after);
}

#[test]
fn a_daemon_that_has_started_keeps_little_of_its_stack() {
    let daemon = Setup::empty().start();
    // kB, proc_pid_smaps(5).
    let stack = |pid: u32| -> u64 {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
        let rss = maps.lines().skip_while(|line| !line.ends_with("[stack]")).find_map(|line| line.strip_prefix("Rss:"));
        rss.unwrap().split_whitespace().next().unwrap().parse().unwrap()
    };
    for pid in [daemon.pid(), daemon.master()] {
        eventually("little of the stack is left", || (stack(pid) <= 64).then_some(()));
    }
}
