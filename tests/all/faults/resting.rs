//! Idle children that outlive a master.

use std::collections::HashSet;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::masters::kill;
use crate::house::{Daemon, Setup, eventually, processes};

const IDLE: usize = 8;

/// Who waits for a request.
fn idle(daemon: &Daemon) -> HashSet<u32> {
    let all = processes::descendants(daemon.pid());
    all.iter().map(|p| p.pid).filter(|pid| processes::title(*pid).ends_with(" idle")).collect()
}

/// A daemon whose keeper has the channels of all of its idle children; and how many descriptors it has without them.
fn rested() -> (Daemon, usize) {
    let bare = Setup::native(json!({"idle": 0})).start();
    eventually("it is loaded", || (bare.client().pool("fixture")["state"] == "ready").then_some(()));
    let daemon = Setup::native(json!({"idle": IDLE})).start();
    let others = eventually("the keeper has the idle children", || {
        // Read each time: a keeper may be given what it keeps after the pool is ready.
        let others = processes::fds(bare.pid()).len();
        (idle(&daemon).len() == IDLE && processes::fds(daemon.pid()).len() == others + IDLE).then_some(others)
    });
    (daemon, others)
}

#[test]
fn fault_01_idle_children_that_have_rested_serve_the_next_master() {
    let (daemon, others) = rested();
    let before = idle(&daemon);
    for round in 0..3 {
        kill(&daemon, daemon.master());
        assert_eq!(daemon.client().pool("fixture")["idle"], IDLE, "round {round}");
        assert_eq!(idle(&daemon), before, "round {round}");
    }
    // Whoever has been asked is none of them any more, also for the master after this one.
    let mut client = daemon.client();
    let ran = client.start("sleep", json!({"ms": 60_000}), "ran");
    assert!(before.contains(&(ran["pid"].as_u64().unwrap() as u32)), "{ran}");
    kill(&daemon, daemon.master());
    let mut client = daemon.client();
    let now = client.start("sleep", json!({"ms": 60_000}), "next");
    // One of them, or one of those that the new zygote has forked meanwhile.
    assert_ne!(now["pid"], ran["pid"]);
    assert_eq!(client.ok("status", json!({"id": "ran"}))["pid"], ran["pid"]);
    eventually("there are as many as before", || (idle(&daemon).len() == IDLE).then_some(()));
    // Nothing holds those of an old generation.
    client.ok("reload", json!({"name": "fixture"}));
    let old = |pid: &u32| *pid != ran["pid"] && *pid != now["pid"] && processes::alive(*pid);
    eventually("the old ones leave", || (!before.iter().any(old)).then_some(()));
    // Beside the channels of one former generation, or of two: see above.
    eventually("the keeper has those of the new one", || {
        let fds = processes::fds(daemon.pid()).len();
        (idle(&daemon).len() == IDLE && (1..=2).any(|former| fds == others + former + IDLE)).then_some(())
    });
}

#[test]
fn fault_01_idle_children_that_died_with_the_master_are_followed_by_others() {
    let (daemon, _) = rested();
    let before = idle(&daemon);
    let master = daemon.master();
    processes::send(master, Signal::SIGSTOP);
    before.iter().for_each(|pid| processes::send(*pid, Signal::SIGKILL));
    kill(&daemon, master);
    let mut client = daemon.client();
    for code in 0..4 {
        let run = client.ok("run", json!({"entry": "exit", "params": {"code": code}, "wait": true}));
        assert_eq!(run["exit_code"], code);
    }
    eventually("there are as many as before", || {
        (idle(&daemon).len() == IDLE && client.pool("fixture")["idle"] == IDLE).then_some(())
    });
}

#[test]
fn fault_03_idle_children_that_die_together_leave_nothing_with_the_keeper() {
    let (daemon, others) = rested();
    let mut client = daemon.client();
    let (master, before) = (daemon.master(), idle(&daemon));
    // Nobody but them is left of their generation.
    processes::send(client.pool("fixture")["zygote_pid"].as_u64().unwrap() as u32, Signal::SIGKILL);
    eventually("there is another zygote", || (client.pool("fixture")["generation"] == 2).then_some(()));
    assert_eq!(idle(&daemon), before);
    processes::send(master, Signal::SIGSTOP);
    before.iter().for_each(|pid| processes::send(*pid, Signal::SIGKILL));
    eventually("they are dead", || (!before.iter().any(|pid| processes::alive(*pid))).then_some(()));
    processes::send(master, Signal::SIGCONT);
    eventually("the keeper has those that follow, and no others", || {
        (idle(&daemon).len() == IDLE && processes::fds(daemon.pid()).len() == others + IDLE).then_some(())
    });
}

#[test]
fn fault_04_a_stopped_zygote_is_replaced_though_nobody_starts_anything() {
    let (daemon, _) = rested();
    let mut client = daemon.client();
    let zygote = client.pool("fixture")["zygote_pid"].as_u64().unwrap() as u32;
    drop(client);
    processes::send(zygote, Signal::SIGSTOP);
    // Another one is asked for, which nobody reads.
    processes::send(*idle(&daemon).iter().next().unwrap(), Signal::SIGKILL);
    let wakes = || processes::status_number(daemon.master(), "voluntary_ctxt_switches").unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let before = wakes();
    std::thread::sleep(Duration::from_secs(3));
    let woken = wakes() - before;
    assert!(woken <= 12, "a look each second, and not {woken}");
    eventually("it is replaced", || (!processes::alive(zygote)).then_some(()));
    eventually("there are as many as before", || (idle(&daemon).len() == IDLE).then_some(()));
    assert_eq!(daemon.client().pool("fixture")["generation"], 2);
}
