//! Pids that are used again at once.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::house::{Setup, machine, processes};

#[test]
fn fault_08_reused_pids_cross_no_status_and_no_signal() {
    let name = "fault_08_reused_pids_cross_no_status_and_no_signal";
    if !machine::is_root() {
        return machine::skipped(name, "only root can make a pid namespace");
    }
    // A pid_max of a namespace's own is new in Linux 6.14; before, writing it would change the machine's.
    let before = std::fs::read_to_string("/proc/sys/kernel/pid_max").unwrap();
    let probe =
        "unshare --pid --fork --mount-proc sh -c '[ \"$(cat /proc/sys/kernel/pid_max)\" != \"$0\" ] && echo own' ";
    let probe = machine::run(std::process::Command::new("sh").args(["-c", &format!("{probe} {}", before.trim())]));
    if !String::from_utf8_lossy(&probe.stdout).contains("own") {
        return machine::skipped(
            name,
            "pid_max is not the namespace's own here (Linux 6.14), or namespaces are forbidden",
        );
    }
    let script = "echo 400 > /proc/sys/kernel/pid_max; exec \"$@\"";
    let daemon = Setup::native(json!({"idle": 4, "limits": {"core": 0}}))
        .wrapped(&["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh"])
        .start();
    assert_eq!(daemon.info()["keeper_pid"], 1, "the keeper is the namespace's init");
    let mut client = daemon.client();
    for n in 0..5 {
        client.start("sleep", json!({"ms": 60_000}), &format!("bystander-{n}"));
    }
    let mut other = daemon.client();
    let mut pids = HashSet::new();
    let mut sent = 0;
    let mut open = std::collections::HashMap::new();
    while sent < 3000 || !open.is_empty() {
        while sent < 3000 && open.len() < 24 {
            let (entry, params, code, signal) = match sent % 5 {
                0 => ("signal", json!({"signal": 9 + sent / 5 % 7}), Value::Null, json!(9 + sent / 5 % 7)),
                _ => ("exit", json!({"code": sent % 256}), json!(sent % 256), Value::Null),
            };
            let call =
                client.send("run", json!({"entry": entry, "params": params, "id": format!("p{sent}"), "wait": true}));
            open.insert(call, (code, signal, sent));
            sent += 1;
        }
        let answer = client.line();
        let (code, signal, n) = open.remove(&answer["id"].as_u64().unwrap()).unwrap();
        let status = &answer["result"];
        assert_eq!((&status["exit_code"], &status["signal"]), (&code, &signal), "{answer}");
        pids.insert(status["pid"].as_u64().unwrap());
        if n % 50 == 0 {
            assert_eq!(other.refused("kill", json!({"id": format!("p{n}"), "signal": "KILL"})).kind, "already_ended");
        }
    }
    assert!(pids.len() < 400 && pids.iter().max() < Some(&400), "{} different pids for 3000 runs", pids.len());
    for n in 0..5 {
        assert_eq!(client.ok("status", json!({"id": format!("bystander-{n}")}))["state"], "running");
    }
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/pid_max").unwrap(), before);
    assert!(processes::alive(daemon.pid()));
}
