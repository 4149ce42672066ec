//! The end of a daemon: how long it takes, and that nothing is left.

use std::time::Duration;

use serde_json::{Value, json};

use crate::house::{Client, Setup, eventually, processes};

const JOB: &str = "import signal, subprocess, time\ndef deaf(params):\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    subprocess.Popen(['sleep', '300'])\n    open(params, 'w').write('x')\n    time.sleep(300)\n";

#[test]
fn sigterm_with_deaf_runs_is_complete_within_eight_seconds() {
    let mut daemon = Setup::app("python", &[("job.py", JOB)], json!({"idle": 2})).start();
    let mut client = daemon.client();
    for n in 0..4 {
        let file = daemon.path().join(format!("f{n}"));
        client.start("job:deaf", json!(file), &format!("d{n}"));
        eventually("it is deaf", || file.exists().then_some(()));
    }
    let before = processes::descendants(daemon.pid());
    assert!(before.len() >= 10, "{}", before.len());
    let (status, took) = daemon.terminate();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_millis(8500), "{took:?}");
    assert!(daemon.log().contains("killing whoever is left, running: 4"), "{}", daemon.log());
    let left: Vec<String> = before.iter().filter(|p| p.alive()).map(|p| p.describe()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn who_waits_is_told_the_end_of_the_run_and_new_runs_are_refused() {
    let mut daemon = Setup::native(json!({"max_running": 2})).arguments(&["--shutdown-timeout", "3s"]).start();
    let mut client = daemon.client();
    let mut waiter = daemon.tcp();
    let quick = waiter.send("run", json!({"entry": "sleep", "params": {"ms": 700}, "id": "quick", "wait": true}));
    let long = waiter.send("run", json!({"entry": "sleep", "params": {"ms": 60_000}, "id": "long", "wait": true}));
    let queued = waiter.send("run", json!({"entry": "noop", "id": "queued", "wait": true}));
    eventually("it is queued", || client.call("status", json!({"id": "queued"})).ok());
    assert_eq!(client.ok("shutdown", json!({})), json!({"stopping": true}));
    assert_eq!(client.refused("run", json!({"entry": "noop"})).kind, "shutting_down");
    assert_eq!(client.ok("ping", json!({}))["version"], env!("CARGO_PKG_VERSION"));
    match waiter.receive(queued) {
        Ok(status) => assert_eq!(status["state"], "failed"),
        Err(refusal) => assert_eq!(refusal.kind, "shutting_down"),
    }
    assert_eq!(waiter.receive(quick).unwrap()["exit_code"], 0, "what ends by itself may");
    assert_eq!(waiter.receive(long).unwrap()["signal"], 15);
    let status = daemon.ends(Duration::from_secs(5));
    assert!(status.success());
    assert!(!daemon.socket().exists(), "the socket is gone");
}

#[test]
fn an_idle_daemon_ends_at_once_by_term_int_and_stop() {
    for how in ["TERM", "INT", "stop"] {
        let mut daemon = Setup::native(json!({"idle": 3})).start();
        match how {
            "TERM" => processes::send(daemon.pid(), nix::sys::signal::Signal::SIGTERM),
            "INT" => processes::send(daemon.pid(), nix::sys::signal::Signal::SIGINT),
            _ => {
                let mut client = daemon.client();
                client.send_line("stop");
                client.expect_end();
            }
        }
        assert!(daemon.ends(Duration::from_secs(3)).success(), "{how}");
    }
}

#[test]
fn a_second_start_remembers_what_ended_before() {
    let mut daemon = Setup::native(json!({})).start();
    let ended = daemon.client().ok("run", json!({"entry": "echo", "params": [1], "id": "before", "wait": true}));
    daemon.terminate();
    let setup = daemon.crash();
    let daemon = setup.start();
    let mut client: Client = daemon.client();
    assert_eq!(client.ok("status", json!({"id": "before"})), ended);
    let again: Value = client.ok("run", json!({"entry": "noop", "id": "before"}));
    assert_eq!(again["duplicate"], true);
}
