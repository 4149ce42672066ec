//! Masters that stand still: stopped, or in a turn that does not end.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::masters;
use crate::house::{Client, Daemon, Setup, eventually, processes, within};

fn setup(deadline: &str) -> Setup {
    Setup::native(json!({"idle": 1})).arguments(&["--watchdog", deadline])
}

fn logged(daemon: &Daemon, text: &str) {
    eventually(text, || daemon.log().contains(text).then_some(()));
}

/// Another master than this one answers.
fn followed(daemon: &Daemon, master: u32) {
    within(Duration::from_secs(40), "another master answers", || {
        let mut client = Client::unix(&daemon.socket()).ok()?;
        client.patience(Duration::from_secs(1)).ok()?;
        client.send_raw(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"info\"}\n").ok()?;
        let info: Value = serde_json::from_str(&client.try_line().ok()??).ok()?;
        (info["result"]["master_pid"] != json!(master)).then_some(())
    });
}

/// What has to hold when a master is made to stand still and nobody helps it: `still` does that.
fn is_ended_and_followed(daemon: &Daemon, still: impl FnOnce(u32)) {
    let mut client = daemon.client();
    let alive = client.start("sleep", json!({"ms": 4000}), "alive");
    client.ok("run", json!({"entry": "exit", "params": {"code": 5}, "id": "ended", "wait": true}));
    let master = daemon.master();
    still(master);
    // It waits in the backlog, which is the next one's, too, or is cut and asks again.
    let mut waiting = Client::unix(&daemon.socket()).unwrap();
    waiting.send("ping", json!({}));
    followed(daemon, master);
    assert!(!processes::alive(master));
    logged(daemon, &format!("watchdog: the master (pid {master})"));
    let mut client = daemon.client();
    assert_eq!(client.ok("status", json!({"id": "ended"}))["exit_code"], 5);
    assert_eq!(client.ok("run", json!({"entry": "exit", "params": {"code": 3}, "wait": true}))["exit_code"], 3);
    let status = client.wait("alive");
    assert_eq!((&status["exit_code"], &status["pid"]), (&json!(0), &alive["pid"]));
}

#[test]
fn fault_30_a_master_that_is_stopped_is_ended_at_the_deadline_and_another_serves() {
    let daemon = setup("1s").start();
    for _ in 0..2 {
        is_ended_and_followed(&daemon, |master| processes::send(master, Signal::SIGSTOP));
        logged(&daemon, "has been stopped by a signal: nobody is served until it gets SIGCONT within 1s");
        daemon.client().ok("free", json!({"id": "ended"}));
        daemon.client().ok("free", json!({"id": "alive"}));
    }
}

#[test]
fn fault_30_a_master_that_goes_on_in_time_is_left_alone() {
    let daemon = setup("4s").start();
    let master = daemon.master();
    processes::send(master, Signal::SIGSTOP);
    logged(&daemon, "has been stopped by a signal");
    processes::send(master, Signal::SIGCONT);
    logged(&daemon, "goes on");
    // And one that is busy all the time.
    let mut client = daemon.client();
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        client.run("noop", json!(null));
    }
    assert_eq!(daemon.master(), master);
    assert!(!daemon.log().contains("watchdog:"), "{}", daemon.log());
}

#[test]
fn without_a_watchdog_a_stopped_master_is_only_told_of() {
    let daemon = setup("off").start();
    let master = daemon.master();
    processes::send(master, Signal::SIGSTOP);
    logged(&daemon, "has been stopped by a signal: nobody is served until it gets SIGCONT\n");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(processes::state(master), Some('T'));
    processes::send(master, Signal::SIGCONT);
    assert_eq!(daemon.master(), master);
}

#[test]
fn fault_30_a_master_that_is_traced_is_left_alone() {
    let daemon = setup("1s").start();
    let master = daemon.master();
    let held = masters::hold(master, "recvmmsg", "enter");
    let mut client = daemon.client();
    let run = client.send("run", json!({"entry": "exit", "params": {"code": 4}, "wait": true}));
    logged(&daemon, "so it is left alone");
    drop(held);
    assert_eq!(client.receive(run).unwrap()["exit_code"], 4);
    assert_eq!(daemon.master(), master);
}

#[test]
fn fault_30_a_keeper_that_has_been_replaced_watches_the_master_that_it_finds() {
    let daemon = setup("1s").start();
    let replaced = daemon.client().ok("upgrade", json!({"keeper": true, "binary": crate::house::preforkd()}));
    assert_eq!(replaced["checked"], false);
    is_ended_and_followed(&daemon, |master| processes::send(master, Signal::SIGSTOP));
}

// Of a release there are no steps.
#[cfg(debug_assertions)]
mod steps {
    use std::path::PathBuf;

    use super::*;
    use crate::house::preforkd;

    /// A daemon of which a master hangs when it comes to this step.
    struct Hanging {
        daemon: Daemon,
        faults: PathBuf,
    }

    impl Hanging {
        fn start() -> Hanging {
            let setup = setup("1s");
            let faults = setup.path().join("faults");
            std::fs::create_dir(&faults).unwrap();
            let daemon = setup.wrapped(&["env", &format!("PREFORKD_FAULTS={}", faults.display())]).start();
            Hanging { daemon, faults }
        }

        fn at(&self, step: &str) {
            std::fs::write(self.faults.join(step), "hang").unwrap();
        }
    }

    #[test]
    fn fault_30_a_master_that_hangs_is_ended_at_the_deadline_and_another_serves() {
        let hanging = Hanging::start();
        is_ended_and_followed(&hanging.daemon, |_| hanging.at("turn-begun"));
        let log = hanging.daemon.log();
        assert!(log.contains("has been in one turn of its loop for 1s (S (sleeping), in "), "{log}");
    }

    #[test]
    fn fault_30_a_master_that_hangs_as_it_begins_is_followed_by_another() {
        let hanging = Hanging::start();
        let master = hanging.daemon.master();
        hanging.at("new-recovered");
        processes::send(master, Signal::SIGKILL);
        followed(&hanging.daemon, master);
        logged(&hanging.daemon, "watchdog: the master");
    }

    #[test]
    fn fault_30_masters_that_hang_in_an_upgrade_are_followed_by_another() {
        for step in ["new-recovered", "old-frozen"] {
            let hanging = Hanging::start();
            let mut client = hanging.daemon.client();
            let alive = client.start("sleep", json!({"ms": 60_000}), "alive");
            let master = hanging.daemon.master();
            hanging.at(step);
            client.send("upgrade", json!({"binary": preforkd()}));
            eventually("it hangs", || (!hanging.faults.join(step).exists()).then_some(()));
            followed(&hanging.daemon, master);
            logged(&hanging.daemon, "watchdog: the master");
            let mut client = hanging.daemon.client();
            assert_eq!(client.ok("status", json!({"id": "alive"}))["pid"], alive["pid"]);
            client.ok("kill", json!({"id": "alive"}));
        }
    }
}
